// launch: what a SkyPilot task means here, what is refused, and what reaches the server.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "internal/code_archive.h"
#include "internal/sky_task.h"
#include "tests/cli_lab.h"

namespace neap::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kTask = R"(
name: train
num_nodes: 2
workdir: .
envs: {EPOCHS: 3, DATA: images}
resources:
  accelerators: A100:2
  cpus: 4+
  memory: 16
  use_spot: true
  disk_tier: best
file_mounts:
  ~/data: ./${DATA}
setup: pip install -r requirements.txt
run: |
  python train.py --epochs $EPOCHS
)";

Result<SkyTask> parsed(std::string_view text, const std::map<std::string, std::string>& given = {}) {
  return parse_sky_task(api::parse_yaml(text).value().front(), given);
}
// A task of one run line beside these fields.
std::string refusal(std::string_view fields) {
  const auto task = parsed(fmt::format("run: x\n{}\n", fields));
  return task ? "nothing refused" : task.error().message;
}

TEST(SkyTask, every_field_with_a_meaning_here_reaches_the_job) {
  const auto task = parsed(kTask).value();
  ASSERT_EQ(task.candidates.size(), 1u);
  const auto job = job_of(task, task.candidates[0]);
  EXPECT_EQ(job.metadata.name, "train");
  EXPECT_EQ(job.spec.replicas, 2);
  EXPECT_EQ(job.spec.resources.cpu.value, 4000);
  EXPECT_EQ(job.spec.resources.memory, Bytes{16ll << 30});
  EXPECT_EQ(job.spec.resources.accelerators.at("A100").value, 2000);
  EXPECT_EQ(job.spec.costStrategy, "SpotPreemptible");
  EXPECT_EQ(job.spec.interruption, api::InterruptionClass::kRestartable);
  EXPECT_THAT(job.spec.environment,
              ElementsAre("DATA=images", "EPOCHS=3", "SKYPILOT_NUM_GPUS_PER_NODE=2", "SKYPILOT_NUM_NODES=2"));
  EXPECT_THAT(job.spec.command, ElementsAre("/bin/bash", "{code}/launch.sh"));
  ASSERT_EQ(task.mounts.size(), 1u);
  EXPECT_EQ(task.mounts[0].target + " " + task.mounts[0].source, "data ./images");
  EXPECT_THAT(task.notes, ElementsAre("resources.disk_tier changes nothing here"));
  EXPECT_EQ(job_of(parsed("run: x").value(), {}).spec.interruption, api::InterruptionClass::kNever)
      << "without use_spot it is never on spot";
}

TEST(SkyTask, alternatives_take_the_outer_fields_as_defaults) {
  const auto any = parsed(R"(
run: x
resources:
  cpus: 8
  any_of: [{accelerators: H100}, {accelerators: "A100:4", use_spot: true, cpus: 2}, {infra: hq}]
)")
                       .value();
  ASSERT_EQ(any.candidates.size(), 3u);
  EXPECT_FALSE(any.is_ordered);
  EXPECT_EQ(any.candidates[0].resources.cpu.value, 8000);
  EXPECT_EQ(any.candidates[1].resources.cpu.value, 2000);
  EXPECT_TRUE(any.candidates[1].uses_spot);
  EXPECT_EQ(any.candidates[2].infra, "hq");
  EXPECT_TRUE(parsed("run: x\nresources: {accelerators: [H100:8, A100:8]}").value().is_ordered);
  EXPECT_FALSE(parsed("run: x\nresources: {accelerators: {H100: 8, A100: 8}}").value().is_ordered);
}

TEST(SkyTask, amounts_are_read_as_people_write_them) {
  const struct {
    const char* text;
    std::int64_t bytes;
  } kCases[] = {{"32", 32ll << 30},
                {"'32+'", 32ll << 30},
                {"32GB", 32ll << 30},
                {"512MB", 512ll << 20},
                {"0.5", 512ll << 20}};
  for (const auto& test : kCases) {
    const auto task = parsed(fmt::format("run: x\nresources: {{memory: {}}}", test.text));
    ASSERT_TRUE(task) << test.text << ": " << task.error().message;
    EXPECT_EQ(task->candidates[0].resources.memory.value, test.bytes) << test.text;
  }
}

TEST(SkyTask, what_has_no_meaning_here_is_refused_by_name) {
  EXPECT_THAT(refusal("resources: {image_id: 'docker:x'}"), HasSubstr("resources.image_id is not supported"));
  EXPECT_THAT(refusal("resources: {any_of: [{ports: 80}]}"),
              HasSubstr("resources.any_of[0].ports is not supported"));
  EXPECT_THAT(refusal("service: {}"), HasSubstr("apply an InferenceService"));
  EXPECT_THAT(refusal("secrets: {A: b}"), HasSubstr("secrets is not supported"));
  EXPECT_THAT(refusal("resorces: {}"), HasSubstr("unknown field \"resorces\""));
  EXPECT_THAT(refusal("resources: {gpus: 1}"), HasSubstr("unknown field \"resources.gpus\""));
  EXPECT_THAT(refusal("file_mounts: {~/d: 's3://bucket/d'}"), HasSubstr("buckets are not mounted"));
  EXPECT_THAT(refusal("file_mounts: {/etc/passwd: ./x}"), HasSubstr("below its own home"));
  EXPECT_THAT(refusal("file_mounts: {~/a/../../b: ./x}"), HasSubstr("leaves the job's home"));
  EXPECT_THAT(refusal("file_mounts: {~/d: '${NOPE}'}"), HasSubstr("envs does not have"));
  EXPECT_THAT(refusal("num_nodes: 0"), HasSubstr("num_nodes"));
  EXPECT_THAT(refusal("envs: {A: null}"), HasSubstr("--env A=VALUE"));
  EXPECT_THAT(refusal("envs: {'A;B': 1}"), HasSubstr("no name of a variable"));
  EXPECT_THAT(refusal("resources: {accelerators: 'A100:none'}"), HasSubstr("NAME:COUNT"));
  EXPECT_THAT(refusal("resources: {use_spot: sometimes}"), HasSubstr("neither true nor false"));
  EXPECT_THAT(parsed("setup: x").error().message, HasSubstr("run: is missing"));
  EXPECT_EQ(parsed("run: x\nenvs: {A: null}", {{"A", "b"}}).value().variables.at("A"), "b");
}

class Launch : public ::testing::Test {
 protected:
  void SetUp() override {
    lab.put(R"(
apiVersion: neap.dev/v1
kind: Site
metadata: {name: cloud-a}
spec:
  tier: public
  jurisdiction: DE
  prices:
  - {capacityType: spot, perCoreHour: 10000, perGiBHour: 0, perAcceleratorHour: {NVIDIA_A100: 1000000}}
  - {capacityType: on-demand, perCoreHour: 40000, perGiBHour: 0, perAcceleratorHour: {NVIDIA_A100: 3000000}}
)");
    for (const auto* type : {"spot", "on-demand"})
      lab.put(fmt::format(R"(
apiVersion: neap.dev/v1
kind: Node
metadata: {{name: cloud-a-{0}}}
spec: {{site: cloud-a, capacityType: {0}}}
status: {{allocatable: {{cpu: "32", memory: 64Gi, accelerators: {{NVIDIA_A100: "8"}}}}}}
)",
                          type));
    lab.write("/w/task.yaml", kTask);
    lab.write("/w/train.py", "print(1)\n");
    lab.write("/w/images/one", "x");
    lab.write("/w/requirements.txt", "torch\n");
  }
  CliLab lab;
};

TEST_F(Launch, a_dry_run_shows_places_by_price_and_the_job_and_starts_nothing) {
  const auto done = lab.run({"launch", "/w/task.yaml", "--dryrun"});
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("Considered resources (2 nodes):"));
  // 2 nodes x (4 cores x 0.01 + 2 devices x 1)
  const auto spot = done.out.find("4.080000"), on_demand = done.out.find("12.320000");
  ASSERT_NE(spot, std::string::npos) << done.out;
  ASSERT_NE(on_demand, std::string::npos) << done.out;
  EXPECT_LT(spot, on_demand);
  EXPECT_THAT(done.out, HasSubstr("NVIDIA_A100"));
  EXPECT_THAT(done.out, HasSubstr("costStrategy: SpotPreemptible"));
  EXPECT_THAT(done.err, HasSubstr("disk_tier changes nothing here"));
  EXPECT_EQ(lab.run({"get", "trainingjobs"}).err, "No resources found in vision namespace.\n");
}

TEST_F(Launch, without_a_yes_nothing_starts) {
  const auto done = lab.run({"launch", "/w/task.yaml"});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("say -y"));
  lab.answer_to_questions = "n";
  EXPECT_THAT(lab.run({"launch", "/w/task.yaml"}).out, HasSubstr("Nothing was launched"));
  EXPECT_EQ(lab.run({"get", "trainingjobs"}).err, "No resources found in vision namespace.\n");
}

TEST_F(Launch, a_yes_pushes_the_code_and_creates_the_job) {
  lab.answer_to_questions = "";
  const auto done =
      lab.run({"launch", "/w/task.yaml", "--name", "mine", "--env", "EPOCHS=9", "--num-nodes", "1"});
  ASSERT_EQ(done.status, 0) << done.out << done.err;
  EXPECT_THAT(done.out, HasSubstr("Proceed? [Y/n]"));
  EXPECT_THAT(done.out, HasSubstr("trainingjob/mine created"));
  const auto stored = lab.run({"get", "trainingjob", "mine", "-o", "yaml"}).out;
  EXPECT_THAT(stored, HasSubstr("EPOCHS=9"));
  EXPECT_THAT(stored, HasSubstr("code: sha256:"));
  const auto upload = std::ranges::find_if(
      lab.seen, [](const auto& seen) { return seen.method == "POST" && seen.target.contains("/code/"); });
  ASSERT_NE(upload, lab.seen.end());
  for (const auto* file : {"launch.sh", "run.sh", "setup.sh", "home/sky_workdir/train.py", "home/data/one"})
    EXPECT_THAT(upload->body, HasSubstr(file));
  const auto again = lab.run({"launch", "/w/task.yaml", "--name", "mine", "-y"});
  EXPECT_THAT(again.err, HasSubstr("--name"));
}

TEST_F(Launch, resources_that_no_node_has_are_named) {
  lab.write("/w/large.yaml", "run: x\nresources: {accelerators: H100:8}\n");
  const auto done = lab.run({"launch", "/w/large.yaml", "-y"});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("H100:8"));
  EXPECT_THAT(done.err, HasSubstr("NVIDIA_A100"));
}

TEST_F(Launch, on_demand_tasks_see_no_spot_places) {
  lab.write("/w/calm.yaml", "run: x\nresources: {accelerators: A100}\n");
  const auto done = lab.run({"launch", "/w/calm.yaml", "--dryrun"});
  EXPECT_EQ(done.out.find(" spot "), std::string::npos) << done.out;
  EXPECT_THAT(done.out, HasSubstr("on-demand"));
}

TEST_F(Launch, a_chain_of_tasks_is_refused) {
  lab.write("/w/chain.yaml", "name: p\n---\nrun: x\n---\nrun: y\n");
  EXPECT_THAT(lab.run({"launch", "/w/chain.yaml", "-y"}).err, HasSubstr("3 documents"));
}

// The script itself, by the shell that runs it: home and workdir in place, setup before run, its failure
// passed on.
TEST(LaunchScript, puts_files_in_place_and_runs_setup_before_run) {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("neap-launch-{}", ::getpid());
  std::filesystem::create_directories(folder / "home/sky_workdir");
  const auto write = [&](const char* name, std::string_view text) { std::ofstream(folder / name) << text; };
  write("launch.sh", launch_script());
  write("home/sky_workdir/input", "five\n");
  write("setup.sh", "echo set >> \"$HOME/trace\"\n");
  write("run.sh", "cat input >> \"$HOME/trace\"\n");
  const auto command = fmt::format("HOME={0}/user /bin/bash {0}/launch.sh 2>/dev/null", folder.string());
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream trace(folder / "user/trace");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(trace), {}), "set\nfive\n");
  write("setup.sh", "exit 3\n");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace neap::cli
