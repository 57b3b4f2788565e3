#include "neap/store/memory_store.h"

#include <deque>
#include <map>

#include "internal/history.h"
#include "internal/limits.h"

namespace neap::store {
namespace {

using internal::EventId;
using internal::History;
using internal::HistoryEntry;
using internal::last_id_of;
using internal::revision_of;

struct Version {
  EventId id = 0;
  Revision create_revision{};
  bool deleted = false;
  std::string value;
};
// A key's versions, oldest first; never empty.
using Versions = std::vector<Version>;

}  // namespace

struct MemoryStore::Impl {
  Impl(Executor& executor, const MemoryStoreOptions& o)
      : options(o),
        history(std::make_shared<History>(
            executor, internal::HistoryLimits{o.history_revisions * 2, std::size_t(256) << 20}, Revision{0},
            Revision{0}, nullptr)) {}

  MemoryStoreOptions options;
  std::shared_ptr<History> history;
  std::map<std::string, Versions, std::less<>> keys;
  // Writes whose predecessors have not been forgotten yet, oldest first.
  std::deque<std::pair<EventId, std::string>> log;

  const Version* find_current(std::string_view key) const {
    const auto it = keys.find(key);
    return it == keys.end() || it->second.back().deleted ? nullptr : &it->second.back();
  }
  static KeyValue to_kv(const std::string& key, const Version& v) {
    return {key, v.value, v.create_revision, revision_of(v.id)};
  }

  void apply(std::vector<Op>& ops, Revision revision) {
    std::vector<HistoryEntry> entries;
    std::uint64_t sub = 0;
    for (auto& op : ops) {
      if (op.kind == Op::Kind::kCheck) continue;
      const EventId id = internal::event_id(revision, sub++);
      auto& versions = keys[op.key];
      const bool existed = !versions.empty() && !versions.back().deleted;
      const Revision created = existed ? versions.back().create_revision : revision;
      const bool is_delete = op.kind == Op::Kind::kRemove;
      entries.push_back({id,
                         {is_delete ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut,
                          {op.key, is_delete ? versions.back().value : op.value, created, revision}}});
      log.emplace_back(id, op.key);
      versions.push_back({id, created, is_delete, std::move(op.value)});
    }
    history->append(std::move(entries), revision);
    const auto keep = options.history_revisions;
    if (to_number(revision) > keep) forget_through(Revision{to_number(revision) - keep});
  }

  void forget_through(Revision at) {
    while (!log.empty() && revision_of(log.front().first) <= at) {
      const auto [id, key] = std::move(log.front());
      log.pop_front();
      const auto it = keys.find(key);
      std::erase_if(it->second, [&](const Version& v) { return v.id < id || (v.id == id && v.deleted); });
      if (it->second.empty()) keys.erase(it);
    }
    history->compact(at);
  }
};

MemoryStore::MemoryStore(Executor& executor, const MemoryStoreOptions& options)
    : impl_(std::make_unique<Impl>(executor, options)) {}
MemoryStore::~MemoryStore() { impl_->history->close(); }

Task<Result<std::optional<KeyValue>>> MemoryStore::get(CallContext ctx, std::string key) {
  if (impl_->history->is_closed()) co_return internal::closed();
  NEAP_CO_TRY_VOID(ctx.check(impl_->history->executor().now()));
  const auto* found = impl_->find_current(key);
  co_return found ? std::optional(Impl::to_kv(key, *found)) : std::nullopt;
}

Task<Result<ListPage>> MemoryStore::list(CallContext ctx, std::string prefix, ListOptions options) {
  auto& history = *impl_->history;
  if (history.is_closed()) co_return internal::closed();
  NEAP_CO_TRY_VOID(ctx.check(history.executor().now()));
  ListPage page;
  page.revision = options.revision == Revision{} ? history.newest() : options.revision;
  if (page.revision < history.compacted()) co_return internal::compacted(page.revision, history.compacted());
  if (page.revision > history.newest()) co_return internal::future(page.revision, history.newest());
  std::size_t bytes = 0;
  auto it = options.start_after >= prefix && !options.start_after.empty()
                ? impl_->keys.upper_bound(options.start_after)
                : impl_->keys.lower_bound(prefix);
  for (; it != impl_->keys.end() && it->first.starts_with(prefix); ++it) {
    const auto& versions = it->second;
    auto v = std::upper_bound(versions.begin(), versions.end(), last_id_of(page.revision),
                              [](EventId id, const Version& x) { return id < x.id; });
    if (v == versions.begin() || (--v)->deleted) continue;
    if ((options.limit != 0 && page.items.size() == options.limit) || bytes > kPageBytesMax) {
      page.more = true;
      break;
    }
    bytes += it->first.size() + v->value.size();
    page.items.push_back(Impl::to_kv(it->first, *v));
  }
  co_return page;
}

Task<Result<Revision>> MemoryStore::commit(CallContext ctx, std::vector<Op> ops) {
  auto& history = *impl_->history;
  if (history.is_closed()) co_return internal::closed();
  NEAP_CO_TRY_VOID(ctx.check(history.executor().now()));
  NEAP_CO_TRY_VOID(internal::check_ops(ops));
  bool writes = false;
  for (const auto& op : ops) {
    const auto* found = impl_->find_current(op.key);
    NEAP_CO_TRY_VOID(internal::check_expected(op, found ? revision_of(found->id) : Revision{}));
    writes |= op.kind != Op::Kind::kCheck;
  }
  if (!writes) co_return history.newest();
  const Revision revision{to_number(history.newest()) + 1};
  impl_->apply(ops, revision);
  co_return revision;
}

Result<std::unique_ptr<Watch>> MemoryStore::watch(std::string prefix, Revision after) {
  return impl_->history->watch(std::move(prefix), after);
}

Task<Status> MemoryStore::compact(CallContext ctx, Revision at) {
  auto& history = *impl_->history;
  if (history.is_closed()) co_return internal::closed();
  NEAP_CO_TRY_VOID(ctx.check(history.executor().now()));
  if (at > history.newest()) co_return internal::future(at, history.newest());
  impl_->forget_through(at);
  co_return ok();
}

Revision MemoryStore::current_revision() const { return impl_->history->newest(); }
Task<void> MemoryStore::close() {
  impl_->history->close();
  co_return;
}

}  // namespace neap::store
