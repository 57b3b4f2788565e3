// What happens to a gang and a served model when the network, the machines and a disk fail.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "world.h"

namespace neap::world {
namespace {

constexpr std::string_view kGoodManifest =
    "sha256:1111111111111111111111111111111111111111111111111111111111111111";

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}
// NEAP_WORLD_SEEDS seeds from NEAP_WORLD_FIRST on.
std::vector<std::uint64_t> seeds() {
  std::vector<std::uint64_t> out(number("NEAP_WORLD_SEEDS", 5));
  std::iota(out.begin(), out.end(), number("NEAP_WORLD_FIRST", 1));
  return out;
}

api::Site site(std::string name, api::Tier tier) {
  api::Site out;
  out.metadata.name = std::move(name);
  out.spec.tier = tier;
  out.spec.jurisdiction = "DE";
  return out;
}
api::Node node(std::string name, std::string at) {
  api::Node out;
  out.metadata.name = std::move(name);
  out.spec.site = std::move(at);
  return out;
}
api::TrainingJob gang(std::string name, std::int64_t replicas) {
  api::TrainingJob out;
  out.metadata.name = std::move(name);
  out.metadata.namespace_ = "default";
  out.spec.command = {"/usr/bin/train"};
  out.spec.replicas = replicas;
  out.spec.resources.cpu = MilliCores{2000};
  out.spec.resources.memory = Bytes{1 << 30};
  out.spec.allowedSites = {"hq"};
  return out;
}
api::ModelVersion version(std::string name, std::string_view manifest) {
  api::ModelVersion out;
  out.metadata.name = std::move(name);
  out.metadata.namespace_ = "default";
  out.spec.model = "inspector";
  out.spec.repository = "default/inspector";
  out.spec.manifestDigest = manifest;
  out.spec.file = "model.onnx";
  out.spec.level = api::DataLevel::kL3;
  return out;
}
api::InferenceService service(std::string at) {
  api::InferenceService out;
  out.metadata.name = "inspect";
  out.metadata.namespace_ = "default";
  out.spec.model = "inspector";
  out.spec.modelVersion = "inspector-v1";
  out.spec.places = {{.site = std::move(at), .replicas = 1, .role = "active"}};
  out.spec.resources.cpu = MilliCores{500};
  out.spec.resources.memory = Bytes{256 << 20};
  return out;
}

io::SimProgram training(Duration time) {
  io::SimProgram out;
  out.run_for = time;
  // Saves its state when asked to stop, which takes a moment.
  out.reactions[15] = {.ignored = false, .after = 2s, .status = {.code = 75, .signal = 0}};
  return out;
}

void populate(World& world) {
  world.add_node("hq-1", "hq", MilliCores{4000});
  world.add_node("hq-2", "hq", MilliCores{4000});
  world.add_node("press-1", "shop", MilliCores{2000});
  world.script("gang", training(60s));
  world.script("filler", training(25s));
  world.start_server();
  ASSERT_TRUE(world.run(1min, [&] { return world.server_is_healthy(); }));
  world.create(site("hq", api::Tier::kPrivate));
  world.create(site("shop", api::Tier::kEdge));
  world.create(node("hq-1", "hq"));
  world.create(node("hq-2", "hq"));
  world.create(node("press-1", "shop"));
  for (const auto* name : {"hq-1", "hq-2", "press-1"}) world.start_agent(name);
  api::Model model;
  model.metadata.name = "inspector";
  model.metadata.namespace_ = "default";
  world.create(model);
  world.create(version("inspector-v1", kGoodManifest));
  world.create(version("inspector-v2", kForgedManifest));
  world.create(service("shop"));
  world.create(gang("gang", 2));
  world.create(gang("filler", 1));
  world.keep_writing();
}

bool runs(const World& world, const std::string& job, std::size_t members) {
  return std::size_t(std::ranges::count(world.processes(), job, &LivingProcess::job)) == members;
}

std::uint64_t play(std::uint64_t seed) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  World world(seed);
  populate(world);
  auto& sim = world.sim();
  const auto succeeded = [&](const char* name) {
    const auto* job = world.job(name);
    return job && job->status.phase == "Succeeded";
  };
  const auto served = [&] {
    const auto* s = world.service("inspect");
    return s && s->status.phase == "Complete" &&
           world.serving("press-1", "inspector").active == "inspector-v1";
  };
  EXPECT_TRUE(world.run(1min, [&] { return runs(world, "gang", 2) && served(); }))
      << "the gang never started";

  // Partition: longer than lease and grace, so that the work must end here and go on there.
  const auto victim = world.processes().empty() ? std::string("hq-1") : world.processes().front().machine;
  world.run(Duration(std::int64_t(sim.random_below(8'000'000'000))));
  world.cut(victim, true);
  const auto cut_at = sim.now();
  EXPECT_TRUE(world.run(1min, [&] {
    return std::ranges::none_of(world.processes(), [&](const auto& p) { return p.machine == victim; });
  })) << "training went on without a lease";
  EXPECT_LE(sim.now() - cut_at, 30s);
  world.run(Duration(std::int64_t(40s / 1ns) + std::int64_t(sim.random_below(30'000'000'000))));
  world.cut(victim, false);
  EXPECT_TRUE(world.run(2min, [&] { return runs(world, "gang", 2) || succeeded("gang"); }));

  // Power loss of the server.
  world.run(Duration(std::int64_t(sim.random_below(10'000'000'000))));
  world.end_server(Fall::kMachine);
  world.run(Duration(std::int64_t(sim.random_below(12'000'000'000))));
  world.start_server();
  EXPECT_TRUE(world.run(1min, [&] { return world.server_is_healthy(); }));
  EXPECT_EQ(world.find_lost_writes(), std::vector<std::string>{});

  // An agent's program ends under its work, then a whole machine goes.
  world.end_agent("hq-1", Fall::kProgram);
  world.end_agent("press-1", Fall::kProgram);
  world.run(Duration(std::int64_t(sim.random_below(6'000'000'000))));
  world.start_agent("hq-1");
  world.start_agent("press-1");
  world.run(Duration(std::int64_t(sim.random_below(20'000'000'000))));
  world.end_agent("hq-2", Fall::kMachine);
  world.run(Duration(std::int64_t(sim.random_below(60'000'000'000))));
  world.start_agent("hq-2");

  // A disk that fails a sync: the store refuses from then on, until the program is started again.
  world.run(Duration(std::int64_t(sim.random_below(5'000'000'000))));
  sim.machine("server").fail_next_syncs(1, Code::kDataLoss);
  world.run(Duration(std::int64_t(sim.random_below(15'000'000'000))));
  sim.machine("server").fail_next_syncs(0, Code::kDataLoss);
  world.end_server(sim.random_below(2) ? Fall::kMachine : Fall::kProgram);
  world.start_server();
  EXPECT_TRUE(world.run(1min, [&] { return world.server_is_healthy(); }));
  EXPECT_EQ(world.find_lost_writes(), std::vector<std::string>{});

  EXPECT_TRUE(world.run(20min, [&] { return succeeded("gang") && succeeded("filler") && served(); }));
  EXPECT_TRUE(world.run(2min, [&] { return world.disagreement().empty(); })) << world.disagreement();
  const auto& press = world.serving("press-1", "inspector");
  EXPECT_EQ(press.removals, 0) << "serving was taken down";
  EXPECT_EQ(press.activations, 2) << "the model was put into service once a life of its agent";

  // A version whose signature does not verify never answers.
  world.patch(client::TypedClient<api::InferenceService>::path("default", "inspect"),
              Json{{"spec", {{"modelVersion", "inspector-v2"}}}});
  EXPECT_TRUE(world.run(2min, [&] {
    const auto* s = world.service("inspect");
    return s && s->status.phase == "RolledBack";
  }));
  EXPECT_EQ(world.serving("press-1", "inspector").active, "inspector-v1");
  EXPECT_EQ(world.violations(), std::vector<std::string>{});
  EXPECT_GT(world.acknowledged(), 50u);
  return sim.trace_hash();
}

TEST(World, gang_and_model_survive_partition_crash_and_disk_fault) {
  for (const auto seed : seeds()) {
    play(seed);
    if (HasFailure()) break;  // the first bad seed is the one to look at
  }
}

// A storm: faults of every kind at moments that the seed draws, work arriving meanwhile; then quiet.
class Storm {
 public:
  explicit Storm(std::uint64_t seed) : world_(seed), sim_(world_.sim()) {}
  void play();

 private:
  Duration draw(Duration below) {
    return Duration(std::int64_t(sim_.random_below(std::uint64_t(below.count()))));
  }
  std::string draw_node() { return kNodes[sim_.random_below(3)]; }
  void one_fault();
  void mend(bool all);
  void add_job();

  static constexpr const char* kNodes[] = {"hq-1", "hq-2", "press-1"};
  World world_;
  io::SimWorld& sim_;
  std::map<std::string, MonoTime> cut_until_, down_until_;  // by node; "server" too
  bool disk_failed_ = false;
  int jobs_ = 0;
};

void Storm::add_job() {
  const auto name = fmt::format("job-{}", ++jobs_);
  auto program = training(5s + draw(50s));
  program.reactions[15].after = draw(25s);  // some cannot save in time and are ended
  world_.script(name, program);
  auto job = gang(name, 1 + std::int64_t(sim_.random_below(3)));
  job.spec.resources.cpu = MilliCores{1000};
  world_.create(job);
}

void Storm::one_fault() {
  const auto node = draw_node();
  switch (sim_.random_below(8)) {
    case 0:
    case 1:
      if (cut_until_.contains(node)) return;
      switch (sim_.random_below(4)) {
        case 0:
          sim_.set_partition(node, "server", true);
          break;
        case 1:
          sim_.set_partition("server", node, true);
          break;
        default:
          world_.cut(node, true);
      }
      cut_until_[node] = sim_.now() + draw(70s);
      return;
    case 2:
      if (down_until_.contains("server")) return;
      world_.end_server(sim_.random_below(2) ? Fall::kMachine : Fall::kProgram);
      down_until_["server"] = sim_.now() + draw(40s);
      return;
    case 3:
      if (down_until_.contains(node)) return;
      world_.end_agent(node, Fall::kMachine);
      down_until_[node] = sim_.now() + draw(60s);
      return;
    case 4:
      // Nobody stops the programs of an agent that is not there: it must be back before its lease is over.
      if (down_until_.contains(node) || cut_until_.contains(node)) return;
      world_.end_agent(node, Fall::kProgram);
      down_until_[node] = sim_.now() + draw(10s);
      return;
    case 5:
      if (down_until_.contains("server")) return;
      sim_.machine("server").fail_next_syncs(1, Code::kDataLoss);
      disk_failed_ = true;
      down_until_["server"] = sim_.now() + draw(15s);
      return;
    case 6:
      sim_.machine(node).set_clock_skew(draw(2h) - 1h);
      return;
    default:
      if (jobs_ < 6 && !down_until_.contains("server")) add_job();
  }
}

void Storm::mend(bool all) {
  const auto due = [&](const std::string& name, auto& table) {
    const auto it = table.find(name);
    if (it == table.end() || (!all && it->second > sim_.now())) return false;
    table.erase(it);
    return true;
  };
  for (const std::string node : kNodes) {
    if (due(node, cut_until_)) world_.cut(node, false);
    if (due(node, down_until_)) world_.start_agent(node);
  }
  if (!due("server", down_until_)) return;
  sim_.machine("server").fail_next_syncs(0, Code::kDataLoss);
  if (std::exchange(disk_failed_, false)) world_.end_server(Fall::kProgram);
  world_.start_server();
}

void Storm::play() {
  populate(world_);
  add_job();
  sim_.set_faults({.delay_min = 100us,
                   .delay_max = 30ms,
                   .connect_refused_probability = 0.01,
                   .disconnect_probability = 0.001});
  const auto end = sim_.now() + 4min;
  for (auto next = sim_.now(); sim_.now() < end;) {
    world_.run(500ms);
    mend(false);
    if (sim_.now() < next) continue;
    one_fault();
    next = sim_.now() + draw(20s);
  }
  sim_.set_faults({});
  mend(true);
  EXPECT_TRUE(world_.run(1min, [&] { return world_.server_is_healthy(); }));
  EXPECT_EQ(world_.find_lost_writes(), std::vector<std::string>{});
  EXPECT_TRUE(world_.run(30min, [&] { return world_.unfinished().empty(); })) << world_.unfinished();
  EXPECT_TRUE(world_.run(2min, [&] { return world_.disagreement().empty(); })) << world_.disagreement();
  EXPECT_TRUE(
      world_.run(1min, [&] { return world_.serving("press-1", "inspector").active == "inspector-v1"; }));
  EXPECT_EQ(world_.serving("press-1", "inspector").removals, 0);
  EXPECT_EQ(world_.violations(), std::vector<std::string>{});
}

TEST(World, a_storm_of_faults_breaks_no_invariant_and_all_work_ends) {
  for (const auto seed : seeds()) {
    SCOPED_TRACE(fmt::format("storm {}", seed));
    Storm(seed).play();
    if (HasFailure()) break;
  }
}

// Two teams on the four places of hq: one borrows all, the other gets its quota back while a node is cut off.
void lend_and_take_back(std::uint64_t seed) {
  World world(seed);
  auto& sim = world.sim();
  for (const auto* name : {"hq-1", "hq-2"}) world.add_node(name, "hq", MilliCores{4000});
  world.start_server();
  ASSERT_TRUE(world.run(1min, [&] { return world.server_is_healthy(); }));
  world.create(site("hq", api::Tier::kPrivate));
  for (const auto* name : {"hq-1", "hq-2"}) {
    world.create(node(name, "hq"));
    world.start_agent(name);
  }
  const auto queue = [&](std::string name, std::string parent, std::int64_t cores) {
    api::Queue out;
    out.metadata.name = std::move(name);
    out.spec.parent = std::move(parent);
    out.spec.quota.cpu = MilliCores{cores * 1000};
    world.create(out);
  };
  queue("all", "", 8);
  queue("vision", "all", 4);
  queue("speech", "all", 4);
  const auto submit = [&](const std::string& name, std::string in) {
    world.script(name, training(90s));
    auto job = gang(name, 2);
    job.spec.queue = std::move(in);
    world.create(job);
  };
  submit("vision-1", "vision");
  submit("vision-2", "vision");
  ASSERT_TRUE(world.run(1min, [&] { return world.processes().size() == 4; })) << "vision borrows all";
  world.run(Duration(std::int64_t(sim.random_below(20'000'000'000))));
  submit("speech-1", "speech");
  world.run(Duration(std::int64_t(sim.random_below(4'000'000'000))));
  const std::string victim = sim.random_below(2) ? "hq-1" : "hq-2";
  world.cut(victim, true);
  world.run(Duration(std::int64_t(sim.random_below(25'000'000'000))));
  world.cut(victim, false);
  EXPECT_TRUE(world.run(3min, [&] { return runs(world, "speech-1", 2); }))
      << "speech has not got its quota back";
  const auto interruptions = [&](const char* name) { return world.job(name)->status.interruptions; };
  EXPECT_GE(interruptions("vision-1") + interruptions("vision-2"), 1);
  EXPECT_TRUE(world.run(20min, [&] { return world.unfinished().empty(); })) << world.unfinished();
  for (const auto* name : {"vision-1", "vision-2", "speech-1"})
    EXPECT_EQ(world.job(name)->status.phase, "Succeeded") << name;
  EXPECT_EQ(world.violations(), std::vector<std::string>{});
}

TEST(World, a_team_that_borrowed_all_gives_back_and_goes_on_later) {
  for (const auto seed : seeds()) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    lend_and_take_back(seed);
    if (HasFailure()) break;
  }
}

TEST(World, the_same_seed_gives_the_same_trace) {
  const auto first = play(1);
  EXPECT_EQ(play(1), first);
  EXPECT_NE(play(2), first);
}

}  // namespace
}  // namespace neap::world
