#include "internal/repacking.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "internal/deadlines.h"
#include "internal/drift.h"
#include "internal/queueing.h"
#include "neap/controllers/prices.h"
#include "neap/finops/metering.h"

namespace neap::controllers {
namespace {

using api::TrainingJob;

// A plan costs some tens of decisions.
constexpr std::size_t kJobsMax = 8;
constexpr std::size_t kStaysMax = 100;
constexpr std::int64_t kHourMs = 3'600'000;

std::string name_of(const TrainingJob& job) { return job.metadata.namespace_ + "/" + job.metadata.name; }

std::string replica_stays(const Pass& pass, const Holding& holding) {
  const ObjectKey key{std::string(holding.project), std::string(holding.owner_name)};
  const auto* service = pass.state.find<api::InferenceService>(key.namespace_, key.name);
  if (!service || !holding.allocation) return "it is held for a service";
  return spare_replicas(pass, *service).contains(key_of(*holding.allocation))
             ? "a replica of a service: it would answer nowhere until it stands elsewhere"
             : "a replica of a service that its place's minReplicas keeps";
}

}  // namespace

std::string why_it_stays(const Pass& pass, const TrainingJob& job, const Claims& claims) {
  const auto& st = job.status;
  if (job.metadata.deletionTimestamp || job.spec.suspend) return "it is being stopped";
  if (st.phase != "Running") return fmt::format("it is {}, not Running", st.phase);
  if (job.spec.interruption == api::InterruptionClass::kNever) return "its interruption is never";
  if (st.checkpoint.phase != "Durable") return "it has no durable checkpoint to go on from";
  if (find_claim(claims, job)) return "it makes room for another job already";
  if (st.nomination || (pass.drift && pass.drift->find_home(job))) return "it moves already";
  if (job.spec.deadline) return "its deadline decides where it runs";
  return {};
}

Result<RepackWorld> repack_world(const Pass& pass, const std::string& project, const Owners& owners,
                                 const StaysFor& stays_for) {
  RepackWorld out;
  NEAP_TRY(auto world, snapshot_of(pass, project, owners, true));
  out.holdings = holdings_of(pass, owners);
  const auto claims = claims_of(pass);
  auto& projects = out.world.projects;
  std::map<std::string, std::string> unknown;  // projects that cannot be judged
  for (auto& gang : world.running) {
    const auto slash = gang.owner.find('/');
    const auto* job = pass.state.find<TrainingJob>(gang.owner.substr(0, slash), gang.owner.substr(slash + 1));
    // Replicas go by the names of their allocations, which a job may have, too.
    if (!job || pass.state.find<api::Allocation>(gang.owner.substr(0, slash), gang.owner.substr(slash + 1)))
      continue;
    scheduler::Tenant tenant{
        .gang = std::move(gang), .request = {}, .stays = why_it_stays(pass, *job, claims)};
    if (tenant.stays.empty() && stays_for) tenant.stays = stays_for(*job);
    const auto& own = tenant.gang.project;
    if (tenant.stays.empty() && own != project && !projects.contains(own) && !unknown.contains(own)) {
      if (auto seen = snapshot_of(pass, own, {})) {
        seen->nodes.clear();
        projects.emplace(own, *std::move(seen));
      } else {
        unknown.emplace(own, seen.error().message);
      }
    }
    if (const auto found = unknown.find(own); tenant.stays.empty() && found != unknown.end())
      tenant.stays = "its project cannot be judged: " + found->second;
    if (tenant.stays.empty()) {
      const auto inputs = resolve_inputs(pass, *job);
      auto request = inputs ? request_of(pass, *job, *inputs) : fail(inputs.error());
      if (request)
        tenant.request = *std::move(request);
      else
        tenant.stays = "it could not be placed again: " + request.error().message;
    }
    out.jobs.emplace(tenant.gang.owner, job);
    out.world.tenants.push_back(std::move(tenant));
  }
  out.world.nodes = std::move(world.nodes);
  world.nodes.clear();
  world.running.clear();
  projects.insert_or_assign(project, std::move(world));
  return out;
}

namespace {

struct Target {
  std::string name;
  bool is_job = false;
  scheduler::Request request;
};

class Described {
 public:
  Described(const Pass& pass, const MayRead& may_read)
      : pass_(pass), may_read_(may_read), prices_(price_book_of(pass.state)) {}

  const std::string& currency() const { return prices_.currency(); }
  Json plan(RepackWorld& seen, const Target& target);

 private:
  std::string shown(const std::string& owner) const {
    return may_read_ && !may_read_(owner.substr(0, owner.find('/'))) ? "a job of another project" : owner;
  }
  JsonObject move(const RepackWorld& seen, const scheduler::Relocation& move) const;
  void add_stays(const RepackWorld& seen, const scheduler::GangRoomAnswer& answer, const Target& target,
                 JsonObject& out) const;

  const Pass& pass_;
  const MayRead& may_read_;
  finops::PriceBook prices_;
};

JsonObject Described::move(const RepackWorld& seen, const scheduler::Relocation& move) const {
  const auto& tenant = seen.world.tenants[move.tenant];
  const auto& job = *seen.jobs.at(tenant.gang.owner);
  JsonArray from, to;
  for (const auto& member : tenant.gang.members) from.emplace_back(member.node);
  for (const auto& place : move.to) to.emplace_back(place.node);
  const auto inputs = resolve_inputs(pass_, job);
  const auto members = std::int64_t(move.to.size());
  JsonObject out{{"job", shown(tenant.gang.owner)},
                 {"site", move.to.front().site},
                 {"checkpointStep", job.status.checkpoint.step},
                 {"setBackSeconds", tenant.gang.unsaved_seconds},
                 {"setBackDeviceSeconds", move.lost_work},
                 {"bytes", members * (job.status.checkpoint.size.value + (inputs ? inputs->bytes : 0))}};
  out["from"] = std::move(from);
  out["to"] = std::move(to);
  const auto held = resources_on(pass_.state, job, tenant.gang.members.front().node);
  finops::ResourceAmounts amounts;
  amounts.cores = held.cpu;
  amounts.memory = held.memory;
  for (const auto& [model, amount] : held.accelerators) {
    amounts.accelerator_model = model;
    amounts.accelerators = amount;
  }
  const auto* node = pass_.state.find<api::Node>("", tenant.gang.members.front().node);
  const auto hourly =
      node ? prices_.compute_hourly(node->spec.site, to_finops(node->spec.capacityType), amounts)
           : fail(Code::kNotFound, "price.rates.unknown", "the node is gone");
  if (hourly)
    if (const auto cost = finops::multiply_divide(
            hourly->value, std::int64_t(tenant.gang.unsaved_seconds * 1000), members, kHourMs))
      out["costMicros"] = *cost;
  return out;
}

void Described::add_stays(const RepackWorld& seen, const scheduler::GangRoomAnswer& answer,
                          const Target& target, JsonObject& out) const {
  // Who lies on a node that might do for it.
  std::set<std::string_view> useful;
  for (const auto& node : seen.world.nodes)
    if (node.is_ready && (target.request.each.accelerators.value == 0 ||
                          (!node.devices_free.empty() && target.request.takes_model(node.accelerator_model))))
      useful.insert(node.name);
  std::map<std::string, std::string> tenants;
  for (std::size_t t = 0; t < seen.world.tenants.size(); ++t) {
    const auto& tenant = seen.world.tenants[t];
    auto why = tenant.stays;
    if (why.empty() && tenant.gang.priority > target.request.priority)
      why = fmt::format("its priority {} is above {}", tenant.gang.priority, target.request.priority);
    if (const auto stuck = answer.stuck.find(t); stuck != answer.stuck.end())
      why = "it has no other place at its site: " + stuck->second;
    tenants.emplace(tenant.gang.owner, why);
  }
  const auto claims = claims_of(pass_);
  std::map<std::pair<std::string, std::string>, std::set<std::string>> stays;  // nodes by name and reason
  for (const auto& holding : seen.holdings) {
    if (!useful.contains(holding.node)) continue;
    const auto owner = fmt::format("{}/{}", holding.project, holding.owner_name);
    std::string why;
    if (holding.is_nominated)
      why = "the place is held for it";
    else if (holding.owner_kind == "InferenceService")
      why = replica_stays(pass_, holding);
    else if (holding.owner_kind != "TrainingJob")
      why = "short work of the platform itself";
    else if (const auto known = tenants.find(owner); known != tenants.end())
      why = known->second;
    else if (const auto* job =
                 pass_.state.find<TrainingJob>(std::string(holding.project), std::string(holding.owner_name)))
      why = why_it_stays(pass_, *job, claims);
    if (why.empty() && !tenants.contains(owner)) why = "which devices it holds cannot be told apart";
    if (!why.empty()) stays[{shown(owner), why}].insert(std::string(holding.node));
  }
  JsonArray rows;
  for (const auto& [what, nodes] : stays) {
    if (rows.size() == kStaysMax) break;
    JsonObject row{{"what", what.first}, {"why", what.second}};
    row["nodes"] = JsonArray(nodes.begin(), nodes.end());
    rows.push_back(std::move(row));
  }
  out["staysMore"] = stays.size() - rows.size();
  out["stays"] = std::move(rows);
}

Json Described::plan(RepackWorld& seen, const Target& target) {
  scheduler::Options options;
  options.now = pass_.wall();
  options.seed = pass_.options.seed;
  const auto answer = scheduler::plan_gang_room(seen.world, target.request, {}, options);
  JsonObject out{{"for", target.name}, {"isJob", target.is_job}};
  out["state"] = answer.is_free_already ? "free" : answer.room ? "moves" : "none";
  if (!answer.room) {
    out["why"] = answer.is_free_already ? "it fits without any move" : answer.why;
    // The planner names whom it tried last.
    for (const auto& [t, why] : answer.stuck)
      if (const auto& owner = seen.world.tenants[t].gang.owner; shown(owner) != owner)
        out["why"] = "those that would have to move have no other place";
  } else {
    JsonArray nodes, moves;
    for (const auto& place : answer.room->places) nodes.emplace_back(place.node);
    std::int64_t bytes = 0, cost = 0;
    bool is_priced = true;
    for (const auto& one : answer.room->moves) {
      moves.emplace_back(move(seen, one));
      bytes += get_int(moves.back(), "bytes");
      cost += get_int(moves.back(), "costMicros");
      is_priced = is_priced && find_path(moves.back(), {"costMicros"}) != nullptr;
    }
    out["site"] = answer.room->places.front().site;
    out["nodes"] = std::move(nodes);
    out["moves"] = std::move(moves);
    out["setBackDeviceSeconds"] = answer.room->lost_work;
    out["bytes"] = bytes;
    if (is_priced) out["costMicros"] = cost;
  }
  if (!answer.is_free_already) add_stays(seen, answer, target, out);
  return out;
}

Result<Target> target_of(const Pass& pass, const TrainingJob& job) {
  NEAP_TRY(const auto inputs, resolve_inputs(pass, job));
  NEAP_TRY(auto request, job_request(pass, job, inputs));
  return Target{name_of(job), true, std::move(request)};
}

// As large as the largest node of each model; what is not free of it is where fragments lie.
std::vector<Target> whole_nodes(const RepackWorld& seen, const std::string& project) {
  std::map<std::string, std::size_t> largest;
  for (const auto& node : seen.world.nodes)
    if (node.is_ready && !node.devices_free.empty())
      largest[node.accelerator_model] = std::max(largest[node.accelerator_model], node.devices_free.size());
  std::vector<Target> out;
  for (const auto& [model, devices] : largest) {
    Target target{
        .name = fmt::format("a whole node of {} {}", devices, model), .is_job = false, .request = {}};
    target.request.id = "node";
    target.request.project = project;
    target.request.each.accelerator_model = model;
    target.request.each.accelerators = {std::int64_t(devices) * 1000};
    out.push_back(std::move(target));
  }
  return out;
}

}  // namespace

Result<Json> repack_plan(const Pass& pass, const std::string& project, const std::string& job,
                         const MayRead& may_read) {
  std::vector<const TrainingJob*> waiting;
  if (!job.empty()) {
    const auto* named = pass.state.find<TrainingJob>(project, job);
    if (!named)
      return fail(
          Code::kNotFound, "repack.job",
          fmt::format("there is no TrainingJob {} in project {}; `neap get trainingjobs -n {}` lists them",
                      job, project, project));
    if (!has_no_place(*named))
      return fail(Code::kFailedPrecondition, "repack.placed",
                  fmt::format("{} is {}: room is made for jobs that wait; name one that is Pending", job,
                              named->status.phase));
    waiting.push_back(named);
  } else {
    for (const auto& [key, one] : pass.state.all<TrainingJob>())
      if (key.namespace_ == project && asks_for_place(pass, one) && !nomination_of(one))
        waiting.push_back(&one);
    std::ranges::sort(waiting, {}, [&](const auto* one) {
      return std::tuple(-priority_of(pass.state, one->spec.priorityClass).value, waiting_since(*one),
                        one->metadata.name);
    });
    waiting.resize(std::min(waiting.size(), kJobsMax));
  }
  Described described(pass, may_read);
  JsonArray plans;
  for (const auto* one : waiting) {
    auto target = target_of(pass, *one);
    if (!target && !job.empty()) return fail(std::move(target).error());
    if (!target) {
      plans.push_back(
          Json{{"for", name_of(*one)}, {"isJob", true}, {"state", "none"}, {"why", target.error().message}});
      continue;
    }
    NEAP_TRY(auto seen, repack_world(pass, project, {"TrainingJob/" + name_of(*one)}));
    plans.push_back(described.plan(seen, *target));
  }
  if (job.empty()) {
    NEAP_TRY(auto seen, repack_world(pass, project, {}));
    for (const auto& target : whole_nodes(seen, project)) plans.push_back(described.plan(seen, target));
  }
  JsonObject out{{"currency", described.currency()}};
  out["plans"] = std::move(plans);
  return Json(std::move(out));
}

}  // namespace neap::controllers
