// What every controller of the loop gets, and the small operations they share.
#pragma once

#include <map>
#include <string>
#include <type_traits>

#include "internal/agenda.h"
#include "neap/base/task_group.h"
#include "neap/client/typed.h"
#include "neap/controllers/controller.h"

namespace neap::controllers {

// Name of a gang member's allocation.
std::string member_name(const std::string& job, std::int64_t epoch, std::int64_t replica);

// Reservations: capacity that this leader gave away and its picture does not show yet. Without them two
// requests of one pass, or of two quick ones, would get the same cores.
class Reservations {
 public:
  struct Entry {
    std::string node, owner;
    api::Resources resources;
    MonoTime made{};
    bool is_written = false;  // the allocation is in the store
  };
  // `allocation` is the key of the one that will be created; `owner` does not count its own.
  void add(ObjectKey allocation, Entry entry) {
    entries_.insert_or_assign(std::move(allocation), std::move(entry));
  }
  void remove(const ObjectKey& allocation) { entries_.erase(allocation); }
  void set_written(const ObjectKey& allocation) {
    if (const auto it = entries_.find(allocation); it != entries_.end()) it->second.is_written = true;
  }
  bool is_written(const ObjectKey& allocation) const {
    const auto it = entries_.find(allocation);
    return it != entries_.end() && it->second.is_written;
  }
  // Forgets what the picture shows, and what was never written.
  void settle(const ClusterState& picture, MonoTime now);
  const std::map<ObjectKey, Entry>& entries() const { return entries_; }

 private:
  std::map<ObjectKey, Entry> entries_;
};

class DeadlineChoices;
class DriftTable;
class NodeCache;
struct QueueRound;
class RepackTable;
struct TideTable;

struct Pass {
  io::Runtime& runtime;
  client::ResourceClient& client;
  ModelPublisher& publisher;
  const RecordSink& decisions;
  const Options& options;
  const ClusterState& state;  // does not change during a pass
  Reservations& reserved;
  CallContext ctx;
  const Spending* spending = nullptr;
  // Null where nothing is remembered from pass to pass: everything is looked at, one after the other.
  Agenda* agenda = nullptr;
  TaskGroup* tasks = nullptr;
  NodeCache* nodes = nullptr;
  DeadlineChoices* deadlines = nullptr;
  DriftTable* drift = nullptr;
  RepackTable* repack = nullptr;
  // What this pass decided about queues, for those who place after it; null where only jobs are placed.
  QueueRound* queues = nullptr;
  TideTable* tide = nullptr;
  Work work{};

  WallTime wall() const { return runtime.clock().wall(); }
  MonoTime now() const { return runtime.executor().now(); }
};

// Runs make(i), a Task<void>, for every i below `count`, at most `width` of them at a time and begun in this
// order; returns when all have ended. Writes that wait together share the store's and the ledger's commits.
template <class Make>
Task<void> for_each_concurrently(const Pass& pass, std::size_t count, std::size_t width, Make make) {
  struct Shared {
    explicit Shared(Executor& executor) : ended(executor) {}
    std::size_t next = 0, running = 0;
    Notifier ended;
  };
  static constexpr auto kWorker = [](std::shared_ptr<Shared> shared, std::size_t until,
                                     const Make& task) -> Task<void> {
    while (shared->next < until) co_await task(shared->next++);
    --shared->running;
    shared->ended.notify_all();
  };
  auto shared = std::make_shared<Shared>(pass.runtime.executor());
  for (std::size_t i = 0; pass.tasks && i < std::min(count, width); ++i)
    if (pass.tasks->spawn(kWorker(shared, count, make))) ++shared->running;
  if (shared->running == 0)
    while (shared->next < count) co_await make(shared->next++);
  while (shared->running > 0) (void)co_await shared->ended.wait({}, shared->ended.generation());
}
inline constexpr std::size_t kWritesInFlight = 256;

// A conflict or a concurrent create is not a failure: the next pass sees the newer object.
Status tolerate_races(Status status);

template <class T>
Task<Status> create_if_absent(const Pass& pass, T object) {
  if (pass.state.find<T>(object.metadata.namespace_, object.metadata.name)) co_return ok();
  const auto key = key_of(object);
  if (pass.reserved.is_written(key)) co_return ok();
  if constexpr (std::is_same_v<T, api::Allocation>)
    pass.reserved.add(key,
                      {.node = object.spec.node,
                       .owner = object.spec.ownerKind + "/" + key.namespace_ + "/" + object.spec.ownerName,
                       .resources = object.spec.resources,
                       .made = pass.now()});
  auto created = co_await pass.client.create(pass.ctx, client::TypedClient<T>::path(key.namespace_, ""),
                                             api::to_json(object), {});
  if (!created && created.error().code != Code::kAlreadyExists) {
    if constexpr (std::is_same_v<T, api::Allocation>) pass.reserved.remove(key);
    co_return fail(std::move(created).error());
  }
  if constexpr (std::is_same_v<T, api::Allocation>) pass.reserved.set_written(key);
  co_return ok();
}

template <class T>
Task<Status> write_status(const Pass& pass, T object) {
  // The answer is not decoded: what was written comes back through the watch.
  auto path = client::TypedClient<T>::path(object.metadata.namespace_, object.metadata.name, "status");
  auto updated = co_await pass.client.update(pass.ctx, std::move(path), api::to_json(object), {});
  if (!updated) co_return tolerate_races(fail(std::move(updated).error()));
  co_return ok();
}

template <class T>
Task<Status> write_spec(const Pass& pass, T object) {
  auto path = client::TypedClient<T>::path(object.metadata.namespace_, object.metadata.name);
  auto updated = co_await pass.client.update(pass.ctx, std::move(path), api::to_json(object), {});
  if (!updated) co_return tolerate_races(fail(std::move(updated).error()));
  co_return ok();
}

// True when both map to the same JSON: nothing to write.
template <class T>
bool same_object(const T& a, const T& b) {
  return api::to_json(a) == api::to_json(b);
}

template <class T>
api::OwnerReference owner_reference(const T& owner) {
  return {.apiVersion = std::string(api::kGroup) + "/" + std::string(api::kVersion),
          .kind = std::string(api::KindOf<T>::kind),
          .name = owner.metadata.name,
          .uid = owner.metadata.uid,
          .controller = true,
          .blockOwnerDeletion = true};
}

// Labels that the bill groups by, carried from owner to owned.
api::Labels billing_labels(const api::ObjectMeta& owner);

Task<Status> reconcile_nodes(const Pass& pass);
Task<Status> reconcile_budgets(const Pass& pass);
Task<Status> reconcile_documents(const Pass& pass);
Task<Status> reconcile_training(const Pass& pass);
Task<Status> reconcile_services(const Pass& pass);
Task<Status> reconcile_tide(const Pass& pass);
Task<Status> reconcile_strategies(const Pass& pass);

}  // namespace neap::controllers
