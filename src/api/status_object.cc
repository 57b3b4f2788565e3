// Error <-> Status object: reasons as k8s.io/apimachinery spells them, our own machine reason beside them.
#include <array>

#include "neap/api/codec.h"

namespace neap::api {
namespace {

struct ReasonRow {
  Code code;
  int http;
  std::string_view reason;
};
// First row of a code is the one that is written; of a reason, the one that is read.
constexpr std::array<ReasonRow, 20> kReasons{{
    {Code::kInvalidArgument, 400, "BadRequest"},
    {Code::kUnauthenticated, 401, "Unauthorized"},
    {Code::kPermissionDenied, 403, "Forbidden"},
    {Code::kNotFound, 404, "NotFound"},
    {Code::kAlreadyExists, 409, "AlreadyExists"},
    {Code::kAborted, 409, "Conflict"},
    {Code::kOutOfRange, 410, "Expired"},
    {Code::kOutOfRange, 410, "Gone"},
    {Code::kFailedPrecondition, 422, "Invalid"},
    {Code::kResourceExhausted, 429, "TooManyRequests"},
    {Code::kInternal, 500, "InternalError"},
    {Code::kDataLoss, 500, "InternalError"},
    {Code::kUnknown, 500, "InternalError"},
    {Code::kUnavailable, 503, "ServiceUnavailable"},
    {Code::kUnavailable, 500, "ServerTimeout"},
    {Code::kDeadlineExceeded, 504, "Timeout"},
    {Code::kCancelled, 499, "Cancelled"},
    {Code::kUnimplemented, 405, "MethodNotAllowed"},
    {Code::kInvalidArgument, 406, "NotAcceptable"},
    {Code::kResourceExhausted, 413, "RequestEntityTooLarge"},
}};

struct SpecialRow {
  std::string_view error_reason;
  int http;
  std::string_view reason;
};
// Errors whose HTTP status says more than their code.
constexpr std::array<SpecialRow, 3> kSpecial{{
    {"api.media_type", 415, "UnsupportedMediaType"},
    {"api.not_acceptable", 406, "NotAcceptable"},
    {"http.body.too_large", 413, "RequestEntityTooLarge"},
}};

// "spec.replicas: must be ..." -> the path, for clients that print causes one by one.
std::string_view leading_path(std::string_view message) {
  const auto colon = message.find(": ");
  if (colon == std::string_view::npos) return {};
  const auto path = message.substr(0, colon);
  const bool root = path.starts_with("spec") || path.starts_with("metadata") || path.starts_with("status") ||
                    path == "kind" || path == "apiVersion";
  return root && path.find(' ') == std::string_view::npos ? path : std::string_view{};
}

JsonArray causes_of(std::string_view message) {
  JsonArray out;
  while (!message.empty()) {
    auto end = message.find("; ");
    // Only a further "path: ..." begins a further cause; other semicolons belong to the sentence.
    while (end != std::string_view::npos && leading_path(message.substr(end + 2)).empty() &&
           !message.substr(end + 2).starts_with("unknown field"))
      end = message.find("; ", end + 2);
    const auto one = message.substr(0, end);
    const auto path = leading_path(one);
    JsonObject cause;
    cause["reason"] = "FieldValueInvalid";
    cause["message"] = path.empty() ? one : one.substr(path.size() + 2);
    cause["field"] = path.empty() ? std::string_view("document") : path;
    out.push_back(std::move(cause));
    message = end == std::string_view::npos ? std::string_view{} : message.substr(end + 2);
  }
  return out;
}

}  // namespace

Json status_object(const Error& error, std::string_view kind, std::string_view name, std::string_view group) {
  int http = http_status(error.code);
  std::string_view reason = "InternalError";
  for (const auto& row : kReasons)
    if (row.code == error.code) {
      http = row.http;
      reason = row.reason;
      break;
    }
  for (const auto& row : kSpecial)
    if (row.error_reason == error.reason) {
      http = row.http;
      reason = row.reason;
    }
  Error bare = error;
  bare.reason.clear();
  const std::string message = bare.to_string();
  JsonObject details;
  if (!name.empty()) details["name"] = name;
  if (!group.empty()) details["group"] = group;
  if (!kind.empty()) details["kind"] = kind;
  if (error.code == Code::kFailedPrecondition) details["causes"] = causes_of(message);
  if (error.code == Code::kResourceExhausted && http == 429) details["retryAfterSeconds"] = 1;
  // Ours; Kubernetes clients skip what they do not know.
  details["neapCode"] = code_name(error.code);
  if (!error.reason.empty()) details["neapReason"] = error.reason;
  JsonObject out;
  out["kind"] = "Status";
  out["apiVersion"] = "v1";
  out["metadata"] = JsonObject{};
  out["status"] = "Failure";
  out["message"] = message;
  out["reason"] = reason;
  out["details"] = std::move(details);
  out["code"] = http;
  return Json(std::move(out));
}

Error error_of_status(const Json& status, int http) {
  const auto reason = get_string(status, "reason");
  const int code_number = int(get_int(status, "code", http));
  Error out{code_of_http_status(code_number), "", std::string(get_string(status, "message")), {}};
  for (const auto& row : kReasons)
    if (row.reason == reason) {
      out.code = row.code;
      break;
    }
  if (const Json* details = find_path(status, {"details"})) {
    out.reason = get_string(*details, "neapReason");
    const auto code = get_string(*details, "neapCode");
    for (int i = int(Code::kCancelled); i <= int(Code::kUnauthenticated); ++i)
      if (!code.empty() && code_name(Code(i)) == code) out.code = Code(i);
  }
  if (out.reason.empty()) out.reason = reason.empty() ? "http.status" : "api." + std::string(reason);
  if (out.message.empty())
    out.message = "the server answered with HTTP status " + std::to_string(http) + " and no explanation";
  return out;
}

}  // namespace neap::api
