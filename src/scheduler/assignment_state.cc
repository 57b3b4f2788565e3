#include "internal/assignment_state.h"

#include <algorithm>

namespace neap::scheduler {

AssignmentState::AssignmentState(const AssignmentProblem& problem)
    : problem_(&problem), place_(problem.tasks, AssignmentProblem::kNowhere), free_(problem.capacity) {
  for (std::size_t task = 0; task < problem.current.size(); ++task)
    if (problem.current[task] != AssignmentProblem::kNowhere) put(task, problem.current[task]);
}

// What runs may stay where it runs even where a guard would not put it today: that is worth nothing, but no
// harm.
double AssignmentState::worth(std::size_t task, std::int32_t at) const {
  const double value = problem_->value[task * problem_->places + std::size_t(at)];
  if (!is_running(task)) return value;
  if (problem_->current[task] == at) return std::max(value, 0.0);
  return value - (problem_->move_cost.empty() ? 0 : problem_->move_cost[task]);
}

bool AssignmentState::has_room(std::size_t task, std::int32_t at) const {
  const auto* asked = &problem_->demand[task * problem_->resources];
  const auto* free = &free_[std::size_t(at) * problem_->resources];
  for (std::size_t r = 0; r < problem_->resources; ++r)
    if (asked[r] > free[r]) return false;
  return true;
}

bool AssignmentState::can_move(std::size_t task, std::int32_t to) const {
  if (is_running(task) && problem_->current[task] == to) return has_room(task, to);
  return !is_pinned(task) && problem_->value[task * problem_->places + std::size_t(to)] >= 0 &&
         has_room(task, to);
}

void AssignmentState::put(std::size_t task, std::int32_t to) {
  place_[task] = to;
  for (std::size_t r = 0; r < problem_->resources; ++r)
    free_[std::size_t(to) * problem_->resources + r] -= problem_->demand[task * problem_->resources + r];
  value_ += worth(task, to);
}

void AssignmentState::remove(std::size_t task) {
  const auto from = place_[task];
  place_[task] = AssignmentProblem::kNowhere;
  for (std::size_t r = 0; r < problem_->resources; ++r)
    free_[std::size_t(from) * problem_->resources + r] += problem_->demand[task * problem_->resources + r];
  value_ -= worth(task, from);
}

double AssignmentState::best_value(std::size_t task) const {
  const auto row = problem_->value.begin() + std::ptrdiff_t(task * problem_->places);
  return std::max(0.0, *std::max_element(row, row + std::ptrdiff_t(problem_->places)));
}

double AssignmentState::share(std::size_t task) const {
  double largest = 0;
  for (std::size_t r = 0; r < problem_->resources; ++r) {
    double all = 0;
    for (std::size_t at = 0; at < problem_->places; ++at)
      all += double(problem_->capacity[at * problem_->resources + r]);
    if (all > 0) largest = std::max(largest, double(problem_->demand[task * problem_->resources + r]) / all);
  }
  return largest;
}

bool AssignmentState::insert_best(std::size_t task) {
  auto best = AssignmentProblem::kNowhere;
  for (std::int32_t at = 0; std::size_t(at) < problem_->places; ++at)
    if (can_move(task, at) && (best == AssignmentProblem::kNowhere || worth(task, at) > worth(task, best)))
      best = at;
  if (best == AssignmentProblem::kNowhere) return false;
  put(task, best);
  return true;
}

bool AssignmentState::insert(std::vector<std::size_t> tasks, Draw& draw) {
  while (!tasks.empty()) {
    std::size_t chosen = tasks.size();
    double most = 0;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      double best = -1, second = 0;
      int choices = 0;
      for (std::int32_t at = 0; std::size_t(at) < problem_->places; ++at) {
        if (!can_move(tasks[i], at)) continue;
        ++choices;
        const double own = worth(tasks[i], at);
        if (own > best) {
          second = std::max(best, 0.0);
          best = own;
        } else {
          second = std::max(second, own);
        }
      }
      if (choices == 0) {
        if (is_running(tasks[i])) return false;
        continue;
      }
      // What runs must find a place, so its loss is large; the draw makes each recreation a little different.
      const double regret =
          (best - second + 0.05 * best) * (0.8 + 0.4 * draw.unit()) + (is_running(tasks[i]) ? 1e6 : 1e-12);
      if (chosen == tasks.size() || regret > most) {
        most = regret;
        chosen = i;
      }
    }
    if (chosen == tasks.size()) return true;
    insert_best(tasks[chosen]);
    tasks.erase(tasks.begin() + std::ptrdiff_t(chosen));
  }
  return true;
}

Assignment AssignmentState::to_assignment() const {
  Assignment out{.place = place_};  // the value anew: many small steps have rounded the running one
  for (std::size_t task = 0; task < place_.size(); ++task) {
    if (place_[task] == AssignmentProblem::kNowhere) continue;
    ++out.placed;
    out.value += worth(task, place_[task]);
    if (is_running(task) && problem_->current[task] != place_[task]) ++out.moves;
  }
  return out;
}

}  // namespace neap::scheduler
