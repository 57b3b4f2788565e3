// Prints a month of one installation's usage as a FOCUS dataset, and on standard error the bill's total in
// micro-units: every kind of line, every capacity type, prices that change, names that need quoting. The same
// on every machine.
#include <cstdio>

#include "neap/finops/focus.h"
#include "neap/simulation/sample.h"

namespace neap {
namespace {

constexpr std::array kSites{"hq", "cloud-a", "factory-01"};
constexpr std::array kTypes{finops::CapacityType::kOwned, finops::CapacityType::kReserved,
                            finops::CapacityType::kOnDemand, finops::CapacityType::kSpot};

finops::PriceBook draw_prices(simulation::Draw& draw) {
  finops::PriceBook book("USD");
  const auto price = [&] { return MoneyMicros{std::int64_t(draw.below(5'000'000))}; };
  for (const auto* site : kSites) {
    for (const auto type : kTypes) book.set_rates(site, type, {price(), price(), {{"nvidia-a100", price()}}});
    book.set_storage(site, price());
    book.set_egress(site, "", price());
  }
  return book;
}

Status add_hour(finops::FocusExport& out, const finops::PriceBook& book, simulation::Draw& draw, WallTime end,
                int hour) {
  const finops::Attribution owner{fmt::format("project-{}", draw.below(3)),
                                  draw.below(2) ? "team, \"north\"" : "", draw.below(2) ? "inspection" : ""};
  const auto* site = kSites[draw.below(kSites.size())];
  const auto milliseconds = std::int64_t(draw.below(3'600'000));
  NEAP_TRY(const auto lines,
           finops::price_allocation(book, {.owner = owner,
                                           .allocation = fmt::format("{}/job-{}", owner.project, hour % 40),
                                           .site = site,
                                           .capacity_type = kTypes[draw.below(kTypes.size())],
                                           .held = {{std::int64_t(draw.below(64'000))},
                                                    {std::int64_t(draw.below(std::uint64_t(1) << 38))},
                                                    "nvidia-a100",
                                                    {std::int64_t(draw.below(8'000))}},
                                           .milliseconds = milliseconds}));
  for (const auto& line : lines) NEAP_TRY_VOID(out.add(line, end));
  NEAP_TRY(const auto moved,
           finops::price_egress(book, {owner,
                                       fmt::format("transfer-{}", hour),
                                       site,
                                       "elsewhere",
                                       {std::int64_t(draw.below(std::uint64_t(1) << 40))}}));
  NEAP_TRY_VOID(out.add(moved, end));
  NEAP_TRY(
      const auto stored,
      finops::price_storage(
          book, {owner, "registry", site, {std::int64_t(draw.below(std::uint64_t(1) << 42))}, milliseconds}));
  return out.add(stored, end);
}

Status print_month() {
  simulation::Draw draw(2026);
  NEAP_TRY(const auto start, parse_rfc3339("2026-02-01T00:00:00Z"));
  auto book = draw_prices(draw);
  finops::FocusExport out({.billing_account = "works", .prices = &book});
  for (int hour = 1; hour <= 28 * 24; ++hour) {
    if (hour % 200 == 0) book = draw_prices(draw);
    NEAP_TRY_VOID(add_hour(out, book, draw, start + std::chrono::hours(hour), hour));
  }
  std::fputs(out.to_csv().c_str(), stdout);
  std::fputs(fmt::format("{}\n", out.total().value).c_str(), stderr);
  return ok();
}

}  // namespace
}  // namespace neap

int main() {
  if (const auto printed = neap::print_month(); !printed) {
    std::fputs((printed.error().message + "\n").c_str(), stderr);
    return 1;
  }
}
