#include "neap/base/json.h"
#include "tests/cli_lab.h"

namespace neap::cli {
namespace {

std::vector<std::string> line(std::vector<std::string> more) {
  std::vector<std::string> argv{"simulate",         "spot", "--traces",           "/t", "--work-hours", "1",
                                "--deadline-hours", "3",    "--changeover-hours", "0"};
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

TEST(SimulateSpot, prints_one_object_or_a_table_without_a_server) {
  CliLab lab;
  lab.write("/t", "a_x 0 600 s 111111111111111111 1x18\nb_x 0 600 s 000000000000000000 2x18\n");
  const auto json = lab.run(line({"--policy", "optimum", "--json"}));
  EXPECT_EQ(json.status, 0) << json.err;
  const auto value = parse_json(json.out);
  ASSERT_TRUE(value) << json.out;
  EXPECT_EQ(value->as_object().size(), 4U);
  EXPECT_EQ(value->at("runs").as_int64(), 1);
  EXPECT_EQ(value->at("late").as_int64(), 0);
  EXPECT_DOUBLE_EQ(value->at("cost_mean").as_double(), 1);
  EXPECT_EQ(value->at("cost_std").as_double(), 0);
  const auto table = lab.run(line({"--policy", "on-demand", "--pinned"}));
  EXPECT_EQ(table.out, "POLICY     RUNS  MEAN USD  STD USD  LATE\non-demand  2     3.060     0.000    0\n");
  const auto zone = parse_json(lab.run(line({"--zones", "b", "--json"})).out);
  ASSERT_TRUE(zone);
  EXPECT_NEAR(zone->at("cost_mean").as_double(), 3.06, 1e-9) << "no spot there: on-demand";
}

TEST(SimulateSpot, says_what_is_wrong_with_the_line_or_the_file) {
  CliLab lab;
  lab.write("/t", "a 0 600 s 01\n");
  EXPECT_EQ(lab.run(line({"--policy", "best"})).status, 1);
  EXPECT_EQ(lab.run(line({"--zones", "b"})).status, 1);
  EXPECT_EQ(lab.run(line({"--on-demand-price", "nan"})).status, 1);
  EXPECT_EQ(lab.run(line({"--spot-price", "-1"})).status, 1);
  EXPECT_NE(lab.run({"simulate", "spot"}).status, 0);
  lab.write("/t", "a 0 600 s 012\n");
  EXPECT_NE(lab.run(line({})).err.find("/t line 1"), std::string::npos);
}

}  // namespace
}  // namespace neap::cli
