// Whole assignments, searched: a place for each of many tasks at once, where deciding one by one would fill
// the wrong places first. Runs in the background on a copy; what it finds is proposed as moves and admitted
// by the same guards.
//
// The problem is a generalised assignment problem with several resources. The search is evolutionary
// (islands, crossover with repair, warm start from a greedy answer) with ruin-and-recreate neighbourhoods as
// mutation; it is bounded by iterations, so that a seed fixes the answer on every machine. Tests hold it
// against the optimum of an exact solver.
//
// Threads: pure functions. Memory: O(tasks x places).
// Sources: Shaw 1998 (large-neighbourhood search), Potvin and Rousseau 1993 (regret insertion).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "neap/base/result.h"

namespace neap::scheduler {

// What makes a place good for a task; each part lies in 0..1, the best of the task's places having 1 for cost
// and latency.
struct FitnessWeights {
  double cost = 0.5, latency = 0.3, compliance = 0.2;
};
// w1 * cheapest / cost + w2 * fastest / latency + w3 * compliance; a cost or latency of 0 counts as the best.
double compute_fitness(const FitnessWeights& weights, double cost, double cheapest, double latency,
                       double fastest, double compliance);

// Row-major matrices.
struct AssignmentProblem {
  static constexpr std::int32_t kNowhere = -1;

  std::size_t tasks = 0, places = 0, resources = 0;
  std::vector<std::int64_t> demand{};    // tasks x resources, >= 0
  std::vector<std::int64_t> capacity{};  // places x resources, >= 0; what running tasks hold included
  std::vector<double> value{};  // tasks x places, what the task is worth there; < 0: a guard refuses it
  // Empty: nothing runs yet. Else for each task where it runs, or kNowhere. What runs is never dropped.
  std::vector<std::int32_t> current{};
  std::vector<std::uint8_t> is_pinned{};  // empty, or for each task: not 0 where it may not be moved
  std::vector<double> move_cost{};        // empty, or for each task, in the unit of `value`

  // Sizes, signs, and that what runs fits where it runs. Reason `assignment.problem`.
  Status check() const;
};

struct Assignment {
  std::vector<std::int32_t> place;  // for each task; kNowhere: left pending
  double value = 0;                 // move costs taken off
  std::size_t placed = 0, moves = 0;
};

struct AssignmentSearch {
  std::uint64_t seed = 1;
  std::size_t islands = 4, population = 8;
  std::size_t generations = 40;
  std::size_t migration_interval = 10;  // generations between the islands' exchange of their best
  std::size_t neighbourhoods = 25;      // ruin-and-recreate steps for each child
};

// The problem must pass check().
Assignment assign_greedily(const AssignmentProblem& problem);
// At least as good as the greedy answer.
Assignment search_assignment(const AssignmentProblem& problem, const AssignmentSearch& search);

// One task to one place.
struct AssignmentStep {
  std::size_t task;
  std::int32_t from, to;
};
// The steps from what runs to `target`, in an order in which every place has room at every moment. Moves that
// would need room that never comes free (rings of full places) are left out, and so is what was to be placed
// on it.
std::vector<AssignmentStep> order_steps(const AssignmentProblem& problem, const Assignment& target);

}  // namespace neap::scheduler
