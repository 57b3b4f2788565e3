#include "neap/scheduler/admission_round.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "neap/scheduler/queue_documents.h"
#include "tests/world.h"

namespace neap::scheduler {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;

WallTime now() { return make_options().now; }

ShareQueue queue(std::string name, std::int64_t cores, std::string parent = "all") {
  ShareQueue out;
  out.name = std::move(name);
  out.parent = std::move(parent);
  if (cores > 0) out.quota = {cores * 1000};
  return out;
}

// Machines of eight cores at one site, and queues over them.
struct Cluster final : RoundWorld {
  Cluster(int machines, std::vector<ShareQueue> queues)
      : tree({}, {machines * 8000, 0, 0}, std::move(queues)) {
    world.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
    for (int i = 0; i < machines; ++i) world.nodes.push_back(make_node("n" + std::to_string(i), "hq", 8, 64));
  }
  void run(const std::string& id, const std::string& in, std::size_t node, int cores,
           std::optional<Duration> left, double lost = 1) {
    world.nodes[node].cores_free.value -= cores * 1000;
    HeldWork held;
    held.work = {.id = id, .queue = in, .amounts = {cores * 1000}, .lost = lost};
    if (left) held.ends = now() + *left;
    held.parts = {{.node = world.nodes[node].name,
                   .cores = {cores * 1000},
                   .memory = {},
                   .accelerators = {},
                   .devices = {},
                   .ends = held.ends}};
    tree.charge(in, held.work.amounts);
    running.push_back(std::move(held));
  }
  void wait(const std::string& id, const std::string& in, int replicas, int cores,
            std::optional<Duration> takes = {}, Duration waited = minutes(30)) {
    auto request = make_request(id, cores, 1, 0);
    request.queue = in;
    request.replicas = replicas;
    request.duration_estimate = takes;
    waiting.push_back(
        {.work = {.id = id, .queue = in, .amounts = {replicas * cores * 1000}, .since = now() - waited},
         .request = std::move(request),
         .shape = {}});
  }
  Result<Snapshot> snapshot(const std::string& project) override {
    ++asked[project];
    if (project == "broken") return fail(Code::kFailedPrecondition, "test.rules", "a rule is broken");
    return world;
  }
  RoundResult decide() {
    std::map<std::string, TurnRules, std::less<>> rules;
    for (const auto* name : {"all", "a", "b"}) rules[name] = {.is_root = false};
    auto options = make_options();
    return run_round(
        {.tree = tree, .rules = rules, .waiting = waiting, .running = running, .options = options}, *this);
  }
  const Turn& turn(const RoundResult& round, std::string_view id) const {
    for (const auto& one : round.turns)
      if (waiting[one.index].work.id == id) return one;
    ADD_FAILURE() << id << " had no turn";
    return round.turns.front();
  }

  Snapshot world;
  ShareTree tree;
  std::vector<HeldWork> running;
  std::vector<WaitingWork> waiting;
  std::map<std::string, int> asked;
};

TEST(AdmissionRound, an_owner_gets_back_what_was_lent_and_nobody_is_ended_in_vain) {
  Cluster cluster(2, {queue("all", 16, ""), queue("a", 8), queue("b", 8)});
  cluster.run("kept", "a", 0, 8, {}, 9);
  cluster.run("lent", "a", 1, 8, {}, 1);
  cluster.wait("mine", "b", 1, 8);
  cluster.wait("more", "a", 1, 8);
  const auto round = cluster.decide();
  ASSERT_EQ(round.given_back.size(), 1u);
  EXPECT_EQ(cluster.running[round.given_back[0].running].work.id, "lent") << "it loses less";
  EXPECT_EQ(cluster.waiting[round.given_back[0].claimant].work.id, "mine");
  const auto& mine = cluster.turn(round, "mine");
  EXPECT_EQ(mine.waits_for, WaitsFor::kReclaim);
  EXPECT_THAT(mine.note, HasSubstr("takes back what was lent: lent is told to stop"));
  EXPECT_EQ(cluster.turn(round, "more").waits_for, WaitsFor::kQuota);
  // Once it has stopped, the owner starts in the next round.
  cluster.tree.release("a", cluster.running[1].work.amounts);
  cluster.world.nodes[1].cores_free = {8000};
  cluster.running.pop_back();
  EXPECT_EQ(cluster.turn(cluster.decide(), "mine").waits_for, WaitsFor::kNothing);
}

TEST(AdmissionRound, a_gang_at_the_head_gets_a_place_and_only_what_ends_before_passes_it) {
  Cluster cluster(2, {queue("all", 16, ""), queue("a", 16)});
  cluster.run("first", "a", 0, 6, hours(2));
  cluster.wait("wide", "a", 2, 8, hours(4), hours(1));
  cluster.wait("long", "a", 1, 4, hours(3));
  cluster.wait("brief", "a", 1, 4, hours(1));
  // Quota for the gang is there once the first has ended.
  const auto round = cluster.decide();
  const auto& wide = cluster.turn(round, "wide");
  EXPECT_TRUE(wide.is_reserved);
  EXPECT_EQ(wide.reserved_from, now() + hours(2));
  EXPECT_EQ(cluster.turn(round, "long").waits_for, WaitsFor::kTurn);
  EXPECT_EQ(cluster.turn(round, "brief").waits_for, WaitsFor::kNothing);
  EXPECT_TRUE(cluster.turn(round, "brief").is_backfilled);
}

TEST(AdmissionRound, what_cannot_be_judged_waits_for_that_and_the_others_go_on) {
  Cluster cluster(1, {queue("all", 8, ""), queue("a", 8)});
  cluster.wait("lost", "nowhere", 1, 1);
  cluster.wait("shut", "a", 1, 1);
  cluster.waiting.back().request.project = "broken";
  cluster.wait("good", "a", 1, 1);
  const auto round = cluster.decide();
  EXPECT_EQ(cluster.turn(round, "lost").code, "queue.invalid");
  EXPECT_EQ(cluster.turn(round, "lost").position, 0u);
  EXPECT_EQ(cluster.turn(round, "shut").sentence, "a rule is broken");
  EXPECT_EQ(cluster.turn(round, "shut").waits_for, WaitsFor::kOther);
  EXPECT_EQ(cluster.turn(round, "good").waits_for, WaitsFor::kNothing);
  EXPECT_EQ(cluster.asked["broken"], 1);
  EXPECT_EQ(round.turns.size(), 3u);
}

// Whatever is drawn: limits hold, everybody gets one turn, nobody starts in a kept place's way, and leaving
// out what was refused before changes no answer.
TEST(AdmissionRound, limits_hold_and_remembered_refusals_change_nothing) {
  std::int64_t saved = 0, starts = 0, given_back = 0, reserved = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 draw(seed);
    const auto below = [&](int n) { return int(draw() % unsigned(n)); };
    const int machines = 2 + below(4);
    Cluster cluster(machines,
                    {queue("all", machines * 8, ""), queue("a", machines * 3), queue("b", machines * 5)});
    for (int i = 0; i < machines; ++i) {
      const int cores = 1 + below(8);
      const auto in = below(3) > 0 ? "a" : "b";
      std::optional<Duration> left;
      if (below(3) > 0) left = minutes(30 * (1 + below(8)));
      cluster.run("r" + std::to_string(i), in, std::size_t(i), cores, left, below(5));
    }
    for (int i = 0; i < 12; ++i) {
      std::optional<Duration> takes;
      if (below(4) > 0) takes = minutes(30 * (1 + below(8)));
      cluster.wait("w" + std::to_string(100 + i), below(2) ? "a" : "b", 1 + below(2), 2 << below(3), takes,
                   minutes(below(90)));
    }
    const auto plain = cluster.decide();
    for (auto& one : cluster.waiting)
      one.shape = one.work.queue + std::to_string(one.request.replicas) + "/" +
                  std::to_string(one.request.each.cores.value);
    const auto quick = cluster.decide();
    saved += std::int64_t(plain.decisions) - std::int64_t(quick.decisions);
    ASSERT_EQ(plain.turns.size(), cluster.waiting.size()) << seed;
    ASSERT_EQ(quick.turns.size(), plain.turns.size()) << seed;
    for (std::size_t i = 0; i < plain.turns.size(); ++i) {
      const auto &one = plain.turns[i], &other = quick.turns[i];
      ASSERT_EQ(one.index, other.index) << seed;
      ASSERT_EQ(one.waits_for, other.waits_for) << seed;
      ASSERT_EQ(one.note, other.note) << seed;
      ASSERT_EQ(one.decision.has_value(), other.decision.has_value()) << seed;
      if (one.decision) {
        ASSERT_EQ(one.decision->is_placed, other.decision->is_placed) << seed;
        ASSERT_EQ(one.decision->pending.has_value(), other.decision->pending.has_value()) << seed;
        if (one.decision->pending)
          ASSERT_EQ(one.decision->pending->guard, other.decision->pending->guard) << seed;
        ASSERT_EQ(one.decision->placements.size(), other.decision->placements.size()) << seed;
        for (std::size_t p = 0; p < one.decision->placements.size(); ++p)
          ASSERT_EQ(one.decision->placements[p].node, other.decision->placements[p].node) << seed;
      }
      reserved += one.is_reserved;
    }
    ASSERT_EQ(plain.given_back.size(), quick.given_back.size());
    std::map<std::string, std::int64_t> free;
    for (const auto& node : cluster.world.nodes) free[node.name] = node.cores_free.value;
    for (const auto& one : plain.turns) {
      if (one.waits_for != WaitsFor::kNothing) continue;
      ++starts;
      for (const auto& place : one.decision->placements)
        EXPECT_GE(free[place.node] -= cluster.waiting[one.index].request.each.cores.value, 0) << seed;
    }
    for (const auto* name : {"a", "b"}) EXPECT_LE(plain.tree.used(name)[0], machines * 8000) << seed;
    EXPECT_LE(plain.tree.used("all")[0], machines * 8000) << seed;
    for (const auto& back : plain.given_back) {
      ++given_back;
      const auto& asker = cluster.waiting[back.claimant].work;
      EXPECT_NE(cluster.running[back.running].work.queue, asker.queue) << seed;
      EXPECT_LE(cluster.tree.used(asker.queue)[0] + asker.amounts[0], cluster.tree.quota(asker.queue)[0])
          << seed << ": only a right takes back";
    }
  }
  EXPECT_GT(saved, 0);
  EXPECT_GT(starts, 300);
  EXPECT_GT(given_back, 10);
  EXPECT_GT(reserved, 100);
}

TEST(QueueDocuments, say_quota_limits_models_and_whose_queue_it_is) {
  api::Queue all, vision;
  all.metadata.name = "all";
  all.spec.quota.accelerators = {8000};
  all.spec.defaultForProjects = {"*"};
  vision.metadata.name = "vision";
  vision.spec.parent = "all";
  vision.spec.quota.acceleratorModels = {{"a100", {4000}}};
  vision.spec.borrowingLimit = api::QueueLimit{.accelerators = MilliAccelerators{2000}};
  vision.spec.backfill = false;
  vision.spec.defaultForProjects = {"eyes"};
  const api::Queue* documents[]{&all, &vision};
  EXPECT_EQ(models_named(documents), std::vector<std::string>{"a100"});
  EXPECT_EQ(default_queue(documents, "eyes"), "vision");
  EXPECT_EQ(default_queue(documents, "ears"), "all");
  const auto rules = turn_rules(documents);
  EXPECT_FALSE(rules.at("vision").backfill);
  EXPECT_TRUE(rules.at("all").is_root);
  const auto tree = make_share_tree(documents, models_named(documents), {0, 0, 8000, 8000});
  EXPECT_EQ(tree.quota("vision")[kModelAxes], 4000);
  EXPECT_TRUE(tree.knows("")) << "what names no queue";
  EXPECT_THAT(tree.problem("all"), HasSubstr("jobs wait in those"));
}

}  // namespace
}  // namespace neap::scheduler
