// ResourceClient: the one way agents, controllers and the command line use the API, over HTTP or in
// process with the same admission, authorization and audit.
//
// Objects are Json as the API spells them; typed.h maps them to structs. Calls run on the runtime's
// executor. Errors carry the codes of the Status the server sent (kAborted for a conflict, kOutOfRange
// for an expired resourceVersion).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "neap/base/context.h"
#include "neap/base/json.h"
#include "neap/base/task.h"

namespace neap::client {

struct ResourcePath {
  std::string group, version, plural;
  std::string namespace_;  // empty: cluster-scoped, or all namespaces in list and watch
  std::string name;
  std::string subresource;  // "status", "scale", "explain"
};

struct ListOptions {
  std::string label_selector, field_selector, continue_token;
  std::int64_t limit = 0;
};
struct WriteOptions {
  std::string field_manager = "neap";
  bool dry_run = false;
};

struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark } type = Type::kAdded;
  Json object;
};
class WatchStream {
 public:
  virtual ~WatchStream() = default;
  // kOutOfRange when the server no longer has that history: list again. nullopt at a regular end.
  virtual Task<Result<std::optional<WatchEvent>>> next(CallContext ctx) = 0;
};

enum class PatchType { kMerge, kJson, kApply };

class ResourceClient {
 public:
  virtual ~ResourceClient() = default;
  virtual Task<Result<Json>> get(CallContext ctx, ResourcePath path) = 0;
  // The list object: metadata.resourceVersion, metadata.continue, items.
  virtual Task<Result<Json>> list(CallContext ctx, ResourcePath path, ListOptions options) = 0;
  virtual Task<Result<Json>> create(CallContext ctx, ResourcePath path, Json object,
                                    WriteOptions options) = 0;
  // Replaces; the object's resourceVersion makes it compare-and-swap.
  virtual Task<Result<Json>> update(CallContext ctx, ResourcePath path, Json object,
                                    WriteOptions options) = 0;
  virtual Task<Result<Json>> patch(CallContext ctx, ResourcePath path, PatchType type, Json patch,
                                   WriteOptions options) = 0;
  virtual Task<Result<Json>> remove(CallContext ctx, ResourcePath path, WriteOptions options) = 0;
  virtual Task<Result<std::unique_ptr<WatchStream>>> watch(CallContext ctx, ResourcePath path,
                                                           ListOptions options,
                                                           std::string resource_version) = 0;
};

}  // namespace neap::client
