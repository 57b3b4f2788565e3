// FencedStore: a Store whose writes are made only in the term in which the right to them was taken.
//
// The term is the revision of one key, the fence, which every change of the right rewrites. Each commit
// carries a check of it, so that the store itself refuses what a process writes that was paused through the
// end of its term, however late the write arrives. Without a term nothing is written at all.
//
// kFailedPrecondition "store.fence.closed": there is no term; "store.fence.lost": it is over, and closed() is
// told. A commit has room for one operation less than the Store's limit. Reads and watches pass through.
// Source: M. Kleppmann, "How to do distributed locking", 2016 (fencing tokens).
#pragma once

#include <functional>

#include "neap/store/store.h"

namespace neap::store {

class FencedStore final : public Store {
 public:
  // `inner` outlives this.
  FencedStore(Store& inner, std::string fence_key) : inner_(inner), key_(std::move(fence_key)) {}
  const std::string& fence_key() const { return key_; }
  void open(Revision term) { term_ = term; }
  void close_fence() { term_.reset(); }
  std::optional<Revision> term() const { return term_; }
  // Called when the store has refused a commit because the term is over.
  void on_lost(std::function<void()> lost) { lost_ = std::move(lost); }

  Task<Result<std::optional<KeyValue>>> get(CallContext ctx, std::string key) override;
  Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions options) override;
  Task<Result<Revision>> commit(CallContext ctx, std::vector<Op> ops) override;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override;
  Task<Status> compact(CallContext ctx, Revision at) override;
  Revision current_revision() const override { return inner_.current_revision(); }
  // Closes the fence; the inner store stays open.
  Task<void> close() override;

 private:
  Store& inner_;
  const std::string key_;
  std::optional<Revision> term_;
  std::function<void()> lost_;
};

}  // namespace neap::store
