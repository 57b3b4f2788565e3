// CallContext: what every remote or slow call takes: a deadline, a cancellation, a trace id.
//
// Copying is cheap. Cancellation is cooperative: an operation that was cancelled returns
// Code::kCancelled, one whose deadline passed Code::kDeadlineExceeded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "neap/base/time.h"

namespace neap {

namespace detail {
struct CancelState;
}

class CancelRegistration {
 public:
  CancelRegistration() = default;
  CancelRegistration(std::shared_ptr<detail::CancelState> state, std::uint64_t id);
  CancelRegistration(CancelRegistration&& other) noexcept;
  CancelRegistration& operator=(CancelRegistration&& other) noexcept;
  ~CancelRegistration();

 private:
  std::shared_ptr<detail::CancelState> state_;
  std::uint64_t id_ = 0;
};

// Read side. Thread-safe; callbacks run on the thread that cancels.
class CancelToken {
 public:
  CancelToken() = default;  // never cancelled
  explicit CancelToken(std::shared_ptr<detail::CancelState> state) : state_(std::move(state)) {}
  bool is_cancelled() const;
  // Runs `callback` once on cancellation, at once when already cancelled. Dropping the registration revokes
  // it.
  [[nodiscard]] CancelRegistration on_cancel(std::move_only_function<void()> callback) const;

 private:
  std::shared_ptr<detail::CancelState> state_;
};

// Write side. A source made from a parent token is cancelled with it.
class CancelSource {
 public:
  CancelSource();
  explicit CancelSource(const CancelToken& parent);
  CancelToken token() const { return CancelToken(state_); }
  void cancel();

 private:
  std::shared_ptr<detail::CancelState> state_;
  CancelRegistration parent_;
};

struct CallContext {
  std::optional<MonoTime> deadline;
  CancelToken cancel;
  std::string trace_id;

  CallContext with_deadline(MonoTime when) const;  // the earlier of both
  CallContext with_cancel(CancelToken token) const;
  // Cancelled or past the deadline, as the error to return; nothing when the call may go on.
  Status check(MonoTime now) const;
};

}  // namespace neap
