// FakeResourceClient: the API in memory: versions, compare-and-swap, selectors, merge and JSON patch,
// generation, finalizers, dry run, watch with history and expiry. No admission and no authorization.
//
// Kinds are those of the KindTable given; unknown ones are kNotFound. Executor's thread only.
#pragma once

#include <memory>

#include "neap/api/kind.h"
#include "neap/client/resource_client.h"
#include "neap/io/http.h"
#include "neap/io/runtime.h"

namespace neap::client {

class FakeResourceClient : public ResourceClient {
 public:
  explicit FakeResourceClient(io::Runtime& runtime, const api::KindTable& kinds = api::KindTable::standard());
  ~FakeResourceClient() override;

  Task<Result<Json>> get(CallContext ctx, ResourcePath path) override;
  Task<Result<Json>> list(CallContext ctx, ResourcePath path, ListOptions options) override;
  Task<Result<Json>> create(CallContext ctx, ResourcePath path, Json object, WriteOptions options) override;
  Task<Result<Json>> update(CallContext ctx, ResourcePath path, Json object, WriteOptions options) override;
  Task<Result<Json>> patch(CallContext ctx, ResourcePath path, PatchType type, Json patch,
                           WriteOptions options) override;
  Task<Result<Json>> remove(CallContext ctx, ResourcePath path, WriteOptions options) override;
  Task<Result<std::unique_ptr<WatchStream>>> watch(CallContext ctx, ResourcePath path, ListOptions options,
                                                   std::string resource_version) override;

  // Faults on order. The next `count` calls (watch included) fail with `error`.
  void fail_next(int count, Error error);
  // Watches end: regularly, or with `error` for what they read next.
  void end_watches(std::optional<Error> error = std::nullopt);
  // Forgets the history: watches from older versions get kOutOfRange.
  void compact();
  // Every open watch gets a bookmark.
  void send_bookmarks();
  std::uint64_t calls() const;

  // The same objects over HTTP, for tests of HTTP clients.
  io::HttpHandler handler();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace neap::client
