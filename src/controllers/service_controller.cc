// InferenceService: replicas at named places, and the rollout of a new version.
//
// Staging (canary place has fetched and verified it) -> Canary/Checking (probe rows, and copies of live
// requests when an older version still answers) -> Expanding -> Complete | RollingBack -> RolledBack.
// A version that was rolled back is not tried again until the spec names another one.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "internal/event.h"
#include "internal/placement.h"
#include "internal/preemption.h"
#include "internal/queueing.h"
#include "internal/replicas.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;
using api::ModelVersion;
using api::ServicePlace;

bool serves(const Replica& r, const std::string& version) {
  return r.allocation && r.allocation->status.phase == "Running" &&
         r.allocation->status.servingVersion == version;
}

std::vector<api::OverflowTarget> overflow_targets(const Pass& pass, const std::vector<Replica>& replicas,
                                                  const Replica& self) {
  std::vector<api::OverflowTarget> out;
  for (const auto& r : replicas) {
    if (r.place->role != "standby" || !r.allocation || r.name == self.name) continue;
    const auto* node = pass.state.find<api::Node>("", r.allocation->spec.node);
    const auto* site = pass.state.find<api::Site>("", r.site);
    if (!node || node->status.peerEndpoint.empty()) continue;
    out.push_back({.node = node->metadata.name,
                   .site = r.site,
                   .endpoint = node->status.peerEndpoint,
                   .tier = site ? site->spec.tier : api::Tier::kPublic});
  }
  // Private capacity before public: cheaper in trust, and the level of the request decides the rest.
  std::ranges::sort(out, {}, [](const auto& t) { return std::pair(t.tier == api::Tier::kPublic, t.node); });
  return out;
}

Result<api::ServeWork> serve_work(const Pass& pass, const InferenceService& s, const std::string& version) {
  const auto* mv = pass.state.find<ModelVersion>(s.metadata.namespace_, version);
  if (!mv)
    return fail(Code::kNotFound, "service.version.absent",
                fmt::format("model version \"{}\" does not exist in project {}; register it or name another",
                            version, s.metadata.namespace_));
  api::ServeWork work;
  work.service = s.metadata.name;
  work.model = s.spec.model;
  work.repository = mv->spec.repository;
  work.modelVersion = version;
  work.manifestDigest = mv->spec.manifestDigest;
  work.file = mv->spec.file;
  work.defaultLevel = s.spec.defaultLevel;
  work.limits = s.spec.limits;
  return work;
}

Task<Status> create_replica(const Pass& pass, const InferenceService& s, const Replica& r,
                            api::ServeWork work, const Placement& placement) {
  Allocation out;
  out.metadata.name = r.name;
  out.metadata.namespace_ = s.metadata.namespace_;
  out.metadata.labels = s.metadata.labels;
  out.metadata.labels["model"] = s.spec.model;
  out.metadata.ownerReferences.push_back(owner_reference(s));
  out.spec.node = placement.nodes.front();
  out.spec.site = placement.site;
  out.spec.ownerKind = "InferenceService";
  out.spec.ownerName = s.metadata.name;
  out.spec.replica = r.index;
  out.spec.resources = s.spec.resources;
  out.spec.interruption = api::InterruptionClass::kNever;
  out.spec.level = s.spec.defaultLevel;
  out.spec.serve = std::move(work);
  NEAP_CO_TRY_VOID(co_await pass.decisions(
      Json{{"time", format_rfc3339(pass.wall(), 3)},
           {"object", "inferenceservice/" + s.metadata.namespace_ + "/" + s.metadata.name},
           {"uid", s.metadata.uid},
           {"replica", r.name},
           {"site", placement.site},
           {"message", placement.message},
           {"explanation", placement.explanation}}));
  co_return co_await create_if_absent(pass, std::move(out));
}

// The replica's refusal of `version`, if it is about what is asked of it now: its agent may not have seen yet
// that the same version is wanted once more.
const api::Condition* find_refusal(const Replica& r, const std::string& version) {
  if (!r.allocation) return nullptr;
  const auto* found = api::find_condition(r.allocation->status.conditions, "ModelRefused");
  const bool holds = found && found->status == "True" && found->reason == version &&
                     found->observedGeneration >= r.allocation->metadata.generation;
  return holds ? found : nullptr;
}

// Brings one replica's spec to (version, shadow) and its overflow list up to date.
Task<Status> point_replica(const Pass& pass, const InferenceService& s, const std::vector<Replica>& replicas,
                           const Replica& r, const std::string& version, const std::string& shadow) {
  auto next = *r.allocation;
  auto work = serve_work(pass, s, version);
  if (!work) co_return fail(std::move(work).error());
  work->overflow = overflow_targets(pass, replicas, r);
  if (!shadow.empty()) {
    NEAP_CO_TRY(const auto other, serve_work(pass, s, shadow));
    work->shadowModelVersion = shadow;
    work->shadowManifestDigest = other.manifestDigest;
  }
  next.spec.serve = std::move(*work);
  if (same_object(next, *r.allocation)) co_return ok();
  co_return co_await write_spec(pass, std::move(next));
}

enum class Verdict { kWait, kPass, kFail };
struct Check {
  Verdict verdict = Verdict::kWait;
  std::string message;
};

// Is the canary good? `live` asks for copies of live requests beside the probe rows.
Check judge_canary(const InferenceService& s, const api::ShadowStatus& seen, bool live) {
  const auto& rule = s.spec.canary;
  if (seen.errors > 0)
    return {Verdict::kFail, fmt::format("{} of {} canary requests failed", seen.errors, seen.requests)};
  if (live && seen.requests < rule.minRequests)
    return {Verdict::kWait, fmt::format("{} of {} live requests compared", seen.requests, rule.minRequests)};
  if (live && seen.requests > 0) {
    const double agreement = double(seen.agreed) / double(seen.requests);
    if (agreement < rule.minAgreement)
      return {Verdict::kFail,
              fmt::format("only {:.2f} % of {} live requests got the same top answer; {:.2f} % are asked for",
                          agreement * 100, seen.requests, rule.minAgreement * 100)};
  }
  if (rule.minAccuracy > 0) {
    if (seen.labelled == 0) return {Verdict::kWait, "waits for labelled rows"};
    const double accuracy = double(seen.correct) / double(seen.labelled);
    if (accuracy < rule.minAccuracy)
      return {Verdict::kFail, fmt::format("accuracy {:.4f} on {} labelled rows is below {:.4f}", accuracy,
                                          seen.labelled, rule.minAccuracy)};
  }
  return {Verdict::kPass, fmt::format("{} of {} live requests agreed, {} of {} labelled rows right",
                                      seen.agreed, seen.requests, seen.correct, seen.labelled)};
}

void enter(InferenceService& s, std::string phase, std::string message, WallTime now) {
  if (s.status.phase != phase) s.status.phaseSince = now;
  s.status.phase = std::move(phase);
  s.status.message = std::move(message);
}

void advance_rollout(InferenceService& s, const std::vector<Replica>& replicas, WallTime now) {
  auto& st = s.status;
  const auto& next = s.spec.modelVersion;
  const bool first = st.activeVersion.empty();
  const bool late = st.phaseSince && now > *st.phaseSince + s.spec.canary.timeout;
  if (st.phase == "Staging" || st.phase == "Canary" || st.phase == "Checking") {
    api::ShadowStatus seen;
    bool staged = false;
    std::string trouble;
    for (const auto& r : replicas) {
      if (!is_canary(s, r) || !r.allocation) continue;
      const auto& a = *r.allocation;
      seen = a.status.shadow;
      const auto* shadow_ready = api::find_condition(a.status.conditions, "ShadowReady");
      staged = first ? serves(r, next)
                     : shadow_ready && shadow_ready->status == "True" && shadow_ready->reason == next;
      if (const auto* refused = find_refusal(r, next)) trouble = refused->message;
      break;
    }
    st.canary = seen;
    if (!trouble.empty()) return enter(s, "RollingBack", trouble, now);
    if (!staged) {
      if (late)
        return enter(s, "RollingBack",
                     fmt::format("{} was not ready on the canary within {}", next,
                                 format_duration(s.spec.canary.timeout)),
                     now);
      return enter(s, "Staging", "the canary place fetches and verifies " + next, now);
    }
    const auto check = judge_canary(s, seen, !first);
    if (check.verdict == Verdict::kFail) return enter(s, "RollingBack", "canary: " + check.message, now);
    if (check.verdict == Verdict::kPass) return enter(s, "Expanding", "canary: " + check.message, now);
    if (late && st.phase == "Checking")
      return enter(s, "RollingBack",
                   fmt::format("canary: {} after {}", check.message, format_duration(s.spec.canary.timeout)),
                   now);
    return enter(s, "Checking", "canary: " + check.message, now);
  }
  if (st.phase == "Expanding") {
    for (const auto& r : replicas)
      if (const auto* refused = find_refusal(r, next)) return enter(s, "RollingBack", refused->message, now);
    const bool all = std::ranges::all_of(
        replicas, [&](const auto& r) { return r.place->role != "active" || serves(r, next); });
    if (!all) return;
    if (st.activeVersion != next) st.previousVersion = st.activeVersion;
    st.activeVersion = next;
    return enter(s, "Complete", fmt::format("{} serves at all active places", next), now);
  }
  // A first version that was refused is still tried there: its bytes or its signature may be put right.
  if (st.phase == "RolledBack" && first) {
    const auto canary = std::ranges::find_if(replicas, [&](const auto& r) { return is_canary(s, r); });
    if (canary != replicas.end() && serves(*canary, next) &&
        judge_canary(s, canary->allocation->status.shadow, false).verdict == Verdict::kPass) {
      st.rolledBackVersion.clear();
      return enter(s, "Staging", next + " could be verified after all", now);
    }
  }
  if (st.phase == "RollingBack") {
    const bool back = first || std::ranges::all_of(replicas, [&](const auto& r) {
                        return r.place->role != "active" || serves(r, st.activeVersion);
                      });
    if (back) {
      st.rolledBackVersion = next;
      enter(s, "RolledBack", st.message, now);
    }
  }
}

void summarise(InferenceService& s, const Pass& pass, const std::vector<Replica>& replicas) {
  auto& st = s.status;
  st.replicas.clear();
  st.readyReplicas = 0;
  for (const auto& r : replicas) {
    if (!r.allocation) continue;
    const auto* node = pass.state.find<api::Node>("", r.allocation->spec.node);
    st.replicas.push_back({.site = r.site,
                           .node = r.allocation->spec.node,
                           .allocation = r.name,
                           .phase = r.allocation->status.phase,
                           .servingVersion = r.allocation->status.servingVersion,
                           .endpoint = node ? node->status.inferenceEndpoint : std::string{},
                           .role = r.place->role});
    if (r.allocation->status.phase == "Running" && !r.allocation->status.servingVersion.empty())
      ++st.readyReplicas;
  }
  api::set_condition(st.conditions,
                     {.type = "Available",
                      .status = st.readyReplicas > 0 ? "True" : "False",
                      .reason = st.readyReplicas > 0 ? "ReplicasServe" : "NoReplica",
                      .message = fmt::format("{} of {} replicas serve", st.readyReplicas, replicas.size())},
                     pass.wall());
  const auto placed =
      std::int64_t(std::ranges::count_if(replicas, [](const auto& r) { return r.allocation != nullptr; }));
  const bool is_all = placed == std::int64_t(replicas.size());
  api::set_condition(st.conditions,
                     {.type = "Placed",
                      .status = is_all ? "True" : "False",
                      .reason = is_all ? "AllHaveAPlace" : "WaitForAPlace",
                      .message = fmt::format("{} of {} replicas have a place", placed, replicas.size())},
                     pass.wall());
}

// Nobody has to make room for it any more, and its place is not lent.
void forget_held(InferenceService& s, const std::string& replica) {
  s.status.nominations.erase(replica);
  std::erase_if(s.status.loans, [&](const auto& loan) { return loan.allocation == replica; });
}

// What one pass does about the replicas of a service that have no place.
class Placing {
 public:
  Placing(const Pass& pass, InferenceService& service) : pass_(pass), service_(service) {}

  Task<Status> place(std::vector<Replica> replicas) {
    const auto placements = place_replicas(pass_, service_, replicas);
    for (std::size_t i = 0; i < replicas.size(); ++i)
      NEAP_CO_TRY_VOID(co_await follow(replicas[i], placements[i]));
    co_return ok();
  }
  // As the round over the queues decided; what it did not come to waits for the next one.
  Task<Status> follow_round(std::vector<Replica> replicas, const QueueRound& round) {
    for (const auto& replica : replicas) {
      const auto decided = round.replicas.find({service_.metadata.namespace_, replica.name});
      if (decided == round.replicas.end()) continue;
      NEAP_CO_TRY_VOID(co_await follow(replica, decided->second));
    }
    co_return ok();
  }
  const std::string& why_waiting() const { return why_; }

 private:
  Task<Status> follow(const Replica& replica, const Placement& placement) {
    if (!placement.explanation.is_null()) service_.status.explanation = placement.explanation;
    if (!placement.placed) {
      const auto before = std::exchange(service_.status.message, {});
      const bool was_held = service_.status.nominations.contains(replica.name);
      NEAP_CO_TRY_VOID(co_await nominate(pass_, service_, replica.name, placement));
      if (was_held && !service_.status.nominations.contains(replica.name))
        forget_held(service_, replica.name);
      why_ = fmt::format("{}: {}", replica.site,
                         service_.status.message.empty() ? placement.message : service_.status.message);
      service_.status.message = before;
      co_return ok();
    }
    forget_held(service_, replica.name);
    auto work = serve_work(pass_, service_, target_of(service_, replica).version);
    if (!work) {
      why_ = work.error().message;
      co_return ok();
    }
    co_return co_await create_replica(pass_, service_, replica, *std::move(work), placement);
  }

  const Pass& pass_;
  InferenceService& service_;
  std::string why_;
};

// Ended under this name: makes room for its successor.
Task<Status> clear_ended(const Pass& pass, const InferenceService& s, const std::vector<Replica>& replicas) {
  client::TypedClient<Allocation> client(pass.client);
  for (const auto& r : replicas)
    if (!r.allocation && pass.state.find<Allocation>(s.metadata.namespace_, r.name))
      NEAP_CO_TRY_VOID(tolerate_races(co_await client.remove(pass.ctx, s.metadata.namespace_, r.name)));
  co_return ok();
}

// Replicas that make room: for work of a higher priority, and for queues that theirs borrowed from.
Task<Status> stop_replicas(const Pass& pass, const InferenceService& s, const std::vector<Replica>& replicas,
                           const Claims& claims) {
  for (const auto& r : replicas) {
    if (!r.allocation || r.allocation->spec.desired == "Stop") continue;
    const auto key = key_of(*r.allocation);
    std::string why;
    if (const auto claim = claims.replicas.find(key); claim != claims.replicas.end())
      why = claim->second.victim->message;
    if (pass.queues)
      if (const auto told = pass.queues->reclaimed_replicas.find(key);
          told != pass.queues->reclaimed_replicas.end())
        why = told->second;
    if (why.empty()) continue;
    const auto message = fmt::format("replica {} stops: {}", r.name, why);
    NEAP_CO_TRY_VOID(co_await pass.decisions(
        Json{{"time", format_rfc3339(pass.wall(), 3)},
             {"object", "inferenceservice/" + s.metadata.namespace_ + "/" + s.metadata.name},
             {"uid", s.metadata.uid},
             {"replica", r.name},
             {"message", message}}));
    auto next = *r.allocation;
    next.spec.desired = "Stop";
    NEAP_CO_TRY_VOID(co_await write_spec(pass, std::move(next)));
    NEAP_CO_TRY_VOID(co_await tell(pass, {.name = fmt::format("{}.{}.stops", r.name.substr(0, 180),
                                                              r.allocation->metadata.resourceVersion),
                                          .component = "neap-scheduler",
                                          .reason = "ReplicaStops",
                                          .message = message.substr(0, 1024),
                                          .is_warning = true,
                                          .api_version = fmt::format("{}/{}", api::kGroup, api::kVersion),
                                          .kind = "InferenceService",
                                          .namespace_ = s.metadata.namespace_,
                                          .object = s.metadata.name,
                                          .uid = s.metadata.uid}));
  }
  co_return ok();
}

Task<Status> reconcile_service(const Pass& pass, const InferenceService& before, const Claims& claims) {
  auto s = before;
  auto& st = s.status;
  const auto replicas = wanted_replicas(pass, s);
  const auto now = pass.wall();
  if (st.observedGeneration != s.metadata.generation) {
    st.observedGeneration = s.metadata.generation;
    st.canary = {};
    if (st.activeVersion == s.spec.modelVersion)
      enter(s, "Expanding", "places or limits changed", now);
    else
      enter(s, "Staging", "new version " + s.spec.modelVersion, now);
  } else {
    advance_rollout(s, replicas, now);
  }
  NEAP_CO_TRY_VOID(co_await clear_ended(pass, s, replicas));
  NEAP_CO_TRY_VOID(co_await stop_replicas(pass, s, replicas, claims));
  std::vector<Replica> held;
  std::set<std::string> kept;  // nominations that hold
  for (const auto& r : replicas) {
    const auto target = target_of(s, r);
    if (r.allocation && !target.version.empty() && r.allocation->spec.desired != "Stop")
      NEAP_CO_TRY_VOID(co_await point_replica(pass, s, replicas, r, target.version, target.shadow));
    if (!st.nominations.contains(r.name)) continue;
    if (!r.allocation && target.create) {
      kept.insert(r.name);
      // What ended under its name goes first.
      if (!pass.state.find<Allocation>(s.metadata.namespace_, r.name)) held.push_back(r);
    }
    if (r.allocation && r.allocation->spec.desired != "Stop") forget_held(s, r.name);
  }
  std::erase_if(st.nominations, [&](const auto& one) { return !kept.contains(one.first); });
  Placing placing(pass, s);
  auto without = replicas_without_place(pass, s);
  if (!held.empty()) {
    NEAP_CO_TRY_VOID(co_await placing.place(std::move(held)));
  }
  if (pass.queues && pass.queues->is_made) {
    NEAP_CO_TRY_VOID(co_await placing.follow_round(std::move(without), *pass.queues));
  } else if (!without.empty() && !has_queues(pass.state)) {
    NEAP_CO_TRY_VOID(co_await placing.place(std::move(without)));
  }
  if (!placing.why_waiting().empty() && st.phase != "RolledBack") st.message = placing.why_waiting();
  for (const auto* a :
       pass.state.allocations_of(s.metadata.namespace_, "InferenceService", s.metadata.name)) {
    if (std::ranges::any_of(replicas, [&](const auto& r) { return r.name == a->metadata.name; })) continue;
    if (is_lent(s, a->metadata.name)) {
      // Its place is the job's once it has ended.
      if (is_ended(*a) || a->spec.desired == "Stop") continue;
      auto next = *a;
      next.spec.desired = "Stop";
      NEAP_CO_TRY_VOID(co_await write_spec(pass, std::move(next)));
      continue;
    }
    client::TypedClient<Allocation> client(pass.client);
    NEAP_CO_TRY_VOID(
        tolerate_races(co_await client.remove(pass.ctx, a->metadata.namespace_, a->metadata.name)));
  }
  summarise(s, pass, replicas);
  if (same_object(s, before)) co_return ok();
  co_return co_await write_status(pass, std::move(s));
}

}  // namespace

Task<Status> reconcile_services(const Pass& pass) {
  Status first_error;
  const auto claims = claims_of(pass);
  for (const auto& [key, service] : pass.state.all<InferenceService>()) {
    if (service.metadata.deletionTimestamp) continue;
    auto status = co_await reconcile_service(pass, service, claims);
    if (!status && first_error) first_error = fail(std::move(status).error(), "inferenceservice/" + key.name);
  }
  co_return first_error;
}

}  // namespace neap::controllers
