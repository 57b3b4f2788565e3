// Executor: the one thread that owns a component's state, and its timers.
//
// Everything a component does happens in functions that its executor runs one after another; other
// threads reach it through post() alone. The real one drives sockets (io), the simulated one a virtual
// clock (io/fakes): the same code runs on both.
#pragma once

#include <cstdint>
#include <functional>

#include "neap/base/time.h"

namespace neap {

using Job = std::move_only_function<void()>;
enum class TimerId : std::uint64_t {};

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs job later on the executor's thread, in order of posting. Thread-safe.
  virtual void post(Job job) = 0;
  virtual MonoTime now() const = 0;
  // Runs job at or after `when`. Executor's thread only.
  virtual TimerId post_at(MonoTime when, Job job) = 0;
  // No effect when the job has run or was cancelled. Executor's thread only.
  virtual void cancel_timer(TimerId id) = 0;
};

}  // namespace neap
