#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "internal/event.h"
#include "internal/node_cache.h"
#include "internal/placement.h"
#include "internal/preemption.h"
#include "internal/queueing.h"
#include "internal/replicas.h"
#include "internal/tide.h"
#include "neap/base/saturate.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;
using api::ReplicaLoan;
using api::TrainingJob;

// Waiting jobs that are asked, in one tick, whether they fit on what could be lent: the first in order, and
// of the others those whose turn it is.
constexpr std::size_t kFirstMax = 4, kInTurnMax = 4;
// A job and the loan to it are written one after the other and seen in any order.
constexpr Duration kSettles = 30s;

ObjectKey key_of_name(std::string_view name) {
  const auto slash = name.find('/');
  return slash == std::string_view::npos
             ? ObjectKey{{}, std::string(name)}
             : ObjectKey{std::string(name.substr(0, slash)), std::string(name.substr(slash + 1))};
}

client::ResourcePath history_path(const std::string& project, std::string name) {
  return {.group = "",
          .version = "v1",
          .plural = "configmaps",
          .namespace_ = project,
          .name = std::move(name),
          .subresource = {}};
}
// Keys of a ConfigMap are letters, digits and -._
std::string history_key(const std::string& site) { return site == kAnySite ? "_any" : site; }

Task<Status> read_history(const Pass& pass, const InferenceService& service, TideTable::Service& table) {
  auto got = co_await pass.client.get(
      pass.ctx, history_path(service.metadata.namespace_, tide_history_name(service.metadata.name)));
  if (!got && got.error().code != Code::kNotFound) co_return fail(std::move(got).error());
  table.is_read = true;
  if (!got) co_return ok();
  Status outcome;
  for (const auto& place : service.spec.places)
    if (const auto* text = find_path(*got, {"data", history_key(place.site)}); text && text->is_string()) {
      auto restored = table.places[place.site].restore(std::string_view(text->get_string()));
      if (!restored) outcome = std::move(restored);
    }
  co_return outcome;
}

Task<Status> write_history(const Pass& pass, const InferenceService& service,
                           const TideTable::Service& table) {
  JsonObject data;
  for (const auto& [site, demand] : table.places) data[history_key(site)] = demand.text();
  const auto& ns = service.metadata.namespace_;
  JsonObject patch;
  patch["data"] = data;
  auto done = co_await pass.client.patch(pass.ctx, history_path(ns, tide_history_name(service.metadata.name)),
                                         client::PatchType::kMerge, Json(std::move(patch)), {});
  if (done) co_return ok();
  if (done.error().code != Code::kNotFound) co_return fail(std::move(done).error());
  JsonArray owners;
  const auto owner = owner_reference(service);
  owners.push_back(JsonObject{{"apiVersion", owner.apiVersion},
                              {"kind", owner.kind},
                              {"name", owner.name},
                              {"uid", owner.uid},
                              {"controller", true},
                              {"blockOwnerDeletion", true}});
  JsonObject object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}};
  object["metadata"] = JsonObject{{"name", tide_history_name(service.metadata.name)},
                                  {"namespace", ns},
                                  {"ownerReferences", std::move(owners)}};
  object["data"] = std::move(data);
  auto made = co_await pass.client.create(pass.ctx, history_path(ns, {}), Json(std::move(object)), {});
  co_return made ? ok() : tolerate_races(fail(std::move(made).error()));
}

// Replicas needed at a place now; absent where none of them says. One that has just begun says nothing yet.
std::optional<double> demand_at(const Pass& pass, const InferenceService& service,
                                const api::ServicePlace& place) {
  std::optional<double> out;
  for (const auto& r : all_replicas(pass, service)) {
    if (r.place != &place || !r.allocation || r.allocation->status.phase != "Running") continue;
    const auto* concurrency = find_path(r.allocation->status.metrics, {"concurrency"});
    if (!concurrency || !concurrency->is_number()) continue;
    const double most = double(std::max<std::int64_t>(1, service.spec.limits.maxConcurrency));
    out = out.value_or(0) + std::max(0.0, concurrency->to_number<double>()) / most;
  }
  return out;
}

Task<Status> learn(const Pass& pass, const InferenceService& service, TideTable::Service& table) {
  Status outcome;
  if (!table.is_read) outcome = co_await read_history(pass, service, table);
  if (!table.is_read) co_return outcome;
  bool is_longer = false;
  for (const auto& place : service.spec.places)
    if (const auto demand = demand_at(pass, service, place))
      is_longer |= table.places[place.site].observe(pass.wall(), *demand);
  if (is_longer) {
    auto written = co_await write_history(pass, service, table);
    if (!written && outcome) outcome = std::move(written);
  }
  co_return outcome;
}

// By its record: its members may not be there yet, or not any more.
bool holds_on(const TrainingJob& job, const std::string& node) {
  const auto holds = [&](const std::vector<std::string>& nodes) {
    return std::ranges::find(nodes, node) != nodes.end();
  };
  if (const auto* nomination = nomination_of(job); nomination && holds(nomination->nodes)) return true;
  const auto& phase = job.status.phase;
  if (phase != "Reserved" && phase != "Running" && phase != "Draining") return false;
  const auto run = std::ranges::find(job.status.runs, job.status.epoch, &api::RunRecord::epoch);
  return run != job.status.runs.end() && holds(run->nodes);
}

Task<Status> tell_of(const Pass& pass, const auto& object, std::string reason, std::string message) {
  const auto& meta = object.metadata;
  auto word = reason;
  std::ranges::transform(word, word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  co_return co_await tell(
      pass, {.name = fmt::format("{}.{}.{}", meta.name.substr(0, 180), word, meta.resourceVersion),
             .component = "neap-tide",
             .reason = std::move(reason),
             .message = message.substr(0, 1024),
             .is_warning = false,
             .api_version = fmt::format("{}/{}", api::kGroup, api::kVersion),
             .kind = std::string(api::KindOf<std::decay_t<decltype(object)>>::kind),
             .namespace_ = meta.namespace_,
             .object = meta.name,
             .uid = meta.uid});
}

Task<Status> record(const Pass& pass, const InferenceService& service, std::string_view message) {
  co_return co_await pass.decisions(
      Json{{"time", format_rfc3339(pass.wall(), 3)},
           {"object", "inferenceservice/" + service.metadata.namespace_ + "/" + service.metadata.name},
           {"uid", service.metadata.uid},
           {"message", boost::json::string_view(message.data(), message.size())}});
}

// One place of a service as the tide sees it in one tick.
struct Standing {
  const InferenceService* service = nullptr;
  const api::ServicePlace* place = nullptr;
  const PlaceDemand* demand = nullptr;    // null: not known
  std::vector<const ReplicaLoan*> loans;  // that do not come back yet
  std::vector<std::string> spare;         // that could be lent, those of the highest index first

  scheduler::TideOptions options() const {
    const auto& tide = *service->spec.tide;
    return {.take_back = tide.takeBack, .reserve = int(tide.reserve)};
  }
  bool may_lend() const {
    return service->spec.tide && place->minReplicas && demand && demand->forecast() &&
           demand->forecast()->is_ready();
  }
};

Standing standing_of(const Pass& pass, const InferenceService& service, const api::ServicePlace& place,
                     const TideTable& table) {
  Standing out;
  out.service = &service;
  out.place = &place;
  if (const auto known = table.services.find(key_of(service)); known != table.services.end())
    if (const auto at = known->second.places.find(place.site); at != known->second.places.end())
      out.demand = &at->second;
  const auto spare = spare_replicas(pass, service);
  for (const auto& r : all_replicas(pass, service, false)) {
    if (r.place != &place) continue;
    const auto loan = std::ranges::find(service.status.loans, r.name, &ReplicaLoan::allocation);
    if (loan != service.status.loans.end() && !service.status.nominations.contains(r.name))
      out.loans.push_back(&*loan);
    else if (spare.contains({service.metadata.namespace_, r.name}) && r.allocation->status.phase == "Running")
      out.spare.insert(out.spare.begin(), r.name);
  }
  return out;
}

// How many must come back, whatever was agreed.
int recalled(const Standing& standing, WallTime now) {
  const auto lent = int(standing.loans.size());
  const auto above = std::int64_t(lent) - (standing.place->replicas - least_replicas(*standing.place));
  if (!standing.may_lend()) return lent;
  const int asked = scheduler::plan_recall(*standing.demand->forecast(), int(standing.place->replicas), lent,
                                           standing.demand->in_use(), now, standing.options());
  return std::clamp(int(std::max<std::int64_t>(asked, above)), 0, lent);
}

// Loans that end now, and why.
std::map<std::string, std::string> ending_loans(const Pass& pass, const Standing& standing) {
  std::map<std::string, std::string> out;  // by allocation
  const auto now = pass.wall();
  for (const auto* loan : standing.loans) {
    const auto key = key_of_name(loan->job);
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    if (!job || (!holds_on(*job, loan->node) && (!loan->since || now - *loan->since > kSettles)))
      out.emplace(loan->allocation, "the job has gone");
    else if (!loan->until || *loan->until <= now)
      out.emplace(loan->allocation, "its time has come");
  }
  auto rest = standing.loans;
  std::erase_if(rest, [&](const auto* loan) { return out.contains(loan->allocation); });
  std::ranges::sort(rest, {}, [](const auto* loan) { return std::pair(loan->until, loan->allocation); });
  const int need = recalled(standing, now);
  // A job goes as a whole.
  for (const auto* first : rest) {
    if (int(out.size()) >= need) break;
    for (const auto* loan : rest)
      if (loan->job == first->job) out.emplace(loan->allocation, "the service needs it earlier");
  }
  return out;
}

// What is said of a service's loans; the same as long as they are.
std::string loans_text(const InferenceService& service, const TideTable::Service* table) {
  std::map<std::pair<std::string, std::string>, std::pair<int, std::optional<WallTime>>> lent;  // site, job
  for (const auto& loan : service.status.loans) {
    auto& [count, until] = lent[{loan.site, loan.job}];
    ++count;
    until = loan.until;
  }
  std::vector<std::string> parts;
  for (const auto& [to, what] : lent)
    parts.push_back(fmt::format("lends {} replica{} at {} to {} until {}", what.first,
                                what.first == 1 ? "" : "s", to.first, to.second,
                                what.second ? format_rfc3339(*what.second) : "now"));
  if (!parts.empty()) return fmt::format("{}", fmt::join(parts, "; "));
  int days = 1000;
  for (const auto& place : service.spec.places) {
    if (!place.minReplicas) continue;
    const auto known = table ? table->places.find(place.site) : decltype(table->places.end()){};
    const bool is_known = table && known != table->places.end() && known->second.forecast();
    days = std::min(days, is_known ? known->second.forecast()->days_known() : 0);
  }
  if (days == 1000) return "lends nothing: no place has minReplicas";
  return days < 2 ? fmt::format("lends nothing yet: {} of 2 full days of demand are known", days)
                  : "lends nothing now";
}

void explain_loans(InferenceService& service, const TideTable::Service* table) {
  if (!service.spec.tide && service.status.loans.empty()) return;
  auto& explanation = service.status.explanation;
  if (!explanation.is_object()) return;  // nothing was decided yet
  explanation.as_object()["tide"] = loans_text(service, table);
}

// A place that a job was promised and has not taken is not its own any more. False where it takes it at this
// very moment: the next tick sees it there.
Task<bool> give_up_promise(const Pass& pass, const TrainingJob& job) {
  if (!nomination_of(job)) co_return true;
  auto next = job;
  next.status.nomination.reset();
  next.status.message = "waits: what was lent to it is needed again";
  auto path = client::TypedClient<TrainingJob>::path(job.metadata.namespace_, job.metadata.name, "status");
  const auto written = co_await pass.client.update(pass.ctx, std::move(path), api::to_json(next), {});
  co_return written.has_value();
}

// Ends what has to end: the place is held for the replica again, and who still uses it makes room.
Task<Status> take_back(const Pass& pass, const InferenceService& before) {
  auto next = before;
  const auto& table = *pass.tide;
  std::vector<std::string> said;
  for (const auto& place : before.spec.places) {
    const auto ending = ending_loans(pass, standing_of(pass, before, place, table));
    for (const auto& [allocation, why] : ending) {
      const auto loan = std::ranges::find(next.status.loans, allocation, &ReplicaLoan::allocation);
      const auto key = key_of_name(loan->job);
      const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
      if (job && !co_await give_up_promise(pass, *job)) continue;
      said.push_back(fmt::format("takes back {} from {}: {}", allocation, loan->job, why));
      api::Nomination held{.nodes = {loan->node}, .victims = {}, .site = loan->site, .madeAt = pass.wall()};
      if (job && holds_on(*job, loan->node) && !nomination_of(*job))
        held.victims.push_back(
            {.job = loan->job,
             .message = fmt::format("makes room for replica {}/{}, which lent it its place: {}",
                                    before.metadata.namespace_, allocation, why),
             .epoch = job->status.epoch});
      next.status.nominations.insert_or_assign(allocation, std::move(held));
    }
  }
  // A replica that is not wanted any more has nothing to come back to.
  const auto all = all_replicas(pass, before, false);
  std::erase_if(next.status.loans, [&](const auto& loan) {
    return std::ranges::none_of(all, [&](const auto& r) { return r.name == loan.allocation; });
  });
  const auto known = table.services.find(key_of(before));
  explain_loans(next, known == table.services.end() ? nullptr : &known->second);
  if (same_object(next, before)) co_return ok();
  for (const auto& one : said) NEAP_CO_TRY_VOID(co_await record(pass, before, one));
  NEAP_CO_TRY_VOID(co_await write_status(pass, next));
  if (!said.empty())
    co_return co_await tell_of(pass, before, "TakesBack", fmt::format("{}", fmt::join(said, "; ")));
  co_return ok();
}

// What one loan would be.
struct Offer {
  Placement placement;
  std::map<ObjectKey, std::vector<ReplicaLoan>> loans;  // by service
  WallTime until{};
};

class Lender {
 public:
  explicit Lender(const Pass& pass) : pass_(pass) {
    for (const auto& [key, service] : pass.state.all<InferenceService>()) {
      if (!service.spec.tide || service.metadata.deletionTimestamp || service.status.phase != "Complete" ||
          !service.status.nominations.empty())
        continue;
      for (const auto& place : service.spec.places) add(standing_of(pass, service, place, *pass.tide));
    }
  }
  bool has_any() const { return !owner_.empty(); }
  Task<Status> lend();

 private:
  void add(Standing standing);
  struct Asked {
    const TrainingJob* job = nullptr;
    std::optional<WaitingRank> in_turn;  // absent: it is among the first
  };
  std::vector<Asked> jobs_to_ask() const;
  std::optional<Offer> offer_to(const TrainingJob& job) const;
  bool has_quota(const TrainingJob& job, const Offer& offer) const;
  Task<Status> carry_out(const TrainingJob& job, Offer offer) const;

  const Pass& pass_;
  std::vector<Standing> standings_;
  std::vector<std::vector<scheduler::Loan>> terms_;  // same indices
  std::map<std::string, std::size_t> owner_;         // "project/allocation" to standing
};

void Lender::add(Standing standing) {
  if (!standing.may_lend()) return;
  const auto& demand = *standing.demand;
  auto terms = scheduler::plan_loans(*demand.forecast(), int(standing.place->replicas), demand.in_use(),
                                     pass_.wall(), standing.options());
  int most = 0;
  for (const auto& term : terms) most = std::max(most, term.replicas);
  const auto more = std::clamp<std::int64_t>(std::int64_t(most) - std::int64_t(standing.loans.size()), 0,
                                             std::int64_t(standing.spare.size()));
  for (std::int64_t i = 0; i < more; ++i)
    owner_.emplace(standing.service->metadata.namespace_ + "/" + standing.spare[std::size_t(i)],
                   standings_.size());
  standings_.push_back(std::move(standing));
  terms_.push_back(std::move(terms));
}

// Of those that could end again when asked.
std::vector<Lender::Asked> Lender::jobs_to_ask() const {
  std::map<WaitingRank, const TrainingJob*> waiting;
  for (const auto& [key, job] : pass_.state.all<TrainingJob>())
    if (asks_for_place(pass_, job) && !nomination_of(job) && !job.status.message.empty() &&
        job.spec.interruption != api::InterruptionClass::kNever)
      waiting.emplace(WaitingRank{.below_top = -priority_of(pass_.state, job.spec.priorityClass).value,
                                  .since = job.metadata.creationTimestamp.value_or(WallTime{}),
                                  .job = key},
                      &job);
  std::vector<Asked> out;
  while (!waiting.empty() && out.size() < kFirstMax) {
    const auto first = waiting.extract(waiting.begin());
    out.push_back({.job = first.mapped(), .in_turn = {}});
  }
  const auto& before = pass_.tide->asked;
  auto next = before ? waiting.upper_bound(*before) : waiting.begin();
  for (auto left = std::min(kInTurnMax, waiting.size()); left > 0; --left, ++next) {
    if (next == waiting.end()) next = waiting.begin();
    out.push_back({.job = next->second, .in_turn = next->first});
  }
  return out;
}

// Which replicas would make room for it, and until when.
std::optional<Offer> Lender::offer_to(const TrainingJob& job) const {
  const auto inputs = resolve_inputs(pass_, job);
  if (!inputs) return std::nullopt;
  auto request = job_request(pass_, job, *inputs);
  auto world = snapshot_of(pass_, job.metadata.namespace_, {}, true);
  if (!request || !world) return std::nullopt;
  std::erase_if(world->running, [&](const auto& gang) { return !owner_.contains(gang.owner); });
  for (auto& gang : world->running) gang.priority = request->priority - 1;
  world->queues.clear();  // judged below, without what makes room
  request->may_preempt = true;
  scheduler::Options options;
  options.now = pass_.wall();
  options.seed = pass_.options.seed;
  options.explains_nodes = false;
  const auto plan = scheduler::decide(*world, std::span(&*request, 1), options);
  if (pass_.nodes) pass_.nodes->give_back(std::move(world->nodes));
  const auto& decision = plan.decisions.front();
  // What fits without a loan waits for its turn, and would take it from whoever has it.
  if (decision.is_placed || !decision.preemption) return std::nullopt;
  Offer out;
  out.placement = placement_of(decision, plan.currency);
  std::map<std::size_t, int> taken;
  for (const auto& victim : out.placement.victims) ++taken[owner_.at(victim.owner)];
  out.until = WallTime::max();
  for (const auto& [at, count] : taken) {
    auto best = WallTime::min();
    for (const auto& term : terms_[at])
      if (term.replicas >= count + int(standings_[at].loans.size())) best = std::max(best, term.until);
    out.until = std::min(out.until, best);
  }
  const auto needs = job.spec.interruption == api::InterruptionClass::kRestartable
                         ? std::max<Duration>(job.spec.expectedDuration, scheduler::TideOptions{}.useful_min)
                         : scheduler::TideOptions{}.useful_min;
  if (out.until < pass_.wall() + needs) return std::nullopt;
  for (auto& victim : out.placement.victims) {
    victim.sentence = fmt::format("lends its place until {}", format_rfc3339(out.until));
    const auto key = key_of_name(victim.owner);
    const auto* replica = pass_.state.find<Allocation>(key.namespace_, key.name);
    out.loans[key_of(*standings_[owner_.at(victim.owner)].service)].push_back(
        {.allocation = key.name,
         .site = replica->spec.site,
         .node = replica->spec.node,
         .job = job.metadata.namespace_ + "/" + job.metadata.name,
         .since = pass_.wall(),
         .until = out.until});
  }
  return out;
}

bool Lender::has_quota(const TrainingJob& job, const Offer& offer) const {
  const auto queue = queue_of(pass_.state, job);
  if (queue.empty() || !has_queues(pass_.state)) return true;
  auto tree = share_tree(pass_, holdings_of(pass_, {}));
  for (const auto& [key, loans] : offer.loans) {
    const auto* service = pass_.state.find<InferenceService>(key.namespace_, key.name);
    for (std::size_t i = 0; i < loans.size(); ++i)
      tree.release(queue_of(pass_.state, *service), amounts_of(tree, service->spec.resources));
  }
  auto amounts = amounts_of(tree, job.spec.resources);
  for (auto& amount : amounts) amount = multiply_saturated(amount, job.spec.replicas);
  return scheduler::may_start(tree.judge(queue, amounts).admission);
}

// The service first: until the job has its nomination, the place stays the replica's.
Task<Status> Lender::carry_out(const TrainingJob& job, Offer offer) const {
  const auto text = fmt::format("lends its place to {}/{} until {}", job.metadata.namespace_,
                                job.metadata.name, format_rfc3339(offer.until));
  for (const auto& [key, loans] : offer.loans) {
    const auto* service = pass_.state.find<InferenceService>(key.namespace_, key.name);
    auto next = *service;
    std::vector<std::string> names;
    for (const auto& loan : loans) {
      names.push_back(loan.allocation);
      next.status.loans.push_back(loan);
    }
    const auto known = pass_.tide->services.find(key);
    explain_loans(next, known == pass_.tide->services.end() ? nullptr : &known->second);
    const auto said = fmt::format("{} {}", fmt::join(names, ", "), text);
    NEAP_CO_TRY_VOID(co_await record(pass_, *service, said));
    auto path = client::TypedClient<InferenceService>::path(key.namespace_, key.name, "status");
    auto written = co_await pass_.client.update(pass_.ctx, std::move(path), api::to_json(next), {});
    // What was lent before it is taken back as what no job uses.
    if (!written) co_return tolerate_races(fail(std::move(written).error()));
    NEAP_CO_TRY_VOID(co_await tell_of(pass_, *service, "Lends", said));
  }
  auto next = job;
  NEAP_CO_TRY_VOID(co_await nominate(pass_, next, offer.placement));
  if (!next.status.nomination) co_return ok();
  next.status.message += fmt::format("; the place is lent until {}", format_rfc3339(offer.until));
  NEAP_CO_TRY_VOID(co_await write_status(pass_, next));
  co_return co_await tell_of(
      pass_, job, "RunsOnLoan",
      fmt::format("gets what a service does not need until {}; it drains to a checkpoint then",
                  format_rfc3339(offer.until)));
}

Task<Status> Lender::lend() {
  for (auto& [job, in_turn] : jobs_to_ask()) {
    if (in_turn) pass_.tide->asked = std::move(in_turn);
    auto offer = offer_to(*job);
    if (offer && has_quota(*job, *offer)) co_return co_await carry_out(*job, *std::move(offer));
  }
  co_return ok();
}

}  // namespace

Task<Status> reconcile_tide(const Pass& pass) {
  if (!pass.tide || (pass.agenda && !pass.work.is_tick)) co_return ok();
  Status first_error;
  const auto note = [&](const ObjectKey& key, Status status) {
    if (!status && first_error) first_error = fail(std::move(status).error(), "inferenceservice/" + key.name);
  };
  auto& known = pass.tide->services;
  std::erase_if(known, [&](const auto& entry) {
    const auto* service = pass.state.find<InferenceService>(entry.first.namespace_, entry.first.name);
    return !service || !service->spec.tide;
  });
  for (const auto& [key, service] : pass.state.all<InferenceService>()) {
    if (service.metadata.deletionTimestamp) continue;
    if (service.spec.tide) note(key, co_await learn(pass, service, known[key]));
    if (service.spec.tide || !service.status.loans.empty()) note(key, co_await take_back(pass, service));
  }
  if (Lender lender(pass); lender.has_any())
    if (auto lent = co_await lender.lend(); !lent && first_error) first_error = std::move(lent);
  co_return first_error;
}

}  // namespace neap::controllers
