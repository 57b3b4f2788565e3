#include "neap/base/context.h"

#include <map>
#include <mutex>

namespace neap {
namespace detail {
struct CancelState {
  std::mutex mutex;
  bool cancelled = false;
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, std::move_only_function<void()>> callbacks;
};
}  // namespace detail

CancelRegistration::CancelRegistration(std::shared_ptr<detail::CancelState> state, std::uint64_t id)
    : state_(std::move(state)), id_(id) {}
CancelRegistration::CancelRegistration(CancelRegistration&& other) noexcept
    : state_(std::move(other.state_)), id_(std::exchange(other.id_, 0)) {}
CancelRegistration& CancelRegistration::operator=(CancelRegistration&& other) noexcept {
  if (this != &other) {
    CancelRegistration dropped(std::move(*this));
    state_ = std::move(other.state_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}
CancelRegistration::~CancelRegistration() {
  if (!state_ || id_ == 0) return;
  std::move_only_function<void()> doomed;
  std::lock_guard lock(state_->mutex);
  if (auto it = state_->callbacks.find(id_); it != state_->callbacks.end()) {
    doomed = std::move(it->second);
    state_->callbacks.erase(it);
  }
}

bool CancelToken::is_cancelled() const {
  if (!state_) return false;
  std::lock_guard lock(state_->mutex);
  return state_->cancelled;
}

CancelRegistration CancelToken::on_cancel(std::move_only_function<void()> callback) const {
  if (!state_) return {};
  {
    std::lock_guard lock(state_->mutex);
    if (!state_->cancelled) {
      const std::uint64_t id = state_->next_id++;
      state_->callbacks.emplace(id, std::move(callback));
      return CancelRegistration(state_, id);
    }
  }
  callback();
  return {};
}

CancelSource::CancelSource() : state_(std::make_shared<detail::CancelState>()) {}
CancelSource::CancelSource(const CancelToken& parent) : CancelSource() {
  parent_ = parent.on_cancel([weak = std::weak_ptr(state_)] {
    if (auto state = weak.lock()) {
      CancelSource child;
      child.state_ = std::move(state);
      child.cancel();
    }
  });
}

void CancelSource::cancel() {
  std::map<std::uint64_t, std::move_only_function<void()>> callbacks;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->cancelled) return;
    state_->cancelled = true;
    callbacks.swap(state_->callbacks);
  }
  for (auto& [id, callback] : callbacks) callback();
}

CallContext CallContext::with_deadline(MonoTime when) const {
  CallContext out = *this;
  if (!out.deadline || when < *out.deadline) out.deadline = when;
  return out;
}
CallContext CallContext::with_cancel(CancelToken token) const {
  CallContext out = *this;
  out.cancel = std::move(token);
  return out;
}
Status CallContext::check(MonoTime now) const {
  if (cancel.is_cancelled()) return fail(Code::kCancelled, "call.cancelled", "the call was cancelled");
  if (deadline && now >= *deadline)
    return fail(Code::kDeadlineExceeded, "call.deadline", "the call's deadline has passed");
  return {};
}

}  // namespace neap
