// Documents of other tools: derives their neap.dev objects, keeps them in step, and says on the document what
// was derived or what is missing (condition Derived, and an event whenever that changes).
//
// 1. A document's spec is never written. What is derived carries an owner reference to it, so that deleting
//    the document deletes it.
// 2. An object of that name which belongs to somebody else is left alone, and the document says so.
// 3. While a document cannot be derived, what it made before stays as it is: a guard that became unreadable
//    goes on guarding.
// 4. Guards are written first, and work only once this leader sees its guards.
// 5. A job that has begun keeps its spec, but for suspend: its members were placed for the old one.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "internal/derivation.h"
#include "internal/event.h"
#include "internal/reconciler.h"
#include "neap/crypto/digest.h"

namespace neap::controllers {
namespace {

template <class T>
constexpr bool kIsGuard = std::is_same_v<T, api::DataPolicy> || std::is_same_v<T, api::SchedulingPolicy>;

template <class T>
std::string word_of(const T& object) {
  std::string kind(api::KindOf<T>::kind);
  std::ranges::transform(kind, kind.begin(),
                         [](char c) { return char(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return kind + "/" + object.metadata.name;
}

template <class T>
bool is_owned_by(const T& object, const std::string& uid) {
  return std::ranges::any_of(object.metadata.ownerReferences,
                             [&](const auto& owner) { return owner.controller && owner.uid == uid; });
}

// What became of a document in this pass.
struct Outcome {
  std::string status = "True", reason = "Derived", message;
  std::vector<std::string> made;  // kind/name
};

void refuse(Outcome& outcome, std::string reason, std::string message) {
  outcome.status = "False";
  outcome.reason = std::move(reason);
  outcome.message = std::move(message);
}

// The API's own refusal of a derived object (an immutable field, a limit) belongs to the document; anything
// else is for the next pass.
Status note_refusal(Outcome& outcome, const std::string& word, Status status) {
  if (status) return ok();
  const auto code = status.error().code;
  if (code != Code::kInvalidArgument && code != Code::kFailedPrecondition)
    return tolerate_races(std::move(status));
  refuse(outcome, "Refused", fmt::format("{} cannot be written: {}", word, status.error().message));
  return ok();
}

template <class T>
T brought_in_step(const T& before, const T& wanted) {
  T next = before;
  if constexpr (std::is_same_v<T, api::TrainingJob>) {
    if (before.status.phase != "Pending" || before.status.epoch > 0) {
      next.spec.suspend = wanted.spec.suspend;
      return next;
    }
  }
  next.spec = wanted.spec;
  for (const auto& [key, value] : wanted.metadata.labels) next.metadata.labels[key] = value;
  return next;
}

// Conditions of the derived object itself, where its kind has them.
template <class T>
Task<Status> write_claims(const Pass& pass, const T& object, const std::vector<api::Condition>& says) {
  if constexpr (requires { object.status.conditions; }) {
    auto next = object;
    for (const auto& claim : says) api::set_condition(next.status.conditions, claim, pass.wall());
    if (same_object(next, object)) co_return ok();
    co_return co_await write_status(pass, std::move(next));
  }
  co_return ok();
}

// True when the object stands as wanted; false asks the caller to wait for the picture.
template <class T>
Task<Result<bool>> keep_object(const Pass& pass, const Json& document, T wanted,
                               std::vector<api::Condition> says, Outcome& outcome) {
  const auto word = word_of(wanted);
  const auto* present = pass.state.find<T>(wanted.metadata.namespace_, wanted.metadata.name);
  if (present && !is_owned_by(*present, meta_text(document, "uid"))) {
    refuse(outcome, "NameTaken",
           fmt::format("{} exists and does not belong to this document; rename one of them", word));
    co_return false;
  }
  if (!present) {
    NEAP_CO_TRY_VOID(note_refusal(outcome, word, co_await create_if_absent(pass, std::move(wanted))));
    if (outcome.status == "True") outcome.made.push_back(word);
    co_return !kIsGuard<T>;
  }
  outcome.made.push_back(word);
  if (present->metadata.deletionTimestamp) co_return false;
  auto next = brought_in_step(*present, wanted);
  if (!same_object(next, *present)) {
    client::TypedClient<T> client(pass.client);
    auto written = co_await client.update(pass.ctx, std::move(next));
    NEAP_CO_TRY_VOID(note_refusal(outcome, word, written ? ok() : fail(std::move(written).error())));
    co_return !kIsGuard<T>;
  }
  NEAP_CO_TRY_VOID(co_await write_claims(pass, *present, says));
  co_return true;
}

template <class T>
Task<Status> remove_surplus(const Pass& pass, const std::string& uid, const std::vector<std::string>& made) {
  for (const auto& [key, object] : pass.state.all<T>()) {
    if (!is_owned_by(object, uid) || object.metadata.deletionTimestamp) continue;
    if (std::ranges::find(made, word_of(object)) != made.end()) continue;
    client::TypedClient<T> client(pass.client);
    NEAP_CO_TRY_VOID(tolerate_races(co_await client.remove(pass.ctx, key.namespace_, key.name)));
  }
  co_return ok();
}

Result<Derivation> derive(const DocumentKind& kind, const ClusterState& state, const Json& document) {
  if (kind.key == kHybridPolicies) return derive_hybrid_policy(document);
  if (kind.key == kHybridStrategies) return derive_hybrid_strategy(state, document);
  if (kind.key == kPodGroups) return derive_pod_group(state, document);
  if (kind.key == kDeployments) return derive_deployment(state, document);
  return derive_job(state, document);
}

Task<Result<Outcome>> keep_objects(const Pass& pass, const DocumentKind& kind, const Json& document) {
  Outcome outcome;
  auto derived = derive(kind, pass.state, document);
  if (!derived) {
    refuse(outcome,
           derived.error().reason.find('.') == std::string::npos ? derived.error().reason : "Invalid",
           derived.error().message);
    co_return outcome;
  }
  bool whole = true;
  for (auto& owned : derived->objects) {
    NEAP_CO_TRY(const bool stands, co_await std::visit(
                                       [&](auto& object) {
                                         return keep_object(pass, document, std::move(object),
                                                            std::move(owned.says), outcome);
                                       },
                                       owned.object));
    if (stands) continue;
    whole = false;
    break;
  }
  if (outcome.status == "False") co_return outcome;
  // Surplus goes only once all that is wanted stands: never a moment without the guard.
  if (whole) {
    const auto uid = meta_text(document, "uid");
    NEAP_CO_TRY_VOID(co_await remove_surplus<api::TrainingJob>(pass, uid, outcome.made));
    NEAP_CO_TRY_VOID(co_await remove_surplus<api::InferenceService>(pass, uid, outcome.made));
    NEAP_CO_TRY_VOID(co_await remove_surplus<api::DeploymentStrategy>(pass, uid, outcome.made));
    NEAP_CO_TRY_VOID(co_await remove_surplus<api::SchedulingPolicy>(pass, uid, outcome.made));
    NEAP_CO_TRY_VOID(co_await remove_surplus<api::DataPolicy>(pass, uid, outcome.made));
  } else {
    outcome.status = "Unknown";
    outcome.reason = "Deriving";
  }
  auto parts = derived->notes;
  if (!outcome.made.empty())
    parts.insert(parts.begin(), fmt::format("derived {}", fmt::join(outcome.made, ", ")));
  outcome.message = fmt::format("{}", fmt::join(parts, "; "));
  co_return outcome;
}

// Counts and phases that other tools read, from what the derived object reports.
void mirror_deployment(const Pass& pass, const Json& document, JsonObject& status) {
  const auto* service =
      pass.state.find<api::InferenceService>(meta_text(document, "namespace"), meta_text(document, "name"));
  if (!service || !is_owned_by(*service, meta_text(document, "uid"))) return;
  const auto& st = service->status;
  const bool is_current = st.observedGeneration == service->metadata.generation && st.phase == "Complete";
  const auto* spec = find_path(document, {"spec"});
  const auto wanted = spec ? get_int(*spec, "replicas", 1) : 1;
  status["replicas"] = std::int64_t(st.replicas.size());
  status["readyReplicas"] = st.readyReplicas;
  status["availableReplicas"] = st.readyReplicas;
  status["updatedReplicas"] = is_current ? st.readyReplicas : 0;
  status["unavailableReplicas"] = std::max<std::int64_t>(0, wanted - st.readyReplicas);
}

void mirror_job(const Pass& pass, const Json& document, JsonObject& status,
                std::vector<api::Condition>& conditions) {
  const auto* job =
      pass.state.find<api::TrainingJob>(meta_text(document, "namespace"), meta_text(document, "name"));
  if (!job || !is_owned_by(*job, meta_text(document, "uid"))) return;
  const auto& st = job->status;
  const bool succeeded = st.phase == "Succeeded", failed = st.phase == "Failed";
  status["active"] = st.phase == "Running" || st.phase == "Draining" ? job->spec.replicas : 0;
  status["succeeded"] = succeeded ? job->spec.replicas : 0;
  status["failed"] = st.failures;
  if (st.startedAt) status["startTime"] = format_rfc3339(*st.startedAt);
  if (succeeded && st.finishedAt) status["completionTime"] = format_rfc3339(*st.finishedAt);
  if (succeeded || failed)
    api::set_condition(conditions,
                       {.type = succeeded ? "Complete" : "Failed",
                        .status = "True",
                        .reason = succeeded ? "Completed" : "BackoffLimitExceeded",
                        .message = st.message},
                       st.finishedAt.value_or(pass.wall()));
}

// As Volcano spells them: Pending, Inqueue, Running, Completed.
void mirror_pod_group(const Pass& pass, const Json& document, JsonObject& status) {
  const auto gang = gang_of(pass.state, meta_text(document, "namespace"), meta_text(document, "name"));
  std::string phase = "Pending";
  std::int64_t running = 0;
  if (gang.is_complete())
    if (const auto* job = pass.state.find<api::TrainingJob>(meta_text(document, "namespace"),
                                                            meta_text(*gang.jobs.front(), "name"))) {
      const auto& word = job->status.phase;
      if (word == "Running" || word == "Draining") running = job->spec.replicas;
      phase = running > 0                               ? "Running"
              : word == "Succeeded" || word == "Failed" ? "Completed"
              : job->spec.suspend                       ? "Pending"
                                                        : "Inqueue";
    }
  status["phase"] = phase;
  status["running"] = running;
}

std::vector<api::Condition> conditions_of(const Json& document) {
  std::vector<api::Condition> out;
  const auto* list = find_path(document, {"status", "conditions"});
  if (!list || !list->is_array()) return out;
  for (const auto& item : list->get_array()) {
    api::Condition condition{.type = std::string(get_string(item, "type")),
                             .status = std::string(get_string(item, "status")),
                             .reason = std::string(get_string(item, "reason")),
                             .message = std::string(get_string(item, "message")),
                             .lastTransitionTime = {},
                             .observedGeneration = get_int(item, "observedGeneration")};
    if (const auto since = parse_rfc3339(get_string(item, "lastTransitionTime")))
      condition.lastTransitionTime = *since;
    if (!condition.type.empty()) out.push_back(std::move(condition));
  }
  return out;
}

JsonArray to_json(const std::vector<api::Condition>& conditions) {
  JsonArray out;
  for (const auto& condition : conditions) {
    JsonObject item;
    item["type"] = condition.type;
    item["status"] = condition.status;
    item["reason"] = condition.reason;
    item["message"] = condition.message;
    if (condition.observedGeneration > 0) item["observedGeneration"] = condition.observedGeneration;
    if (condition.lastTransitionTime)
      item["lastTransitionTime"] = format_rfc3339(*condition.lastTransitionTime);
    out.push_back(std::move(item));
  }
  return out;
}

// One event for each thing said: its name is a digest of what it says, so that a repetition is the same
// event.
Task<Status> tell_outcome(const Pass& pass, const DocumentKind& kind, const Json& document,
                          const Outcome& outcome) {
  const std::string name(meta_text(document, "name")), uid(meta_text(document, "uid"));
  const auto digest =
      crypto::sha256(fmt::format("{}\n{}\n{}", uid, outcome.reason, outcome.message)).to_string();
  co_return co_await tell(
      pass, {.name = fmt::format("{}.{}", name.substr(0, 200), digest.substr(digest.size() - 16)),
             .component = "neap-documents",
             .reason = outcome.reason,
             .message = outcome.message.substr(0, 1024),
             .is_warning = outcome.status == "False",
             .api_version = std::string(get_string(document, "apiVersion")),
             .kind = std::string(kind.kind),
             .namespace_ = std::string(meta_text(document, "namespace")),
             .object = name,
             .uid = uid});
}

Task<Status> reconcile_document(const Pass& pass, const DocumentKind& kind, const Json& document) {
  NEAP_CO_TRY(const auto outcome, co_await keep_objects(pass, kind, document));
  if (outcome.status == "Unknown") co_return ok();  // guards first; the next pass finds them
  const auto* metadata = find_path(document, {"metadata"});
  const auto generation = get_int(*metadata, "generation");
  auto conditions = conditions_of(document);
  const auto* said = api::find_condition(conditions, "Derived");
  const bool is_news = !said || said->status != outcome.status || said->message != outcome.message;
  api::set_condition(conditions,
                     {.type = "Derived",
                      .status = outcome.status,
                      .reason = outcome.reason,
                      .message = outcome.message,
                      .lastTransitionTime = {},
                      .observedGeneration = generation},
                     pass.wall());
  JsonObject status;
  if (const auto* before = find_path(document, {"status"}); before && before->is_object())
    status = before->get_object();
  if (kind.key == kDeployments) mirror_deployment(pass, document, status);
  if (kind.key == kBatchJobs) mirror_job(pass, document, status, conditions);
  if (kind.key == kPodGroups) mirror_pod_group(pass, document, status);
  if (kind.key == kDeployments) status["observedGeneration"] = generation;
  status["conditions"] = to_json(conditions);
  const auto* before = find_path(document, {"status"});
  if (before && *before == Json(status)) co_return ok();
  Json next = document;
  next.get_object()["status"] = std::move(status);
  client::ResourcePath path{.group = std::string(kind.group),
                            .version = std::string(kind.version),
                            .plural = std::string(kind.plural),
                            .namespace_ = meta_text(document, "namespace"),
                            .name = meta_text(document, "name"),
                            .subresource = "status"};
  auto written = co_await pass.client.update(pass.ctx, std::move(path), std::move(next), {});
  if (!written) co_return tolerate_races(fail(std::move(written).error()));
  if (is_news) co_return co_await tell_outcome(pass, kind, document, outcome);
  co_return ok();
}

}  // namespace

Task<Status> reconcile_documents(const Pass& pass) {
  Status first_error;
  for (const auto& kind : kDocumentKinds) {
    const auto documents = pass.state.documents.find(kind.key);
    if (documents == pass.state.documents.end()) continue;
    for (const auto& [key, document] : documents->second) {
      if (!meta_text(*document, "deletionTimestamp").empty()) continue;
      auto status = co_await reconcile_document(pass, kind, *document);
      if (!status && first_error)
        first_error = fail(std::move(status).error(), fmt::format("{}/{}", kind.plural, key.name));
    }
  }
  co_return first_error;
}

}  // namespace neap::controllers
