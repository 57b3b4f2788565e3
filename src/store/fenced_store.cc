#include "neap/store/fenced_store.h"

namespace neap::store {

Task<Result<std::optional<KeyValue>>> FencedStore::get(CallContext ctx, std::string key) {
  return inner_.get(std::move(ctx), std::move(key));
}
Task<Result<ListPage>> FencedStore::list(CallContext ctx, std::string prefix, ListOptions options) {
  return inner_.list(std::move(ctx), std::move(prefix), std::move(options));
}
Result<std::unique_ptr<Watch>> FencedStore::watch(std::string prefix, Revision after) {
  return inner_.watch(std::move(prefix), after);
}
Task<Status> FencedStore::compact(CallContext ctx, Revision at) { return inner_.compact(std::move(ctx), at); }

Task<Result<Revision>> FencedStore::commit(CallContext ctx, std::vector<Op> ops) {
  if (!term_)
    co_return fail(Code::kFailedPrecondition, "store.fence.closed",
                   "this process may not write here now; the one that leads does");
  const Revision term = *term_;
  ops.push_back(Op::check(key_, term));
  auto done = co_await inner_.commit(ctx, std::move(ops));
  if (done || (done.error().code != Code::kAborted && done.error().code != Code::kNotFound)) co_return done;
  // Some expectation did not hold; if it was the term's, no retry can succeed.
  const auto fence = co_await inner_.get(ctx, key_);
  if (!fence || (*fence && (*fence)->mod_revision == term)) co_return done;
  if (term_ == term) {
    term_.reset();
    if (lost_) lost_();
  }
  co_return fail(Code::kFailedPrecondition, "store.fence.lost",
                 "another process has taken over since this write was decided; nothing was written");
}

Task<void> FencedStore::close() {
  term_.reset();
  co_return;
}

}  // namespace neap::store
