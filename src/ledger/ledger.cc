#include "neap/ledger/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "internal/entry_scan.h"
#include "internal/frontier_file.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/base/utf8.h"

namespace neap::ledger {
namespace {

using internal::EntryLine;
using internal::Frontier;

constexpr std::size_t kBatchEntriesMax = 4096;
constexpr std::size_t kBatchBytesMax = 8u << 20;
constexpr std::size_t kQueueBytesMax = 64u << 20;
constexpr std::size_t kReadBytesMax = 16u << 20;
constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
// Read at a time of the part before the frontier: closing waits for no more.
constexpr std::uint64_t kCheckEntries = 16'384;

std::string entries_path(const std::string& directory) { return directory + "/entries.jsonl"; }
std::string checkpoint_path(const std::string& directory) { return directory + "/checkpoint"; }
std::string frontier_path(const std::string& directory) { return directory + "/frontier"; }

std::unexpected<Error> closed() {
  return fail(Code::kUnavailable, "ledger.closed", "the ledger is closed; connect again later");
}

// Runs `work` on a worker thread. The job owns what it touches, so that the caller's frame may be
// destroyed meanwhile.
template <class R>
Task<R> on_worker(io::Runtime& runtime, std::move_only_function<R()> work) {
  auto out = std::make_shared<std::optional<R>>();
  co_await runtime.run_blocking([out, w = std::move(work)]() mutable {
    out->emplace(w());
    w = nullptr;
  });
  co_return std::move(**out);
}

struct Loaded {
  internal::Scan scan;
  std::optional<Checkpoint> checkpoint;
};

// Reads a directory and checks it as far as a reader can, from `start` on. A torn tail is left to the caller.
Result<Loaded> load(io::FileSystem& files, const std::string& directory, std::string_view origin,
                    const crypto::PublicKey& key, io::File& entries, Frontier start = {}) {
  Loaded out;
  auto text = files.read_file(checkpoint_path(directory), 1u << 16);
  if (text) {
    NEAP_TRY(out.checkpoint, open_checkpoint(*text, origin, key));
  } else if (text.error().code != Code::kNotFound) {
    return fail(text.error());
  }
  const std::uint64_t covered = out.checkpoint ? out.checkpoint->size : 0;
  bool matches = covered == 0;
  const auto compare = [&](const MerkleFrontier& tree) {
    if (covered > 0 && tree.size() == covered) matches = tree.root() == out.checkpoint->root;
  };
  compare(start.tree);
  NEAP_TRY(out.scan, internal::scan_entries(
                         entries, kNoLimit,
                         [&](const EntryLine&, const MerkleFrontier& tree) {
                           compare(tree);
                           return true;
                         },
                         std::move(start)));
  const std::uint64_t whole = out.scan.whole.tree.size();
  if (out.scan.bad && (whole < covered || !out.scan.is_torn_tail)) return fail(*out.scan.bad);
  if (whole < covered)
    return fail(
        Code::kDataLoss, "ledger.truncated",
        fmt::format("{} has {} entries and its checkpoint covers {}: entry {} is the first that is missing; "
                    "restore the ledger from a backup",
                    directory, whole, covered, whole));
  if (!matches)
    return fail(
        Code::kDataLoss, "ledger.root.mismatch",
        fmt::format("the first {} entries in {} are not those that the checkpoint was signed over: one of "
                    "them was replaced; restore the ledger from a backup",
                    covered, directory));
  return out;
}

// Where the file says that the ledger stood, if the entry before that is still there.
Result<Frontier> load_frontier(io::FileSystem& files, const LedgerOptions& options,
                               const crypto::PublicKey& key, io::File& entries) {
  NEAP_TRY(const auto text,
           files.read_file(frontier_path(options.directory), internal::kFrontierFileBytesMax));
  NEAP_TRY(auto frontier, internal::decode_frontier(text, options.origin, key));
  bool is_there = false;
  NEAP_TRY_VOID(internal::scan_lines(
      entries, frontier.last_at, frontier.bytes, [&](std::string_view line, std::uint64_t end, bool whole) {
        const auto entry = internal::decode_entry(line);
        is_there = whole && entry && end == frontier.bytes && entry->sequence + 1 == frontier.tree.size() &&
                   entry->leaf == frontier.last_leaf;
        return false;
      }));
  if (!is_there)
    return fail(Code::kDataLoss, "ledger.frontier.bad", "the frontier's last entry does not stand there");
  return frontier;
}

struct PendingAppend {
  std::string body;
  Completion<Result<std::uint64_t>> done;
};

}  // namespace

struct Ledger::Impl {
  Impl(io::Runtime& r, LedgerOptions o, crypto::PrivateKey k)
      : runtime(r),
        options(std::move(o)),
        key(std::move(k)),
        group(r.executor()),
        work(r.executor()),
        one_checkpoint(r.executor(), 1) {}

  io::Runtime& runtime;
  LedgerOptions options;
  crypto::PrivateKey key;
  std::shared_ptr<io::File> file;
  Frontier now;                   // durable entries
  std::optional<Frontier> past;   // what opening took on its word, until that is read
  std::uint64_t frontier_at = 0;  // bytes that the file `frontier` covers
  std::uint64_t checkpointed = 0;
  std::optional<MonoTime> checkpointed_at;
  TaskGroup group;
  std::deque<PendingAppend> queue;
  std::size_t queued_bytes = 0;
  Notifier work;
  Semaphore one_checkpoint;
  bool closing = false;
  std::optional<Error> failure;

  // Blocking.
  Status open_files();
  Result<Loaded> load_entries();
  static Task<void> write_loop(Impl& self);
  Task<void> write_batch();
  Task<Result<std::string>> write_checkpoint(bool and_frontier = false);
  static Task<void> check_past(Impl& self);
  Task<Status> read_past(CallContext ctx, const Frontier& until);
  // In order; up to `max` of the next `scan_max`.
  static Task<Result<Selected>> read(std::shared_ptr<Impl> self, std::uint64_t from, std::size_t scan_max,
                                     std::size_t max, std::function<bool(std::string_view)> wanted);
  bool is_frontier_due(std::uint64_t step) const {
    return now.bytes > options.read_at_open_bytes_max && now.bytes - frontier_at >= step;
  }
  Status check_open() const;
  void fail_for_good(const Error& error) {
    if (failure) return;
    failure = error;
    if (options.on_failure) options.on_failure(error);
  }
  Result<std::unique_ptr<io::File>> open_for_reading() const {
    return runtime.files().open(entries_path(options.directory), io::OpenMode::kRead);
  }
};

// The frontier is no judge: what is refused was refused by reading all.
Result<Loaded> Ledger::Impl::load_entries() {
  auto& files = runtime.files();
  const auto public_key = key.public_key();
  NEAP_TRY(const auto size, file->size());
  if (size > options.read_at_open_bytes_max) {
    if (auto frontier = load_frontier(files, options, public_key, *file)) {
      auto loaded = load(files, options.directory, options.origin, public_key, *file, *frontier);
      if (loaded && loaded->checkpoint && loaded->checkpoint->size >= frontier->tree.size()) {
        frontier_at = frontier->bytes;
        past = *std::move(frontier);
        return loaded;
      }
    }
  }
  return load(files, options.directory, options.origin, public_key, *file);
}

Status Ledger::Impl::open_files() {
  auto& files = runtime.files();
  NEAP_TRY_VOID(files.make_directories(options.directory, 0700));
  NEAP_TRY(auto opened, files.open(entries_path(options.directory), io::OpenMode::kCreate));
  file = std::move(opened);
  NEAP_TRY_VOID(files.sync_directory(options.directory));
  NEAP_TRY(auto loaded, load_entries());
  NEAP_TRY(const auto size, file->size());
  if (size > loaded.scan.whole.bytes) {
    NEAP_TRY_VOID(file->truncate(loaded.scan.whole.bytes));
    NEAP_TRY_VOID(file->sync());
  }
  now = std::move(loaded.scan.whole);
  checkpointed = loaded.checkpoint ? loaded.checkpoint->size : 0;
  // A key or an origin that cannot sign is found here, not at the first checkpoint.
  NEAP_TRY([[maybe_unused]] auto probe,
           sign_checkpoint({options.origin, now.tree.size(), now.tree.root()}, key));
  return ok();
}

Status Ledger::Impl::check_open() const {
  if (closing || !file) return closed();
  if (!failure) return ok();
  return fail(Code::kUnavailable, "ledger.failed",
              fmt::format("the ledger stopped writing after a failure ({}); check the disk, then restart",
                          failure->message));
}

Task<void> Ledger::Impl::write_loop(Impl& self) {
  auto& executor = self.runtime.executor();
  for (;;) {
    if (!self.queue.empty()) {
      co_await self.write_batch();
    } else if (self.closing) {
      co_return;
    }
    const bool dirty = self.now.tree.size() > self.checkpointed && !self.failure;
    const bool due =
        !self.checkpointed_at || executor.now() >= *self.checkpointed_at + self.options.checkpoint_interval;
    if (dirty && due) (void)co_await self.write_checkpoint();
    if (!self.queue.empty() || self.closing) continue;
    CallContext until;
    if (dirty && !due) until.deadline = *self.checkpointed_at + self.options.checkpoint_interval;
    (void)co_await self.work.wait(until, self.work.generation());
  }
}

Task<void> Ledger::Impl::write_batch() {
  std::vector<PendingAppend> batch;
  auto text = std::make_shared<std::string>();
  // The index grows only when this is durable: no copy of what it has.
  Frontier next{.tree = now.tree, .index = {}, .bytes = now.bytes, .last_at = 0, .last_leaf = {}};
  const std::uint64_t first = now.tree.size();
  const auto time = runtime.clock().wall();
  while (!queue.empty() && batch.size() < kBatchEntriesMax && text->size() < kBatchBytesMax) {
    auto pending = std::move(queue.front());
    queue.pop_front();
    queued_bytes -= pending.body.size();
    if (next.tree.size() % internal::kIndexStep == 0) next.index.push_back(next.bytes);
    const auto encoded = internal::encode_entry(next.tree.size(), first, time, pending.body);
    *text += encoded.line;
    next.tree.append(encoded.leaf);
    next.last_at = std::exchange(next.bytes, next.bytes + encoded.line.size());
    next.last_leaf = encoded.leaf;
    batch.push_back(std::move(pending));
  }
  if (auto writable = failure ? check_open() : ok(); !writable) {
    for (auto& pending : batch) pending.done.complete(fail(writable.error()));
    co_return;
  }
  struct Outcome {
    Status status;
    bool undone = false;
  };
  auto outcome = co_await on_worker<Outcome>(runtime, [file = file, text, at = now.bytes]() -> Outcome {
    auto written = file->write_at(at, *text);
    if (written) return {file->sync(), false};
    // Nothing was synced: what was written of it can be taken back, and a full disk is then no damage.
    const bool undone = written.error().code == Code::kResourceExhausted && file->truncate(at);
    return {std::move(written), undone};
  });
  if (!outcome.status) {
    Error error = outcome.status.error();
    if (outcome.undone)
      error = Error{
          Code::kResourceExhausted,
          "ledger.disk.full",
          fmt::format("the disk is full, nothing was recorded: {}; free some space and retry", error.message),
          {}};
    else
      fail_for_good(error);
    for (auto& pending : batch)
      pending.done.complete(failure ? Result<std::uint64_t>(fail(check_open().error())) : fail(error));
    co_return;
  }
  auto index = std::exchange(now.index, {});
  index.insert(index.end(), next.index.begin(), next.index.end());
  now = std::move(next);
  now.index = std::move(index);
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].done.complete(first + i);
}

// The frontier follows the checkpoint that covers it: one that is ahead of its checkpoint is of no use.
Task<Result<std::string>> Ledger::Impl::write_checkpoint(bool and_frontier) {
  NEAP_CO_TRY(const auto permit, co_await one_checkpoint.acquire({}));
  const std::uint64_t size = now.tree.size();
  NEAP_CO_TRY(auto text, sign_checkpoint({options.origin, size, now.tree.root()}, key));
  const bool is_due = is_frontier_due(and_frontier ? 1 : options.frontier_bytes);
  const auto at = now.bytes;
  auto status = co_await on_worker<Status>(
      runtime, [&files = runtime.files(), directory = options.directory, text,
                frontier = is_due ? internal::encode_frontier(now, options.origin, key) : std::string()] {
        auto written = files.write_file_atomic(checkpoint_path(directory), text, 0600);
        // Without it opening takes longer, and that is all.
        if (written && !frontier.empty())
          (void)files.write_file_atomic(frontier_path(directory), frontier, 0600);
        return written;
      });
  if (status && is_due) frontier_at = at;
  checkpointed_at = runtime.executor().now();
  // The old checkpoint stays valid, so this is no reason to stop: the next one covers more.
  if (!status) co_return fail(std::move(status).error(), "writing the ledger's checkpoint");
  checkpointed = std::max(checkpointed, size);
  co_return text;
}

// What opening took on the frontier's word. Found damaged, it is for the next opening to refuse: that one
// must read it.
Task<void> Ledger::Impl::check_past(Impl& self) {
  const auto ctx = self.group.context();
  if (!co_await sleep_for(self.runtime.executor(), ctx, self.options.check_after)) co_return;
  auto sound = co_await self.read_past(ctx, *self.past);
  self.past.reset();
  if (sound || ctx.cancel.is_cancelled()) co_return;
  (void)co_await on_worker<Status>(
      self.runtime, [&files = self.runtime.files(), path = frontier_path(self.options.directory)] {
        return files.remove(path);
      });
  self.fail_for_good(sound.error());
}

Task<Status> Ledger::Impl::read_past(CallContext ctx, const Frontier& until) {
  NEAP_CO_TRY(auto opened, open_for_reading());
  const std::shared_ptr<io::File> entries = std::move(opened);
  Frontier seen;
  while (seen.bytes < until.bytes) {
    NEAP_CO_TRY_VOID(ctx.check(runtime.executor().now()));
    const auto before = seen.tree.size();
    NEAP_CO_TRY(
        auto piece, co_await on_worker<Result<internal::Scan>>(runtime, [entries, end = until.bytes,
                                                                         from = std::move(seen)]() mutable {
          std::uint64_t count = 0;
          return internal::scan_entries(
              *entries, end, [&](const EntryLine&, const MerkleFrontier&) { return ++count < kCheckEntries; },
              std::move(from));
        }));
    if (piece.bad) co_return fail(*std::move(piece.bad));
    seen = std::move(piece.whole);
    if (seen.tree.size() == before) break;  // the file became shorter
  }
  if (seen.bytes != until.bytes || seen.tree.root() != until.tree.root())
    co_return fail(Code::kDataLoss, "ledger.root.mismatch",
                   fmt::format("the first {} entries in {} are not those that were recorded: one of them was "
                               "replaced; restore the ledger from a backup",
                               until.tree.size(), options.directory));
  co_return ok();
}

Ledger::Ledger(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() { impl_->group.abandon(); }

Task<Result<std::unique_ptr<Ledger>>> Ledger::open(io::Runtime& runtime, LedgerOptions options,
                                                   crypto::PrivateKey key) {
  auto impl = std::make_shared<Impl>(runtime, std::move(options), std::move(key));
  NEAP_CO_TRY_VOID(co_await on_worker<Status>(runtime, [impl] { return impl->open_files(); }));
  impl->group.spawn(Impl::write_loop(*impl));
  if (impl->past) impl->group.spawn(Impl::check_past(*impl));
  co_return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

Task<Result<std::uint64_t>> Ledger::append(Json body) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  auto text = to_text(body);
  // One entry that cannot be read again would make the whole ledger unreadable.
  if (!parse_json(text)) {
    text = as_utf8(text);
    if (auto readable = parse_json(text); !readable)
      co_return fail(std::move(readable).error(), "an entry must be JSON that can be read again");
  }
  if (text.size() > kEntryBytesMax)
    co_return fail(
        Code::kInvalidArgument, "ledger.entry.size",
        fmt::format("an entry has at most {} bytes, not {}; record less", kEntryBytesMax, text.size()));
  if (impl->queue.size() >= impl->options.queue_entries_max ||
      impl->queued_bytes + text.size() > kQueueBytesMax)
    co_return fail(Code::kResourceExhausted, "ledger.queue.full",
                   fmt::format("{} entries wait already; slow down and retry", impl->queue.size()));
  impl->queued_bytes += text.size();
  Completion<Result<std::uint64_t>> done(impl->runtime.executor());
  impl->queue.push_back({std::move(text), done});
  impl->work.notify_all();
  co_return co_await done.wait();
}

std::uint64_t Ledger::size() const { return impl_->now.tree.size(); }
Digest Ledger::root() const { return impl_->now.tree.root(); }

namespace {

// What to read of the entries, and of what was read to keep.
struct Reading {
  std::uint64_t from, entry_at, bytes_at,
      bytes_end;  // the entry at bytes_at is entry_at; from is not before it
  std::size_t scan_max, max;
  std::function<bool(std::string_view)> wanted;  // none: all
};

Result<Ledger::Selected> read_entries(io::File& file, const Reading& reading) {
  Ledger::Selected out{.entries = {}, .next = reading.entry_at};
  Status status;
  std::size_t taken = 0;
  const auto last = reading.from + std::min<std::uint64_t>(reading.scan_max, kNoLimit - reading.from);
  NEAP_TRY_VOID(internal::scan_lines(
      file, reading.bytes_at, reading.bytes_end, [&](std::string_view line, std::uint64_t, bool) {
        const std::uint64_t expected = out.next++;
        if (expected < reading.from) return true;
        const auto entry = internal::decode_entry(line);
        const bool is_sound = entry && entry->sequence == expected;
        if (is_sound && reading.wanted && !reading.wanted(entry->body)) return out.next < last;
        auto body = is_sound ? parse_json(entry->body) : Result<Json>(Json());
        if (!is_sound || !body) {
          status = fail(Code::kDataLoss, "ledger.entry.bad",
                        fmt::format("entry {} is damaged; restore the ledger from a backup", expected));
          return false;
        }
        taken += line.size();
        out.entries.push_back({expected, entry->time, std::move(*body)});
        return out.next < last && out.entries.size() < reading.max && taken < kReadBytesMax;
      }));
  NEAP_TRY_VOID(std::move(status));
  return out;
}

}  // namespace

Task<Result<Ledger::Selected>> Ledger::Impl::read(std::shared_ptr<Impl> self, std::uint64_t from,
                                                  std::size_t scan_max, std::size_t max,
                                                  std::function<bool(std::string_view)> wanted) {
  if (!self->file) co_return closed();
  if (from >= self->now.tree.size() || max == 0 || scan_max == 0)
    co_return Selected{.entries = {}, .next = std::min(from, self->now.tree.size())};
  const auto slot = from / internal::kIndexStep;
  co_return co_await on_worker<Result<Selected>>(
      self->runtime,
      [self, reading = Reading{.from = from,
                               .entry_at = slot * internal::kIndexStep,
                               .bytes_at = self->now.index[slot],
                               .bytes_end = self->now.bytes,
                               .scan_max = scan_max,
                               .max = max,
                               .wanted = std::move(wanted)}]() -> Result<Selected> {
        NEAP_TRY(auto file, self->open_for_reading());
        return read_entries(*file, reading);
      });
}

Task<Result<std::vector<Entry>>> Ledger::read(std::uint64_t from, std::size_t max) {
  NEAP_CO_TRY(auto found, co_await Impl::read(impl_, from, max, max, {}));
  co_return std::move(found.entries);
}

Task<Result<Ledger::Selected>> Ledger::select(std::uint64_t from, std::size_t scan_max,
                                              std::function<bool(std::string_view)> wanted) {
  return Impl::read(impl_, from, scan_max, kNoLimit, std::move(wanted));
}

Task<Result<Verified>> Ledger::verify() {
  using Out = Result<Verified>;
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  // Covers everything that is durable now, whatever the last checkpoint covers.
  NEAP_CO_TRY([[maybe_unused]] auto text, co_await checkpoint_now());
  const std::uint64_t size = impl->now.tree.size();
  co_return co_await on_worker<Out>(
      impl->runtime, [impl, size, end = impl->now.bytes, root = impl->now.tree.root()]() -> Out {
        NEAP_TRY(auto file, impl->open_for_reading());
        NEAP_TRY(auto scan, internal::scan_entries(
                                *file, end, [](const EntryLine&, const MerkleFrontier&) { return true; }));
        if (scan.bad) return fail(*scan.bad);
        if (scan.whole.tree.size() != size || scan.whole.tree.root() != root)
          return fail(
              Code::kDataLoss, "ledger.root.mismatch",
              fmt::format("the file holds {} entries that are not the {} of this ledger: one was replaced",
                          scan.whole.tree.size(), size));
        NEAP_TRY(auto note,
                 impl->runtime.files().read_file(checkpoint_path(impl->options.directory), 1u << 16));
        NEAP_TRY(auto checkpoint, open_checkpoint(note, impl->options.origin, impl->key.public_key()));
        return Verified{size, root, checkpoint.size};
      });
}

namespace {
// The leaves of the first `size` entries.
Result<std::vector<Digest>> read_leaves(io::File& file, std::uint64_t size) {
  std::vector<Digest> leaves;
  leaves.reserve(size);
  NEAP_TRY(auto scan,
           internal::scan_entries(file, kNoLimit, [&](const EntryLine& entry, const MerkleFrontier&) {
             leaves.push_back(entry.leaf);
             return leaves.size() < size;
           }));
  if (leaves.size() < size)
    return scan.bad ? fail(*scan.bad)
                    : fail(Code::kDataLoss, "ledger.truncated", "the ledger's file became shorter");
  return leaves;
}
std::unexpected<Error> proof_range(std::uint64_t size) {
  return fail(Code::kOutOfRange, "ledger.proof.range",
              fmt::format("there is no such proof: the ledger has {} entries; ask within them", size));
}
}  // namespace

Task<Result<InclusionProof>> Ledger::prove_inclusion(std::uint64_t sequence, std::uint64_t size) {
  using Out = Result<InclusionProof>;
  auto impl = impl_;
  if (!impl->file) co_return closed();
  if (sequence >= size || size > impl->now.tree.size()) co_return proof_range(impl->now.tree.size());
  co_return co_await on_worker<Out>(impl->runtime, [impl, sequence, size]() -> Out {
    NEAP_TRY(auto file, impl->open_for_reading());
    NEAP_TRY(const auto leaves, read_leaves(*file, size));
    return InclusionProof{leaves[sequence], sequence, size, compute_inclusion_proof(leaves, sequence)};
  });
}

Task<Result<Proof>> Ledger::prove_consistency(std::uint64_t old_size, std::uint64_t new_size) {
  using Out = Result<Proof>;
  auto impl = impl_;
  if (!impl->file) co_return closed();
  if (old_size == 0 || old_size > new_size || new_size > impl->now.tree.size())
    co_return proof_range(impl->now.tree.size());
  co_return co_await on_worker<Out>(impl->runtime, [impl, old_size, new_size]() -> Out {
    NEAP_TRY(auto file, impl->open_for_reading());
    NEAP_TRY(const auto leaves, read_leaves(*file, new_size));
    return compute_consistency_proof(leaves, old_size);
  });
}

Task<Result<std::string>> Ledger::checkpoint_now() {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  co_return co_await impl->write_checkpoint();
}

Task<void> Ledger::close() {
  auto impl = impl_;
  if (impl->closing) co_return;
  impl->closing = true;
  impl->work.notify_all();
  co_await impl->group.stop();
  if (!impl->failure && (impl->now.tree.size() > impl->checkpointed || impl->is_frontier_due(1)))
    (void)co_await impl->write_checkpoint(true);
  impl->file.reset();
}

Result<Verified> verify_directory(io::FileSystem& files, const std::string& directory,
                                  std::string_view origin, const crypto::PublicKey& key) {
  NEAP_TRY(auto file, files.open(entries_path(directory), io::OpenMode::kRead));
  NEAP_TRY(auto loaded, load(files, directory, origin, key, *file));
  if (loaded.scan.bad) return fail(*loaded.scan.bad);
  if (!loaded.checkpoint)
    return fail(Code::kNotFound, "ledger.checkpoint.absent",
                fmt::format("{} has no checkpoint, so nothing vouches for its entries", directory));
  return Verified{loaded.scan.whole.tree.size(), loaded.scan.whole.tree.root(), loaded.checkpoint->size};
}

}  // namespace neap::ledger
