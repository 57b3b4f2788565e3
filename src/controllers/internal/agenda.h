// Agenda: which objects a pass has to look at.
//
// Fed with what the watches saw, asked once at the beginning of each pass. A pass is still level-triggered:
// what it does with an object depends on the picture alone, so looking at one too often costs time and
// nothing else.
//
// 1. A job is looked at after it, one of its members, or the lease of a member's node changed, and when it
// asked
//    to be (look_again).
// 2. A job that waits for room is looked at again after anything changed that a placement depends on.
// 3. Everything is looked at once after kinds were listed anew, and every Options::resync.
// Belongs to the loop's executor.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "neap/controllers/cluster_state.h"
#include "neap/controllers/controller.h"

namespace neap::controllers {

// What one pass looks at.
struct Work {
  bool is_tick = false;   // what depends on time alone is due
  bool sums = false;      // sums over nodes and allocations may have changed
  bool replicas = false;  // a service, or one of its replicas, changed
  std::vector<ObjectKey> jobs;
};

class Agenda {
 public:
  // From the watches; `before` or `after` is null where the object was or is not there.
  void note(const ObjectKey& key, const api::TrainingJob* before, const api::TrainingJob* after);
  void note(const ObjectKey& key, const api::Allocation* before, const api::Allocation* after);
  void note(const ObjectKey& key, const api::Node* before, const api::Node* after);
  void note(const ObjectKey& key, const api::Budget* before, const api::Budget* after);
  void note(const ObjectKey& key, const api::InferenceService* before, const api::InferenceService* after);
  template <class T>
  void note(const ObjectKey&, const T* before, const T* after) {
    // A site's and a queue's status are sums that this loop writes itself.
    if (!before || !after || before->metadata.generation != after->metadata.generation ||
        before->metadata.labels != after->metadata.labels) {
      room_ = true;
      sums_ |= std::is_same_v<T, api::Site>;
    }
  }
  void note_lost_node(const std::string& name) { nodes_.insert(name); }
  void note_everything() { everything_ = true; }

  // From the passes.
  Work begin_pass(const ClusterState& picture, const Options& options, MonoTime now);
  // Jobs with a place of which not every member is in the picture yet.
  const std::set<ObjectKey>& promised() const { return promised_; }
  // False where a job of another project has asked it to make room in this pass: projects are decided apart,
  // and its room is there once.
  bool claim(const ObjectKey& victim, const std::string& project) {
    return claimed_.try_emplace(victim, project).first->second == project;
  }
  void wait_for_room(const ObjectKey& job) { waiting_.insert(job); }
  void look_again(const ObjectKey& job, MonoTime when) { due_.emplace(when, job); }

 private:
  void note_victims(const api::Nomination& nomination);
  void forget_kept_promises(const ClusterState& picture);
  void take_lost_nodes(const ClusterState& picture, const Options& options, MonoTime now);

  bool everything_ = true, room_ = true, sums_ = true, replicas_ = true;
  std::set<ObjectKey> jobs_, waiting_, promised_;
  std::map<ObjectKey, std::string> claimed_;  // in this pass, by a project
  std::set<std::string> nodes_;               // gone, or back: their jobs are looked at
  std::set<std::string> gone_;                // their lease has run out
  std::set<std::pair<MonoTime, ObjectKey>> due_;
  std::optional<MonoTime> ticked_, looked_at_all_;
};

}  // namespace neap::controllers
