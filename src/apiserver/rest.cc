#include "internal/rest.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::apiserver {
namespace {

// A body above this is on record by its size only.
constexpr std::size_t kAuditedBytesMax = 64u << 10;

Json audited_body(Json body, bool omits_managed_fields) {
  if (omits_managed_fields && body.is_object())
    if (auto* metadata = body.get_object().if_contains("metadata"); metadata && metadata->is_object())
      metadata->get_object().erase("managedFields");
  const auto size = to_text(body).size();
  return size <= kAuditedBytesMax ? body : Json{{"omittedBytes", size}};
}

}  // namespace

void drop_nulls(Json& value) {
  if (auto* object = value.if_object()) {
    for (auto at = object->begin(); at != object->end();) {
      if (at->value().is_null()) {
        at = object->erase(at);
      } else {
        drop_nulls(at->value());
        ++at;
      }
    }
  } else if (auto* array = value.if_array()) {
    for (auto& element : *array) drop_nulls(element);
  }
}

void erase_path(Json& object, std::string_view path) {
  Json* at = &object;
  while (!path.empty() && at) {
    if (path.front() == '[') {
      const auto close = path.find(']');
      auto* array = at->if_array();
      if (!array || close == std::string_view::npos) return;
      std::size_t index = 0;
      for (const char c : path.substr(1, close - 1)) {
        if (c < '0' || c > '9' || index > array->size()) return;
        index = index * 10 + std::size_t(c - '0');
      }
      if (index >= array->size()) return;
      at = &(*array)[index];
      path.remove_prefix(close + 1);
      if (path.starts_with('.')) path.remove_prefix(1);
      continue;
    }
    auto* members = at->if_object();
    if (!members) return;
    // A key may itself hold dots: the longest member that the path begins with is meant.
    std::string_view key;
    for (const auto& member : *members) {
      const std::string_view name = member.key();
      const bool fits = path.starts_with(name) &&
                        (path.size() == name.size() || path[name.size()] == '.' || path[name.size()] == '[');
      if (fits && name.size() > key.size()) key = name;
    }
    if (key.empty()) return;
    if (key.size() == path.size()) {
      members->erase(key);
      return;
    }
    at = members->if_contains(key);
    path.remove_prefix(key.size());
    if (path.starts_with('.')) path.remove_prefix(1);
  }
}

auth::AuditLevel Rest::audit_level(const Request& request) const {
  if (deps_.audit_policy) return deps_.audit_policy->level_of(request.who, request.what);
  const auto& verb = request.what.verb;
  const bool reads = verb == "get" || verb == "list" || verb == "watch";
  const bool is_review =
      request.kind && !request.kind->has_status && request.what.resource.ends_with("reviews");
  return reads || is_review || request.parameters.dry_run ? auth::AuditLevel::kNone
                                                          : auth::AuditLevel::kMetadata;
}

Task<void> Rest::audit(const Request& request, int status, std::string reason) const {
  return audit(request, status, std::move(reason), nullptr, nullptr);
}

Task<void> Rest::audit(const Request& request, int status, std::string reason, Json sent,
                       const Reply* answered) const {
  if (!deps_.audit) co_return;
  auto level = audit_level(request);
  const bool by_policy = deps_.audit_policy && level != auth::AuditLevel::kNone;
  // Refusals of credentials and rights are what an auditor looks for; an absent object is not.
  if (status == 401 || status == 403) level = std::max(level, auth::AuditLevel::kMetadata);
  if (level == auth::AuditLevel::kNone) co_return;
  AuditRecord record{.who = request.who,
                     .what = request.what,
                     .status = status,
                     .reason = std::move(reason),
                     .level = level,
                     .by_policy = by_policy,
                     .origin = request.origin,
                     .request = nullptr,
                     .response = nullptr};
  const bool omits = by_policy && deps_.audit_policy->omits_managed_fields(request.who, request.what);
  if (level >= auth::AuditLevel::kRequest) record.request = audited_body(std::move(sent), omits);
  if (level >= auth::AuditLevel::kRequestResponse && answered) {
    auto body = answered->body;
    if (!answered->text.empty() && answered->text.size() <= kAuditedBytesMax)
      if (auto parsed = parse_json(answered->text)) body = *std::move(parsed);
    record.response = audited_body(std::move(body), omits);
  }
  co_await deps_.audit(std::move(record));
}

Reply Rest::reply_of(const Failure& failure, const Request& request) const {
  Reply out;
  out.status = http_status_of(failure);
  out.body = status_of(failure, request.what, request.kind);
  return out;
}

Task<Reply> Rest::serve(Request request) {
  // Carrying it out takes the body apart.
  const Json sent =
      deps_.audit_policy && audit_level(request) >= auth::AuditLevel::kRequest ? request.body : Json();
  auto done = co_await dispatch(request);
  if (!done) {
    const auto reply = reply_of(done.error(), request);
    co_await audit(request, reply.status, done.error().error.reason, sent, &reply);
    co_return reply;
  }
  co_await audit(request, done->status, {}, sent, &*done);
  co_return *std::move(done);
}

Task<Outcome<Reply>> Rest::dispatch(Request& request) {
  const auto decision = deps_.authorizer.authorize(request.who, request.what);
  if (!decision.allowed) co_return forbidden(request.who, request.what, decision.reason);
  const auto& what = request.what;
  if (request.kind && find_review_kind(what.group, what.version, what.resource)) {
    if (what.verb != "create") co_return method_not_allowed();
    if (auto asked = check_review(request); !asked) co_return std::unexpected(asked.error());
    if (request.kind->kind == "TokenReview") co_return co_await review_token(request);
    co_return Reply{
        .status = 201, .body = answer_review(request, deps_.authorizer), .text = {}, .warnings = {}};
  }
  if (request.kind->namespaced && what.namespace_.empty() && what.verb != "list" && what.verb != "watch" &&
      what.verb != "deletecollection")
    co_return bad_request("api.namespace.missing",
                          "an empty namespace may not be set when a resource name may be provided");
  const bool is_bare = what.subresource.empty();
  if ((what.verb == "create" && !what.name.empty() && is_bare) ||
      ((what.verb == "update" || what.verb == "patch") && what.name.empty()) ||
      (what.verb == "deletecollection" && request.kind->namespaced && what.namespace_.empty()))
    co_return method_not_allowed();
  const bool reads = what.verb == "get" || what.verb == "list";
  if (!request.kind->view_of.empty() && !reads) co_return view_is_read(*request.kind);
  if (what.verb == "get") co_return co_await get(request);
  if (what.verb == "list") co_return co_await list(request);
  if (what.verb == "create") co_return co_await create(request);
  if (what.verb == "update") co_return co_await update(request);
  if (what.verb == "patch") co_return co_await patch(request);
  if (what.verb == "delete") co_return co_await remove(request);
  if (what.verb == "deletecollection") co_return co_await remove_collection(request);
  co_return fail(Code::kUnimplemented, "api.verb", fmt::format("the verb {} is not served here", what.verb));
}

Task<Status> Rest::create_namespace(CallContext ctx, std::string name) {
  const auto* kind = deps_.kinds.find("", "v1", "namespaces");
  if (!kind) co_return ok();
  const auto key = object_key(*kind, "", name);
  NEAP_CO_TRY(const auto found, co_await deps_.store.get(ctx, key));
  if (found) co_return ok();
  Json object =
      JsonObject{{"apiVersion", "v1"},
                 {"kind", "Namespace"},
                 {"metadata", JsonObject{{"name", name},
                                         {"uid", deps_.runtime.random().uuid()},
                                         {"creationTimestamp", format_rfc3339(deps_.runtime.clock().wall())},
                                         {"labels", JsonObject{{"kubernetes.io/metadata.name", name}}}}},
                 {"spec", JsonObject{{"finalizers", {"kubernetes"}}}},
                 {"status", JsonObject{{"phase", "Active"}}}};
  const auto written = co_await deps_.store.put(ctx, key, stored_text(object), Revision{});
  // Another server may have been faster: that is as good.
  if (!written && written.error().code != Code::kAlreadyExists && written.error().code != Code::kAborted)
    co_return std::unexpected(written.error());
  co_return ok();
}

}  // namespace neap::apiserver
