#include "ledger_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace neap::app {
namespace {

constexpr Duration kKeep = std::chrono::hours(1);
constexpr Duration kPause = 500ms;
constexpr Duration kCatchUpWithin = 10s;
constexpr std::size_t kBatchEntriesMax = 256;
constexpr std::size_t kBatchBytesMax = 1u << 20;
constexpr std::size_t kPendingMax = 16'384;
constexpr std::size_t kForgetAtOnce = 400;
// How far back an entry may stand from the place it has in the store: appends of one commit, at most.
constexpr std::uint64_t kPlacesKept = 4 * kBatchEntriesMax;
constexpr std::string_view kRevision = "storeRevision", kPlace = "storePlace", kTime = "time";

}  // namespace

WallTime LedgerStream::recorded_at(const Json& body, WallTime copied) {
  const auto time = parse_rfc3339(get_string(body, kTime));
  return time ? *time : copied;
}

LedgerStream::LedgerStream(Dependencies dependencies, std::string name)
    : deps_(std::move(dependencies)),
      name_(std::move(name)),
      prefix_("/ledger/" + name_ + "/"),
      head_key_("/ledger-head/" + name_),
      trimmed_key_("/ledger-forgotten/" + name_),
      holder_(deps_.runtime.random().hex(8)),
      tasks_(deps_.runtime.executor()),
      work_(deps_.runtime.executor()),
      copied_changed_(deps_.runtime.executor()) {}

Task<Status> LedgerStream::read_places() {
  places_.clear();
  floor_ = 0;
  const auto size = deps_.own.size();
  auto at = size > kPlacesKept ? size - kPlacesKept : 0;
  const bool has_more = at > 0;
  while (at < size) {
    NEAP_CO_TRY(const auto entries, co_await deps_.own.read(at, 1000));
    if (entries.empty()) break;
    // The first one's commit began further back, in part or whole; it is complete, as more follows it.
    if (has_more && at == size - kPlacesKept)
      if (const auto revision = get_int(entries.front().body, kRevision); revision > 0)
        floor_ = std::uint64_t(revision) + 1;
    for (const auto& entry : entries)
      if (const auto revision = get_int(entry.body, kRevision); revision > 0)
        places_.emplace(std::uint64_t(revision), std::uint64_t(get_int(entry.body, kPlace)));
    at = entries.back().sequence + 1;
  }
  co_return ok();
}

Task<Result<std::uint64_t>> LedgerStream::number_at(std::string key) {
  NEAP_CO_TRY(const auto found, co_await deps_.shared->get({}, std::move(key)));
  std::uint64_t out = 0;
  if (found) std::from_chars(found->value.data(), found->value.data() + found->value.size(), out);
  co_return out;
}

Task<Status> LedgerStream::fetch_missing(Fetch fetch) {
  NEAP_CO_TRY(const auto forgotten, co_await number_at(trimmed_key_));
  // Ledgers need not be of one length: some began before there were others, or copied a part twice. So it
  // begins further back, and what is here already is left out.
  const auto size = deps_.own.size();
  auto from = size - std::min<std::uint64_t>(size, kPlacesKept);
  while (places_.empty() ? forgotten > 0 : places_.rbegin()->first < forgotten) {
    NEAP_CO_TRY(auto entries, co_await fetch(name_, from));
    if (entries.empty())
      co_return fail(
          Code::kFailedPrecondition, "server.ledger.behind",
          fmt::format(
              "the {0} ledger of this server ends before revision {1}, what follows is no longer in the "
              "store, and no other server gave it; start this one while another runs, or copy "
              "STATE/ledger/{0} from one",
              name_, forgotten));
    for (auto& entry : entries) {
      const Place at{std::uint64_t(std::max<std::int64_t>(0, get_int(entry, kRevision))),
                     std::uint64_t(get_int(entry, kPlace))};
      const bool is_here = at.first > 0 ? at.first < floor_ || !places_.insert(at).second : from < size;
      ++from;
      if (is_here) continue;
      NEAP_CO_TRY(const auto sequence, co_await deps_.own.append(std::move(entry)));
      (void)sequence;
    }
  }
  co_return ok();
}

Task<Status> LedgerStream::open(Fetch fetch) {
  if (!deps_.shared) co_return ok();
  NEAP_CO_TRY_VOID(co_await read_places());
  NEAP_CO_TRY_VOID(co_await fetch_missing(std::move(fetch)));
  NEAP_CO_TRY(auto page, co_await store::list_all(*deps_.shared, {}, prefix_));
  std::ranges::sort(page.items, {}, &store::KeyValue::mod_revision);
  for (auto& batch : page.items) NEAP_CO_TRY_VOID(co_await copy(std::move(batch), nullptr));
  copied_ = to_number(page.revision);
  NEAP_CO_TRY(watch_, deps_.shared->watch(prefix_, page.revision));
  co_return ok();
}

Status LedgerStream::follow(Learn learn) {
  if (!deps_.shared) return ok();
  learn_ = std::move(learn);
  tasks_.spawn(copy_all());
  tasks_.spawn(write_batches());
  return ok();
}

Task<void> LedgerStream::copy_all() {
  auto& executor = deps_.runtime.executor();
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    auto event = co_await watch_->next(ctx);
    if (!event && event.error().code == Code::kOutOfRange) {
      // Cut off from the store for longer than it remembers: what is there is listed.
      auto page = co_await store::list_all(*deps_.shared, ctx, prefix_);
      auto watch = page ? deps_.shared->watch(prefix_, page->revision)
                        : Result<std::unique_ptr<store::Watch>>(fail(page.error()));
      if (watch) {
        std::ranges::sort(page->items, {}, &store::KeyValue::mod_revision);
        for (auto& batch : page->items)
          if (!co_await copy(std::move(batch), &learn_)) co_return;
        watch_ = *std::move(watch);
        continue;
      }
    }
    if (!event) {
      if (!co_await sleep_for(executor, ctx, kPause)) co_return;
      continue;
    }
    if (event->type == store::WatchEvent::Type::kPut && !co_await copy(std::move(event->kv), &learn_))
      co_return;
  }
}

// Appends of one commit are queued together, so that they share the fsync of the ledger.
Task<Status> LedgerStream::copy(store::KeyValue batch, const Learn* learn) {
  const auto revision = to_number(batch.mod_revision);
  const bool is_own = learn && batch.key.starts_with(prefix_ + holder_);
  auto parsed = parse_json(batch.value, {.bytes_max = store::kValueBytesMax});
  TaskGroup appends(deps_.runtime.executor());
  Status outcome = ok();
  const auto now = deps_.runtime.clock().wall();
  if (revision >= floor_ && parsed && parsed->is_array()) {
    std::uint64_t place = 0;
    for (auto& entry : parsed->get_array()) {
      const Place at{revision, place++};
      if (!entry.is_object() || !places_.insert(at).second) continue;
      if (learn && !is_own) (*learn)(entry, recorded_at(entry, now));
      entry.get_object()[kRevision] = at.first;
      entry.get_object()[kPlace] = at.second;
      appends.spawn([](ledger::Ledger& own, Json body, Status& out) -> Task<void> {
        if (auto done = co_await own.append(std::move(body)); !done) out = fail(std::move(done).error());
      }(deps_.own, std::move(entry), outcome));
    }
  }
  co_await appends.stop();
  // A commit is copied whole before the next one, so what goes here need not be told apart any more.
  while (places_.size() > kPlacesKept) {
    floor_ = std::max(floor_, places_.begin()->first + 1);
    places_.erase(places_.begin());
  }
  if (!outcome) {
    deps_.log.error("what is on record cannot be copied into the own ledger",
                    {telemetry::Field(outcome.error())});
    if (deps_.on_failure) deps_.on_failure(outcome.error());
    co_return outcome;
  }
  batch.value.clear();
  kept_.emplace_back(deps_.runtime.executor().now(), std::move(batch));
  copied_ = std::max(copied_, revision);
  copied_changed_.notify_all();
  co_return ok();
}

Task<Status> LedgerStream::append(Json entry) {
  if (!deps_.shared) {
    auto done = co_await deps_.own.append(std::move(entry));
    co_return done ? ok() : Status(fail(std::move(done).error()));
  }
  if (queue_.size() >= kPendingMax)
    co_return fail(Code::kResourceExhausted, "ledger.queue.full",
                   fmt::format("{} entries wait already; slow down and retry", queue_.size()));
  Completion<Status> done(deps_.runtime.executor());
  queue_.push_back({std::move(entry), done});
  work_.notify_all();
  co_return co_await done.wait();
}

Task<Status> LedgerStream::append_through(store::Store& writes, Json entry) {
  if (!deps_.shared) co_return co_await append(std::move(entry));
  JsonArray one;
  one.push_back(std::move(entry));
  co_return co_await commit(writes, std::move(one));
}

Task<void> LedgerStream::write_batches() {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled() || !queue_.empty()) {
    if (queue_.empty()) {
      if (!co_await work_.wait(ctx, work_.generation())) continue;
    }
    JsonArray entries;
    std::vector<Completion<Status>> waiting;
    for (std::size_t bytes = 0;
         !queue_.empty() && entries.size() < kBatchEntriesMax && bytes < kBatchBytesMax;) {
      bytes += to_text(queue_.front().entry).size();
      entries.push_back(std::move(queue_.front().entry));
      waiting.push_back(std::move(queue_.front().done));
      queue_.pop_front();
    }
    if (entries.empty()) continue;
    const auto done = co_await commit(*deps_.shared, std::move(entries));
    for (const auto& one : waiting) one.complete(done);
  }
}

Task<Status> LedgerStream::commit(store::Store& writes, JsonArray entries) {
  const auto now = format_rfc3339(deps_.runtime.clock().wall(), 3);
  for (auto& entry : entries)
    if (entry.is_object() && !entry.get_object().contains(kTime)) entry.get_object()[kTime] = now;
  const auto key = fmt::format("{}{}-{:012}", prefix_, holder_, next_batch_++);
  const auto text = to_text(Json(std::move(entries)));
  for (int attempt = 0;; ++attempt) {
    std::vector<store::Op> ops{store::Op::put(key, text, Revision{}), store::Op::put(head_key_, holder_)};
    const auto done = co_await writes.commit({}, std::move(ops));
    // The key is this commit's own: where it exists already, an attempt before had come through.
    if (done || (attempt > 0 && done.error().code == Code::kAlreadyExists)) co_return ok();
    if (done.error().code != Code::kUnavailable || attempt == 10 || tasks_.context().cancel.is_cancelled())
      co_return fail(done.error(), "recording in the " + name_ + " ledger");
    (void)co_await sleep_for(deps_.runtime.executor(), tasks_.context(), kPause);
  }
}

Task<Status> LedgerStream::catch_up(CallContext ctx) {
  if (!deps_.shared) co_return ok();
  NEAP_CO_TRY(const auto head, co_await deps_.shared->get(ctx, head_key_));
  const auto soon = ctx.with_deadline(deps_.runtime.executor().now() + kCatchUpWithin);
  while (head && copied_ < to_number(head->mod_revision))
    NEAP_CO_TRY_VOID(co_await copied_changed_.wait(soon, copied_changed_.generation()));
  co_return ok();
}

Task<Status> LedgerStream::forget_old(store::Store& writes) {
  if (!deps_.shared) co_return ok();
  const auto oldest = deps_.runtime.executor().now() - kKeep;
  std::vector<store::Op> ops;
  std::uint64_t last = 0;
  std::size_t count = 0;
  for (const auto& [since, batch] : kept_) {
    if (since > oldest || count == kForgetAtOnce) break;
    ops.push_back(store::Op::remove(batch.key));
    last = to_number(batch.mod_revision);
    ++count;
  }
  if (count == 0) co_return ok();
  NEAP_CO_TRY(const auto before, co_await number_at(trimmed_key_));
  if (before < last) {
    ops.push_back(store::Op::put(trimmed_key_, std::to_string(last)));
    const auto done = co_await writes.commit({}, std::move(ops));
    // Another leader forgot some of them: one by one is the way out.
    if (!done && done.error().code != Code::kNotFound) co_return fail(done.error());
    if (!done) {
      for (std::size_t i = 0; i < count; ++i) (void)co_await writes.remove({}, kept_[i].second.key);
      NEAP_CO_TRY(const auto told, co_await writes.put({}, trimmed_key_, std::to_string(last)));
      (void)told;
    }
  }
  kept_.erase(kept_.begin(), kept_.begin() + std::ptrdiff_t(count));
  co_return ok();
}

Task<Status> LedgerStream::drop_forgotten() {
  if (!deps_.shared || kept_.empty() || kept_.front().first > deps_.runtime.executor().now() - kKeep)
    co_return ok();
  NEAP_CO_TRY(const auto forgotten, co_await number_at(trimmed_key_));
  while (!kept_.empty() && to_number(kept_.front().second.mod_revision) <= forgotten) kept_.pop_front();
  co_return ok();
}

Task<void> LedgerStream::stop() {
  co_await tasks_.stop();
  for (auto& pending : queue_)
    pending.done.complete(
        fail(Code::kUnavailable, "ledger.closed", "the server stops; nothing was recorded"));
  queue_.clear();
}

}  // namespace neap::app
