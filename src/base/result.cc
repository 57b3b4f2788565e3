#include "neap/base/result.h"

#include <array>

namespace neap {
namespace {

struct CodeRow {
  Code code;
  std::string_view name;
  int http;
};
constexpr std::array<CodeRow, 16> kCodes{{
    {Code::kCancelled, "cancelled", 499},
    {Code::kUnknown, "unknown", 500},
    {Code::kInvalidArgument, "invalid_argument", 400},
    {Code::kDeadlineExceeded, "deadline_exceeded", 504},
    {Code::kNotFound, "not_found", 404},
    {Code::kAlreadyExists, "already_exists", 409},
    {Code::kPermissionDenied, "permission_denied", 403},
    {Code::kResourceExhausted, "resource_exhausted", 429},
    {Code::kFailedPrecondition, "failed_precondition", 422},
    {Code::kAborted, "aborted", 409},
    {Code::kOutOfRange, "out_of_range", 410},
    {Code::kUnimplemented, "unimplemented", 501},
    {Code::kInternal, "internal", 500},
    {Code::kUnavailable, "unavailable", 503},
    {Code::kDataLoss, "data_loss", 500},
    {Code::kUnauthenticated, "unauthenticated", 401},
}};

}  // namespace

std::string_view code_name(Code code) {
  for (const auto& row : kCodes)
    if (row.code == code) return row.name;
  return "unknown";
}

int http_status(Code code) {
  for (const auto& row : kCodes)
    if (row.code == code) return row.http;
  return 500;
}

Code code_of_http_status(int status) {
  switch (status) {
    case 400:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 408:
      return Code::kDeadlineExceeded;
    case 409:
      return Code::kAborted;
    case 410:
      return Code::kOutOfRange;
    case 412:
      return Code::kFailedPrecondition;
    case 413:
      return Code::kResourceExhausted;
    case 422:
      return Code::kFailedPrecondition;
    case 429:
      return Code::kResourceExhausted;
    case 499:
      return Code::kCancelled;
    case 500:
      return Code::kInternal;
    case 501:
      return Code::kUnimplemented;
    case 502:
      return Code::kUnavailable;
    case 503:
      return Code::kUnavailable;
    case 504:
      return Code::kDeadlineExceeded;
    default:
      return status < 500 ? Code::kInvalidArgument : Code::kUnknown;
  }
}

bool is_retryable(Code code) {
  return code == Code::kUnavailable || code == Code::kAborted || code == Code::kResourceExhausted ||
         code == Code::kDeadlineExceeded;
}

std::string Error::to_string() const {
  std::string out;
  for (auto it = context.rbegin(); it != context.rend(); ++it) {
    out += "while ";
    out += *it;
    out += ": ";
  }
  out += message;
  if (!reason.empty()) {
    out += " [";
    out += reason;
    out += "]";
  }
  return out;
}

std::unexpected<Error> fail(Code code, std::string reason, std::string message) {
  return std::unexpected(Error{code, std::move(reason), std::move(message), {}});
}
std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }
std::unexpected<Error> fail(Error error, std::string context) {
  error.context.push_back(std::move(context));
  return std::unexpected(std::move(error));
}

}  // namespace neap
