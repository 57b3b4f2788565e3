// Jobs that take turns on the same accelerators: while one loads, another computes, a third talks. Groups
// hold gangs of one size, up to four; all members make one iteration a period.
//
// Pure; an Interleaving remembers periods it computed, so one belongs to one caller at a time.
// Source of the model: Zhao et al., "Multi-Resource Interleaving for Deep Learning Training" (Muri), SIGCOMM
// 2022.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "neap/scheduler/job_order.h"

namespace neap::scheduler {

// Of one iteration, in ms: alone, and on storage+processor, accelerator, network.
struct StageProfile {
  double iteration_ms = 0;
  std::array<double, 3> stage_ms{};
};

class Interleaving {
 public:
  static constexpr std::size_t kGroupMax = 4;

  explicit Interleaving(std::vector<StageProfile> profiles) : profiles_(std::move(profiles)) {}

  // Iterations a member makes in the time of one alone, in the order of `members` (profiles); 1 for one
  // member.
  std::vector<double> speeds(std::span<const int> members);

  // Of one iteration of every member.
  double group_ms(std::span<const int> members);

  // A group worth forming: indices into the profiles asked for, ascending, and the speed of each.
  struct Blend {
    std::vector<std::size_t> kinds;
    std::vector<double> speeds;
  };
  // All groups of two and more of these (a profile may stand in one twice) in which nobody lowers what the
  // others get done together; and each alone.
  std::shared_ptr<const std::vector<Blend>> blends(const std::vector<int>& profiles);

 private:
  double total_speed(std::span<const int> members);
  double period_ms(std::span<const int> sorted_members);

  std::vector<StageProfile> profiles_;
  std::map<std::array<int, kGroupMax>, double> periods_;
  std::map<std::vector<int>, std::shared_ptr<const std::vector<Blend>>> blends_;
};

// What a second of service of each job is worth, for group_by_rate: the accelerators it holds times the jobs
// whose end comes as much sooner. Unlike a chance of ending, which spans six orders of magnitude, this says
// how much faster service of one job is worth slower service of others, and makes the oldest job count once.
// Known: all with no less work left (remaining x accelerators), itself included.
std::vector<double> delays_saved_known(std::span<const QueuedJob> jobs);
// Unknown: all that had no less service (attained x accelerators), itself included; and half of those that
// had less, since of two whose ends nobody knows each is as likely the longer one.
std::vector<double> delays_saved_blind(std::span<const QueuedJob> jobs);
// Service after which a running job's standing among the others is asked again: when it doubled, and not
// before 10 minutes, as every change of groups costs a start.
double sharing_review_after_s(double attained_s);

// Groups that save most delay per second on `gpus` accelerators: `rates` (delays_saved_*) times the speed
// inside the group. A price per accelerator, found by bisection, tells who is worth a place and with whom.
std::vector<std::vector<std::size_t>> group_by_rate(std::span<const QueuedJob> jobs,
                                                    std::span<const double> rates, int gpus,
                                                    Interleaving& interleaving);

}  // namespace neap::scheduler
