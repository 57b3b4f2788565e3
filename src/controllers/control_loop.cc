#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "internal/deadlines.h"
#include "internal/drift.h"
#include "internal/node_cache.h"
#include "internal/queueing.h"
#include "internal/reconciler.h"
#include "internal/repack_table.h"
#include "internal/repacking.h"
#include "internal/tide.h"
#include "internal/what_if.h"
#include "neap/base/task_group.h"
#include "neap/controllers/controller.h"

namespace neap::controllers {

Status tolerate_races(Status status) {
  if (!status && (status.error().code == Code::kAborted || status.error().code == Code::kAlreadyExists ||
                  status.error().code == Code::kNotFound))
    return ok();
  return status;
}

api::Labels billing_labels(const api::ObjectMeta& owner) {
  api::Labels out;
  for (const auto* key : {"team", "model"})
    if (const auto it = owner.labels.find(key); it != owner.labels.end()) out[key] = it->second;
  return out;
}

std::string member_name(const std::string& job, std::int64_t epoch, std::int64_t replica) {
  return fmt::format("{}-e{}-{}", job, epoch, replica);
}

void Reservations::settle(const ClusterState& picture, MonoTime now) {
  constexpr Duration kForgetAfter = 30s;
  std::erase_if(entries_, [&](const auto& entry) {
    return now - entry.second.made > kForgetAfter ||
           picture.find<api::Allocation>(entry.first.namespace_, entry.first.name) != nullptr;
  });
}

struct ControlLoop::Impl {
  Impl(Dependencies d, Options o)
      : deps(std::move(d)),
        options(std::move(o)),
        changed(deps.runtime.executor()),
        tasks(deps.runtime.executor()) {}

  Dependencies deps;
  Options options;
  ClusterState state;    // follows the watches at any moment
  ClusterState picture;  // what a pass reads: it stays as it is while the pass awaits its writes
  std::vector<std::move_only_function<void(ClusterState&)>> unpictured;  // from `picture` to `state`
  Reservations reserved;
  Agenda agenda;
  NodeCache nodes;
  TideTable tide;
  DeadlineChoices deadlines;
  DriftTable drift;
  RepackTable repack;
  std::uint64_t jobs_looked_at = 0;
  Notifier changed;
  TaskGroup tasks;
  int followed = 0;  // kinds
  int unsynced = 0;  // of them, those that were not listed in this round yet
  bool leads = true;
  bool picture_is_old = false;  // changes were not kept meanwhile
  // A round ends when this loop takes or loses the lead. With it ends a pass that is under way, whose picture
  // may be older than what another leader wrote; and what is followed is listed again.
  std::uint64_t round = 1;
  CancelSource round_over{tasks.context().cancel};
  CallContext round_context() const { return tasks.context().with_cancel(round_over.token()); }

  // Changes `state` now, and `picture` before the next pass.
  template <class Change>
  void change(Change how) {
    how(state);
    if (leads) unpictured.push_back(std::move(how));
  }
  template <class T>
  void follow_kind();
  template <class T>
  Task<void> follow();
  Task<void> follow_leases();
  void follow_documents(const DocumentKind& kind);
  template <class Apply, class Clear>
  Task<Status> list_and_watch(client::ResourcePath path, Apply apply, Clear clear,
                              std::uint64_t& synced_round);
  template <class Apply, class Clear>
  Task<void> follow_path(client::ResourcePath path, Apply apply, Clear clear);
  Pass view_of(const ClusterState& seen);
  Task<void> run();
  Task<void> pass();
};

// Lists once, then follows the watch until it ends; the caller comes back for the next round.
template <class Apply, class Clear>
Task<Status> ControlLoop::Impl::list_and_watch(client::ResourcePath path, Apply apply, Clear clear,
                                               std::uint64_t& synced_round) {
  const auto ctx = round_context();
  const auto listing = round;
  std::string revision;
  client::ListOptions list_options{
      .label_selector = {}, .field_selector = {}, .continue_token = {}, .limit = 500};
  bool first = true;
  do {
    NEAP_CO_TRY(const auto list, co_await deps.client.list(ctx, path, list_options));
    if (std::exchange(first, false)) clear();
    if (const auto* items = find_path(list, {"items"}); items && items->is_array())
      for (const auto& item : items->get_array()) apply(item, false);
    const auto* metadata = find_path(list, {"metadata"});
    revision = metadata ? get_string(*metadata, "resourceVersion") : "";
    list_options.continue_token = metadata ? get_string(*metadata, "continue") : "";
  } while (!list_options.continue_token.empty());
  if (std::exchange(synced_round, listing) != listing && listing == round) --unsynced;
  changed.notify_all();
  NEAP_CO_TRY(auto watch, co_await deps.client.watch(ctx, path, {}, revision));
  for (;;) {
    NEAP_CO_TRY(const auto event, co_await watch->next(ctx));
    if (!event) co_return ok();
    if (event->type == client::WatchEvent::Type::kBookmark) continue;
    apply(event->object, event->type == client::WatchEvent::Type::kDeleted);
    changed.notify_all();
  }
}

template <class Apply, class Clear>
Task<void> ControlLoop::Impl::follow_path(client::ResourcePath path, Apply apply, Clear clear) {
  std::uint64_t synced_round = 0;
  Duration backoff = 100ms;
  for (;;) {
    const auto before = round;
    auto status = co_await list_and_watch(path, apply, clear, synced_round);
    if (tasks.context().cancel.is_cancelled()) co_return;
    if (before != round) continue;
    if (status || status.error().code == Code::kOutOfRange) backoff = 100ms;
    if (!co_await sleep_for(deps.runtime.executor(), tasks.context(), backoff)) co_return;
    backoff = std::min<Duration>(backoff * 2, 5s);
  }
}

template <class T>
void ControlLoop::Impl::follow_kind() {
  ++unsynced, ++followed;
  auto apply = [this](const Json& json, bool deleted) {
    auto object = api::from_json<T>(json);
    if (!object) return;  // an object newer than this program: left alone
    auto key = key_of(*object);
    const auto before = state.all<T>().find(key);
    auto after = deleted ? nullptr : std::make_shared<T>(*std::move(object));
    // Who follows does no passes that would take it off again; who begins to lead lists everything anew.
    if (leads && (before || after)) agenda.note(key, before.get(), after.get());
    change([key = std::move(key), after = std::move(after)](ClusterState& seen) {
      seen.all<T>().set(key, after);
    });
  };
  auto clear = [this] {
    agenda.note_everything();
    change([](ClusterState& seen) { seen.all<T>().clear(); });
  };
  tasks.spawn(follow_path(client::TypedClient<T>::path("", ""), apply, clear));
}

void ControlLoop::Impl::follow_documents(const DocumentKind& kind) {
  ++unsynced, ++followed;
  auto apply = [this, kind = std::string(kind.key)](const Json& json, bool deleted) {
    const auto* metadata = find_path(json, {"metadata"});
    if (!metadata) return;
    ObjectKey key{std::string(get_string(*metadata, "namespace")),
                  std::string(get_string(*metadata, "name"))};
    change([kind, key = std::move(key),
            document = deleted ? nullptr : std::make_shared<const Json>(json)](ClusterState& seen) {
      if (document)
        seen.documents[kind].insert_or_assign(key, document);
      else
        seen.documents[kind].erase(key);
    });
  };
  tasks.spawn(follow_path({.group = std::string(kind.group),
                           .version = std::string(kind.version),
                           .plural = std::string(kind.plural),
                           .namespace_ = {},
                           .name = {},
                           .subresource = {}},
                          apply, [this, kind = std::string(kind.key)] {
                            change([kind](ClusterState& seen) { seen.documents[kind].clear(); });
                          }));
}

Task<void> ControlLoop::Impl::follow_leases() {
  auto apply = [this](const Json& json, bool deleted) {
    const auto* metadata = find_path(json, {"metadata"});
    const auto* spec = find_path(json, {"spec"});
    if (!metadata || !spec) return;
    const std::string name(get_string(*metadata, "name"));
    if (deleted) {
      if (leads) agenda.note_lost_node(name);
      change([name](ClusterState& seen) { seen.leases.erase(name); });
      return;
    }
    LeaseView lease{.renew_time = std::string(get_string(*spec, "renewTime")),
                    .seen = deps.runtime.executor().now(),
                    .duration = std::chrono::seconds(
                        std::clamp<std::int64_t>(get_int(*spec, "leaseDurationSeconds", 40), 0, INT32_MAX))};
    const auto known = state.leases.find(name);
    if (known != state.leases.end() && known->second.renew_time == lease.renew_time)
      lease.seen = known->second.seen;
    change([name, lease](ClusterState& seen) { seen.leases.insert_or_assign(name, lease); });
  };
  // Listing again keeps what is known of when each was renewed.
  auto clear = [] {};
  client::ResourcePath path{.group = "coordination.k8s.io",
                            .version = "v1",
                            .plural = "leases",
                            .namespace_ = {},
                            .name = {},
                            .subresource = {}};
  co_await follow_path(path, apply, clear);
}

Pass ControlLoop::Impl::view_of(const ClusterState& seen) {
  return {.runtime = deps.runtime,
          .client = deps.client,
          .publisher = deps.publisher,
          .decisions = deps.decisions,
          .options = options,
          .state = seen,
          .reserved = reserved,
          .ctx = round_context(),
          .spending = deps.spending,
          .agenda = nullptr,
          .tasks = nullptr,
          .nodes = nullptr,
          .deadlines = nullptr,
          .drift = nullptr,
          .repack = nullptr,
          .queues = nullptr,
          .tide = nullptr,
          .work = {}};
}

Task<void> ControlLoop::Impl::pass() {
  if (std::exchange(picture_is_old, false)) {
    tide = {};  // another leader may have learned since
    deadlines = {};
    drift = {};
    repack = {};
    picture = state;
    unpictured.clear();
  }
  for (auto& how : std::exchange(unpictured, {})) how(picture);
  const auto now = deps.runtime.executor().now();
  reserved.settle(picture, now);
  auto view = view_of(picture);
  view.agenda = &agenda;
  view.tasks = &tasks;
  view.nodes = &nodes;
  view.deadlines = &deadlines;
  view.drift = &drift;
  view.repack = &repack;
  view.work = agenda.begin_pass(picture, options, now);
  QueueRound round_of_queues;
  view.queues = &round_of_queues;
  view.tide = &tide;
  jobs_looked_at += view.work.jobs.size();
  using Step = Task<Status> (*)(const Pass&);
  static constexpr std::pair<const char*, Step> kSteps[] = {{"nodes", reconcile_nodes},
                                                            {"budgets", reconcile_budgets},
                                                            {"documents", reconcile_documents},
                                                            {"strategies", reconcile_strategies},
                                                            {"training", reconcile_training},
                                                            {"services", reconcile_services},
                                                            {"tide", reconcile_tide}};
  for (const auto& [name, step] : kSteps) {
    auto status = co_await step(view);
    if (view.ctx.cancel.is_cancelled()) co_return;
    if (!status)
      deps.log.warning("a controller could not finish its pass",
                       {{"controller", name}, telemetry::Field(status.error())});
  }
}

Task<void> ControlLoop::Impl::run() {
  for (;;) {
    const auto seen = changed.generation();
    if (leads && unsynced == 0) co_await pass();
    if (tasks.context().cancel.is_cancelled()) co_return;
    (void)co_await changed.wait(tasks.context().with_deadline(deps.runtime.executor().now() + options.tick),
                                seen);
    if (!co_await sleep_for(deps.runtime.executor(), tasks.context(), options.settle)) co_return;
  }
}

ControlLoop::ControlLoop(Dependencies dependencies, Options options)
    : impl_(std::make_unique<Impl>(std::move(dependencies), std::move(options))) {}
ControlLoop::~ControlLoop() = default;

void ControlLoop::start() {
  auto& i = *impl_;
  i.follow_kind<api::Site>();
  i.follow_kind<api::Link>();
  i.follow_kind<api::Node>();
  i.follow_kind<api::Dataset>();
  i.follow_kind<api::DatasetVersion>();
  i.follow_kind<api::DataPolicy>();
  i.follow_kind<api::SchedulingPolicy>();
  i.follow_kind<api::TrainingJob>();
  i.follow_kind<api::Allocation>();
  i.follow_kind<api::Model>();
  i.follow_kind<api::ModelVersion>();
  i.follow_kind<api::InferenceService>();
  i.follow_kind<api::DeploymentStrategy>();
  i.follow_kind<api::Budget>();
  i.follow_kind<api::Queue>();
  for (const auto& kind : kDocumentKinds) i.follow_documents(kind);
  i.follow_documents(kPriorityClasses);
  ++i.unsynced, ++i.followed;
  i.tasks.spawn(i.follow_leases());
  i.tasks.spawn(i.run());
}
Task<void> ControlLoop::stop() { co_await impl_->tasks.stop(); }
void ControlLoop::abandon() { impl_->tasks.abandon(); }
void ControlLoop::lead(bool leads) {
  auto& i = *impl_;
  if (i.leads == leads) return;
  i.leads = leads;
  ++i.round;
  i.unsynced = i.followed;
  i.picture_is_old = true;
  i.unpictured.clear();
  i.reserved = {};
  i.agenda.note_everything();
  auto over = std::exchange(i.round_over, CancelSource(i.tasks.context().cancel));
  over.cancel();
}
const ClusterState& ControlLoop::state() const { return impl_->state; }
std::uint64_t ControlLoop::jobs_looked_at() const { return impl_->jobs_looked_at; }
Result<Json> ControlLoop::what_if(const Json& object, const std::string& project, Duration duration) const {
  return controllers::what_if(impl_->view_of(impl_->state), object, project, duration);
}
Result<Json> ControlLoop::repack_plan(const std::string& project, const std::string& job,
                                      const std::function<bool(const std::string&)>& may_read) const {
  return controllers::repack_plan(impl_->view_of(impl_->state), project, job, may_read);
}

}  // namespace neap::controllers
