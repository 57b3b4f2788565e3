// LeaderElection: which of several servers on one store runs the controllers.
//
// The leader is on show in a Lease, neap-system/neap-controllers, that it renews; the right to write is the
// fence, a key of its own that only a change of leader rewrites (store/fenced_store.h).
// 1. Lease and fence change hands in one commit: from then on the store refuses every fenced write of the
// leader
//    before, whatever that one believes and however long it slept. No clock is trusted for that.
// 2. Clocks decide only when to try: a candidate takes over when the Lease has not changed for its duration
// by the
//    candidate's own clock, or when it was given back.
// 3. A leader that could not renew for the Lease's duration stops acting by itself.
// Belongs to the runtime's executor. Source: Kubernetes' client-go leader election, with the fence added.
#pragma once

#include <functional>
#include <string>

#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "neap/io/runtime.h"
#include "neap/store/fenced_store.h"

namespace neap::apiserver {

inline constexpr std::string_view kLeaseNamespace = "neap-system";
inline constexpr std::string_view kLeaseName = "neap-controllers";

class LeaderElection {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    store::FencedStore& fence;  // over the same store; opened and closed here
    // Called after each change, true when this server leads now.
    std::function<void(bool leads)> changed;
  };
  struct Options {
    std::string holder;  // of this life of the process, and no other
    Duration lease = 6s;
    Duration renew = 1500ms;
    Duration retry = 500ms;  // of a candidate, and of a leader whose renewal failed
  };
  LeaderElection(Dependencies dependencies, Options options);
  void start();
  // Gives the Lease back, so that another server takes over at once.
  Task<void> stop();
  void abandon() { tasks_.abandon(); }  // simulated crash
  bool leads() const;

 private:
  Task<void> run();
  Task<void> seek();
  Task<void> renew();
  Task<void> check_after_refusal();
  void lead(Revision term, Revision lease, MonoTime since);
  void lose();
  std::string lease_text(std::string_view holder);

  Dependencies deps_;
  Options options_;
  TaskGroup tasks_;
  std::string lease_key_;
  Json lease_object_;          // as it was read or written last; null: there is none
  Revision lease_revision_{};  // of that
  MonoTime seen_at_{};         // when this candidate first saw lease_revision_
  Revision lost_term_{};       // the last one that this process led in and that is over here
  bool has_seen_ = false;
  bool leading_ = false;
  MonoTime valid_until_{};
};

}  // namespace neap::apiserver
