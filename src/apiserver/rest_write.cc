#include <fmt/format.h>

#include <algorithm>

#include "internal/object_rules.h"
#include "internal/quota.h"
#include "internal/rest.h"
#include "internal/service_account.h"
#include "internal/workload_completion.h"
#include "neap/crypto/digest.h"

namespace neap::apiserver {
namespace {

constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};
constexpr int kRaceAttempts = 16;
constexpr std::string_view kNamespaceLabel = "kubernetes.io/metadata.name";

bool is_kind(const api::KindEntry& kind, std::string_view group, std::string_view plural) {
  return kind.group == group && kind.plural == plural;
}

// Five characters that spell no word, as Kubernetes completes names.
std::string name_suffix(io::Random& random) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (int i = 0; i < 5; ++i) out += kLetters[random.below(kLetters.size())];
  return out;
}

Outcome<void> check_head(const Request& request, Json& object) {
  const auto& kind = *request.kind;
  if (!object.is_object())
    return bad_request("api.body.shape", "the body must be an object; send one JSON or YAML document");
  auto& members = object.get_object();
  const auto wanted_version = kind.api_version();
  if (const auto version = get_string(object, "apiVersion"); version.empty())
    members["apiVersion"] = wanted_version;
  else if (version != wanted_version)
    return bad_request(
        "api.body.version",
        fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                    version.substr(0, 128), wanted_version));
  if (const auto word = get_string(object, "kind"); word.empty())
    members["kind"] = kind.kind;
  else if (word != kind.kind)
    return bad_request("api.body.kind",
                       fmt::format("the kind in the data ({}) does not match the expected kind ({})",
                                   word.substr(0, 128), kind.kind));
  auto& metadata = metadata_of(object);
  const auto ns = meta_string(object, "namespace");
  if (!kind.namespaced) {
    metadata.erase("namespace");
  } else if (ns.empty()) {
    metadata["namespace"] = request.what.namespace_;
  } else if (ns != request.what.namespace_) {
    return bad_request(
        "api.body.namespace",
        fmt::format("the namespace of the provided object does not match the namespace sent on the "
                    "request: {} is not {}",
                    ns.substr(0, 128), request.what.namespace_));
  }
  const auto name = meta_string(object, "name");
  if (!request.what.name.empty() && !name.empty() && name != request.what.name)
    return bad_request("api.body.name",
                       fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                   name.substr(0, 253), request.what.name));
  return {};
}

constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";

// The groups that a role binding may leave out.
void complete_binding(Json& object) {
  const auto complete = [](Json& reference) {
    auto* members = reference.if_object();
    if (members && get_string(reference, "apiGroup").empty()) (*members)["apiGroup"] = kRbacGroup;
  };
  auto& members = object.get_object();
  if (auto* role = members.if_contains("roleRef")) complete(*role);
  if (auto* subjects = members.if_contains("subjects"); subjects && subjects->is_array())
    for (auto& subject : subjects->get_array())
      if (get_string(subject, "kind") == "User" || get_string(subject, "kind") == "Group") complete(subject);
}

// Go's MicroTime has six digits and takes no others: one object with fewer breaks every list of client-go.
void complete_micro_time(Json* parent, std::string_view name) {
  if (!parent || !parent->is_object()) return;
  const auto text = get_string(*parent, name);
  const bool has_micros =
      text.size() > 26 && text[19] == '.' && text.find_first_not_of("0123456789", 20) == 26;
  if (const auto time = parse_rfc3339(text); time && !has_micros)
    parent->get_object()[name] = format_rfc3339(*time, 6);
}

bool is_binding(const api::KindEntry& kind) {
  return kind.group == kRbacGroup && kind.kind.ends_with("Binding");
}

// What the server itself keeps in the built-in kinds.
void complete_builtin(const api::KindEntry& kind, Json& object, std::vector<std::string>& warnings) {
  auto& members = object.get_object();
  if (is_kind(kind, "", "namespaces")) {
    auto& spec = sub_object(members, "spec");
    if (!spec.contains("finalizers")) spec["finalizers"] = JsonArray{"kubernetes"};
    auto& status = sub_object(members, "status");
    if (!status.contains("phase")) status["phase"] = "Active";
    auto& metadata = metadata_of(object);
    const auto name = std::string(meta_string(object, "name"));
    sub_object(metadata, "labels")[kNamespaceLabel] = name;
  } else if (is_kind(kind, "", "secrets")) {
    if (const auto* plain = members.if_contains("stringData"); plain && plain->is_object()) {
      auto& data = sub_object(members, "data");
      for (const auto& [key, value] : plain->get_object())
        if (value.is_string()) data[key] = crypto::to_base64(std::string_view(value.get_string()));
    }
    members.erase("stringData");
  } else if (is_binding(kind)) {
    complete_binding(object);
  } else if (is_kind(kind, "coordination.k8s.io", "leases")) {
    for (const auto name : {"acquireTime", "renewTime"})
      complete_micro_time(members.if_contains("spec"), name);
  } else if (is_kind(kind, "", "events")) {
    complete_micro_time(&object, "eventTime");
  } else if (is_kind(kind, "apps", "deployments") || is_kind(kind, "batch", "jobs")) {
    complete_workload(object, kind.kind == "Deployment", warnings);
  }
}

void keep_member(const Json& from, JsonObject& to, std::string_view key) {
  const auto* value = find_path(from, {"metadata", key});
  if (value)
    to[key] = *value;
  else
    to.erase(key);
}

Reply reply_with(Json object, Revision revision, int status, std::vector<std::string> warnings) {
  return Reply{.status = status,
               .body = with_revision(std::move(object), revision),
               .text = {},
               .warnings = std::move(warnings)};
}

}  // namespace

Outcome<void> Rest::check_fields(const Request& request, const Json* before, Json& object,
                                 std::string_view name, std::vector<std::string>& warnings) const {
  const auto& kind = *request.kind;
  kind.apply_defaults(object);
  auto problems = kind.validate(object);
  std::vector<api::FieldProblem> wrong;
  std::string unknown;
  // Later list elements first, so that erasing one does not move the next.
  for (auto at = problems.rbegin(); at != problems.rend(); ++at) {
    if (!at->unknown_field) {
      wrong.insert(wrong.begin(), *at);
      continue;
    }
    const auto sentence = fmt::format("unknown field \"{}\"", at->path);
    unknown = unknown.empty() ? sentence : sentence + ", " + unknown;
    if (request.parameters.strictness == api::Strictness::kWarn) warnings.insert(warnings.begin(), sentence);
    erase_path(object, at->path);
  }
  if (!unknown.empty() && request.parameters.strictness == api::Strictness::kStrict)
    return bad_request(
        "api.field.unknown",
        fmt::format("{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}", kind.kind,
                    kind.version, kind.kind, unknown));
  // What was stored before a bound was drawn may stay: else its status and finalizers could not be written.
  if (!wrong.empty() && before) {
    const auto known = kind.validate(*before);
    std::erase_if(wrong, [&](const api::FieldProblem& problem) {
      return std::ranges::any_of(known, [&](const api::FieldProblem& old) {
        return old.path == problem.path && old.message == problem.message;
      });
    });
  }
  if (wrong.empty()) wrong = check_object_rules(kind, before, object);
  if (!wrong.empty()) return invalid(kind, name, wrong);
  return {};
}

Task<Outcome<void>> Rest::admit(const Request& request, const Json* before, Json* after,
                                std::vector<std::string>& warnings) {
  for (auto* admission : deps_.admission) {
    AdmissionRequest asked{.who = request.who,
                           .what = request.what,
                           .before = before,
                           .after = after,
                           .dry_run = request.parameters.dry_run};
    if (auto admitted = co_await admission->admit(asked, warnings); !admitted)
      co_return std::unexpected(Failure(std::move(admitted).error()));
  }
  co_return Outcome<void>();
}

Task<Outcome<Revision>> Rest::namespace_for_write(CallContext ctx, std::string ns, const Request& request,
                                                  bool fresh) {
  const auto* kind = deps_.kinds.find("", "v1", "namespaces");
  if (!kind) co_return Revision{};
  const auto key = object_key(*kind, "", ns);
  std::shared_ptr<const std::string> text;
  Revision revision{};
  if (const auto* known = deps_.hub.find(key); known && !fresh) {
    text = known->text;
    revision = known->revision;
  } else {
    NEAP_CO_TRY(auto found, co_await deps_.store.get(ctx, key));
    if (!found) co_return not_found(*kind, ns);
    text = std::make_shared<const std::string>(std::move(found->value));
    revision = found->mod_revision;
  }
  // Cheaper than parsing, and sound: the word cannot stand in a name or phase of an active namespace's
  // metadata.
  if (text->find("\"deletionTimestamp\"") != std::string::npos) {
    NEAP_CO_TRY(const auto object, parse_json(*text, kStoredLimits));
    if (is_terminating(object)) {
      Failure failure(Error{
          Code::kPermissionDenied,
          "api.namespace.terminating",
          fmt::format("{} is forbidden: unable to create new content in namespace {} because it is being "
                      "terminated",
                      qualified(*request.kind), ns),
          {}});
      failure.causes.push_back(JsonObject{{"reason", "NamespaceTerminating"},
                                          {"message", fmt::format("namespace {} is being terminated", ns)},
                                          {"field", "metadata.namespace"}});
      co_return std::unexpected(std::move(failure));
    }
  }
  co_return revision;
}

Task<Outcome<Reply>> Rest::commit_create(const Request& request, std::string key, Json object,
                                         std::vector<std::string> warnings) {
  const auto& kind = *request.kind;
  const auto name = std::string(meta_string(object, "name"));
  const auto* namespaces = deps_.kinds.find("", "v1", "namespaces");
  const auto text = stored_text(object);
  for (int attempt = 0; attempt < kRaceAttempts; ++attempt) {
    std::vector<store::Op> ops{store::Op::put(key, text, Revision{})};
    if (kind.namespaced && namespaces) {
      const auto& ns = request.what.namespace_;
      NEAP_CO_TRY(const auto revision, co_await namespace_for_write(request.ctx, ns, request, attempt > 0));
      // In one commit, so that nothing can enter a namespace after its deletion began.
      ops.push_back(store::Op::check(object_key(*namespaces, "", ns), revision));
    }
    NEAP_CO_TRY(auto charges, co_await charge_quotas(*this, request, name, nullptr, &object));
    for (auto& charge : charges) ops.push_back(std::move(charge));
    if (request.parameters.dry_run) {
      NEAP_CO_TRY(const auto found, co_await deps_.store.get(request.ctx, key));
      if (found) co_return already_exists(kind, name);
      co_return Reply{.status = 201, .body = std::move(object), .text = {}, .warnings = std::move(warnings)};
    }
    const auto done = co_await deps_.store.commit(request.ctx, std::move(ops));
    if (done) co_return reply_with(std::move(object), *done, 201, std::move(warnings));
    if (done.error().code == Code::kAlreadyExists) co_return already_exists(kind, name);
    if (done.error().code != Code::kAborted && done.error().code != Code::kNotFound)
      co_return std::unexpected(Failure(done.error()));
    // Either the namespace or a quota moved, or the store names the existing key differently: find out which.
    NEAP_CO_TRY(const auto found, co_await deps_.store.get(request.ctx, key));
    if (found) co_return already_exists(kind, name);
  }
  co_return fail(Code::kUnavailable, "api.write.contended",
                 "the namespace or its quota changes too fast right now; try again");
}

Task<Outcome<Reply>> Rest::create(Request& request, Json managed_fields) {
  const auto& kind = *request.kind;
  if (is_kind(kind, "", "serviceaccounts") && request.what.subresource == "token")
    co_return co_await create_token(request);
  if (!request.what.subresource.empty())
    co_return fail(Code::kUnimplemented, "api.subresource", "this subresource cannot be created");
  Json object = std::move(request.body);
  drop_nulls(object);
  if (auto head = check_head(request, object); !head) co_return std::unexpected(head.error());
  auto& metadata = metadata_of(object);
  if (!meta_string(object, "resourceVersion").empty())
    co_return bad_request("api.create.revision",
                          "resourceVersion should not be set on objects to be created");
  if (meta_string(object, "name").empty()) {
    const auto prefix = meta_string(object, "generateName");
    if (prefix.empty())
      co_return invalid(kind, "",
                        {{"metadata.name", "Required value: name or generateName is required", false}});
    metadata["name"] = std::string(prefix.substr(0, 58)) + name_suffix(deps_.runtime.random());
  }
  const auto name = std::string(meta_string(object, "name"));
  request.what.name = name;
  if (const auto decision = deps_.authorizer.authorize_object(request.who, request.what, nullptr, &object);
      !decision.allowed)
    co_return forbidden(request.who, request.what, decision.reason);
  for (const auto* key :
       {"deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generation", "selfLink"})
    metadata.erase(key);
  if (kind.has_status) object.get_object().erase("status");
  if (managed_fields.is_array()) metadata["managedFields"] = std::move(managed_fields);
  metadata["uid"] = deps_.runtime.random().uuid();
  metadata["creationTimestamp"] = format_rfc3339(deps_.runtime.clock().wall());
  if (kind.has_status || object.get_object().contains("spec")) metadata["generation"] = 1;
  std::vector<std::string> warnings;
  complete_builtin(kind, object, warnings);
  if (auto checked = check_fields(request, nullptr, object, name, warnings); !checked)
    co_return std::unexpected(checked.error());
  if (auto admitted = co_await admit(request, nullptr, &object, warnings); !admitted)
    co_return std::unexpected(admitted.error());
  if (is_kind(kind, "", "resourcequotas"))
    for (auto& warning : unenforced_limits(deps_.kinds, object)) warnings.push_back(std::move(warning));
  if (request.parameters.keeps_managers && !find_path(object, {"metadata", "managedFields"}))
    record_create(kind, object, request.parameters.field_manager, deps_.runtime.clock().wall());
  auto key = object_key(kind, request.what.namespace_, name);
  co_return co_await commit_create(request, std::move(key), std::move(object), std::move(warnings));
}

// The object as it will be stored, from what the client sent; metadata the server owns is carried over.
Outcome<Json> Rest::updated_object(const Request& request, const Json& before, Json sent,
                                   std::vector<std::string>& warnings, bool sent_by_patch) const {
  const auto& kind = *request.kind;
  const auto& name = request.what.name;
  Json after;
  if (request.what.subresource == "status") {
    if (!kind.has_status)
      return fail(Code::kNotFound, "api.subresource.unknown",
                  "the server could not find the requested resource");
    after = before;
    auto* status = sent.is_object() ? sent.get_object().if_contains("status") : nullptr;
    if (status)
      after.get_object()["status"] = std::move(*status);
    else
      after.get_object().erase("status");
  } else if (request.what.subresource == "scale") {
    if (!kind.has_scale)
      return fail(Code::kNotFound, "api.subresource.unknown",
                  "the server could not find the requested resource");
    after = before;
    const auto* replicas = find_path(sent, {"spec", "replicas"});
    sub_object(after.get_object(), "spec")["replicas"] = replicas ? *replicas : Json(0);
  } else if (request.what.subresource.empty()) {
    if (!sent_by_patch || kind.plural == "namespaces") drop_nulls(sent);
    // Who leaves the name out leaves out finalizers and owners, too.
    if (meta_string(sent, "name").empty())
      return bad_request(
          "api.body.name",
          fmt::format("the name of the object ({} based on URL) was undeterminable: name must be "
                      "provided",
                      name));
    if (auto head = check_head(request, sent); !head) return std::unexpected(head.error());
    after = std::move(sent);
    auto& metadata = metadata_of(after);
    metadata["name"] = name;
    for (const auto* key :
         {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"})
      keep_member(before, metadata, key);
    const auto* managed = metadata.if_contains("managedFields");
    if (!managed || !managed->is_array()) keep_member(before, metadata, "managedFields");
    metadata.erase("selfLink");
    if (kind.has_status) {
      auto& members = after.get_object();
      if (const auto* status = find_path(before, {"status"}))
        members["status"] = *status;
      else
        members.erase("status");
    }
    complete_builtin(kind, after, warnings);
  } else {
    return fail(Code::kNotFound, "api.subresource.unknown",
                "the server could not find the requested resource");
  }
  metadata_of(after).erase("resourceVersion");
  if (auto checked = check_fields(request, &before, after, name, warnings); !checked)
    return std::unexpected(checked.error());
  if (request.what.subresource != "status") {
    // Bindings that are older than the completion did not change because of it.
    Json known;
    if (is_binding(kind)) complete_binding(known = before);
    if (const auto problems = kind.validate_update(is_binding(kind) ? known : before, after);
        !problems.empty())
      return invalid(kind, name, problems);
  }
  if (is_terminating(before))
    if (const auto* list = find_path(after, {"metadata", "finalizers"}); list && list->is_array())
      for (const auto& finalizer : list->get_array())
        if (finalizer.is_string() && !has_finalizer(before, std::string_view(finalizer.get_string())))
          return invalid(
              kind, name,
              {{"metadata.finalizers",
                "Forbidden: no new finalizers can be added if the object is being deleted", false}});
  if (find_path(before, {"metadata", "generation"}) && !same_wish(before, after))
    metadata_of(after)["generation"] = get_int(*find_path(before, {"metadata"}), "generation") + 1;
  return after;
}

Task<Outcome<Reply>> Rest::write_changed(const Request& request, const store::KeyValue& stored, Json before,
                                         Json after, std::vector<std::string> warnings, bool applied,
                                         bool& lost_race) {
  lost_race = false;
  if (auto admitted = co_await admit(request, &before, &after, warnings); !admitted)
    co_return std::unexpected(admitted.error());
  const auto answer = [&](Json& object, Revision revision) {
    auto reply = reply_with(std::move(object), revision, 200, std::move(warnings));
    if (request.what.subresource == "scale") reply.body = scale_of(*request.kind, reply.body);
    return reply;
  };
  if (same_object(before, after)) co_return answer(before, stored.mod_revision);
  if (!applied)
    record_update(*request.kind, before, after, request.parameters.field_manager, request.what.subresource,
                  deps_.runtime.clock().wall());
  NEAP_CO_TRY(auto ops, co_await charge_quotas(*this, request, request.what.name, &before, &after));
  if (request.parameters.dry_run) co_return answer(after, stored.mod_revision);
  const bool gone =
      is_terminating(after) && finalizer_count(after) == 0 && request.kind->plural != "namespaces";
  if (!gone) ops.push_back(store::Op::put(stored.key, stored_text(after), stored.mod_revision));
  const auto done = gone ? co_await deps_.store.remove(request.ctx, stored.key, stored.mod_revision)
                         : co_await deps_.store.commit(request.ctx, std::move(ops));
  if (done) co_return answer(after, *done);
  if (done.error().code == Code::kAborted || done.error().code == Code::kNotFound) {
    lost_race = true;
    co_return conflict(*request.kind, request.what.name);
  }
  co_return std::unexpected(Failure(done.error()));
}

namespace {
// What the client believes it changes: a resourceVersion or uid that is not the stored one is a conflict.
Outcome<void> check_belief(const Request& request, const Json& sent, const Json& before, Revision revision,
                           bool& is_explicit) {
  const auto version = meta_string(sent, "resourceVersion");
  const auto uid = meta_string(sent, "uid");
  // "0" is what some clients send for "any".
  is_explicit = !version.empty() && version != "0";
  if (is_explicit && version != fmt::format("{}", to_number(revision)))
    return conflict(*request.kind, request.what.name);
  if (!uid.empty() && uid != meta_string(before, "uid"))
    return fail(
        Code::kAborted, "api.object.uid",
        fmt::format(
            "Operation cannot be fulfilled on {} \"{}\": Precondition failed: UID in precondition: {}, UID "
            "in object meta: {}",
            qualified(*request.kind), request.what.name, uid.substr(0, 64), meta_string(before, "uid")));
  return {};
}
}  // namespace

// The object that the client says it changes is most often the newest one, which the hub knows: no read of
// the store is needed, and the commit compares the revision in any case.
Task<Outcome<std::optional<store::KeyValue>>> Rest::stored_object(const Request& request, std::string key,
                                                                  bool may_be_old) {
  const auto* known = may_be_old ? deps_.hub.find(key) : nullptr;
  if (known && meta_string(request.body, "resourceVersion") == fmt::format("{}", to_number(known->revision)))
    co_return store::KeyValue{
        .key = std::move(key), .value = *known->text, .create_revision = {}, .mod_revision = known->revision};
  NEAP_CO_TRY(auto found, co_await deps_.store.get(request.ctx, std::move(key)));
  co_return found;
}

Task<Outcome<Reply>> Rest::update(const Request& request) {
  const auto& kind = *request.kind;
  const auto key = object_key(kind, request.what.namespace_, request.what.name);
  bool may_be_old = true;
  for (int attempt = 0;; ++attempt) {
    NEAP_CO_TRY(const auto stored, co_await stored_object(request, key, std::exchange(may_be_old, false)));
    if (!stored) co_return not_found(kind, request.what.name);
    NEAP_CO_TRY(auto before, parse_json(stored->value, kStoredLimits));
    if (const auto decision =
            deps_.authorizer.authorize_object(request.who, request.what, &before, &request.body);
        !decision.allowed)
      co_return forbidden(request.who, request.what, decision.reason);
    bool is_explicit = false;
    if (auto belief = check_belief(request, request.body, before, stored->mod_revision, is_explicit); !belief)
      co_return std::unexpected(belief.error());
    std::vector<std::string> warnings;
    NEAP_CO_TRY(auto after, updated_object(request, before, request.body, warnings, false));
    bool lost_race = false;
    auto done = co_await write_changed(request, *stored, std::move(before), std::move(after),
                                       std::move(warnings), false, lost_race);
    if (done || !lost_race || is_explicit || attempt >= kRaceAttempts) co_return done;
  }
}

Outcome<Json> Rest::patched_object(const Request& request, const Json& before, Revision revision,
                                   std::vector<std::string>& warnings) const {
  const auto& kind = *request.kind;
  Json sent = request.what.subresource == "scale" ? scale_of(kind, before) : before;
  switch (request.patch) {
    case PatchKind::kMerge:
      api::merge_patch(sent, request.body);
      break;
    case PatchKind::kJson: {
      // Operations may test or set the version: kubectl does when it moves an object to server-side apply.
      if (request.what.subresource != "scale") sent = with_revision(std::move(sent), revision);
      if (const auto patched = api::json_patch(sent, request.body); !patched) {
        // A path that leads nowhere is the object's state, not the request's form: 422.
        auto error = patched.error();
        error.message =
            fmt::format("the server rejected our request due to an error in our request: {}", error.message);
        error.code = Code::kFailedPrecondition;
        return std::unexpected(Failure(std::move(error)));
      }
      if (bool is_explicit = false; sent.is_object())
        if (auto belief = check_belief(request, sent, before, revision, is_explicit); !belief)
          return std::unexpected(belief.error());
      break;
    }
    case PatchKind::kStrategic:
      strategic_merge(sent, request.body);
      break;
    case PatchKind::kApply: {
      NEAP_TRY(sent, apply_configuration(kind, &before, request.body, request.parameters.field_manager,
                                         request.parameters.force, deps_.runtime.clock().wall()));
      break;
    }
  }
  if (!sent.is_object())
    return bad_request("api.patch.shape", "the patch makes the object something that is no object");
  return updated_object(request, before, std::move(sent), warnings, true);
}

Task<Outcome<Reply>> Rest::patch(const Request& request) {
  const auto& kind = *request.kind;
  if (request.patch == PatchKind::kStrategic && kind.group.ends_with("neap.dev")) {
    Failure failure(
        Error{Code::kInvalidArgument,
              "api.patch.type",
              "the body of the request was in an unknown format - accepted media types include: "
              "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
              {}});
    failure.http = 415;
    failure.status_reason = "UnsupportedMediaType";
    co_return std::unexpected(std::move(failure));
  }
  if (request.patch == PatchKind::kApply && request.parameters.field_manager.empty())
    co_return bad_request("api.apply.manager",
                          "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                          "required for apply patch");
  const auto key = object_key(kind, request.what.namespace_, request.what.name);
  const Json nothing;
  const Json& carrier = request.body.is_object() ? request.body : nothing;
  for (int attempt = 0;; ++attempt) {
    NEAP_CO_TRY(const auto stored, co_await deps_.store.get(request.ctx, key));
    if (!stored && request.patch == PatchKind::kApply && request.what.subresource.empty()) {
      // Apply creates what is not there; the caller needs the right to create, too.
      Request creation{request};
      creation.what.verb = "create";
      const auto decision = deps_.authorizer.authorize(request.who, creation.what);
      if (!decision.allowed) co_return forbidden(request.who, creation.what, decision.reason);
      NEAP_CO_TRY(auto object,
                  apply_configuration(kind, nullptr, request.body, request.parameters.field_manager,
                                      request.parameters.force, deps_.runtime.clock().wall()));
      auto managed = metadata_of(object)["managedFields"];
      metadata_of(object)["name"] = request.what.name;
      creation.body = std::move(object);
      auto made = co_await create(creation, std::move(managed));
      if (!made && made.error().error.code == Code::kAlreadyExists && attempt < kRaceAttempts) continue;
      co_return made;
    }
    if (!stored) co_return not_found(kind, request.what.name);
    NEAP_CO_TRY(auto before, parse_json(stored->value, kStoredLimits));
    bool is_explicit = false;
    if (auto belief = check_belief(request, carrier, before, stored->mod_revision, is_explicit); !belief)
      co_return std::unexpected(belief.error());
    std::vector<std::string> warnings;
    NEAP_CO_TRY(auto after, patched_object(request, before, stored->mod_revision, warnings));
    if (const auto decision = deps_.authorizer.authorize_object(request.who, request.what, &before, &after);
        !decision.allowed)
      co_return forbidden(request.who, request.what, decision.reason);
    bool lost_race = false;
    auto done = co_await write_changed(request, *stored, std::move(before), std::move(after),
                                       std::move(warnings), request.patch == PatchKind::kApply, lost_race);
    if (done || !lost_race || is_explicit || attempt >= kRaceAttempts) co_return done;
  }
}

}  // namespace neap::apiserver
