#include "internal/simplex.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace neap::scheduler {
namespace {

constexpr double kZero = 1e-10;

}  // namespace

Simplex::Simplex(std::size_t rows, std::size_t columns)
    : rows_(rows),
      columns_(columns),
      table_((rows + 2) * (columns + 1)),
      basic_(rows),
      free_(columns),
      values_(columns) {
  std::iota(free_.begin(), free_.end(), std::size_t{0});
  std::iota(basic_.begin(), basic_.end(), columns);
}

// The steepest, ties to the lower variable; with caution the lowest variable that gains (Bland), which cannot
// go in circles.
std::size_t Simplex::entering(std::size_t objective, bool is_cautious) {
  std::size_t best = columns_;
  for (std::size_t column = 0; column < columns_; ++column) {
    const double gained = gain(objective, column);
    if (gained <= kZero || (objective == 1 && std::abs(gain(0, column)) > kZero)) continue;
    const bool is_better =
        best == columns_ ||
        (is_cautious ? free_[column] < free_[best]
                     : std::pair(-gained, free_[column]) < std::pair(-gain(objective, best), free_[best]));
    if (is_better) best = column;
  }
  return best;
}

std::size_t Simplex::leaving(std::size_t column) {
  std::size_t best = rows_;
  double least = 0;
  for (std::size_t row = 0; row < rows_; ++row) {
    if (at(row, column) <= kZero) continue;
    const double ratio = bound(row) / at(row, column);
    if (best == rows_ || ratio < least || (ratio == least && basic_[row] < basic_[best])) {
      best = row;
      least = ratio;
    }
  }
  return best;
}

void Simplex::pivot(std::size_t row, std::size_t column) {
  const double turned = 1 / at(row, column);
  for (std::size_t other = 0; other <= columns_; ++other)
    if (other != column) at(row, other) *= turned;
  for (std::size_t line = 0; line < rows_ + 2; ++line) {
    const double factor = at(line, column);
    if (line == row || factor == 0) continue;
    for (std::size_t other = 0; other <= columns_; ++other) {
      if (other == column) continue;
      auto& cell = at(line, other);
      cell -= factor * at(row, other);
      if (std::abs(cell) < 1e-13) cell = 0;
    }
    at(line, column) = -factor * turned;
  }
  at(row, column) = turned;
  std::swap(basic_[row], free_[column]);
}

bool Simplex::improve(std::size_t objective) {
  const std::size_t steps_max = 200 + 50 * (rows_ + columns_);
  std::size_t standing = 0;
  for (std::size_t step = 0; step < steps_max; ++step) {
    const auto column = entering(objective, standing > rows_ + columns_);
    if (column == columns_) return true;
    const auto row = leaving(column);
    if (row == rows_) return false;
    standing = bound(row) > kZero ? 0 : standing + 1;
    pivot(row, column);
  }
  return false;
}

bool Simplex::solve() {
  if (!improve(0) || !improve(1)) return false;
  for (std::size_t row = 0; row < rows_; ++row)
    if (basic_[row] < columns_) values_[basic_[row]] = bound(row);
  return true;
}

}  // namespace neap::scheduler
