// Store: keys and opaque bytes under one global, monotonic revision. Compare-and-swap, consistent
// lists, ordered watches, compaction.
//
// 1. Every successful commit has its own revision, one above the one before; a commit's operations
//    share it and become visible together or not at all.
// 2. A write is acknowledged after it is durable (for stores that are), and is then visible to every
//    later read and watch. A write that was accepted into the queue is carried through even when its
//    context ends: the call waits for the outcome, so that it is known, or surely unknown (commit()).
// 3. A watch delivers every event after its starting revision, once, in order, or fails with
//    kOutOfRange and then needs a new list. It holds no buffer of its own: events it has not taken yet
//    are read from the shared, bounded history.
// 4. Limits: keys 1..1,024 bytes, values 4 MiB, 512 operations or 16 MiB a commit, each key once.
//
// Threads: all calls on the executor of the store. Objects must outlive their pending calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/context.h"
#include "neap/base/id.h"
#include "neap/base/result.h"
#include "neap/base/task.h"

namespace neap::store {

inline constexpr std::size_t kKeyBytesMax = 1024;
inline constexpr std::size_t kValueBytesMax = 4u << 20;
inline constexpr std::size_t kCommitOpsMax = 512;
inline constexpr std::size_t kCommitBytesMax = 16u << 20;
// A page of a list ends early above this; `more` is then true.
inline constexpr std::size_t kPageBytesMax = 16u << 20;

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision{};
  Revision mod_revision{};
  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

struct ListOptions {
  std::size_t limit = 0;    // 0 = up to kPageBytesMax
  std::string start_after;  // the last key of the page before; empty = from the beginning
  Revision revision{};      // 0 = newest; else the state as of then
};
struct ListPage {
  std::vector<KeyValue> items;  // by key, bytewise
  Revision revision{};          // the state shown; pass it on to get the next page of the same state
  bool more = false;
};

// One operation of a commit. `expected` is the key's mod_revision; Revision{0} = the key must not exist;
// nothing = any state (but a remove needs an existing key).
struct Op {
  enum class Kind { kPut, kRemove, kCheck };
  Kind kind = Kind::kPut;
  std::string key;
  std::string value;
  std::optional<Revision> expected;

  static Op put(std::string key, std::string value, std::optional<Revision> expected = {}) {
    return {Kind::kPut, std::move(key), std::move(value), expected};
  }
  static Op remove(std::string key, std::optional<Revision> expected = {}) {
    return {Kind::kRemove, std::move(key), {}, expected};
  }
  // Writes nothing; the commit fails unless the key is at `expected`.
  static Op check(std::string key, Revision expected) { return {Kind::kCheck, std::move(key), {}, expected}; }
};

struct WatchEvent {
  enum class Type { kPut, kDelete };
  Type type = Type::kPut;
  // On kDelete: the last value and create_revision the key had, with the revision of the removal.
  KeyValue kv;
  bool is_create() const { return type == Type::kPut && kv.create_revision == kv.mod_revision; }
};

class Watch {
 public:
  virtual ~Watch() = default;
  // The next event; one call at a time. kOutOfRange "store.watch.lagging": the caller fell behind what
  // the store keeps, list again. kUnavailable "store.closed".
  virtual Task<Result<WatchEvent>> next(CallContext ctx) = 0;
  // Everything that matches up to here has been delivered; for bookmarks. Grows while next() waits.
  virtual Revision position() const = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  // Nothing when the key does not exist.
  virtual Task<Result<std::optional<KeyValue>>> get(CallContext ctx, std::string key) = 0;
  // Keys that begin with `prefix`. kOutOfRange "store.revision.compacted" for a state that is gone,
  // kUnavailable "store.revision.future" for one that is yet to come.
  virtual Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions options) = 0;
  // The commit's revision (the current one when it only checks). kAborted "store.revision.conflict",
  // kAlreadyExists "store.key.exists", kNotFound "store.key.absent": nothing was written.
  // kResourceExhausted "store.queue.full", "store.disk.full"; kUnavailable "store.failed" after an I/O
  // failure: writes stay refused until the process has been restarted. From a store over a network also
  // kUnavailable "store.outcome.unknown": the write may have been made, or may yet be; read first.
  virtual Task<Result<Revision>> commit(CallContext ctx, std::vector<Op> ops) = 0;
  // Events after `after`. kOutOfRange "store.revision.compacted" when older than the history.
  virtual Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) = 0;
  // Lets the store forget states before `at`; lists at `at` and watches after it go on working.
  virtual Task<Status> compact(CallContext ctx, Revision at) = 0;
  virtual Revision current_revision() const = 0;
  // Finishes queued writes, ends watches, releases files. Later calls return kUnavailable "store.closed".
  virtual Task<void> close() = 0;

  Task<Result<Revision>> put(CallContext ctx, std::string key, std::string value,
                             std::optional<Revision> expected = {});
  Task<Result<Revision>> remove(CallContext ctx, std::string key, std::optional<Revision> expected = {});
};

// All pages of one state.
Task<Result<ListPage>> list_all(Store& store, CallContext ctx, std::string prefix);

}  // namespace neap::store
