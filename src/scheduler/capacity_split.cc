#include "neap/scheduler/capacity_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

namespace neap::scheduler {

Result<CapacitySplit> split_demand(std::span<const CapacityOffer> offers, std::int64_t demand) {
  if (demand < 0)
    return fail(Code::kInvalidArgument, "split.input", "the demand to split is negative; ask for 0 or more");
  for (const auto& offer : offers)
    if (offer.capacity < 0 || offer.price.value < 0)
      return fail(Code::kInvalidArgument, "split.input",
                  fmt::format("{} has a negative capacity or price; correct the offer", offer.name));
  std::vector<std::size_t> order(offers.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tuple(offers[i].price.value, std::string_view(offers[i].name), i);
  });
  CapacitySplit out;
  out.units.resize(offers.size());
  auto missing = demand;
  for (const auto i : order) {
    const auto units = out.units[i] = std::min(missing, offers[i].capacity);
    missing -= units;
    std::int64_t cost = 0;
    if (__builtin_mul_overflow(units, offers[i].price.value, &cost) ||
        __builtin_add_overflow(out.cost.value, cost, &out.cost.value))
      return fail(Code::kInvalidArgument, "price.overflow",
                  "the cost of the split does not fit in 63 bits of micro-units; use a coarser unit");
  }
  if (missing > 0)
    return fail(
        Code::kResourceExhausted, "split.infeasible",
        fmt::format("the offers hold {} of the {} units asked; {} more are needed, or a smaller demand",
                    demand - missing, demand, missing));
  return out;
}

}  // namespace neap::scheduler
