#include <fmt/format.h>

#include "internal/rest.h"

namespace neap::apiserver {
namespace {

constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};
constexpr int kRaceAttempts = 16;

bool is_namespace_kind(const api::KindEntry& kind) {
  return kind.group.empty() && kind.plural == "namespaces";
}

// Namespaces the system needs.
bool is_kept(std::string_view name) {
  return name == "default" || name == "neap-system" || name == auth::kNodeLeaseNamespace;
}

struct DeleteWish {
  std::string finalizer;  // that a propagation policy puts on the object; empty for background
  bool dry_run = false;
};

std::unexpected<Failure> invalid_option(std::string_view field, std::string_view why) {
  Failure out(Error{Code::kFailedPrecondition,
                    "api.delete.option",
                    fmt::format("DeleteOptions.meta.k8s.io \"\" is invalid: {}: {}", field, why),
                    {}});
  out.causes.push_back(JsonObject{{"reason", "FieldValueInvalid"}, {"message", why}, {"field", field}});
  return std::unexpected(std::move(out));
}

Outcome<DeleteWish> read_delete_options(const Request& request) {
  const auto& options = request.body;
  DeleteWish out{.finalizer = {}, .dry_run = request.parameters.dry_run};
  const auto kind = get_string(options, "kind");
  if (!kind.empty() && kind != "DeleteOptions")
    return bad_request(
        "api.delete.kind",
        fmt::format("the body of a deletion is a DeleteOptions, this is a {}", kind.substr(0, 64)));
  if (const auto* rounds = find_path(options, {"dryRun"}); rounds && rounds->is_array()) {
    for (const auto& round : rounds->get_array())
      if (!round.is_string() || round.get_string() != "All")
        return invalid_option("dryRun", "Unsupported value: supported values: \"All\"");
    out.dry_run = out.dry_run || !rounds->get_array().empty();
  } else if (rounds && !rounds->is_null()) {
    return bad_request("api.delete.dry_run", "dryRun of DeleteOptions must be a list");
  }
  const auto policy = get_string(options, "propagationPolicy");
  const auto* orphans = find_path(options, {"orphanDependents"});
  if (orphans && orphans->is_bool() && !policy.empty())
    return invalid_option("propagationPolicy", "orphanDependents and propagationPolicy cannot be both set");
  if (policy == "Foreground")
    out.finalizer = "foregroundDeletion";
  else if (policy == "Orphan" || get_bool(options, "orphanDependents"))
    out.finalizer = "orphan";
  else if (!policy.empty() && policy != "Background")
    return invalid_option("propagationPolicy",
                          fmt::format("Unsupported value: \"{}\": supported values: \"Background\", "
                                      "\"Foreground\", \"Orphan\"",
                                      policy.substr(0, 64)));
  return out;
}

Reply success(const api::KindEntry& kind, std::string_view name, std::string_view uid) {
  return {.status = 200,
          .body =
              JsonObject{
                  {"kind", "Status"},
                  {"apiVersion", "v1"},
                  {"metadata", JsonObject()},
                  {"status", "Success"},
                  {"details",
                   JsonObject{{"name", name}, {"group", kind.group}, {"kind", kind.plural}, {"uid", uid}}}},
          .text = {},
          .warnings = {}};
}

}  // namespace

Task<Outcome<Reply>> Rest::remove(const Request& request) {
  if (!request.what.subresource.empty()) co_return method_not_allowed();
  co_return co_await remove_one(request, request.what.namespace_, request.what.name);
}

Task<Outcome<Reply>> Rest::remove_one(const Request& request, std::string ns, std::string name) {
  const auto& kind = *request.kind;
  const bool is_namespace = is_namespace_kind(kind);
  if (is_namespace && is_kept(name))
    co_return fail(Code::kPermissionDenied, "api.namespace.kept",
                   fmt::format("namespaces \"{}\" is forbidden: this namespace may not be deleted", name));
  NEAP_CO_TRY(const auto wish, read_delete_options(request));
  const auto& policy = wish.finalizer;
  const auto key = object_key(kind, ns, name);
  for (int attempt = 0; attempt < kRaceAttempts; ++attempt) {
    NEAP_CO_TRY(const auto stored, co_await deps_.store.get(request.ctx, key));
    if (!stored) co_return not_found(kind, name);
    NEAP_CO_TRY(auto object, parse_json(stored->value, kStoredLimits));
    const auto uid = std::string(meta_string(object, "uid"));
    if (const auto* wanted = find_path(request.body, {"preconditions"})) {
      const auto wanted_uid = get_string(*wanted, "uid");
      const auto wanted_version = get_string(*wanted, "resourceVersion");
      if ((!wanted_uid.empty() && wanted_uid != uid) ||
          (!wanted_version.empty() && wanted_version != fmt::format("{}", to_number(stored->mod_revision))))
        co_return conflict(kind, name);
    }
    if (const auto decision = deps_.authorizer.authorize_object(request.who, request.what, &object, nullptr);
        !decision.allowed)
      co_return forbidden(request.who, request.what, decision.reason);
    std::vector<std::string> warnings;
    if (auto admitted = co_await admit(request, &object, nullptr, warnings); !admitted)
      co_return std::unexpected(admitted.error());
    Json after = object;
    auto& metadata = metadata_of(after);
    if (!policy.empty() && !has_finalizer(after, policy)) {
      if (!metadata.contains("finalizers")) metadata["finalizers"] = JsonArray();
      if (metadata["finalizers"].is_array()) metadata["finalizers"].get_array().emplace_back(policy);
    }
    const bool stays = is_namespace || finalizer_count(after) > 0;
    if (stays && !is_terminating(after)) {
      metadata["deletionTimestamp"] = format_rfc3339(deps_.runtime.clock().wall());
      metadata["deletionGracePeriodSeconds"] = 0;
      if (const auto generation = get_int(metadata, "generation"); generation > 0)
        metadata["generation"] = generation + 1;
      if (is_namespace) sub_object(after.get_object(), "status")["phase"] = "Terminating";
    }
    const auto answer = [&](Revision revision) {
      auto reply =
          stays ? Reply{.status = 200, .body = with_revision(after, revision), .text = {}, .warnings = {}}
                : success(kind, name, uid);
      reply.warnings = std::move(warnings);
      return reply;
    };
    if (wish.dry_run || (stays && after == object)) co_return answer(stored->mod_revision);
    const auto done =
        stays ? co_await deps_.store.put(request.ctx, key, stored_text(after), stored->mod_revision)
              : co_await deps_.store.remove(request.ctx, key, stored->mod_revision);
    if (done) co_return answer(*done);
    if (done.error().code != Code::kAborted && done.error().code != Code::kNotFound)
      co_return std::unexpected(Failure(done.error()));
  }
  co_return conflict(kind, name);
}

Task<Outcome<Reply>> Rest::remove_now(CallContext ctx, const api::KindEntry& kind, std::string ns,
                                      std::string name, std::string uid) {
  Request request;
  request.ctx = std::move(ctx);
  request.who = {.user = std::string(auth::kUpkeepUser),
                 .groups = {std::string(auth::kMastersGroup)},
                 .node = {},
                 .authenticated = true};
  request.kind = &kind;
  request.what.verb = "delete";
  request.what.group = kind.group;
  request.what.version = kind.version;
  request.what.resource = kind.plural;
  request.what.namespace_ = ns;
  request.what.name = name;
  request.what.is_resource = true;
  request.body = JsonObject{{"preconditions", JsonObject{{"uid", uid}}}};
  auto done = co_await remove_one(request, std::move(ns), std::move(name));
  co_await audit(request, done ? done->status : http_status_of(done.error()), "garbage collection");
  co_return done;
}

Task<Outcome<Reply>> Rest::remove_collection(const Request& request) {
  const auto& kind = *request.kind;
  if (is_namespace_kind(kind)) co_return method_not_allowed();
  NEAP_CO_TRY(const auto selection, selection_of(request));
  store::ListOptions options{.limit = 500, .start_after = {}, .revision = {}};
  std::int64_t removed = 0;
  for (;;) {
    NEAP_CO_TRY(const auto page, co_await deps_.store.list(request.ctx, selection.prefix, options));
    options.revision = page.revision;
    for (const auto& item : page.items) {
      options.start_after = item.key;
      if (!selection.key.empty() && item.key != selection.key) continue;
      NEAP_CO_TRY(const auto object, parse_json(item.value, kStoredLimits));
      if (!selection.matches(object)) continue;
      auto done = co_await remove_one(request, std::string(meta_string(object, "namespace")),
                                      std::string(meta_string(object, "name")));
      if (!done && done.error().error.code != Code::kNotFound) co_return done;
      ++removed;
    }
    if (!page.more) break;
  }
  auto reply = success(kind, "", "");
  reply.body.get_object()["message"] = fmt::format("{} deleted", removed);
  co_return reply;
}

}  // namespace neap::apiserver
