#include "internal/allocation_table.h"

#include <algorithm>

namespace neap::agent {
namespace {

constexpr std::string_view kPrefix = "allocation/";
std::string store_key(const std::string& ns, const std::string& name) {
  return std::string(kPrefix) + ns + "/" + name;
}

bool is_ended_phase(std::string_view phase) {
  return phase == "Succeeded" || phase == "Failed" || phase == "Released";
}

}  // namespace

AllocationTable::AllocationTable(const Agent::Dependencies& deps, const AgentOptions& options,
                                 LeaseFacts lease)
    : deps_(deps),
      options_(options),
      lease_(std::move(lease)),
      changed_(deps.runtime.executor()),
      tasks_(deps.runtime.executor()) {
  tasks_.spawn(keep_persisting());
}
AllocationTable::~AllocationTable() = default;

Task<Status> AllocationTable::persist(CallContext ctx, const api::Allocation& allocation) {
  const auto key = store_key(allocation.metadata.namespace_, allocation.metadata.name);
  auto written = co_await deps_.store.put(ctx, key, to_text(api::to_json(allocation)), std::nullopt);
  if (!written) co_return fail(std::move(written).error(), "saving allocation " + allocation.metadata.name);
  co_return ok();
}

// Workers report at any moment; the disk follows, one write for a burst of changes.
Task<void> AllocationTable::keep_persisting() {
  for (;;) {
    const auto seen = changed_.generation();
    while (!unsaved_.empty()) {
      const auto key = *unsaved_.begin();
      unsaved_.erase(unsaved_.begin());
      const auto it = entries_.find(key);
      if (it == entries_.end() || !it->second.worker) continue;
      if (auto status = co_await persist(tasks_.context(), it->second.worker->allocation()); !status) {
        if (status.error().code == Code::kCancelled) co_return;
        deps_.log.error("the local store refused a write", {{"error", status.error().to_string()}});
        unsaved_.insert(key);
        if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(), 1s)) co_return;
      }
    }
    if (!co_await changed_.wait(tasks_.context(), seen)) co_return;
  }
}

Task<Status> AllocationTable::restore(CallContext ctx) {
  NEAP_CO_TRY(const auto page, co_await store::list_all(deps_.store, ctx, std::string(kPrefix)));
  for (const auto& item : page.items) {
    auto json = parse_json(item.value);
    if (!json) co_return fail(std::move(json).error(), "reading " + item.key + " from the local store");
    NEAP_CO_TRY(const auto allocation, api::from_json<api::Allocation>(*json));
    launch(allocation, false);
  }
  co_return ok();
}

void AllocationTable::launch(const api::Allocation& allocation, bool confirmed) {
  const Key key{allocation.metadata.namespace_, allocation.metadata.name};
  auto& entry = entries_[key];
  WorkerContext context{.deps = deps_, .options = options_, .lease = lease_, .background = tasks_};
  auto changed = [this, key] {
    if (const auto it = entries_.find(key); it != entries_.end()) ++it->second.version;
    unsaved_.insert(key);
    changed_.notify_all();
  };
  if (allocation.spec.serve)
    entry.worker = make_serve_worker(context, allocation, std::move(changed));
  else if (allocation.spec.collect)
    entry.worker = make_collect_worker(context, allocation, std::move(changed));
  else if (allocation.spec.process)
    entry.worker = make_process_worker(context, allocation, std::move(changed));
  else
    return;
  ++entry.version;  // what this life knows is sent once
  if (confirmed) entry.worker->confirm();
  if (!entry.worker->has_ended()) entry.running = tasks_.spawn(run(key, entry.worker.get()));
}

Task<void> AllocationTable::run(Key key, Worker* worker) {
  co_await worker->run(tasks_.context());
  auto it = entries_.find(key);
  if (it == entries_.end() || it->second.worker.get() != worker) co_return;
  if (!it->second.deleted || !worker->has_ended()) {
    it->second.running = false;
    co_return;
  }
  (void)co_await deps_.store.remove(tasks_.context(), store_key(key.first, key.second), std::nullopt);
  (void)deps_.runtime.files().remove_tree(options_.state_directory + "/allocations/" +
                                          worker->allocation().metadata.uid);
  it = entries_.find(key);
  const auto successor = std::move(it->second.successor);
  entries_.erase(it);
  if (!successor) co_return;
  if (auto status = co_await apply(tasks_.context(), *successor); !status)
    deps_.log.error("an allocation could not take the place of its predecessor",
                    {{"allocation", key.second}, telemetry::Field(status.error())});
}

Task<Status> AllocationTable::apply(CallContext ctx, const api::Allocation& desired) {
  const Key key{desired.metadata.namespace_, desired.metadata.name};
  const bool over = is_ended_phase(desired.status.phase);
  const auto it = entries_.find(key);
  if (it != entries_.end() && it->second.worker &&
      it->second.worker->allocation().metadata.uid == desired.metadata.uid) {
    auto& worker = *it->second.worker;
    auto next = worker.allocation();
    next.spec = desired.spec;
    next.metadata.generation = desired.metadata.generation;
    const bool same = api::to_json(next) == api::to_json(worker.allocation());
    if (!same) NEAP_CO_TRY_VOID(co_await persist(ctx, next));
    const auto again = entries_.find(key);
    if (again == entries_.end() || !again->second.worker) co_return ok();
    if (!same) {
      again->second.worker->update(desired);
      // A report may have been saved meanwhile with what was wanted before.
      unsaved_.insert(key);
      changed_.notify_all();
    }
    again->second.worker->confirm();
    // The server gave it up while this node was out of reach: nobody waits for it any more.
    if (over && !again->second.worker->has_ended()) again->second.worker->request_stop("Superseded");
    co_return ok();
  }
  if (it != entries_.end()) NEAP_CO_TRY_VOID(co_await remove(ctx, key.first, key.second));
  if (const auto old = entries_.find(key); old != entries_.end()) {
    old->second.successor = desired;  // run() comes back to it
    co_return ok();
  }
  if (over && (desired.metadata.deletionTimestamp || desired.spec.desired == "Stop")) co_return ok();
  NEAP_CO_TRY_VOID(co_await persist(ctx, desired));
  if (const auto other = entries_.find(key); other != entries_.end()) {
    if (other->second.worker) other->second.worker->update(desired);
    co_return ok();
  }
  launch(desired, true);
  co_return ok();
}

Task<Status> AllocationTable::remove(CallContext ctx, const std::string& ns, const std::string& name) {
  const Key key{ns, name};
  const auto it = entries_.find(key);
  if (it == entries_.end()) co_return ok();
  it->second.deleted = true;
  it->second.successor.reset();
  if (it->second.running) {
    it->second.worker->request_stop("Deleted");
    co_return ok();  // run() finishes the removal
  }
  const auto uid = it->second.worker ? it->second.worker->allocation().metadata.uid : std::string{};
  auto removed = co_await deps_.store.remove(ctx, store_key(ns, name), std::nullopt);
  if (!removed && removed.error().code != Code::kNotFound) co_return fail(std::move(removed).error());
  if (!uid.empty()) (void)deps_.runtime.files().remove_tree(options_.state_directory + "/allocations/" + uid);
  entries_.erase(key);
  co_return ok();
}

Task<Status> AllocationTable::retain(CallContext ctx, const std::set<Key>& names) {
  std::vector<Key> gone;
  for (const auto& [key, entry] : entries_)
    if (!names.contains(key)) gone.push_back(key);
  for (const auto& key : gone) NEAP_CO_TRY_VOID(co_await remove(ctx, key.first, key.second));
  co_return ok();
}

void AllocationTable::drain_all(const std::string& reason) {
  for (auto& [key, entry] : entries_)
    if (entry.worker && !entry.worker->has_ended()) entry.worker->request_stop(reason);
}

bool AllocationTable::has_running_work() const {
  return std::ranges::any_of(entries_,
                             [](const auto& e) { return e.second.worker && !e.second.worker->has_ended(); });
}

std::optional<WorkSubject> AllocationTable::find_work(const std::string& ns, const std::string& name) const {
  const auto it = entries_.find({ns, name});
  if (it == entries_.end() || !it->second.worker) return std::nullopt;
  return it->second.worker->subject();
}

std::vector<api::Allocation> AllocationTable::unsent() const {
  std::vector<api::Allocation> out;
  for (const auto& [key, entry] : entries_)
    if (entry.worker && !entry.deleted && entry.version != entry.sent_version) {
      out.push_back(entry.worker->allocation());
      out.back().metadata.generation = std::int64_t(entry.version);  // ticket for confirm()
    }
  return out;
}

void AllocationTable::confirm(const api::Allocation& sent) {
  if (const auto it = entries_.find({sent.metadata.namespace_, sent.metadata.name}); it != entries_.end())
    it->second.sent_version = std::uint64_t(sent.metadata.generation);
}

Task<void> AllocationTable::stop() { co_await tasks_.stop(); }
void AllocationTable::abandon() { tasks_.abandon(); }

}  // namespace neap::agent
