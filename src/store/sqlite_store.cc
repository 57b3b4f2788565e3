#include "neap/store/sqlite_store.h"

#include <fmt/format.h>

#include <deque>

#include "internal/history.h"
#include "internal/limits.h"
#include "internal/revision_table.h"
#include "neap/base/task_group.h"

namespace neap::store {
namespace {

using internal::BatchOutcome;
using internal::History;
using internal::HistoryEntry;
using internal::last_id_of;
using internal::revision_of;
using internal::RevisionTable;

constexpr std::size_t kBatchCommitsMax = 1024;
constexpr std::size_t kBatchBytesMax = 16u << 20;
constexpr std::size_t kQueueBytesMax = 64u << 20;
// Old rows forgotten per transaction: at least this, and twice what it writes, so that it keeps up.
constexpr std::size_t kForgetRowsMin = 256;
// A busy writer lets the WAL grow by this factor before it checkpoints.
constexpr std::uint64_t kBusyCheckpointFactor = 8;
constexpr Duration kSampleInterval = 1s;
// A larger database is checked while it is served already, every row at each reading in any case.
constexpr std::uint64_t kCheckAtOpenBytesMax = 8u << 20;

// Runs `work` on a worker thread. The job owns what it touches, so that the caller's frame may be
// destroyed meanwhile.
template <class R>
Task<R> on_worker(io::Runtime& runtime, std::move_only_function<R()> work) {
  auto out = std::make_shared<std::optional<R>>();
  co_await runtime.run_blocking([out, w = std::move(work)]() mutable {
    out->emplace(w());
    // What the job owned is released before the caller goes on: close() counts on being the last owner.
    w = nullptr;
  });
  co_return std::move(**out);
}

struct PendingCommit {
  std::vector<Op> ops;
  Completion<Result<Revision>> done;
};

}  // namespace

struct SqliteStore::Impl : std::enable_shared_from_this<SqliteStore::Impl> {
  Impl(io::Runtime& r, SqliteStoreOptions o)
      : runtime(r), options(std::move(o)), group(r.executor()), work(r.executor()), forgotten(r.executor()) {}

  io::Runtime& runtime;
  SqliteStoreOptions options;
  std::shared_ptr<RevisionTable> table;
  std::shared_ptr<History> history;
  TaskGroup group;
  std::deque<PendingCommit> queue;
  std::size_t queued_bytes = 0;
  Notifier work;
  bool closing = false;
  std::optional<Error> failure;

  Revision forget_target{};
  bool forgot_all = true;
  Notifier forgotten;
  // When which revision was the newest, oldest first; one sample per kSampleInterval.
  std::deque<std::pair<MonoTime, Revision>> samples;

  void start(std::unique_ptr<RevisionTable> opened) {
    table = std::move(opened);
    std::weak_ptr<Impl> weak = weak_from_this();
    history = std::make_shared<History>(
        runtime.executor(), internal::HistoryLimits{}, table->opened_at(),
        revision_of(table->opened_forgotten_through()),
        [weak](std::string prefix, internal::EventId after, internal::EventId through, std::size_t max) {
          return load_events(weak, std::move(prefix), after, through, max);
        });
    group.spawn(write_loop(*this));
    if (!table->is_checked()) group.spawn(check_all(*this));
  }
  static Task<void> check_all(Impl& self) {
    const auto sound =
        co_await on_worker<Status>(self.runtime, [table = self.table] { return table->check(); });
    if (!sound && !self.closing) self.fail_for_good(sound.error());
  }

  static Task<Result<std::vector<HistoryEntry>>> load_events(std::weak_ptr<Impl> weak, std::string prefix,
                                                             internal::EventId after,
                                                             internal::EventId through, std::size_t max) {
    auto self = weak.lock();
    if (!self || !self->table) co_return internal::closed();
    co_return co_await on_worker<Result<std::vector<HistoryEntry>>>(
        self->runtime, [table = self->table, prefix = std::move(prefix), after, through, max] {
          return table->load_events(prefix, after, through, max);
        });
  }

  Status check_open() const {
    if (closing || !table) return internal::closed();
    return ok();
  }
  Status check_writable() const {
    NEAP_TRY_VOID(check_open());
    if (!failure) return ok();
    return fail(Code::kUnavailable, "store.failed",
                fmt::format("the store stopped writing after a failure ({}); check the disk, then restart",
                            failure->message));
  }

  std::vector<PendingCommit> take_batch() {
    std::vector<PendingCommit> out;
    std::size_t bytes = 0;
    while (!queue.empty() && out.size() < kBatchCommitsMax && bytes < kBatchBytesMax) {
      bytes += internal::bytes_of(queue.front().ops);
      out.push_back(std::move(queue.front()));
      queue.pop_front();
    }
    queued_bytes -= bytes;
    return out;
  }

  // The oldest states that both limits allow to forget.
  void advance_forget_target() {
    const auto now = runtime.executor().now();
    const auto newest = to_number(history->newest());
    if (samples.empty() || now - samples.back().first >= kSampleInterval)
      samples.emplace_back(now, history->newest());
    Revision old_enough = options.history_age == Duration{} ? history->newest() : Revision{};
    while (!samples.empty() && now - samples.front().first >= options.history_age) {
      old_enough = std::max(old_enough, samples.front().second);
      // The last such sample stays the answer until a newer one is old enough.
      if (samples.size() == 1 || now - samples[1].first < options.history_age) break;
      samples.pop_front();
    }
    if (newest <= options.history_revisions) return;
    set_forget_target(std::min(old_enough, Revision{newest - options.history_revisions}));
  }
  void set_forget_target(Revision target) {
    if (target <= forget_target || target <= history->compacted()) return;
    forget_target = target;
    forgot_all = false;
    history->compact(target);
  }

  static Task<void> write_loop(Impl& self) {
    for (;;) {
      if (self.queue.empty() && self.forgot_all) {
        if (self.closing) co_return;
        (void)co_await self.work.wait({}, self.work.generation());
        continue;
      }
      if (self.closing && self.queue.empty()) co_return;
      co_await self.write_batch();
    }
  }

  Task<void> write_batch() {
    auto batch = take_batch();
    auto commits = std::make_shared<std::vector<std::vector<Op>>>();
    for (auto& pending : batch) commits->push_back(std::move(pending.ops));
    const Revision target = forgot_all ? Revision{} : forget_target;
    const std::size_t rows = std::max(kForgetRowsMin, 2 * commits->size());
    if (auto writable = failure ? check_writable() : ok(); !writable) {
      for (auto& pending : batch) pending.done.complete(fail(writable.error()));
      give_up_forgetting();
      co_return;
    }
    auto outcome = co_await on_worker<BatchOutcome>(
        runtime, [table = table, commits, target, rows] { return table->apply(*commits, target, rows); });
    if (!outcome.transaction) {
      on_transaction_failed(outcome.transaction.error(), batch);
      co_return;
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto& commit = outcome.commits[i];
      if (!commit.entries.empty()) history->append(std::move(commit.entries), *commit.revision);
      batch[i].done.complete(std::move(commit.revision));
    }
    if (target != Revision{}) {
      forgot_all = outcome.forgot_all && target == forget_target;
      forgotten.notify_all();
    }
    advance_forget_target();
    const auto pages_max = options.checkpoint_pages * (queue.empty() ? 1 : kBusyCheckpointFactor);
    if (outcome.wal_pages >= pages_max) co_await checkpoint();
  }

  void fail_for_good(const Error& error) {
    if (failure) return;
    failure = error;
    if (options.on_failure) options.on_failure(error);
  }
  void on_transaction_failed(const Error& error, std::vector<PendingCommit>& batch) {
    // A refused write leaves the database as it was; any other failure leaves open what is on disk.
    if (error.reason != "store.disk.full") fail_for_good(error);
    for (auto& pending : batch)
      pending.done.complete(failure ? Result<Revision>(fail(check_writable().error())) : fail(error));
    give_up_forgetting();
  }
  void give_up_forgetting() {
    forgot_all = true;
    forgotten.notify_all();
  }
  Task<void> checkpoint() {
    auto status = co_await on_worker<Status>(runtime, [table = table] { return table->checkpoint(false); });
    if (!status && status.error().reason != "store.disk.full") fail_for_good(status.error());
  }
};

SqliteStore::SqliteStore(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

SqliteStore::~SqliteStore() {
  impl_->group.abandon();
  if (impl_->history) impl_->history->close();
}

Task<Result<std::unique_ptr<SqliteStore>>> SqliteStore::open(io::Runtime& runtime,
                                                             SqliteStoreOptions options) {
  using Opened = Result<std::unique_ptr<RevisionTable>>;
  NEAP_CO_TRY(auto table, co_await on_worker<Opened>(
                              runtime, [&runtime, directory = options.directory, vfs = options.use_io_vfs] {
                                return RevisionTable::open(
                                    runtime, directory, vfs,
                                    vfs ? std::numeric_limits<std::uint64_t>::max() : kCheckAtOpenBytesMax);
                              }));
  auto impl = std::make_shared<Impl>(runtime, std::move(options));
  impl->start(std::move(table));
  co_return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(impl)));
}

Task<Result<std::optional<KeyValue>>> SqliteStore::get(CallContext ctx, std::string key) {
  NEAP_CO_TRY_VOID(impl_->check_open());
  NEAP_CO_TRY_VOID(ctx.check(impl_->runtime.executor().now()));
  co_return co_await on_worker<Result<std::optional<KeyValue>>>(
      impl_->runtime, [table = impl_->table, key = std::move(key)] { return table->get(key); });
}

Task<Result<ListPage>> SqliteStore::list(CallContext ctx, std::string prefix, ListOptions options) {
  NEAP_CO_TRY_VOID(impl_->check_open());
  NEAP_CO_TRY_VOID(ctx.check(impl_->runtime.executor().now()));
  auto history = impl_->history;
  const Revision asked = options.revision;
  if (asked != Revision{} && asked < history->compacted())
    co_return internal::compacted(asked, history->compacted());
  auto page = co_await on_worker<Result<ListPage>>(
      impl_->runtime, [table = impl_->table, prefix = std::move(prefix), options = std::move(options)] {
        return table->list(prefix, options);
      });
  // Rows of an old state may have been forgotten while it was read.
  if (asked != Revision{} && asked < history->compacted())
    co_return internal::compacted(asked, history->compacted());
  co_return page;
}

Task<Result<Revision>> SqliteStore::commit(CallContext ctx, std::vector<Op> ops) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_writable());
  NEAP_CO_TRY_VOID(ctx.check(impl->runtime.executor().now()));
  NEAP_CO_TRY_VOID(internal::check_ops(ops));
  const std::size_t bytes = internal::bytes_of(ops);
  if (impl->queue.size() >= impl->options.queue_commits_max || impl->queued_bytes + bytes > kQueueBytesMax)
    co_return fail(Code::kResourceExhausted, "store.queue.full",
                   fmt::format("{} writes wait already; slow down and retry", impl->queue.size()));
  impl->queued_bytes += bytes;
  Completion<Result<Revision>> done(impl->runtime.executor());
  impl->queue.push_back({std::move(ops), done});
  impl->work.notify_all();
  co_return co_await done.wait();
}

Result<std::unique_ptr<Watch>> SqliteStore::watch(std::string prefix, Revision after) {
  NEAP_TRY_VOID(impl_->check_open());
  return impl_->history->watch(std::move(prefix), after);
}

Task<Status> SqliteStore::compact(CallContext ctx, Revision at) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_writable());
  if (at > impl->history->newest()) co_return internal::future(at, impl->history->newest());
  impl->set_forget_target(at);
  impl->work.notify_all();
  while (!impl->forgot_all)
    NEAP_CO_TRY_VOID(co_await impl->forgotten.wait(ctx, impl->forgotten.generation()));
  co_return impl->failure ? impl->check_writable() : ok();
}

Revision SqliteStore::current_revision() const { return impl_->history->newest(); }

Task<void> SqliteStore::close() {
  auto impl = impl_;
  if (impl->closing) co_return;
  impl->closing = true;
  impl->history->close();
  impl->work.notify_all();
  co_await impl->group.stop();
  impl->give_up_forgetting();
  if (!impl->failure)
    (void)co_await on_worker<Status>(impl->runtime,
                                     [table = impl->table] { return table->checkpoint(true); });
  impl->table.reset();
}

}  // namespace neap::store
