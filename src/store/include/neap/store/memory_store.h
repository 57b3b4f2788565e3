// MemoryStore: a Store without durability, for tests and simulation. Same conformance suite as the rest.
#pragma once

#include "neap/base/executor.h"
#include "neap/store/store.h"

namespace neap::store {

struct MemoryStoreOptions {
  std::size_t history_revisions = 10'000;  // states kept for lists and watches
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(Executor& executor, const MemoryStoreOptions& options = {});
  ~MemoryStore() override;
  Task<Result<std::optional<KeyValue>>> get(CallContext ctx, std::string key) override;
  Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions options) override;
  Task<Result<Revision>> commit(CallContext ctx, std::vector<Op> ops) override;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override;
  Task<Status> compact(CallContext ctx, Revision at) override;
  Revision current_revision() const override;
  Task<void> close() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::store
