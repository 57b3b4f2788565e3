#include "internal/collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace neap::apiserver {
namespace {

constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};
constexpr Duration kRetryAfter = std::chrono::milliseconds(500);

const JsonArray* references_of(const Json& object) {
  const auto* list = find_path(object, {"metadata", "ownerReferences"});
  return list ? list->if_array() : nullptr;
}
bool may_have_owner(const std::string& text) { return text.find("\"ownerReferences\"") != std::string::npos; }

// The list of owners as it stands in a stored text; empty where there is none.
std::string_view owners_text(std::string_view text) {
  const auto begin = text.find("\"ownerReferences\":[");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find(']', begin) - begin);
}

const api::KindEntry* owner_kind(const api::KindTable& kinds, const Json& reference) {
  const auto version_text = get_string(reference, "apiVersion");
  const auto slash = version_text.find('/');
  const auto group = slash == std::string_view::npos ? std::string_view() : version_text.substr(0, slash);
  const auto version = slash == std::string_view::npos ? version_text : version_text.substr(slash + 1);
  return kinds.find_kind(group, version, get_string(reference, "kind"));
}

}  // namespace

Collector::Collector(Executor& executor, Rest& rest, Options options)
    : executor_(executor),
      rest_(rest),
      options_(options),
      tasks_(executor),
      changed_(executor),
      sweep_now_(executor) {}

void Collector::start() {
  tasks_.spawn(work());
  tasks_.spawn(sweep_regularly());
}
Task<void> Collector::stop() { co_await tasks_.stop(); }
void Collector::abandon() { tasks_.abandon(); }

void Collector::learn(const std::string& key, const WatchHub::Known& known) {
  if (!may_have_owner(*known.text)) return;
  if (const auto object = parse_json(*known.text, kStoredLimits)) index(key, *object);
}

void Collector::index(const std::string& key, const Json& object) {
  forget(key);
  const auto* references = references_of(object);
  if (!references) return;
  auto& uids = owners_[key];
  for (const auto& reference : *references) {
    const auto uid = get_string(reference, "uid");
    if (uid.empty()) continue;
    uids.emplace_back(uid);
    dependents_[std::string(uid)].insert(key);
  }
}

void Collector::forget(const std::string& key) {
  const auto at = owners_.find(key);
  if (at == owners_.end()) return;
  for (const auto& uid : at->second)
    if (const auto keys = dependents_.find(uid); keys != dependents_.end()) {
      keys->second.erase(key);
      if (keys->second.empty()) dependents_.erase(keys);
    }
  owners_.erase(at);
}

void Collector::set_active(bool on) {
  if (active_ == on) return;
  active_ = on;
  queue_.clear();
  queued_.clear();
  sweep_now_.notify_all();
}

void Collector::enqueue(std::string key) {
  if (!active_) return;
  if (!queued_.insert(key).second) return;
  queue_.push_back(std::move(key));
  changed_.notify_all();
}

void Collector::observe(const EventPtr& event) {
  const auto parts = split_key(event->key);
  // Heartbeats and events own nothing and are owned by nothing that this is about; they are most of the
  // traffic.
  if (parts.plural == "leases" || (parts.group.empty() && parts.plural == "events")) return;
  if (event->type != ObjectEvent::Type::kDeleted && !concerns(*event)) return;
  const auto object = event->take_object();
  const auto uid = std::string(meta_string(object, "uid"));
  if (event->type == ObjectEvent::Type::kDeleted) {
    for (const auto& owner :
         owners_.contains(event->key) ? owners_.find(event->key)->second : std::vector<std::string>())
      if (const auto waiting = waiting_owners_.find(owner); waiting != waiting_owners_.end())
        enqueue(waiting->second);
    waiting_owners_.erase(uid);
    forget(event->key);
    if (const auto keys = dependents_.find(uid); keys != dependents_.end())
      for (const auto& key : keys->second) enqueue(key);
    return;
  }
  const bool had_owner = owners_.contains(event->key);
  index(event->key, object);
  // An owner that this event's state holds is watched from here on; only one it does not hold is looked for.
  if (references_of(object) && (is_terminating(object) || (!had_owner && !knows_owners(object, parts.ns))))
    enqueue(event->key);
  if (!is_terminating(object)) return;
  enqueue(event->key);
  // An owner that waits for its dependents looks again when one of them goes.
  if (has_finalizer(object, "foregroundDeletion")) waiting_owners_.insert_or_assign(uid, event->key);
}

// Most writes change neither owners nor an end, and are seen to without being parsed.
bool Collector::concerns(const ObjectEvent& event) const {
  if (event.text().find("\"deletionTimestamp\"") != std::string::npos) return true;
  const auto owners = owners_text(event.text());
  return owners.empty() ? owners_.contains(event.key)
                        : !event.text_before() || owners != owners_text(*event.text_before());
}

bool Collector::knows_owners(const Json& object, std::string_view ns) const {
  const auto& deps = rest_.dependencies();
  return std::ranges::all_of(*references_of(object), [&](const Json& reference) {
    const auto* kind = owner_kind(deps.kinds, reference);
    if (!kind) return true;
    const auto* owner = deps.hub.find(object_key(*kind, ns, get_string(reference, "name")));
    return owner && owner->text->find(fmt::format("\"uid\":\"{}\"", get_string(reference, "uid"))) !=
                        std::string::npos;
  });
}

const api::KindEntry* Collector::kind_of(std::string_view key) const {
  const auto parts = split_key(key);
  for (const auto& kind : rest_.dependencies().kinds.all())
    if (kind.group == parts.group && kind.plural == parts.plural) return &kind;
  return nullptr;
}

Task<void> Collector::work() {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    if (queue_.empty()) {
      if (!co_await changed_.wait(ctx, changed_.generation())) co_return;
      continue;
    }
    auto key = std::move(queue_.front());
    queue_.pop_front();
    queued_.erase(key);
    busy_ = true;
    const bool done = co_await handle(key);
    busy_ = false;
    if (!done)
      tasks_.spawn([](Collector& self, std::string again) -> Task<void> {
        if (co_await sleep_for(self.executor_, self.tasks_.context(), kRetryAfter))
          self.enqueue(std::move(again));
      }(*this, std::move(key)));
  }
}

Task<bool> Collector::handle(std::string key) {
  const auto stored = co_await rest_.dependencies().store.get(tasks_.context(), key);
  if (!stored) co_return false;
  if (!*stored) co_return true;
  auto object = parse_json((*stored)->value, kStoredLimits);
  const auto* kind = kind_of(key);
  if (!object || !kind) co_return true;
  const auto revision = (*stored)->mod_revision;
  if (is_terminating(*object)) {
    if (kind->group.empty() && kind->plural == "namespaces")
      co_return co_await empty_namespace(key, *object, revision);
    if (has_finalizer(*object, "foregroundDeletion") || has_finalizer(*object, "orphan"))
      co_return co_await finish_owner(key, *object, revision);
    co_return true;
  }
  if (references_of(*object)) co_return co_await collect_dependent(key, *std::move(object), revision);
  co_return true;
}

Task<bool> Collector::owner_exists(const Json& reference, std::string_view ns) {
  const auto* kind = owner_kind(rest_.dependencies().kinds, reference);
  // An owner of a kind nobody here knows cannot be judged: the dependent stays.
  if (!kind) co_return true;
  const auto found = co_await rest_.dependencies().store.get(
      tasks_.context(), object_key(*kind, ns, get_string(reference, "name")));
  if (!found) co_return true;
  if (!*found) co_return false;
  const auto object = parse_json((*found)->value, kStoredLimits);
  co_return !object || meta_string(*object, "uid") == get_string(reference, "uid");
}

Task<bool> Collector::collect_dependent(std::string key, Json object, Revision revision) {
  const auto parts = split_key(key);
  JsonArray alive;
  for (const auto& reference : *references_of(object))
    if (co_await owner_exists(reference, parts.ns)) alive.push_back(reference);
  const auto total = references_of(object)->size();
  if (total == 0 || alive.size() == total) co_return true;
  if (!alive.empty()) {
    metadata_of(object)["ownerReferences"] = std::move(alive);
    const auto done =
        co_await rest_.dependencies().store.put(tasks_.context(), key, stored_text(object), revision);
    co_return done || done.error().code == Code::kNotFound;
  }
  const auto done =
      co_await rest_.remove_now(tasks_.context(), *kind_of(key), std::string(parts.ns),
                                std::string(parts.name), std::string(meta_string(object, "uid")));
  co_return done || done.error().error.code == Code::kNotFound;
}

Task<bool> Collector::finish_owner(std::string key, Json object, Revision revision) {
  const auto uid = std::string(meta_string(object, "uid"));
  const bool orphan = has_finalizer(object, "orphan");
  std::vector<std::string> keys;
  if (const auto at = dependents_.find(uid); at != dependents_.end())
    keys.assign(at->second.begin(), at->second.end());
  auto& store = rest_.dependencies().store;
  bool blocked = false;
  for (const auto& dependent : keys) {
    const auto stored = co_await store.get(tasks_.context(), dependent);
    if (!stored) co_return false;
    if (!*stored) continue;
    auto found = parse_json((*stored)->value, kStoredLimits);
    const auto* kind = kind_of(dependent);
    const auto* references = found ? references_of(*found) : nullptr;
    if (!references || !kind) continue;
    JsonArray others;
    bool ours = false, blocks = false;
    for (const auto& reference : *references) {
      if (get_string(reference, "uid") != uid) {
        others.push_back(reference);
        continue;
      }
      ours = true;
      blocks = blocks || get_bool(reference, "blockOwnerDeletion");
    }
    if (!ours) continue;
    if (orphan || !others.empty()) {
      if (others.empty())
        metadata_of(*found).erase("ownerReferences");
      else
        metadata_of(*found)["ownerReferences"] = std::move(others);
      if (!co_await store.put(tasks_.context(), dependent, stored_text(*found), (*stored)->mod_revision))
        co_return false;
      continue;
    }
    if (is_terminating(*found)) {
      blocked = blocked || blocks;
      continue;
    }
    const auto parts = split_key(dependent);
    const auto done =
        co_await rest_.remove_now(tasks_.context(), *kind, std::string(parts.ns), std::string(parts.name),
                                  std::string(meta_string(*found, "uid")));
    if (!done && done.error().error.code != Code::kNotFound) co_return false;
    // Gone at once, or held by finalizers of its own: then it holds the owner, too.
    blocked = blocked || (blocks && done && get_string(done->body, "status") != "Success");
  }
  if (blocked) co_return false;
  remove_finalizer(object, "foregroundDeletion");
  remove_finalizer(object, "orphan");
  const auto done = finalizer_count(object) == 0
                        ? co_await store.remove(tasks_.context(), key, revision)
                        : co_await store.put(tasks_.context(), key, stored_text(object), revision);
  co_return done || done.error().code == Code::kNotFound;
}

namespace {
// What runs goes before what it runs by: policies, data and rights stand until nothing needs them.
bool is_work(const api::KindEntry& kind) {
  constexpr std::array kWork{std::string_view("deploymentstrategies"),
                             std::string_view("trainingjobs"),
                             std::string_view("inferenceservices"),
                             std::string_view("allocations"),
                             std::string_view("deployments"),
                             std::string_view("cronjobs"),
                             std::string_view("jobs"),
                             std::string_view("podgroups")};
  return std::ranges::find(kWork, kind.plural) != kWork.end();
}

// The condition that tells what a namespace still waits for.
Json remaining_condition(const std::map<std::string, std::size_t>& remaining, WallTime now) {
  std::string text;
  for (const auto& [plural, count] : remaining)
    text += fmt::format("{}{} has {} resource instances", text.empty() ? "" : ", ", plural, count);
  return JsonObject{{"type", "NamespaceContentRemaining"},
                    {"status", "True"},
                    {"reason", "SomeResourcesRemain"},
                    {"message", "Some resources are remaining: " + text},
                    {"lastTransitionTime", format_rfc3339(now)}};
}
}  // namespace

Task<void> Collector::tell_remaining(std::string key, Json object, Revision revision,
                                     std::map<std::string, std::size_t> remaining) {
  auto& dependencies = rest_.dependencies();
  Json wanted = remaining_condition(remaining, dependencies.runtime.clock().wall());
  auto& status = sub_object(object.get_object(), "status");
  if (const auto* known = status.if_contains("conditions"); known && known->is_array())
    for (const auto& condition : known->get_array())
      if (get_string(condition, "message") == get_string(wanted, "message")) co_return;
  status["conditions"] = JsonArray{std::move(wanted)};
  // Only told: whoever wrote meanwhile comes first, and the next round tells again.
  (void)co_await dependencies.store.put(tasks_.context(), key, stored_text(object), revision);
}

Task<bool> Collector::empty_namespace(std::string key, Json object, Revision revision) {
  const auto name = std::string(meta_string(object, "name"));
  std::map<std::string, std::size_t> remaining;
  auto& dependencies = rest_.dependencies();
  for (const bool work : {true, false})
    for (const auto& kind : dependencies.kinds.all()) {
      if (!kind.namespaced || !kind.view_of.empty() || is_work(kind) != work) continue;
      if (!work && !remaining.empty()) break;
      const auto page = co_await dependencies.store.list(tasks_.context(), list_prefix(kind, name),
                                                         {.limit = 500, .start_after = {}, .revision = {}});
      if (!page) co_return false;
      for (const auto& item : page->items) {
        const auto content = parse_json(item.value, kStoredLimits);
        const auto uid = content ? std::string(meta_string(*content, "uid")) : std::string();
        const auto done = co_await rest_.remove_now(tasks_.context(), kind, name,
                                                    std::string(split_key(item.key).name), uid);
        if (done && get_string(done->body, "status") == "Success") continue;
        ++remaining[qualified(kind)];
      }
      if (page->more) ++remaining[qualified(kind)];
    }
  if (!remaining.empty()) {
    co_await tell_remaining(std::move(key), std::move(object), revision, std::move(remaining));
    co_return false;
  }
  // Nothing can have entered meanwhile: creation checks the namespace's revision in its own commit.
  const auto done = co_await dependencies.store.remove(tasks_.context(), key, revision);
  co_return done || done.error().code == Code::kNotFound;
}

Task<void> Collector::sweep_regularly() {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    if (!co_await rest_.dependencies().hub.whole(ctx)) co_return;
    const auto seen = sweep_now_.generation();
    if (active_) co_await sweep();
    (void)co_await sweep_now_.wait(ctx.with_deadline(executor_.now() + options_.sweep_interval), seen);
  }
}

Task<void> Collector::sweep() {
  auto& dependencies = rest_.dependencies();
  std::vector<std::string> old_events;
  const auto oldest = dependencies.runtime.clock().wall() - options_.event_lifetime;
  const auto* events = dependencies.kinds.find("", "v1", "events");
  dependencies.hub.for_each(kRegistry, [&](const std::string& key, const WatchHub::Known& known) {
    if (owners_.contains(key) || known.text->find("\"deletionTimestamp\"") != std::string::npos) enqueue(key);
    if (!events || !key.starts_with(kind_prefix(*events))) return;
    const auto object = parse_json(*known.text, kStoredLimits);
    if (!object) return;
    auto stamp = get_string(*object, "lastTimestamp");
    if (stamp.empty()) stamp = meta_string(*object, "creationTimestamp");
    if (const auto time = parse_rfc3339(stamp); time && *time < oldest) old_events.push_back(key);
  });
  for (const auto& key : old_events) {
    if (tasks_.context().cancel.is_cancelled()) co_return;
    const auto removed = co_await dependencies.store.remove(tasks_.context(), key);
    if (!removed && removed.error().code != Code::kNotFound) co_return;
  }
}

}  // namespace neap::apiserver
