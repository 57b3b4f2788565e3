// Own nodes first, rented ones behind them: which waiting gang bursts now, which running one comes home.
//
// A gang that bursts may come home later, so waiting pays only where own room would else stand empty, and
// only when the room comes in time. Everything is known: what runs, until when, who queues. So the wait is
// not a fixed time-out but a forecast, made again at every event: who would start too late to be worth it
// leaves at once, instead of waiting in vain and leaving then.
//
// Pure; hours. Sources: Starburst (Luo et al., USENIX ATC 2024) for the price of waiting; the rules of coming
// home as in docs/reference/decisions.md, "Burst and drift".
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace neap::scheduler {

// Free accelerators of equal nodes. A gang up to one node takes the node with the least room that suffices, a
// wider one wholly free nodes; all of it or nothing. Sizes above one node are rounded up to whole nodes.
class NodePool {
 public:
  NodePool(std::size_t nodes, int gpus_per_node)
      : free_(nodes, gpus_per_node), gpus_per_node_(gpus_per_node) {}
  // Nodes that are partly taken; none has more free than `gpus_per_node`.
  NodePool(std::vector<int> free, int gpus_per_node)
      : free_(std::move(free)), gpus_per_node_(gpus_per_node) {}

  struct Place {
    std::vector<std::size_t> nodes;
    int gpus_each = 0;
  };
  std::optional<Place> take(int gpus);
  // The same, but a gang of less than a node leaves wholly free nodes to wide ones: it breaks into one only
  // where more than a quarter of the nodes are free, or where the gangs like it that have no own node yet
  // (`alike_gpus`, its own included) fill half of one.
  std::optional<Place> take_sparing(int gpus, int alike_gpus);
  void give_back(const Place& place);

 private:
  std::vector<int> free_;
  int gpus_per_node_;
};

struct PrivateRun {
  NodePool::Place place;
  double left_h = 0;
};
struct WaitingGang {
  int gpus = 1;
  double run_h = 0;     // known or estimated
  double waited_h = 0;  // so far
};
struct CloudRun {
  int gpus = 1;
  double left_h = 0;
  double ran_h = 0;  // since it started there
};

struct BurstRule {
  // What a rented GPU-hour saved is worth in hours of one job's waiting; the published 0.076 h. 0: never
  // wait.
  double wait_h_per_gpu_hour = 0.076;
  // Coming home: at least so much left, after at least so much there; `move_h` is lost on the way.
  double home_left_min_h = 1;
  double home_ran_min_h = 0.5;
  double move_h = 0.2;
  // GPU-hours that an hour lost on the way must save: `home_worth` while none was lost, five times that when
  // moves have made run times longer by `home_delay_share`, and so on in powers of five.
  double home_worth = 100;
  double home_delay_share = 0.001;
};

// Of all jobs that came so far, in hours: lost by moves, and run time.
struct DriftDelay {
  double lost_h = 0;
  double run_h = 0;
};

// GPU-hours that the next move must save.
double home_saved_min(const BurstRule& rule, const DriftDelay& delay);

// Hours until each of the queue starts on own nodes, served in order, skipping what does not fit, when nobody
// else comes; infinite for what never fits.
std::vector<double> forecast_starts_h(NodePool pool, std::span<const PrivateRun> runs,
                                      std::span<const WaitingGang> queue);

// Indices of the queue that burst now, ascending: each whose waiting until its forecast start, what it waited
// included, passes what its GPU-hours are worth. The last in the queue leaves first, and the rest are
// forecast again.
std::vector<std::size_t> choose_bursts(const NodePool& pool, std::span<const PrivateRun> runs,
                                       std::span<const WaitingGang> queue, const BurstRule& rule);

// Indices of the cloud's gangs worth bringing home, most remaining GPU-hours first; the caller takes those
// that fit, and asks again after each: a move makes the next one dearer.
std::vector<std::size_t> order_homecoming(std::span<const CloudRun> runs, const BurstRule& rule,
                                          const DriftDelay& delay);

}  // namespace neap::scheduler
