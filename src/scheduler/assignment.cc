#include "neap/scheduler/assignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "internal/assignment_state.h"
#include "neap/base/draw.h"

namespace neap::scheduler {
namespace {

// Changes `state` by taking a few related tasks out and putting them back in another order; undone where it
// got worse.
class Neighbourhoods {
 public:
  Neighbourhoods(const AssignmentProblem& problem, Draw& draw) : problem_(problem), draw_(draw) {}

  void improve(AssignmentState& state, std::size_t steps) {
    auto best = state;
    for (std::size_t step = 0; step < steps; ++step) {
      auto next = state;
      ruin(next);
      if (!next.insert(removed_, draw_)) continue;
      // A little worse is taken now and then, ever less, so that the search leaves small hills.
      const double patience = 0.02 * (1 - double(step) / double(steps)) * draw_.unit();
      if (next.value() < state.value() - patience * std::abs(state.value())) continue;
      state = std::move(next);
      if (state.value() > best.value()) best = state;
    }
    state = std::move(best);
  }

 private:
  // Either tasks drawn from all, or all of one or two places; what is pending always gets a chance as well.
  void ruin(AssignmentState& state) {
    removed_.clear();
    const auto count = 2 + draw_.below(std::min<std::uint64_t>(problem_.tasks, 12));
    if (draw_.below(2) == 0) {
      for (std::size_t i = 0; i < count; ++i) take(state, draw_.below(problem_.tasks));
    } else {
      const auto first = std::int32_t(draw_.below(problem_.places)),
                 second = std::int32_t(draw_.below(problem_.places));
      const auto start = draw_.below(problem_.tasks);
      for (std::size_t i = 0; i < problem_.tasks && removed_.size() < 2 * count; ++i) {
        const auto task = (start + i) % problem_.tasks;
        if (state.place(task) == first || state.place(task) == second) take(state, task);
      }
    }
    const auto start = draw_.below(problem_.tasks);
    for (std::size_t i = 0, added = 0; i < problem_.tasks && added < count; ++i) {
      const auto task = (start + i) % problem_.tasks;
      if (state.place(task) != AssignmentProblem::kNowhere ||
          std::ranges::find(removed_, task) != removed_.end())
        continue;
      removed_.push_back(task);
      ++added;
    }
  }
  void take(AssignmentState& state, std::size_t task) {
    if (state.place(task) == AssignmentProblem::kNowhere || state.is_pinned(task)) return;
    state.remove(task);
    removed_.push_back(task);
  }

  const AssignmentProblem& problem_;
  Draw& draw_;
  std::vector<std::size_t> removed_;
};

AssignmentState greedy_state(const AssignmentProblem& problem) {
  AssignmentState state(problem);
  std::vector<std::size_t> order(problem.tasks);
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> worth(problem.tasks);
  for (const auto task : order) worth[task] = state.best_value(task) / (state.share(task) + 1e-9);
  std::ranges::sort(order, {}, [&](std::size_t task) { return std::pair(-worth[task], task); });
  for (const auto task : order)
    if (state.place(task) == AssignmentProblem::kNowhere) state.insert_best(task);
  return state;
}

// Each task where one of the parents has it. Running tasks stay where they run until the repair gives them
// their place.
AssignmentState cross(const AssignmentProblem& problem, const AssignmentState& a, const AssignmentState& b,
                      Draw& draw) {
  AssignmentState child(problem);
  std::vector<std::size_t> order(problem.tasks), left;
  std::iota(order.begin(), order.end(), 0);
  draw.shuffle(std::span(order));
  for (const auto task : order) {
    const auto wanted = (draw.below(2) == 0 ? a : b).place(task);
    if (wanted == child.place(task)) continue;
    if (wanted == AssignmentProblem::kNowhere || !child.can_move(task, wanted)) {
      if (child.place(task) == AssignmentProblem::kNowhere) left.push_back(task);
      continue;
    }
    if (child.place(task) != AssignmentProblem::kNowhere) child.remove(task);
    child.put(task, wanted);
  }
  (void)child.insert(left, draw);
  return child;
}

using Island = std::vector<AssignmentState>;

void evolve(const AssignmentProblem& problem, Island& island, Draw& draw, std::size_t neighbourhoods) {
  const auto tournament = [&] {
    const auto a = draw.below(island.size()), b = draw.below(island.size());
    return island[a].value() >= island[b].value() ? a : b;
  };
  auto child = cross(problem, island[tournament()], island[tournament()], draw);
  Neighbourhoods(problem, draw).improve(child, neighbourhoods);
  const auto worst = std::ranges::min_element(island, {}, &AssignmentState::value);
  const bool is_known =
      std::ranges::any_of(island, [&](const auto& one) { return one.places() == child.places(); });
  if (!is_known && child.value() > worst->value()) *worst = std::move(child);
}

void exchange_best(std::vector<Island>& islands) {
  std::vector<AssignmentState> best;
  for (auto& island : islands) best.push_back(*std::ranges::max_element(island, {}, &AssignmentState::value));
  for (std::size_t i = 0; i < islands.size(); ++i)
    *std::ranges::min_element(islands[(i + 1) % islands.size()], {}, &AssignmentState::value) = best[i];
}

}  // namespace

double compute_fitness(const FitnessWeights& weights, double cost, double cheapest, double latency,
                       double fastest, double compliance) {
  const auto part = [](double best, double own) { return own <= 0 ? 1.0 : best / own; };
  return weights.cost * part(cheapest, cost) + weights.latency * part(fastest, latency) +
         weights.compliance * compliance;
}

Status AssignmentProblem::check() const {
  const auto wrong = [](std::string what) {
    return fail(Code::kInvalidArgument, "assignment.problem", std::move(what));
  };
  if (places == 0 || resources == 0) return wrong("an assignment needs at least one place and one resource");
  if (demand.size() != tasks * resources || capacity.size() != places * resources ||
      value.size() != tasks * places)
    return wrong("a matrix of the assignment has another size than tasks, places and resources say");
  for (const auto& [size, name] : {std::pair{current.size(), "current"},
                                   {is_pinned.size(), "is_pinned"},
                                   {move_cost.size(), "move_cost"}})
    if (size != 0 && size != tasks)
      return wrong(fmt::format("{} has {} elements for {} tasks", name, size, tasks));
  if (std::ranges::any_of(demand, [](auto x) { return x < 0; }) ||
      std::ranges::any_of(capacity, [](auto x) { return x < 0; }))
    return wrong("demand and capacity are never negative");
  auto free = capacity;
  for (std::size_t task = 0; task < current.size(); ++task) {
    if (current[task] == kNowhere) continue;
    if (current[task] < 0 || std::size_t(current[task]) >= places)
      return wrong(fmt::format("task {} runs at place {}, which there is not", task, current[task]));
    for (std::size_t r = 0; r < resources; ++r)
      if ((free[std::size_t(current[task]) * resources + r] -= demand[task * resources + r]) < 0)
        return wrong(fmt::format("place {} holds more than its capacity", current[task]));
  }
  return ok();
}

Assignment assign_greedily(const AssignmentProblem& problem) { return greedy_state(problem).to_assignment(); }

Assignment search_assignment(const AssignmentProblem& problem, const AssignmentSearch& search) {
  const auto greedy = greedy_state(problem);
  if (problem.tasks == 0) return greedy.to_assignment();
  Draw draw(search.seed);
  std::vector<Island> islands(std::max<std::size_t>(search.islands, 1));
  for (auto& island : islands) {
    island.assign(std::max<std::size_t>(search.population, 2), greedy);
    for (std::size_t i = 1; i < island.size(); ++i)
      Neighbourhoods(problem, draw).improve(island[i], search.neighbourhoods);
  }
  for (std::size_t generation = 1; generation <= search.generations; ++generation) {
    for (auto& island : islands)
      for (std::size_t i = 0; i < island.size(); ++i) evolve(problem, island, draw, search.neighbourhoods);
    if (search.migration_interval != 0 && generation % search.migration_interval == 0) exchange_best(islands);
  }
  const AssignmentState* best = &greedy;
  for (const auto& island : islands)
    for (const auto& one : island)
      if (one.value() > best->value()) best = &one;
  return best->to_assignment();
}

std::vector<AssignmentStep> order_steps(const AssignmentProblem& problem, const Assignment& target) {
  AssignmentState state(problem);
  std::vector<std::size_t> waiting;
  for (const bool is_running : {true, false})  // moves first: they free the room that new tasks were given
    for (std::size_t task = 0; task < problem.tasks; ++task)
      if (target.place[task] != state.place(task) && target.place[task] != AssignmentProblem::kNowhere &&
          (state.place(task) != AssignmentProblem::kNowhere) == is_running)
        waiting.push_back(task);
  std::vector<AssignmentStep> steps;
  for (bool has_moved = true; has_moved;) {
    has_moved = false;
    std::erase_if(waiting, [&](std::size_t task) {
      const auto from = state.place(task), to = target.place[task];
      if (!state.can_move(task, to)) return false;
      if (from != AssignmentProblem::kNowhere) state.remove(task);
      state.put(task, to);
      steps.push_back({task, from, to});
      return has_moved = true;
    });
  }
  return steps;
}

}  // namespace neap::scheduler
