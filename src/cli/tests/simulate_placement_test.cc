#include <gtest/gtest.h>

#include "cli_lab.h"
#include "neap/base/json.h"

namespace neap::cli {
namespace {

constexpr std::string_view kNodes =
    "sn,cpu_milli,memory_mib,gpu,model\na,64000,1000,4,G2\nb,64000,1000,4,T4\n";
constexpr std::string_view kTasks =
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np0,4000,10,1,500,\np1,8000,10,1,1000,T4\n"
    "p2,2000,10,0,0,\np3,4000,10,1,300,\n";

std::vector<std::string> words(std::vector<std::string> more) {
  std::vector<std::string> out{"simulate", "placement", "--format", "openb",
                               "--nodes",  "/w/n.csv",  "--pods",   "/w/p.csv"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(CommandLine, simulate_placement_prints_one_json_object_or_a_table_and_needs_no_server) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/n.csv", kNodes);
  lab.write("/w/p.csv", kTasks);
  for (const std::string_view placement_class : {"online", "batched", "repacked"}) {
    const auto done = lab.run(words({"--class", std::string(placement_class), "--seed", "7", "--json"}));
    ASSERT_EQ(done.status, 0) << done.err;
    const auto json = parse_json(done.out);
    ASSERT_TRUE(json.has_value()) << done.out;
    for (const auto* member : {"arrived", "placed", "alloc_percent", "moves", "set_back", "seconds"})
      EXPECT_TRUE(json->as_object().contains(member)) << member;
    EXPECT_TRUE(json->at("alloc_percent").as_object().contains("130"));
    EXPECT_LE(json->at("placed").as_int64(), json->at("arrived").as_int64());
  }
  const auto table = lab.run(words({"--policy", "fgd", "--ratio", "1"}));
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_TRUE(table.out.starts_with("ARRIVED")) << table.out;
  EXPECT_EQ(table.out.find("130 %"), std::string::npos);
}

TEST(CommandLine, simulate_placement_says_which_line_or_word_is_wrong) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/n.csv", kNodes);
  lab.write("/w/p.csv", std::string(kTasks) + "p4,x,1,1,1000,\n");
  const auto bad_line = lab.run(words({}));
  EXPECT_EQ(bad_line.status, 1);
  EXPECT_NE(bad_line.err.find("/w/p.csv:6: column `cpu_milli` is `x`"), std::string::npos) << bad_line.err;
  lab.write("/w/p.csv", kTasks);
  EXPECT_EQ(lab.run(words({"--ratio", "0"})).status, 1);
  const auto offline = lab.run(words({"--class", "offline"}));
  EXPECT_EQ(offline.status, 2);
  EXPECT_NE(offline.err.find("offline not in {online,batched,repacked}"), std::string::npos) << offline.err;
  EXPECT_EQ(lab.run(words({"--seed", "-1"})).status, 2);
  EXPECT_EQ(lab.run(words({"--seed", "18446744073709551616"})).status, 2);
  EXPECT_EQ(lab.run(words({"--seed", "18446744073709551615"})).status, 0);
  EXPECT_EQ(lab.run(words({"--policy", "first"})).status, 2);
  EXPECT_EQ(lab.run({"simulate", "placement", "--format", "openb"}).status, 2);
}

}  // namespace
}  // namespace neap::cli
