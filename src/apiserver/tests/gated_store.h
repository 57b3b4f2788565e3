// A store whose content is read only as far as a test lets it: the hub's pages wait at a gate, everything
// else passes.
#pragma once

#include <optional>

#include "internal/object_text.h"
#include "neap/base/sync.h"
#include "neap/store/store.h"

namespace neap::apiserver {

class GatedStore final : public store::Store {
 public:
  GatedStore(Executor& executor, store::Store& inner) : inner_(inner), changed_(executor) {}

  // From now on `pages` pages of everything are given out, and the next ones wait.
  void close_after(int pages) { pages_left_ = pages; }
  void open() {
    pages_left_ = -1;
    changed_.notify_all();
  }
  // The next pages of everything are refused so often.
  void refuse_pages(int count, Error why) {
    refusals_left_ = count;
    refusal_ = std::move(why);
  }
  // From now on what single objects are is answered with this, or not at all.
  void fail_gets(Code code) { get_failure_ = code; }
  void hang_gets() { hang_gets_ = true; }
  void answer_gets() {
    get_failure_.reset();
    hang_gets_ = false;
    changed_.notify_all();
  }
  // States of the past cannot be listed any more.
  void forget_past() { is_past_forgotten_ = true; }

  Task<Result<std::optional<store::KeyValue>>> get(CallContext ctx, std::string key) override {
    while (hang_gets_) NEAP_CO_TRY_VOID(co_await changed_.wait(ctx, changed_.generation()));
    if (get_failure_) co_return fail(*get_failure_, "store.away", "the store is away");
    co_return co_await inner_.get(std::move(ctx), std::move(key));
  }
  Task<Result<store::ListPage>> list(CallContext ctx, std::string prefix,
                                     store::ListOptions options) override {
    const bool is_page = prefix == kRegistry;
    if (is_past_forgotten_ && options.revision != Revision{} && !is_page)
      co_return fail(Code::kOutOfRange, "store.revision.compacted", "forgotten");
    if (is_page && refusals_left_ > 0) {
      --refusals_left_;
      co_return std::unexpected(refusal_);
    }
    while (is_page && pages_left_ == 0) NEAP_CO_TRY_VOID(co_await changed_.wait(ctx, changed_.generation()));
    if (is_page && pages_left_ > 0) --pages_left_;
    co_return co_await inner_.list(std::move(ctx), std::move(prefix), std::move(options));
  }
  Task<Result<Revision>> commit(CallContext ctx, std::vector<store::Op> ops) override {
    return inner_.commit(std::move(ctx), std::move(ops));
  }
  Result<std::unique_ptr<store::Watch>> watch(std::string prefix, Revision after) override {
    return inner_.watch(std::move(prefix), after);
  }
  Task<Status> compact(CallContext ctx, Revision at) override { return inner_.compact(std::move(ctx), at); }
  Revision current_revision() const override { return inner_.current_revision(); }
  Task<void> close() override { return inner_.close(); }

 private:
  store::Store& inner_;
  Notifier changed_;
  int pages_left_ = -1;  // below 0: no end
  int refusals_left_ = 0;
  Error refusal_;
  bool is_past_forgotten_ = false, hang_gets_ = false;
  std::optional<Code> get_failure_;
};

}  // namespace neap::apiserver
