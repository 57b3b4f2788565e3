#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "neap/finops/budget.h"
#include "neap/finops/metering.h"
#include "neap/finops/price_book.h"
#include "neap/finops/report.h"

namespace neap::finops {
namespace {

PriceBook make_book() {
  return parse_price_book(parse_json(R"j({"currency": "EUR",
    "sites": {"hq": {"owned": {"core": "0.02", "gib": "0.003", "accelerators": {"nvidia-a100": "1.1"}}},
              "cloud-a": {"on-demand": {"core": "0.05", "gib": "0.006", "accelerators": {"nvidia-a100": "3.06"}},
                          "spot": {"core": "0.015", "gib": "0.002", "accelerators": {"nvidia-a100": "0.9731"}}}},
    "egress": [{"from": "cloud-a", "to": "hq", "perGB": "0.09"}, {"from": "cloud-a", "to": "", "perGB": "0.12"},
               {"from": "hq", "to": "", "perGB": "0"}],
    "storage": {"hq": "0.01", "cloud-a": "0.02"}})j")
                              .value())
      .value();
}

AllocationUsage an_hour(std::string site, CapacityType type) {
  return {.owner = {"vision", "core", "resnet"},
          .allocation = "train-0",
          .site = std::move(site),
          .capacity_type = type,
          .held = {{8000}, {std::int64_t(32) << 30}, "nvidia-a100", {2000}},
          .milliseconds = 3'600'000};
}

TEST(Finops, an_hour_of_an_allocation_costs_what_its_parts_cost) {
  const auto book = make_book();
  const auto lines = price_allocation(book, an_hour("cloud-a", CapacityType::kSpot)).value();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(format_money(lines[0].amount), "0.120000");
  EXPECT_EQ(format_money(lines[1].amount), "0.064000");
  EXPECT_EQ(format_money(lines[2].amount), "1.946200");
  EXPECT_EQ(lines[2].quantity, "2.000000");
  EXPECT_EQ(sum_amounts(lines).value(),
            book.compute_hourly("cloud-a", CapacityType::kSpot, an_hour("", {}).held).value());
}

TEST(Finops, rounding_is_half_to_even_once_per_line) {
  EXPECT_EQ(multiply_divide(1, 1, 1, 2).value(), 0);
  EXPECT_EQ(multiply_divide(3, 1, 1, 2).value(), 2);
  EXPECT_EQ(multiply_divide(5, 1, 1, 2).value(), 2);
  EXPECT_EQ(multiply_divide(7, 1, 1, 4).value(), 2);
  EXPECT_EQ(multiply_divide(INT64_MAX, INT64_MAX, 1, 1).error().reason, "price.overflow");
  EXPECT_EQ(multiply_divide(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX).error().reason, "price.overflow");
  EXPECT_EQ(multiply_divide(-1, 1, 1, 1).error().reason, "price.negative");
}

TEST(Finops, parts_sum_to_the_total_to_the_micro_unit) {
  const auto book = make_book();
  std::mt19937_64 random(3);
  std::vector<UsageLine> lines;
  for (int i = 0; i < 500; ++i) {
    auto usage = an_hour(random() % 2 ? "hq" : "cloud-a", CapacityType::kOwned);
    if (usage.site == "cloud-a")
      usage.capacity_type = random() % 2 ? CapacityType::kSpot : CapacityType::kOnDemand;
    usage.owner = {"p" + std::to_string(random() % 5), "t" + std::to_string(random() % 3),
                   "m" + std::to_string(random() % 7)};
    usage.held.cores = {std::int64_t(random() % 64'000)};
    usage.held.memory = {std::int64_t(random() % (std::uint64_t(1) << 40))};
    usage.milliseconds = std::int64_t(random() % 86'400'000);
    for (auto& line : price_allocation(book, usage).value()) lines.push_back(std::move(line));
    lines.push_back(price_egress(book, {.owner = usage.owner,
                                        .transfer = "t",
                                        .from_site = "cloud-a",
                                        .to_site = "hq",
                                        .moved = {std::int64_t(random() % 1'000'000'000'000)}})
                        .value());
  }
  const auto report = build_report("EUR", lines).value();
  for (const auto* groups : {&report.by_project, &report.by_team, &report.by_model, &report.by_kind,
                             &report.by_site, &report.by_capacity_type}) {
    MoneyMicros sum;
    std::size_t count = 0;
    for (const auto& group : *groups) {
      sum += group.amount;
      count += group.line_count;
    }
    EXPECT_EQ(sum, report.total);
    EXPECT_EQ(count, lines.size());
  }
}

TEST(Finops, an_unknown_price_is_an_error_and_never_zero) {
  const auto book = make_book();
  EXPECT_EQ(price_allocation(book, an_hour("nowhere", CapacityType::kOwned)).error().reason,
            "price.rates.unknown");
  auto other = an_hour("hq", CapacityType::kOwned);
  other.held.accelerator_model = "npu-x";
  EXPECT_EQ(price_allocation(book, other).error().reason, "price.accelerator.unknown");
  EXPECT_EQ(price_egress(book, {.transfer = "t", .from_site = "edge", .to_site = "hq"}).error().reason,
            "price.egress.unknown");
  EXPECT_EQ(book.find_egress("cloud-a", "edge").value(), MoneyMicros{120'000});
  EXPECT_EQ(book.find_egress("edge", "edge").value(), MoneyMicros{});
  other.allocation.clear();
  EXPECT_EQ(price_allocation(book, other).error().reason, "metering.unattributed");
}

TEST(Finops, the_same_usage_is_repriced_all_public_and_all_private) {
  const auto book = make_book();
  auto lines = price_allocation(book, an_hour("cloud-a", CapacityType::kSpot)).value();
  lines.push_back(
      price_egress(book,
                   {.transfer = "model", .from_site = "cloud-a", .to_site = "hq", .moved = {10'000'000'000}})
          .value());
  const auto result = compare(lines, book, {"cloud-a", "hq"}).value();
  EXPECT_EQ(format_money(result.actual), "3.030200");       // 2.1302 of compute, 0.9 of egress
  EXPECT_EQ(format_money(result.all_public), "7.612000");   // 0.4 + 0.192 + 6.12, and the same egress
  EXPECT_EQ(format_money(result.all_private), "2.456000");  // 0.16 + 0.096 + 2.2, nothing leaves
  EXPECT_EQ(result.saved_basis_points, 6019);
  EXPECT_TRUE(result.unpriced.empty());
  auto odd = lines;
  odd[2].accelerator_model = "npu-x";
  EXPECT_EQ(compare(odd, book, {"cloud-a", "hq"}).value().unpriced.size(), 2u);
}

TEST(Finops, budgets_climb_their_ladder_and_refuse_what_would_pass_a_hard_limit) {
  const Budget budget{
      .name = "b",
      .project = "p",
      .limit = {100'000'000},
      .ladder = {{100, BudgetAction::kPause}, {50, BudgetAction::kWarn}, {80, BudgetAction::kSpotOnly}}};
  const auto at = [&](std::int64_t spent, std::int64_t asked) {
    return evaluate_budget(budget, {{spent * 1'000'000}, {}}, {asked * 1'000'000});
  };
  EXPECT_EQ(at(10, 10).action, BudgetAction::kNone);
  EXPECT_EQ(at(40, 10).action, BudgetAction::kWarn);
  EXPECT_EQ(at(70, 15).action, BudgetAction::kSpotOnly);
  EXPECT_TRUE(at(70, 15).admits);
  EXPECT_FALSE(at(90, 11).admits);
  EXPECT_EQ(at(90, 11).percent_used, 101);
  EXPECT_THAT(at(90, 11).sentence, ::testing::HasSubstr("90.000000 spent"));
}

TEST(Finops, periods_follow_the_utc_calendar) {
  const auto at = parse_rfc3339("2028-02-29T13:00:00Z").value();
  EXPECT_EQ(format_rfc3339(compute_period(BudgetPeriod::kMonth, at).end), "2028-03-01T00:00:00Z");
  EXPECT_EQ(format_rfc3339(compute_period(BudgetPeriod::kWeek, at).start), "2028-02-28T00:00:00Z");
  EXPECT_EQ(format_rfc3339(compute_period(BudgetPeriod::kDay, at).start), "2028-02-29T00:00:00Z");
  const auto day = compute_period(BudgetPeriod::kDay, at);
  EXPECT_EQ(forecast({13'000'000}, day, at), MoneyMicros{24'000'000});
}

TEST(Finops, money_and_price_books_refuse_what_they_cannot_hold) {
  EXPECT_EQ(parse_money("0.0315").value(), MoneyMicros{31'500});
  for (const std::string_view bad : {"", ".", "-1", "1.0000001", "1e3", "99999999999999999999", "1.2.3"})
    EXPECT_FALSE(parse_money(bad)) << bad;
  for (const std::string_view bad :
       {"[]", R"({"x": 1})", R"({"sites": {"a": {"weird": {}}}})",
        R"({"sites": {"a": {"spot": {"core": 1}}}})", R"({"egress": [{}]})", R"({"storage": {"a": null}})",
        R"({"sites": {"a": {"spot": {"disk": "1"}}}})"})
    EXPECT_FALSE(parse_price_book(parse_json(bad).value())) << bad;
}

TEST(Budget, an_amount_is_read_exactly_or_refused) {
  EXPECT_EQ(parse_amount("500")->value, 500'000'000);
  EXPECT_EQ(parse_amount("12.5")->value, 12'500'000);
  EXPECT_EQ(parse_amount("0.000001")->value, 1);
  EXPECT_EQ(parse_amount("999999999999.999999")->value, 999'999'999'999'999'999);
  for (const auto* bad : {"", ".", "5.", ".5", "-1", "1e3", "1,5", "0.0000001", "1000000000000", "5 USD"}) {
    const auto read = parse_amount(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().reason, "budget.amount");
  }
}

}  // namespace
}  // namespace neap::finops
