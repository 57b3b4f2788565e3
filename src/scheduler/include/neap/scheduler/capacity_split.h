// A demand split over capacities at the least cost: minimise sum c_i x_i with 0 <= x_i <= S_i and sum x_i =
// D. With one demand the cheapest capacities are filled first; that is the linear programme's optimum, and a
// test holds it against a solver's.
//
// Threads: pure function.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "neap/base/quantity.h"
#include "neap/base/result.h"

namespace neap::scheduler {

struct CapacityOffer {
  std::string name;
  std::int64_t capacity = 0;  // units, >= 0
  MoneyMicros price;          // of one unit, >= 0
};

struct CapacitySplit {
  std::vector<std::int64_t> units;  // for each offer
  MoneyMicros cost;
};

// Offers of one price are filled in the order of their names. Reasons: `split.infeasible`, with what is
// missing; `split.input`; `price.overflow`.
Result<CapacitySplit> split_demand(std::span<const CapacityOffer> offers, std::int64_t demand);

}  // namespace neap::scheduler
