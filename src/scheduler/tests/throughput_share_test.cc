#include "neap/scheduler/throughput_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "neap/base/draw.h"

namespace neap::scheduler {
namespace {

using ::testing::HasSubstr;

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

TEST(ShareByThroughput, gives_each_job_the_model_it_gains_most_from) {
  // One loses nine tenths on the slow model, the other nothing.
  const std::vector<SharingJob> jobs{{.throughput = {10, 1}}, {.throughput = {1, 1}}};
  const std::vector<std::int64_t> capacity{1, 1};
  const auto share = share_by_throughput(jobs, capacity, ShareObjective::kMaxMinFair);
  ASSERT_TRUE(share.has_value()) << share.error().message;
  EXPECT_NEAR(share->fractions[0], 1, 1e-9);
  EXPECT_NEAR(share->fractions[3], 1, 1e-9);
  // Spread evenly they would make 5.5 and 1: the second cannot do better than that.
  EXPECT_NEAR(share->value, 1, 1e-9);
  const auto equal = share_equally(jobs, capacity);
  EXPECT_NEAR(equal->throughput[0], 5.5, 1e-9);
  EXPECT_NEAR(share->throughput[0], 10, 1e-9);
}

TEST(ShareByThroughput, is_fair_by_weight_and_maximises_the_sum_only_where_asked) {
  const std::vector<SharingJob> jobs{{.weight = 3, .throughput = {1}}, {.weight = 1, .throughput = {5}}};
  const std::vector<std::int64_t> capacity{1};
  const auto fair = share_by_throughput(jobs, capacity, ShareObjective::kMaxMinFair);
  EXPECT_NEAR(fair->fractions[0], 0.75, 1e-9);
  EXPECT_NEAR(fair->fractions[1], 0.25, 1e-9);
  const auto total = share_by_throughput(jobs, capacity, ShareObjective::kMaxTotal);
  EXPECT_NEAR(total->fractions[0], 1, 1e-9);
  EXPECT_NEAR(total->value, 3, 1e-9);
}

TEST(ShareByThroughput, ends_a_batch_as_soon_as_its_models_allow) {
  const std::vector<SharingJob> jobs{{.throughput = {2, 1}, .steps_left = 100},
                                     {.throughput = {2, 0}, .steps_left = 100}};
  const auto share = share_by_throughput(jobs, std::vector<std::int64_t>{1, 1}, ShareObjective::kMinMakespan);
  ASSERT_TRUE(share.has_value());
  // x = fraction of the first job on the first model, 1 - x on the second (its time is one): 2x + 1 - x = 1 +
  // x; the other job has 2 (1 - x): equal at x = 1/3, so 4/3 steps a second and 75 s.
  EXPECT_NEAR(share->value, 75, 1e-9);
  EXPECT_NEAR(share->fractions[0], 1.0 / 3, 1e-9);
}

TEST(ShareByThroughput, keeps_time_and_capacity_on_random_mixes_and_never_falls_behind_the_equal_share) {
  Draw draw(11);
  for (int instance = 0; instance < 200; ++instance) {
    const auto models = 1 + draw.below(5);
    std::vector<std::int64_t> capacity;
    for (std::size_t model = 0; model < models; ++model) capacity.push_back(std::int64_t(8 + draw.below(40)));
    std::vector<SharingJob> jobs(1 + draw.below(40));
    for (auto& job : jobs) {
      job.gpus = 1 << draw.below(4);
      job.weight = 0.5 + draw.unit();
      for (std::size_t model = 0; model < models; ++model)
        job.throughput.push_back(model > 0 && draw.below(4) == 0 ? 0 : 0.01 + 50 * draw.unit());
    }
    const auto share = share_by_throughput(jobs, capacity, ShareObjective::kMaxMinFair);
    ASSERT_TRUE(share.has_value()) << share.error().message;
    std::vector<double> used(models);
    for (std::size_t job = 0; job < jobs.size(); ++job) {
      double time = 0;
      for (std::size_t model = 0; model < models; ++model) {
        const double fraction = share->fractions[job * models + model];
        EXPECT_GE(fraction, 0);
        time += fraction;
        used[model] += jobs[job].gpus * fraction;
      }
      EXPECT_LE(time, 1 + 1e-7);
    }
    for (std::size_t model = 0; model < models; ++model)
      EXPECT_LE(used[model], double(capacity[model]) * (1 + 1e-7));
    EXPECT_EQ(share->fractions, share_by_throughput(jobs, capacity, ShareObjective::kMaxMinFair)->fractions);
    // The equal share by weight is one feasible answer.
    double weights = 0, all = sum(std::vector<double>(capacity.begin(), capacity.end())), largest = 0;
    for (const auto& job : jobs) {
      weights += job.weight * job.gpus;
      largest = std::max(largest, job.weight);
    }
    EXPECT_GE(share->value, std::min(1 / largest, all / weights) - 1e-7);
  }
}

TEST(ShareByThroughput, says_what_it_cannot_share) {
  const std::vector<std::int64_t> one{1};
  const auto message = [&](SharingJob job) {
    const auto share = share_by_throughput(std::vector{std::move(job)}, one, ShareObjective::kMaxMinFair);
    return share ? std::string("shared") : share.error().message;
  };
  EXPECT_THAT(message({.gpus = 0, .throughput = {1}}), HasSubstr("job 0 asks no accelerator"));
  EXPECT_THAT(message({.weight = 0, .throughput = {1}}), HasSubstr("no weight above 0"));
  EXPECT_THAT(message({.throughput = {1, 2}}), HasSubstr("2 throughputs for 1 models"));
  EXPECT_THAT(message({.throughput = {-1}}), HasSubstr("no number from 0"));
  EXPECT_THAT(message({.throughput = {0}}), HasSubstr("runs on no model"));
  EXPECT_THAT(message({.gpus = 2, .throughput = {1}}), HasSubstr("fits and runs on no model"));
  EXPECT_THAT(message({.throughput = {1}, .steps_left = 0}), HasSubstr("no steps left"));
  std::vector<SharingJob> many;
  for (int i = 0; i < 513; ++i) many.push_back({.throughput = {1.0 + i}});
  EXPECT_THAT(share_by_throughput(many, one, ShareObjective::kMaxTotal).error().message,
              HasSubstr("513 kinds"));
  EXPECT_TRUE(share_by_throughput({}, one, ShareObjective::kMaxMinFair)->fractions.empty());
}

TEST(ShareRounds, follow_the_fractions_in_the_long_run_and_never_break_a_capacity) {
  const std::vector<SharingJob> jobs{{.throughput = {10, 1}},
                                     {.throughput = {4, 2}},
                                     {.throughput = {1, 1}},
                                     {.gpus = 2, .throughput = {3, 1}}};
  const std::vector<std::int64_t> capacity{2, 2};
  const auto share = share_by_throughput(jobs, capacity, ShareObjective::kMaxMinFair);
  ASSERT_TRUE(share.has_value());
  const std::vector<std::uint64_t> ids{7, 8, 9, 10};
  const std::vector<int> gpus{1, 1, 1, 2};
  ShareRounds rounds;
  std::vector<double> had(jobs.size());
  constexpr int kRounds = 2000;
  for (int round = 0; round < kRounds; ++round) {
    const auto models = rounds.next(ids, gpus, share->fractions, capacity);
    std::vector<std::int64_t> used(2);
    for (std::size_t job = 0; job < jobs.size(); ++job) {
      if (models[job] == ShareRounds::kNone) continue;
      used[std::size_t(models[job])] += gpus[job];
      had[job] += jobs[job].throughput[std::size_t(models[job])] / kRounds;
    }
    for (std::size_t model = 0; model < 2; ++model) ASSERT_LE(used[model], capacity[model]);
  }
  for (std::size_t job = 0; job < jobs.size(); ++job)
    EXPECT_GT(had[job], 0.8 * share->throughput[job]) << job;
}

}  // namespace
}  // namespace neap::scheduler
