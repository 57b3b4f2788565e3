#include "border.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

// A server's border over a ledger on a simulated machine; "edge-1" is a node of site "factory-01".
class BorderTest : public ::testing::Test {
 protected:
  BorderTest()
      : machine_(world_.add_machine("hq")),
        log_(sink_, machine_.runtime().clock()),
        metering_([](Json) -> Task<Status> { co_return ok(); }, machine_.runtime().clock()) {
    api::Node node;
    node.metadata.name = "edge-1";
    node.spec.site = "factory-01";
    state_.all<api::Node>()[{"", "edge-1"}] = node;
    open();
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    TaskGroup group(machine_.runtime().executor());
    group.spawn([](Task<T> t, std::optional<T>& result) -> Task<void> {
      result.emplace(co_await std::move(t));
    }(std::move(task), out));
    world_.run_for(1min, [&] { return group.running() == 0; });
    return *std::move(out);
  }
  void open(bool is_read_back = true) {
    ledger_ = run(ledger::Ledger::open(machine_.runtime(), {.directory = "/audit", .origin = "test/audit"},
                                       crypto::PrivateKey::from_ed25519_seed(std::string(32, 'k')).value()))
                  .value();
    border_.emplace(Border::Dependencies{.runtime = machine_.runtime(),
                                         .audit = *ledger_,
                                         .metering = metering_,
                                         .state = state_,
                                         .log = log_},
                    "hq");
    if (is_read_back) EXPECT_TRUE(run(border_->restore()));
  }
  void close_ledger() {
    TaskGroup group(machine_.runtime().executor());
    group.spawn(ledger_->close());
    world_.run_for(1min, [&] { return group.running() == 0; });
  }
  void restart(bool is_read_back = true) {
    close_ledger();
    border_.reset();
    open(is_read_back);
  }
  // Starts it and does not wait.
  template <class T>
  std::shared_ptr<std::optional<T>> begin(TaskGroup& group, Task<T> task) {
    auto out = std::make_shared<std::optional<T>>();
    group.spawn([](Task<T> t, std::shared_ptr<std::optional<T>> result) -> Task<void> {
      result->emplace(co_await std::move(t));
    }(std::move(task), out));
    return out;
  }
  Result<Json> ship(std::uint64_t first, JsonArray entries, std::string node = "edge-1",
                    std::string of_ledger = "one") {
    return run(border_->take_shipment(
        std::move(node), Json{{"ledger", of_ledger}, {"first", first}, {"entries", std::move(entries)}}));
  }
  std::size_t count(std::string type) {
    return find_path(run(border_->list(std::move(type), 100)).value(), {"entries"})->get_array().size();
  }
  static Json entry(std::string type, std::string level) {
    return Json{{"type", type}, {"digest", kDigest}, {"repository", "team/model"},
                {"to", "hq"},   {"level", level},    {"team", "quality"},
                {"bytes", 10}};
  }
  api::DataLevel level() { return border_->facts_of(kDigest).level; }

  io::SimWorld world_{7};
  io::SimMachine& machine_;
  telemetry::StderrSink sink_{telemetry::LogFormat::kKeyValue};
  telemetry::Logger log_;
  controllers::ClusterState state_;
  controllers::Metering metering_;
  std::unique_ptr<ledger::Ledger> ledger_;
  std::optional<Border> border_;
};

TEST_F(BorderTest, a_node_cannot_relabel_a_blob_by_shipping_the_servers_own_kinds_of_entries) {
  ASSERT_TRUE(run(border_->describe_blob(kDigest, {.level = api::DataLevel::kL1, .project = "secret"})));
  ASSERT_TRUE(run(border_->describe_repository("team/model", {.level = api::DataLevel::kL1}, kDigest)));
  const auto next = ship(0, {entry("blob", "L3"), entry("model", "L3"), entry("crossing", "L3")});
  ASSERT_TRUE(next) << next.error().to_string();
  EXPECT_EQ(get_int(*next, "next"), 3);
  for (int life = 0; life < 2; ++life, restart()) {
    EXPECT_EQ(level(), api::DataLevel::kL1);
    EXPECT_EQ(border_->facts_of(kDigest).project, "secret");
    EXPECT_EQ(border_->facts_of(kDigest).team, "quality") << "attribution may be filled in";
  }
  const auto listed = run(border_->list("shipment-refusal", 10)).value();
  const auto& refusals = find_path(listed, {"entries"})->get_array();
  ASSERT_EQ(refusals.size(), 2u);
  EXPECT_EQ(get_string(refusals[0], "node"), "edge-1");
  EXPECT_EQ(get_string(refusals[0], "offered"), "blob");
}

TEST_F(BorderTest, who_pushes_what_another_project_made_makes_it_no_laxer) {
  ASSERT_TRUE(run(border_->describe_blob(kDigest, {.level = api::DataLevel::kL2, .project = "secret"})));
  ASSERT_TRUE(run(border_->describe_push(kDigest, {.level = api::DataLevel::kL3, .project = "other"})));
  EXPECT_EQ(level(), api::DataLevel::kL2);
  EXPECT_EQ(border_->facts_of(kDigest).project, "secret");
  ASSERT_TRUE(run(border_->describe_push(kDigest, {.level = api::DataLevel::kL1, .project = "other"})));
  EXPECT_EQ(level(), api::DataLevel::kL1);
  const auto own = "sha256:" + std::string(64, 'c');
  ASSERT_TRUE(run(border_->describe_push(own, {.level = api::DataLevel::kL3, .project = "other"})));
  EXPECT_EQ(border_->facts_of(own).level, api::DataLevel::kL3);
}

TEST_F(BorderTest, a_blob_nobody_described_does_not_become_laxer_than_L2_by_a_nodes_crossing) {
  ASSERT_TRUE(ship(0, {entry("crossing", "L3")}));
  EXPECT_EQ(level(), api::DataLevel::kL2);
  ASSERT_TRUE(ship(1, {entry("crossing", "L1")}));
  EXPECT_EQ(level(), api::DataLevel::kL1);
}

TEST_F(BorderTest, an_offer_decides_the_level_of_content_that_came_with_it_only) {
  ASSERT_TRUE(run(border_->take_offered_level(kDigest, api::DataLevel::kL3, true)));
  EXPECT_EQ(level(), api::DataLevel::kL2) << "the content was here, and nobody had described it";
  const auto other = "sha256:" + std::string(64, 'b');
  ASSERT_TRUE(run(border_->take_offered_level(other, api::DataLevel::kL3, false)));
  EXPECT_EQ(border_->facts_of(other).level, api::DataLevel::kL3);
  ASSERT_TRUE(run(border_->take_offered_level(other, api::DataLevel::kL2, false)));
  ASSERT_TRUE(run(border_->take_offered_level(other, api::DataLevel::kL3, false)));
  for (int life = 0; life < 2; ++life, restart())
    EXPECT_EQ(border_->facts_of(other).level, api::DataLevel::kL2) << "once stricter, it stays";
}

TEST_F(BorderTest, a_node_that_was_set_up_anew_is_heard_from_its_first_entry_on) {
  ASSERT_TRUE(ship(0, {entry("refusal", "L2"), entry("refusal", "L2")}));
  for (int life = 0; life < 2; ++life, restart()) {
    const auto next = ship(0, {entry("refusal", "L2")}, "edge-1", "two");
    ASSERT_TRUE(next);
    EXPECT_EQ(get_int(*next, "next"), 1);
    EXPECT_EQ(count("refusal"), 3u) << "and what is sent again is not told again";
  }
}

TEST_F(BorderTest, who_asks_before_the_ledger_is_read_back_waits_and_older_entries_have_not_the_last_word) {
  ASSERT_TRUE(run(border_->describe_blob(kDigest, {.level = api::DataLevel::kL3})));
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(run(border_->append(Json{{"type", "api"}, {"user", "admin"}, {"verb", "create"}})));
  ASSERT_TRUE(ship(0, {entry("refusal", "L2"), entry("refusal", "L2")}));
  // As it stands in ledgers from before shipments were checked.
  ASSERT_TRUE(run(ledger_->append(
      Json{{"type", "api"}, {"shippedBy", "edge-1"}, {"shippedLedger", "one"}, {"shippedSequence", 2}})));
  restart(false);
  TaskGroup group(machine_.runtime().executor());
  const auto described = begin(group, border_->describe_blob(kDigest, {.level = api::DataLevel::kL1}));
  const auto permit = begin(group, border_->permit_download(kDigest, "edge-1", "team/model"));
  const auto shipped = begin(
      group,
      border_->take_shipment("edge-1", Json{{"ledger", "one"}, {"first", 9}, {"entries", JsonArray()}}));
  const auto offered = begin(group, border_->take_offered_level(kDigest, api::DataLevel::kL3, false));
  world_.run_for(1s);
  ASSERT_TRUE(*described && **described) << "what is known is recorded at once";
  EXPECT_FALSE(*permit || *offered);
  ASSERT_TRUE(*shipped);
  EXPECT_EQ((*shipped)->error().code, Code::kUnavailable) << "a shipment is not held until then";
  const auto restored = begin(group, border_->restore());
  world_.run_for(1min, [&] { return group.running() == 0; });
  ASSERT_TRUE(*restored && **restored);
  ASSERT_TRUE(*permit && *offered);
  EXPECT_FALSE(**permit) << "L1 goes nowhere";
  const auto again =
      run(border_->take_shipment("edge-1", Json{{"ledger", "one"}, {"first", 9}, {"entries", JsonArray()}}));
  ASSERT_TRUE(again);
  EXPECT_EQ(get_int(*again, "next"), 3);
  EXPECT_EQ(level(), api::DataLevel::kL1);
}

TEST_F(BorderTest, nothing_leaves_by_a_ledger_that_could_not_be_read_back) {
  ASSERT_TRUE(run(border_->describe_blob(kDigest, {.level = api::DataLevel::kL3})));
  restart(false);
  close_ledger();
  EXPECT_FALSE(run(border_->restore()));
  EXPECT_EQ(run(border_->permit_download(kDigest, "edge-1", "team/model")).error().reason, "audit.restore");
}

TEST_F(BorderTest, a_server_that_forgot_entries_asks_for_them_again) {
  ASSERT_TRUE(ship(0, {entry("refusal", "L2")}));
  const auto next = ship(5, {entry("refusal", "L2")});
  ASSERT_TRUE(next);
  EXPECT_EQ(get_int(*next, "next"), 1);
  EXPECT_EQ(count("refusal"), 1u);
}

TEST_F(BorderTest, what_could_not_be_recorded_is_taken_when_it_is_sent_again) {
  ASSERT_TRUE(ship(0, {entry("refusal", "L2")}));
  machine_.set_disk_capacity(0);
  EXPECT_FALSE(ship(1, {entry("refusal", "L2")}));
  machine_.set_disk_capacity(1u << 30);
  const auto next = ship(1, {entry("refusal", "L2")});
  ASSERT_TRUE(next) << next.error().to_string();
  EXPECT_EQ(get_int(*next, "next"), 2);
  EXPECT_EQ(count("refusal"), 2u);
}

TEST_F(BorderTest, entries_of_a_node_are_of_its_own_site_and_wait_until_that_is_known) {
  auto forged = entry("refusal", "L2");
  forged.get_object()["from"] = "hq";
  EXPECT_EQ(ship(0, {forged}, "edge-9").error().code, Code::kUnavailable);
  ASSERT_TRUE(ship(0, {forged}));
  const auto listed = run(border_->list("refusal", 10)).value();
  const auto& entries = find_path(listed, {"entries"})->get_array();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(get_string(entries[0], "from"), "factory-01");
}

}  // namespace
}  // namespace neap::app
