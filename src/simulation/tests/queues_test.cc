// Runs whose queues decide: figures by hand, and what must hold whatever is drawn.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scenario_lab.h"

namespace neap::simulation {
namespace {

using ::testing::HasSubstr;

std::string queue(const std::string& name, const std::string& parent, int quota,
                  const std::string& more = {}) {
  return fmt::format(
      "---\napiVersion: neap.dev/v1\nkind: Queue\nmetadata: {{name: {}}}\nspec: {{parent: \"{}\", quota: "
      "{{accelerators: \"{}\"}}{}}}\n",
      name, parent, quota, more);
}

// Jobs of one CSV each: rows of accelerators, arrival in minutes, length in minutes.
struct Row {
  int gpus, at_min, takes_min;
};
void add(ScenarioLab& lab, const std::string& name, const std::string& more, const std::vector<Row>& rows) {
  std::string text = "num_gpu,submit_time,duration\n";
  for (const auto& row : rows)
    text += fmt::format("{},{},{}\n", row.gpus, row.at_min * 60'000, row.takes_min * 60'000);
  lab.files[name + ".csv"] = text;
  lab.workloads += fmt::format(
      "{}{{name: {}, resources: {{cpu: 1, memory: 1Gi, accelerators: {{a100: 1}}}}, {}, "
      "csv: {{path: {}.csv}}}}",
      lab.workloads.empty() ? "" : "\n  - ", name, more, name);
}

ScenarioLab lab_of(int nodes, int gpus) {
  ScenarioLab lab;
  lab.nodes = fmt::format(
      "{{name: own, site: hq, count: {}, cpu: 64, memory: 512Gi, accelerators: {{a100: {}}}}}", nodes, gpus);
  return lab;
}

const QueueReport& line(const RunReport& report, std::string_view name) {
  for (const auto& one : report.queues)
    if (one.name == name) return one;
  ADD_FAILURE() << "no queue " << name;
  return report.queues.front();
}

TEST(SimulateQueues, an_owner_gets_its_quota_back_at_once_and_only_what_was_lent_ends) {
  auto lab = lab_of(1, 8);
  lab.documents = queue("all", "", 8) + queue("a", "all", 4) + queue("b", "all", 4);
  // Four jobs of two: two as of right, two borrow; from the first hour on b wants its own.
  add(lab, "borrower", "queue: a, interruption: restartable",
      {{2, 0, 240}, {2, 0, 240}, {2, 0, 240}, {2, 0, 240}});
  add(lab, "owner", "queue: b", {{4, 60, 60}});
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->given_back, 2);
  EXPECT_EQ(report->preemptions, 0);
  EXPECT_DOUBLE_EQ(report->lost_work_h, 2);  // an hour of each
  const auto &a = line(*report, "a"), &b = line(*report, "b"), &all = line(*report, "all");
  EXPECT_EQ(a.gave_back, 2);
  EXPECT_EQ(b.took_back, 1);
  EXPECT_DOUBLE_EQ(b.wait_s.max, 0) << "no minute of waiting for what is its own";
  EXPECT_DOUBLE_EQ(a.lost_work_h, 2);
  // Two go on to 4 h; the other two begin again at 2 h, when b has ended, and end at 6 h.
  EXPECT_DOUBLE_EQ(report->simulated_h, 6);
  EXPECT_DOUBLE_EQ(a.accelerator_h, 4 * 4 + 4 * 1 + 4 * 4);
  EXPECT_DOUBLE_EQ(b.accelerator_h, 4);
  EXPECT_DOUBLE_EQ(all.accelerator_h, a.accelerator_h + b.accelerator_h);
  EXPECT_DOUBLE_EQ(a.borrowed_h, 4 * 1 + 4 * 2);  // above four: 0 h to 1 h, 2 h to 4 h
  EXPECT_DOUBLE_EQ(report->borrowed_h, a.borrowed_h);
  EXPECT_EQ(a.borrowed, 4) << "two at the start, two again";
  EXPECT_EQ(all.is_leaf, false);
}

TEST(SimulateQueues, a_borrowing_limit_holds_although_the_rest_is_idle) {
  auto lab = lab_of(1, 8);
  lab.documents = queue("all", "", 8) + queue("a", "all", 4, ", borrowingLimit: {accelerators: \"2\"}") +
                  queue("b", "all", 4);
  add(lab, "borrower", "queue: a", {{2, 0, 60}, {2, 0, 60}, {2, 0, 60}, {2, 0, 60}});
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_DOUBLE_EQ(report->simulated_h, 2) << "three, then one";
  EXPECT_DOUBLE_EQ(line(*report, "a").borrowed_h, 2);
}

TEST(SimulateQueues, a_wide_gang_starts_when_it_was_told_and_what_fits_before_passes_it) {
  const auto run = [](const std::string& more) {
    auto lab = lab_of(1, 8);
    lab.documents = queue("all", "", 0, ", reservationAfter: 0s" + more);
    add(lab, "first", "queue: all", {{4, 0, 120}});
    add(lab, "wide", "queue: all", {{8, 5, 60}});
    add(lab, "small", "queue: all", {{4, 10, 100}, {4, 11, 180}});
    return lab.run();
  };
  const auto report = run("");
  ASSERT_TRUE(report.has_value()) << report.error().message;
  const auto& all = line(*report, "all");
  EXPECT_EQ(all.reserved, 1 + 1) << "for the gang, then for the long one behind it";
  EXPECT_EQ(all.reserved_late, 0);
  EXPECT_EQ(all.backfilled, 1) << "100 minutes end before the gang's place is free, 180 do not";
  EXPECT_DOUBLE_EQ(report->simulated_h, 6);  // 2 h, the gang's hour, 3 h
  const auto strict = run(", backfill: false");
  ASSERT_TRUE(strict.has_value()) << strict.error().message;
  EXPECT_EQ(strict->backfilled, 0);
  // From 0:11, or from 0:10 where nobody passes, until the gang has ended.
  EXPECT_DOUBLE_EQ(report->wait_s.max, 169 * 60);
  EXPECT_DOUBLE_EQ(strict->wait_s.max, 170 * 60);
  EXPECT_GT(strict->wait_s.mean, report->wait_s.mean);
}

TEST(SimulateQueues, weights_share_what_is_lent_by_dominant_resource) {
  auto lab = lab_of(4, 8);
  lab.spec = "  horizon: 40h\n";
  lab.documents = queue("all", "", 32) + queue("three", "all", 0, ", weight: 3") + queue("one", "all", 0);
  std::vector<Row> rows;
  for (int i = 0; i < 1600; ++i) rows.push_back({1, 0, 60 + i % 7});
  add(lab, "x", "queue: three, interruption: restartable", rows);
  add(lab, "y", "queue: one, interruption: restartable", rows);
  lab.spec += "  considered: 64\n";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_NEAR(line(*report, "three").accelerator_h / line(*report, "one").accelerator_h, 3, 0.1);
  EXPECT_NEAR(line(*report, "three").share, 0.75, 0.02);
}

TEST(SimulateQueues, work_goes_to_its_project_s_queue_and_a_queue_over_others_is_refused) {
  auto lab = lab_of(1, 8);
  lab.documents = queue("mine", "", 8, ", defaultForProjects: [eyes]");
  add(lab, "job", "project: eyes", {{1, 0, 60}});
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(line(*report, "mine").placements, 1);
  lab.documents = queue("all", "", 8) + queue("mine", "all", 8);
  lab.workloads.clear();
  add(lab, "job", "queue: all", {{1, 0, 60}});
  const auto refused = lab.run();
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("jobs wait in those"));
}

TEST(SimulateQueues, spare_replicas_give_back_and_the_least_of_a_service_stays) {
  auto lab = lab_of(1, 8);
  lab.spec = "  horizon: 24h\n";
  lab.documents = queue("all", "", 8) + queue("serving", "all", 2) + queue("training", "all", 6);
  lab.workloads =
      "{name: chat, queue: serving, resources: {cpu: 2, memory: 8Gi, accelerators: {a100: 1}}, requests: "
      "{replicasMin: 2, replicasMax: 6, serviceRate: {prefillTokensPerSecond: 500, decodeTokensPerSecond: "
      "80}, "
      "generate: {peakPerSecond: 50, troughPerSecond: 40}}}";
  add(lab, "train", "queue: training", {{4, 600, 300}});
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(line(*report, "serving").gave_back, 2) << "six stood, two places were free";
  EXPECT_DOUBLE_EQ(line(*report, "training").wait_s.max, 0);
  ASSERT_EQ(report->services.size(), 1u);
  EXPECT_NEAR(report->services[0].short_h, 2 * 5, 0.5) << "while training holds what is its own";
}

// Everything at once over seeds; limits are checked at every start by the run itself.
class SimulateQueuesProperties : public testing::TestWithParam<int> {};

ScenarioLab drawn(int seed) {
  auto lab = lab_of(4, 8);
  lab.spec = fmt::format("  seed: {}\n  horizon: 96h\n", seed);
  lab.nodes +=
      "\n  - {name: flaky, site: hq, count: 1, cpu: 64, memory: 512Gi, accelerators: {a100: 8}, failures: "
      "{mtbf: 20h, repair: 2h}}";
  lab.documents = queue("all", "", 40) + queue("a", "all", 16, ", borrowingLimit: {accelerators: \"12\"}") +
                  queue("b", "all", 16, ", lendingLimit: {accelerators: \"8\"}, weight: 2") +
                  queue("c", "all", 8, ", order: fifo, reservationAfter: 30m");
  const auto stream = [](const std::string& name, const std::string& more, double per_hour,
                         const std::string& sizes) {
    return fmt::format(
        "{{name: {}, {}, resources: {{cpu: 2, memory: 16Gi, accelerators: {{a100: 1}}}}, "
        "generate: {{arrivals: {{perHour: {}}}, duration: {{distribution: lognormal, median: 50m, "
        "sigma: 1.1}}, accelerators: {}}}}}",
        name, more, per_hour, sizes);
  };
  lab.workloads =
      stream("train", "queue: a, checkpoint: {interval: 20m}", 4, "{\"1\": 0.5, \"4\": 0.3, \"8\": 0.2}") +
      "\n  - " + stream("batch", "queue: b, interruption: restartable", 4, "{\"1\": 0.7, \"2\": 0.3}") +
      "\n  - " + stream("urgent", "queue: b, priority: 5, interruption: never", 1, "{\"2\": 1}") + "\n  - " +
      stream("wide", "queue: c, project: other, interruption: restartable", 0.5,
             "{\"16\": 0.7, \"24\": 0.3}") +
      "\n  - " + stream("loose", "project: other", 0.2, "{\"1\": 1}");
  return lab;
}

TEST_P(SimulateQueuesProperties, parts_sum_limits_hold_and_the_seed_fixes_every_byte) {
  const auto lab = drawn(GetParam());
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->arrived, report->ended + report->running + report->waiting);
  double hours = 0, borrowed = 0;
  std::int64_t placements = 0, gave_back = 0, preempted = 0, backfilled = 0;
  std::size_t jobs = 0, waiting = 0;
  double lost = 0;
  for (const auto& one : report->queues) {
    if (!one.is_leaf) continue;
    hours += one.accelerator_h;
    borrowed += one.borrowed_h;
    placements += one.placements;
    gave_back += one.gave_back;
    preempted += one.preempted;
    backfilled += one.backfilled;
    jobs += one.wait_s.count;
    waiting += one.waiting;
    lost += one.lost_work_h;
  }
  const double used =
      (report->accelerators_own.used + report->accelerators_rented.used) / 1000 * report->simulated_h;
  EXPECT_NEAR(hours, used, 1e-6 * used);
  EXPECT_NEAR(borrowed, report->borrowed_h, 1e-9);
  EXPECT_EQ(placements, report->placements);
  EXPECT_EQ(gave_back, report->given_back);
  EXPECT_EQ(preempted, report->preemptions);
  EXPECT_EQ(backfilled, report->backfilled);
  EXPECT_EQ(jobs, report->arrived);
  EXPECT_EQ(waiting, report->waiting);
  EXPECT_NEAR(lost, report->lost_work_h, 1e-9);
  EXPECT_GT(report->given_back, 0);
  EXPECT_GT(report->backfilled, 0);
  EXPECT_GT(report->borrowed_h, 0);
  EXPECT_LE(line(*report, "a").share, 28.0 / 40 + 1e-9);
  const auto again = lab.run();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(to_text(to_json(*report)), to_text(to_json(*again)));
}
INSTANTIATE_TEST_SUITE_P(Seeds, SimulateQueuesProperties, testing::Range(1, 4));

// With durations that are known and nodes that stay, a kept place is never later than first told, whatever
// comes after.
TEST(SimulateQueues, no_kept_start_is_delayed_by_what_passes_it) {
  std::int64_t reserved = 0, backfilled = 0;
  for (int seed = 1; seed <= 3; ++seed) {
    auto lab = lab_of(4, 8);
    lab.spec = fmt::format("  seed: {}\n  horizon: 96h\n", seed);
    lab.documents = queue("all", "", 0, ", order: fifo, reservationAfter: 5m");
    lab.workloads =
        "{name: mix, queue: all, resources: {cpu: 2, memory: 16Gi, accelerators: {a100: 1}}, generate: "
        "{arrivals: "
        "{perHour: 7}, duration: {distribution: lognormal, median: 60m, sigma: 1.2}, accelerators: {\"1\": "
        "0.5, "
        "\"4\": 0.3, \"16\": 0.15, \"32\": 0.05}}}";
    const auto report = lab.run();
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(line(*report, "all").reserved_late, 0) << seed;
    reserved += line(*report, "all").reserved;
    backfilled += report->backfilled;
  }
  EXPECT_GT(reserved, 25);
  EXPECT_GT(backfilled, 100);
}

}  // namespace
}  // namespace neap::simulation
