// Result<T>: the one way a Neap function reports failure.
//
// An Error carries a canonical code (the sixteen gRPC codes), a stable machine reason
// ("quota.gpu.exceeded"), one human sentence (what happened, why, what to do next) and a chain of
// contexts, innermost first. Exceptions of third-party libraries stop at the adapter that calls them.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace neap {

enum class Code {
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "not_found", "aborted", ...
std::string_view code_name(Code code);
// HTTP status of a code, the one table of it (404 for kNotFound, ...).
int http_status(Code code);
// Code of an HTTP status >= 400; kUnknown for what has no counterpart.
Code code_of_http_status(int status);
// True where the same call may succeed later without any change (unavailable, aborted, exhausted, deadline).
bool is_retryable(Code code);

struct Error {
  Code code = Code::kUnknown;
  std::string reason;
  std::string message;
  std::vector<std::string> context;

  // "while <outermost>: while <inner>: <message> [reason]"
  std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// `return fail(Code::kNotFound, "store.key.absent", "...")` from any function that returns Result<T>.
std::unexpected<Error> fail(Code code, std::string reason, std::string message);
std::unexpected<Error> fail(Error error);
// The same error with one more context line.
std::unexpected<Error> fail(Error error, std::string context);
inline Status ok() { return {}; }

}  // namespace neap

#define NEAP_CONCAT_INNER(a, b) a##b
#define NEAP_CONCAT(a, b) NEAP_CONCAT_INNER(a, b)

// NEAP_TRY(auto value, expression): in a plain function.
#define NEAP_TRY_IMPL(tmp, decl, ret, ...)               \
  auto tmp = (__VA_ARGS__);                              \
  if (!tmp) ret std::unexpected(std::move(tmp).error()); \
  decl = *std::move(tmp)
#define NEAP_TRY(decl, ...) NEAP_TRY_IMPL(NEAP_CONCAT(neap_try_, __LINE__), decl, return, __VA_ARGS__)
// NEAP_CO_TRY(auto value, co_await expression): in a coroutine.
#define NEAP_CO_TRY(decl, ...) NEAP_TRY_IMPL(NEAP_CONCAT(neap_try_, __LINE__), decl, co_return, __VA_ARGS__)
// The same for Status, where no value is wanted.
#define NEAP_TRY_VOID(...) \
  if (auto neap_status = (__VA_ARGS__); !neap_status) return std::unexpected(std::move(neap_status).error())
#define NEAP_CO_TRY_VOID(...)                         \
  if (auto neap_status = (__VA_ARGS__); !neap_status) \
  co_return std::unexpected(std::move(neap_status).error())
