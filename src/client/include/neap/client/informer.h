// Informer: a local copy of a collection, kept current by list and watch, and handlers that hear of changes.
//
// 1. Handlers and readers run on the executor; the copy changes only between their calls.
// 2. After a lost watch the copy goes on from the last version it saw; when the server no longer has
//    that history (kOutOfRange) it lists again and reports the difference, deletions included.
// 3. Failures are retried with exponential back-off and jitter, for ever; has_synced() stays true once true.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/resource.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/client/resource_client.h"
#include "neap/io/runtime.h"

namespace neap::client {

using ObjectPtr = std::shared_ptr<const Json>;

struct InformerHandlers {
  std::function<void(const ObjectPtr& object)> added;
  std::function<void(const ObjectPtr& before, const ObjectPtr& after)> updated;
  std::function<void(const ObjectPtr& last)> deleted;
};

struct InformerOptions {
  ResourcePath path;  // collection; empty namespace: all of them
  std::string label_selector, field_selector;
  std::int64_t page_size = 500;
  Duration backoff_first = 200ms;
  Duration backoff_max = 30s;
  // Servers send bookmarks about once a minute; a watch silent for longer than this is taken for dead.
  Duration watch_silence_max = 3min;
};

// "namespace/name", or "name" of cluster-scoped objects: the key of caches and work queues.
std::string object_key(const Json& object);

class Informer {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    ResourceClient& client;
  };
  Informer(Dependencies dependencies, InformerOptions options);
  ~Informer();
  Informer(const Informer&) = delete;
  Informer& operator=(const Informer&) = delete;

  // Before start(), or later: then `added` is called for everything already there.
  void add_handlers(InformerHandlers handlers);
  void start();
  Task<void> stop();
  void abandon();  // simulated crash

  bool has_synced() const;
  Task<Status> wait_synced(CallContext ctx);
  ObjectPtr find(std::string_view key) const;  // null when absent
  std::vector<ObjectPtr> all() const;          // sorted by key
  std::vector<ObjectPtr> in_namespace(std::string_view ns) const;
  std::size_t size() const;
  // Lists so far and failures so far, for metrics and tests.
  std::uint64_t lists() const;
  std::uint64_t failures() const;
  // Why it does not make progress now; nothing when it does.
  std::optional<Error> last_error() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The typed object under `key`; kNotFound when absent.
template <class T>
Result<T> typed(const Informer& informer, std::string_view key) {
  const auto object = informer.find(key);
  if (!object)
    return fail(Code::kNotFound, "informer.absent",
                std::string(api::KindOf<T>::kind) + " " + std::string(key) + " is not known here");
  return api::from_json<T>(*object);
}

}  // namespace neap::client
