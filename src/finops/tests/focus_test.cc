#include "neap/finops/focus.h"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace neap::finops {
namespace {

const WallTime kNoon = parse_rfc3339("2026-02-28T12:00:00Z").value();

PriceBook prices() {
  PriceBook book("EUR");
  book.set_rates("cloud-a", CapacityType::kSpot, {{13'337}, {1'234}, {{"nvidia-a100", {973'100}}}});
  book.set_rates("cloud-a", CapacityType::kOnDemand, {{40'000}, {4'000}, {{"nvidia-a100", {3'060'000}}}});
  book.set_egress("cloud-a", "hq", {90'000});
  return book;
}

std::vector<UsageLine> spot_lines(const PriceBook& book, std::string allocation, std::int64_t milliseconds) {
  return price_allocation(book, {.owner = {"vision, \"east\"", "inspection", ""},
                                 .allocation = std::move(allocation),
                                 .site = "cloud-a",
                                 .capacity_type = CapacityType::kSpot,
                                 .held = {{3'500}, {7'000'000'000}, "nvidia-a100", {500}},
                                 .milliseconds = milliseconds})
      .value();
}

// Fields of a row by column; quotes are undone.
std::map<std::string, std::string> fields_of(const std::string& csv, std::size_t row) {
  const auto split = [](const std::string& line) {
    std::vector<std::string> out(1);
    bool is_quoted = false;
    for (const char c : line) {
      if (c == '"') {
        is_quoted = !is_quoted;
      } else if (c == ',' && !is_quoted) {
        out.emplace_back();
      } else {
        out.back() += c;
      }
    }
    return out;
  };
  std::istringstream in(csv);
  std::string line;
  std::getline(in, line);
  const auto names = split(line);
  for (std::size_t i = 0; i <= row; ++i) std::getline(in, line);
  const auto values = split(line);
  EXPECT_EQ(names.size(), values.size());
  std::map<std::string, std::string> out;
  for (std::size_t i = 0; i < names.size() && i < values.size(); ++i) out[names[i]] = values[i];
  return out;
}

TEST(FocusExport, sums_an_hour_of_one_allocation_to_one_row_per_meter_and_loses_no_micro_unit) {
  const auto book = prices();
  FocusExport out({.billing_account = "works", .prices = &book});
  std::int64_t micros = 0;
  for (int tick = 1; tick <= 700; ++tick)
    for (const auto& line : spot_lines(book, "vision/train-0", 5'000)) {
      ASSERT_TRUE(out.add(line, kNoon + std::chrono::seconds(5 * tick)).has_value());
      micros += line.amount.value;
    }
  EXPECT_EQ(out.total().value, micros);
  const auto csv = out.to_csv();
  EXPECT_EQ(std::ranges::count(csv, '\n'), 4);  // header, cores, memory, accelerators
  auto row = fields_of(csv, 0);
  EXPECT_EQ(row["ChargePeriodStart"], "2026-02-28T12:00:00Z");
  EXPECT_EQ(row["ChargePeriodEnd"], "2026-02-28T13:00:00Z");
  EXPECT_EQ(row["BillingPeriodStart"], "2026-02-01T00:00:00Z");
  EXPECT_EQ(row["BillingPeriodEnd"], "2026-03-01T00:00:00Z");
  EXPECT_EQ(row["BillingCurrency"], "EUR");
  EXPECT_EQ(row["PricingCategory"], "Dynamic");
  EXPECT_EQ(row["SubAccountId"], "vision, east");  // the test's reader drops doubled quotes
  // 3.5 cores for 3,500 s: 3.402777778 core-hours.
  EXPECT_EQ(row["PricingQuantity"], "3.402777778");
  EXPECT_EQ(row["ListUnitPrice"], "0.04");
  EXPECT_EQ(row["ListCost"], "0.13611111112");
  EXPECT_EQ(row["ContractedCost"], "0.045382847225186");
}

TEST(FocusExport, keeps_hours_prices_and_transfers_apart) {
  const auto book = prices();
  FocusExport out({.billing_account = "works", .prices = &book});
  const auto line = spot_lines(book, "vision/train-0", 1'000)[0];
  auto dearer = line;
  dearer.unit_price.value += 1;
  ASSERT_TRUE(out.add(line, kNoon).has_value());  // the last instant of the hour before
  ASSERT_TRUE(out.add(line, kNoon + 1s).has_value());
  ASSERT_TRUE(out.add(dearer, kNoon + 1s).has_value());
  const auto moved =
      price_egress(book, {{"vision", "", ""}, "t-1", "cloud-a", "hq", {2'500'000'001}}).value();
  ASSERT_TRUE(out.add(moved, kNoon + 1s).has_value());
  const auto csv = out.to_csv();
  EXPECT_EQ(std::ranges::count(csv, '\n'), 5);
  EXPECT_EQ(fields_of(csv, 0)["ChargePeriodStart"], "2026-02-28T11:00:00Z");
  bool has_transfer = false;
  for (std::size_t row = 0; row < 4; ++row)
    if (auto fields = fields_of(csv, row); fields["ResourceType"] == "Transfer") {
      has_transfer = true;
      EXPECT_EQ(fields["PricingQuantity"], "2.500000001");
      EXPECT_EQ(fields["SkuId"], "cloud-a/bytes-moved/to/hq");
    }
  EXPECT_TRUE(has_transfer);
}

TEST(FocusExport, refuses_more_rows_than_allowed_and_says_what_to_do) {
  const auto book = prices();
  FocusExport out({.billing_account = "works", .prices = &book, .rows_max = 1});
  const auto lines = spot_lines(book, "vision/train-0", 1'000);
  ASSERT_TRUE(out.add(lines[0], kNoon).has_value());
  ASSERT_TRUE(out.add(lines[0], kNoon).has_value());
  const auto refused = out.add(lines[1], kNoon);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "focus.rows");
  EXPECT_EQ(out.total().value, 2 * lines[0].amount.value);
}

}  // namespace
}  // namespace neap::finops
