#include "neap/simulation/jobs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "neap/simulation/sample.h"
#include "tests/public_trace.h"

namespace neap::simulation {
namespace {

using Policy = JobsOptions::Policy;
constexpr std::array kPolicies{Policy::kSrtf,         Policy::kSrsf,         Policy::kKnown, Policy::kBlind,
                               Policy::kSharingKnown, Policy::kSharingBlind, Policy::kMuriL};

// Half arrive at once; sizes and lengths spread as in the published traces.
JobTrace random_trace(std::uint64_t seed, std::size_t jobs) {
  Draw draw(seed);
  JobTrace trace;
  trace.profiles = {{500, {450, 8, 0}}, {430, {0.6, 410, 20}}, {210, {82, 75, 66}}, {900, {720, 110, 75}}};
  for (std::size_t job = 0; job < jobs; ++job)
    trace.jobs.push_back({.gpus = 1 << draw.below(6),
                          .submit_s = draw.below(2) == 0 ? 0 : static_cast<double>(draw.below(50'000)),
                          .work_s = 1 + std::exp(draw.unit() * 11),
                          .overhead_s = static_cast<double>(draw.below(40)),
                          .profile = static_cast<int>(draw.below(trace.profiles.size()))});
  return trace;
}

TEST(SimulateJobs, ends_every_job_whole_without_giving_out_more_than_there_is) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const auto trace = random_trace(seed, 60);
    double work = 0;
    for (const auto& job : trace.jobs) work += job.work_s * job.gpus;
    for (const auto policy : kPolicies)
      for (const bool overhead : {true, false}) {
        const auto report = simulate_jobs(trace, {.policy = policy, .gpus = 64, .event_overhead = overhead});
        ASSERT_TRUE(report.has_value()) << report.error().message;
        EXPECT_LE(report->gpus_busy_max, 64);
        EXPECT_NEAR(report->served_gpu_s, work, work * 1e-6);
        for (std::size_t job = 0; job < trace.jobs.size(); ++job)
          EXPECT_GE(report->ends_s[job] - trace.jobs[job].submit_s, trace.jobs[job].work_s * (1 - 1e-9));
      }
  }
}

TEST(SimulateJobs, gives_the_same_answer_twice) {
  const auto trace = random_trace(9, 80);
  for (const auto policy : kPolicies) {
    const auto once = simulate_jobs(trace, {.policy = policy});
    const auto again = simulate_jobs(trace, {.policy = policy});
    EXPECT_EQ(once.value().ends_s, again.value().ends_s);
  }
}

TEST(SimulateJobs, serves_the_smallest_area_first_and_skips_what_does_not_fit) {
  JobTrace trace;
  trace.profiles = {{1, {1, 0, 0}}};
  trace.jobs = {{.gpus = 8, .work_s = 10}, {.gpus = 4, .work_s = 15}, {.gpus = 4, .work_s = 30}};
  const auto report = simulate_jobs(trace, {.policy = Policy::kSrsf, .gpus = 8, .event_overhead = false});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->ends_s, (std::vector<double>{40, 15, 30}));
}

TEST(SimulateJobs, interleaves_jobs_that_want_different_things_and_no_others) {
  JobTrace trace;
  trace.profiles = {{500, {450, 8, 0}}, {430, {0.6, 410, 0}}};
  trace.jobs = {{.gpus = 8, .work_s = 1000, .profile = 0}, {.gpus = 8, .work_s = 1000, .profile = 1}};
  const JobsOptions sharing{.policy = Policy::kSharingKnown, .gpus = 8, .event_overhead = false};
  EXPECT_LT(simulate_jobs(trace, sharing)->makespan_s, 1500);
  trace.jobs[0].profile = 1;  // both compute most of the time
  EXPECT_DOUBLE_EQ(simulate_jobs(trace, sharing)->makespan_s, 2000);
}

constexpr const char* kHeader =
    "job_id,num_gpu,submit_time,iterations,model_name,duration,iteration_time,resource_time_0,resource_time_"
    "1,"
    "resource_time_2\n";

TEST(ParseMuri, names_file_line_and_column_of_what_it_refuses) {
  const std::array<std::pair<const char*, const char*>, 6> cases{{
      {"0,3,0,10,bert,1,5,1,1,1", "t.csv:2: column `num_gpu` is `3`"},
      {"0,1e30,0,10,bert,1,5,1,1,1", "t.csv:2: column `num_gpu`"},
      {"0,1,-5,10,bert,1,5,1,1,1", "t.csv:2: column `submit_time` is `-5`"},
      {"0,1,0,0,bert,1,5,1,1,1", "t.csv:2: column `iterations` is `0`"},
      {"0,1,0,10,bert,1,inf,1,1,1", "t.csv:2: column `iteration_time` is `inf`"},
      {"0,1,0,10,bert,1,5,1,x,1", "t.csv:2: column `resource_time_1` is `x`"},
  }};
  for (const auto& [row, message] : cases) {
    const auto trace = parse_muri(std::string(kHeader) + row + "\n", "t.csv");
    ASSERT_FALSE(trace.has_value()) << row;
    EXPECT_NE(trace.error().message.find(message), std::string::npos) << trace.error().message;
  }
  EXPECT_NE(parse_muri(kHeader, "t.csv").error().message.find("has no job"), std::string::npos);
  EXPECT_NE(parse_muri("num_gpu\n1\n", "t.csv").error().message.find("submit_time"), std::string::npos);
}

TEST(SimulateJobs, refuses_a_gang_wider_than_the_cluster) {
  JobTrace trace = random_trace(1, 1);
  trace.jobs[0].gpus = 128;
  trace.jobs[0].line = 7;
  const auto report = simulate_jobs(trace, {.gpus = 64});
  ASSERT_FALSE(report.has_value());
  EXPECT_NE(report.error().message.find("line 7"), std::string::npos);
  EXPECT_FALSE(simulate_jobs(trace, {.gpus = 12}).has_value());
}

// Published seconds (Muri's simulator, figures 9 and 10) on the traces it came with.
struct Published {
  const char* trace;
  std::array<double, 3> srtf, srsf;  // average, p99, makespan
  double themis, tiresias, muri_s, muri_l;
};
constexpr std::array kPublished{
    Published{"trace1",
              {1370603, 16647148, 26045466},
              {980141, 15529913, 26065759},
              1823179,
              3330371,
              867706,
              1072010},
    Published{"trace1_pr",
              {2303544, 19871388, 24513544},
              {1801860, 18267308, 24272530},
              3314303,
              6921683,
              1467192,
              2141937},
    Published{"trace3", {193082, 4538891, 8174135}, {185022, 4189699, 8174135}, 397059, 347213, 85503, 88687},
    Published{"trace3_pr",
              {844395, 6363100, 7261796},
              {798058, 6228161, 6907790},
              1502768,
              2213110,
              537777,
              921095},
};

TEST(SimulateJobs, equals_the_published_yardsticks_to_the_second_and_beats_them_in_each_class) {
  std::size_t traces = 0;
  for (const auto& published : kPublished) {
    const auto text = read_public_trace(fmt::format("muri-philly/{}.csv", published.trace));
    if (text.empty()) continue;
    const auto trace = parse_muri(text, published.trace);
    ASSERT_TRUE(trace.has_value()) << trace.error().message;
    ++traces;
    for (const auto& [policy, expected] :
         {std::pair{Policy::kSrtf, published.srtf}, {Policy::kSrsf, published.srsf}}) {
      const auto report = simulate_jobs(*trace, {.policy = policy});
      EXPECT_NEAR(report->jct_average_s, expected[0], 0.5) << published.trace;
      EXPECT_NEAR(report->jct_p99_s, expected[1], 0.5) << published.trace;
      EXPECT_NEAR(report->makespan_s, expected[2], 0.5) << published.trace;
    }
    const auto average = [&](Policy policy) {
      return simulate_jobs(*trace, {.policy = policy})->jct_average_s;
    };
    EXPECT_LT(average(Policy::kKnown), published.srsf[0]) << published.trace;
    EXPECT_LT(average(Policy::kBlind), std::min(published.themis, published.tiresias)) << published.trace;
    EXPECT_LT(average(Policy::kSharingKnown), published.muri_s) << published.trace;
    EXPECT_LT(average(Policy::kSharingBlind), published.muri_l) << published.trace;
    EXPECT_NEAR(average(Policy::kMuriL), published.muri_l, 0.04 * published.muri_l) << published.trace;
  }
  if (traces == 0) GTEST_SKIP() << "NEAP_DATA is not set or has no muri-philly";
}

}  // namespace
}  // namespace neap::simulation
