#include "neap/controllers/metering.h"

#include "tests/fixture.h"

namespace neap::controllers {
namespace {

class Bill : public ::testing::Test {
 protected:
  Bill() {
    api::Site site;
    site.metadata.name = "cloud";
    site.spec.tier = api::Tier::kPublic;
    site.spec.prices = {{.capacityType = api::CapacityType::kSpot,
                         .perCoreHour = {36'000},
                         .perGiBHour = {},
                         .perAcceleratorHour = {}}};
    state.all<api::Site>()[key_of(site)] = site;
    api::Node node;
    node.metadata.name = "vm-1";
    node.spec.site = "cloud";
    node.spec.capacityType = api::CapacityType::kSpot;
    state.all<api::Node>()[key_of(node)] = node;
    hold(100);
  }
  void hold(double seconds, const std::string& phase = "Running") {
    api::Allocation a;
    a.metadata.name = "gang-e1-0";
    a.metadata.namespace_ = "default";
    a.metadata.uid = "uid-1";
    a.metadata.labels = {{"team", "vision"}};
    a.spec.node = "vm-1";
    a.spec.site = "cloud";
    a.spec.resources.cpu = MilliCores{2000};
    a.status.phase = phase;
    a.status.runSeconds = seconds;
    state.all<api::Allocation>()[key_of(a)] = a;
  }
  Metering metering() {
    return Metering(
        [this](Json entry) -> Task<Status> {
          if (ledger_fails) co_return fail(Code::kUnavailable, "test.ledger", "no");
          entries.push_back(std::move(entry));
          co_return ok();
        },
        cluster.runtime().clock());
  }
  std::int64_t total(const Metering& m) {
    std::int64_t micros = 0;
    for (const auto& line : m.lines()) micros += line.amount.value;
    return micros;
  }
  Cluster cluster;
  ClusterState state;
  std::vector<Json> entries;
  bool ledger_fails = false;
};

TEST_F(Bill, held_cores_are_billed_once_and_in_increments) {
  auto m = metering();
  ASSERT_TRUE(cluster.wait(m.bill_allocations(state)));
  EXPECT_EQ(total(m), 2 * 36'000 * 100 / 3600);
  ASSERT_TRUE(cluster.wait(m.bill_allocations(state)));
  EXPECT_EQ(total(m), 2 * 36'000 * 100 / 3600) << "nothing was held since";
  hold(200, "Succeeded");
  ASSERT_TRUE(cluster.wait(m.bill_allocations(state)));
  EXPECT_EQ(total(m), 2 * 36'000 * 200 / 3600);
}

TEST_F(Bill, a_restart_bills_nothing_twice) {
  auto before = metering();
  ASSERT_TRUE(cluster.wait(before.bill_allocations(state)));
  const auto written = entries;
  auto after = metering();
  for (const auto& entry : written) ASSERT_TRUE(after.restore(entry, cluster.runtime().clock().wall()));
  ASSERT_TRUE(cluster.wait(after.bill_allocations(state)));
  EXPECT_EQ(total(after), total(before));
  EXPECT_EQ(entries.size(), written.size());
}

TEST_F(Bill, a_line_counts_only_when_the_ledger_has_it) {
  auto m = metering();
  ledger_fails = true;
  EXPECT_FALSE(cluster.wait(m.bill_allocations(state)));
  EXPECT_EQ(total(m), 0);
  ledger_fails = false;
  ASSERT_TRUE(cluster.wait(m.bill_allocations(state)));
  EXPECT_EQ(total(m), 2 * 36'000 * 100 / 3600);
}

TEST_F(Bill, the_report_says_what_the_month_will_cost_and_which_day_stood_out) {
  auto m = metering();
  const auto now = cluster.runtime().clock().wall();
  finops::UsageLine line;
  line.owner = {.project = "default", .team = "vision", .model = {}};
  line.site = "cloud";
  for (int ago = 30; ago >= 0; --ago) {
    line.amount = {ago == 3 ? 90'000'000 : 10'000'000};
    const Json entry{{"key", fmt::format("k{}", ago)}, {"until", 1}, {"lines", JsonArray{to_json(line)}}};
    ASSERT_TRUE(m.restore(entry, now - std::chrono::hours(24 * ago)));
  }
  const auto report = m.report(state, "default").value();
  const auto& outlook = report.at("outlook").at(0);
  EXPECT_GT(get_int(outlook, "expected_micros"), get_int(outlook, "so_far_micros"));
  EXPECT_LE(get_int(outlook, "low_micros"), get_int(outlook, "expected_micros"));
  const auto& found = report.at("anomalies").get_array();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(get_int(found[0], "amount_micros"), 90'000'000);
  EXPECT_NE(get_string(found[0], "sentence").find("instead of about 10"), std::string::npos);
  EXPECT_TRUE(m.report(state, "other").value().at("anomalies").get_array().empty());
}

TEST_F(Bill, a_transfer_is_billed_once_by_its_id_and_not_within_a_site) {
  api::Link link;
  link.metadata.name = "cloud-hq";
  link.spec.from = "cloud";
  link.spec.to = "hq";
  link.spec.bandwidthMbps = 100;
  link.spec.egressPerGB = {90'000};
  state.all<api::Link>()[key_of(link)] = link;
  auto m = metering();
  finops::TransferUsage usage;
  usage.transfer = "t-1";
  usage.from_site = "cloud";
  usage.to_site = "hq";
  usage.moved = Bytes{2'000'000'000};
  ASSERT_TRUE(cluster.wait(m.bill_transfer(state, usage)));
  ASSERT_TRUE(cluster.wait(m.bill_transfer(state, usage)));
  EXPECT_EQ(total(m), 180'000);
  usage.transfer = "t-2";
  usage.to_site = "cloud";
  ASSERT_TRUE(cluster.wait(m.bill_transfer(state, usage)));
  EXPECT_EQ(total(m), 180'000);
}

}  // namespace
}  // namespace neap::controllers
