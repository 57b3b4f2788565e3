#include <fmt/format.h>

#include "internal/request.h"
#include "neap/api/codec.h"

namespace neap::apiserver {

std::string qualified(const api::KindEntry& kind) {
  return kind.group.empty() ? kind.plural : kind.plural + "." + kind.group;
}
std::unexpected<Error> not_found(const api::KindEntry& kind, std::string_view name) {
  return fail(Code::kNotFound, "api.object.absent",
              fmt::format("{} \"{}\" not found", qualified(kind), name));
}
std::unexpected<Error> already_exists(const api::KindEntry& kind, std::string_view name) {
  return fail(Code::kAlreadyExists, "api.object.exists",
              fmt::format("{} \"{}\" already exists", qualified(kind), name));
}
std::unexpected<Error> conflict(const api::KindEntry& kind, std::string_view name) {
  return fail(
      Code::kAborted, "api.object.conflict",
      fmt::format(
          "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your "
          "changes to the latest version and try again",
          qualified(kind), name));
}
std::unexpected<Error> forbidden(const auth::Identity& who, const auth::Attributes& what,
                                 std::string_view reason) {
  std::string message;
  if (what.is_resource) {
    const auto full = what.subresource.empty() ? what.resource : what.resource + "/" + what.subresource;
    message = what.group.empty() ? what.resource : what.resource + "." + what.group;
    if (!what.name.empty()) message += fmt::format(" \"{}\"", what.name);
    message += fmt::format(" is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\"",
                           who.user, what.verb, full, what.group);
    message += what.namespace_.empty() ? " at the cluster scope"
                                       : fmt::format(" in the namespace \"{}\"", what.namespace_);
  } else {
    message = fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"", who.user, what.verb, what.path);
  }
  if (!reason.empty()) message += fmt::format(": {}", reason);
  return fail(Code::kPermissionDenied, "auth.forbidden", std::move(message));
}
std::unexpected<Error> bad_request(std::string reason, std::string message) {
  return fail(Code::kInvalidArgument, std::move(reason), std::move(message));
}

std::unexpected<Failure> invalid(const api::KindEntry& kind, std::string_view name,
                                 const std::vector<api::FieldProblem>& problems) {
  std::string text;
  JsonArray causes;
  for (const auto& problem : problems) {
    text += (text.empty() ? "" : ", ") + problem.path + ": " + problem.message;
    causes.push_back(
        JsonObject{{"reason", "FieldValueInvalid"}, {"message", problem.message}, {"field", problem.path}});
  }
  if (problems.size() > 1) text = "[" + text + "]";
  const auto full = kind.group.empty() ? kind.kind : kind.kind + "." + kind.group;
  return std::unexpected(Failure(Error{Code::kFailedPrecondition,
                                       "api.object.invalid",
                                       fmt::format("{} \"{}\" is invalid: {}", full, name, text),
                                       {}},
                                 std::move(causes)));
}

std::unexpected<Failure> view_is_read(const api::KindEntry& kind) {
  Failure out(
      Error{Code::kUnimplemented,
            "api.view.read_only",
            fmt::format("{} are {} as Kubernetes tools know them and can only be read; create or delete "
                        "the TrainingJob, InferenceService or Deployment they belong to",
                        qualified(kind), kind.view_of),
            {}});
  out.http = 405;
  out.status_reason = "MethodNotAllowed";
  return std::unexpected(std::move(out));
}

std::unexpected<Failure> method_not_allowed() {
  Failure out(Error{Code::kUnimplemented,
                    "api.method",
                    "the server does not allow this method on the requested resource",
                    {}});
  out.http = 405;
  out.status_reason = "MethodNotAllowed";
  return std::unexpected(std::move(out));
}

int http_status_of(const Failure& failure) {
  return failure.http != 0 ? failure.http : http_status(failure.error.code);
}

Json status_of(const Failure& failure, const auth::Attributes& what, const api::KindEntry* kind) {
  const bool of_kind = failure.error.code == Code::kFailedPrecondition && kind;
  Json out = api::status_object(failure.error,
                                of_kind ? std::string_view(kind->kind) : std::string_view(what.resource),
                                what.name, what.group);
  auto& object = out.get_object();
  object["code"] = http_status_of(failure);
  if (!failure.status_reason.empty()) object["reason"] = failure.status_reason;
  // What is too large stays so.
  if (http_status_of(failure) == 413) sub_object(object, "details").erase("retryAfterSeconds");
  if (failure.retry_after_seconds > 0)
    sub_object(object, "details")["retryAfterSeconds"] = failure.retry_after_seconds;
  if (!failure.causes.empty()) sub_object(object, "details")["causes"] = failure.causes;
  return out;
}

}  // namespace neap::apiserver
