// A small dense simplex for programmes that are feasible at zero: maximise c x with A x <= b, x >= 0, b >= 0.
//
// A second objective may follow the first: it moves only along the optima of the first. Deterministic.
// Threads: none. Memory: rows x columns doubles.
#pragma once

#include <cstddef>
#include <vector>

namespace neap::scheduler {

class Simplex {
 public:
  Simplex(std::size_t rows, std::size_t columns);

  double& at(std::size_t row, std::size_t column) { return table_[row * (columns_ + 1) + column]; }
  double& bound(std::size_t row) { return at(row, columns_); }
  // `objective` 0 is the first, 1 the one that follows.
  double& gain(std::size_t objective, std::size_t column) { return at(rows_ + objective, column); }

  // False where the steps run out or nothing bounds the gain.
  bool solve();
  double value(std::size_t column) const { return values_[column]; }

 private:
  bool improve(std::size_t objective);
  std::size_t entering(std::size_t objective, bool is_cautious);
  std::size_t leaving(std::size_t column);
  void pivot(std::size_t row, std::size_t column);

  std::size_t rows_, columns_;
  std::vector<double> table_;
  std::vector<std::size_t> basic_, free_;  // variables of rows and of columns; below columns_: x, else slack
  std::vector<double> values_;
};

}  // namespace neap::scheduler
