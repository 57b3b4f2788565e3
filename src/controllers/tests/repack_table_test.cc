// Re-packing in the server, on simulated time: jobs move at a new checkpoint so that the one whose turn it is
// has room, and nothing else changes.
#include "internal/repack_table.h"

#include <random>

#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using std::chrono::minutes;
using ::testing::HasSubstr;

class RepackTest : public ::testing::Test {
 protected:
  explicit RepackTest(int nodes = 2) {
    cluster.add_site("hq");
    for (int i = 1; i <= nodes; ++i) cluster.add_node("n" + std::to_string(i), "hq", 8);
  }
  void add_queue(const std::string& moves_per_hour) {
    api::Queue queue;
    queue.metadata.name = "batch";
    if (!moves_per_hour.empty())
      queue.metadata.annotations["neap.dev/repack-moves-per-hour"] = moves_per_hour;
    cluster.create(queue);
    cluster.pass();
  }
  void submit(const std::string& name, std::int64_t cores, std::int64_t interval = 10,
              api::InterruptionClass interruption = api::InterruptionClass::kCheckpointed) {
    auto made = cluster.job(name, 1, cores);
    made.spec.queue = "batch";
    made.spec.checkpoint.intervalSteps = interval;
    made.spec.interruption = interruption;
    cluster.create(made);
    cluster.pass();
  }
  api::TrainingJob job(const std::string& name) { return cluster.get<api::TrainingJob>(name); }
  std::string member(const std::string& name) { return member_name(name, job(name).status.epoch, 0); }
  std::string node_of(const std::string& name) {
    return cluster.get<api::Allocation>(member(name)).spec.node;
  }
  void let_run(const std::string& name) {
    cluster.set_phase(member(name), "Prepared");
    cluster.set_phase(member(name), "Running");
    ASSERT_EQ(job(name).status.phase, "Running") << name;
  }
  void save(const std::string& name, std::int64_t step) {
    cluster.set_status<api::Allocation>(member(name), [&](auto& a) {
      a.status.firstStep = std::max<std::int64_t>(0, a.status.firstStep);
      a.status.step = step + 1;  // work that is in no checkpoint
      a.status.checkpoint = {
          .step = step, .digest = "sha256:" + std::string(64, 'a'), .phase = "Durable", .size = Bytes{1}};
    });
    cluster.pass();
  }
  // Both nodes are half free, by two jobs that run and are saved; `wide` waits for a whole one.
  void fragment() {
    for (const auto* name : {"a", "b", "c", "d"}) {
      submit(name, 4);
      let_run(name);
    }
    const auto first = node_of("a");
    std::string ended_here, ended_there;
    for (const auto* name : {"a", "b", "c", "d"}) {
      auto& ended = node_of(name) == first ? ended_here : ended_there;
      if (ended.empty())
        ended = name;
      else
        stays_.emplace_back(name);
    }
    for (const auto& name : {ended_here, ended_there}) cluster.set_phase(member(name), "Succeeded");
    ASSERT_EQ(stays_.size(), 2u);
    for (const auto& name : stays_) save(name, 10);
    submit("wide", 8);
    ASSERT_EQ(job("wide").status.phase, "Pending");
  }
  // Nothing is given twice: the sum of what is held on each node.
  void check_nodes() {
    std::map<std::string, std::int64_t> held;
    for (const auto& [key, allocation] : cluster.loop().state().all<api::Allocation>())
      if (holds_resources(allocation)) held[allocation.spec.node] += allocation.spec.resources.cpu.value;
    for (const auto& [node, cores] : held) ASSERT_LE(cores, 8000) << node;
  }
  bool was_told(const std::string& words) const {
    return std::ranges::any_of(cluster.decisions(), [&](const Json& record) {
      return std::string(get_string(record, "message")).find(words) != std::string::npos;
    });
  }
  std::string mover() {
    const auto nomination = job("wide").status.nomination;
    EXPECT_TRUE(nomination) << job("wide").status.message;
    if (!nomination || nomination->victims.size() != 1) return {};
    return nomination->victims[0].job.substr(std::string("default/").size());
  }

  Cluster cluster;
  std::vector<std::string> stays_;
};

TEST_F(RepackTest, nothing_moves_where_no_queue_asks_for_it_in_words_that_are_understood) {
  add_queue("many");
  fragment();
  for (int i = 0; i < 30; ++i) {
    cluster.pass(1min);
    for (const auto& name : stays_) save(name, 20 + i);
  }
  EXPECT_FALSE(job("wide").status.nomination);
  for (const auto& name : stays_) EXPECT_EQ(job(name).status.epoch, 1);
}

TEST_F(RepackTest, a_job_moves_at_its_next_checkpoint_and_the_waiting_one_starts) {
  add_queue("4");
  fragment();
  cluster.pass(4min);
  EXPECT_FALSE(job("wide").status.nomination) << "it has not waited long enough";
  cluster.pass(3min);
  const auto moves = mover();
  ASSERT_FALSE(moves.empty());
  EXPECT_THAT(job("wide").status.message,
              HasSubstr("waits for default/" + moves + " to move elsewhere at hq"));
  EXPECT_EQ(job(moves).status.phase, "Running") << "not before a new checkpoint";
}

TEST_F(RepackTest, what_moved_says_why_goes_on_from_its_checkpoint_and_stays_a_while) {
  add_queue("4");
  fragment();
  cluster.pass(7min);
  const auto moves = mover();
  ASSERT_FALSE(moves.empty());
  const auto from = node_of(moves);
  save(moves, 30);
  cluster.pass();
  auto moving = job(moves);
  ASSERT_EQ(moving.status.phase, "Draining") << moving.status.message;
  EXPECT_THAT(moving.status.message, HasSubstr("stops at checkpoint step 30: moves to"));
  EXPECT_THAT(moving.status.message, HasSubstr("to make room for default/wide"));
  EXPECT_EQ(get_string(cluster.decisions().back(), "object"), "trainingjob/default/" + moves);
  check_nodes();
  submit("late", 4);
  EXPECT_EQ(job("late").status.phase, "Pending") << "both holes are held";
  cluster.set_phase(member(moves), "Released");
  cluster.pass();
  check_nodes();
  moving = job(moves);
  ASSERT_EQ(moving.status.epoch, 2) << moving.status.message;
  EXPECT_NE(node_of(moves), from);
  EXPECT_EQ(cluster.get<api::Allocation>(member(moves)).spec.process->resume.step, 30);
  EXPECT_EQ(moving.status.runs.front().reason, "Moved");
  EXPECT_EQ(moving.status.interruptions, 0);
  EXPECT_THAT(to_text(moving.status.explanation), HasSubstr("to make room for default/wide"));
  ASSERT_EQ(job("wide").status.phase, "Reserved") << job("wide").status.message;
  EXPECT_EQ(node_of("wide"), from);
  let_run("wide");
  let_run(moves);
  // The next one that waits finds it resting.
  cluster.set_phase(member("wide"), "Succeeded");
  cluster.pass();
  EXPECT_EQ(job(moves).status.epoch, 2);
}

// Four jobs of two cores, two on each node, and one that needs a whole one: two have to move.
class RepackTwoTest : public RepackTest {
 protected:
  void fill() {
    std::map<std::string, std::vector<std::string>> on;
    for (int i = 0; i < 8; ++i) {
      const auto name = "s" + std::to_string(i);
      submit(name, 2);
      let_run(name);
      on[node_of(name)].push_back(name);
    }
    for (const auto& [node, names] : on) {
      ASSERT_EQ(names.size(), 4u);
      for (std::size_t i = 0; i < 4; ++i) {
        if (i < 2)
          cluster.set_phase(member(names[i]), "Succeeded");
        else
          save(names[i], 10);
      }
    }
    submit("wide", 8);
    cluster.pass(7min);
  }
};

TEST_F(RepackTwoTest, two_leave_one_after_the_other_and_both_have_their_places) {
  add_queue("2");
  fill();
  const auto nomination = job("wide").status.nomination;
  ASSERT_TRUE(nomination) << job("wide").status.message;
  ASSERT_EQ(nomination->victims.size(), 2u);
  std::vector<std::string> movers;
  for (const auto& victim : nomination->victims)
    movers.push_back(victim.job.substr(std::string("default/").size()));
  for (const auto& name : movers) save(name, 30);
  const auto is_leaving = [&](const std::string& name) { return job(name).status.phase == "Draining"; };
  for (int left = 0; left < 2; ++left) {
    cluster.pass();
    ASSERT_EQ(std::ranges::count_if(movers, is_leaving), 1) << job("wide").status.message;
    const auto name = *std::ranges::find_if(movers, is_leaving);
    cluster.set_phase(member_name(name, 1, 0), "Released");
    cluster.pass();
    check_nodes();
    EXPECT_EQ(job(name).status.epoch, 2) << job(name).status.message;
  }
  ASSERT_EQ(job("wide").status.phase, "Reserved") << job("wide").status.message;
  EXPECT_EQ(node_of("wide"), nomination->nodes.front());
  for (const auto& name : movers) EXPECT_NE(node_of(name), node_of("wide"));
}

TEST_F(RepackTwoTest, a_plan_of_more_moves_than_an_hour_has_is_not_begun) {
  add_queue("1");
  fill();
  EXPECT_FALSE(job("wide").status.nomination);
}

TEST_F(RepackTest, who_makes_no_checkpoints_or_must_not_be_interrupted_is_never_moved) {
  add_queue("4");
  fragment();
  cluster.set_spec<api::TrainingJob>(stays_[0],
                                     [](auto& j) { j.spec.interruption = api::InterruptionClass::kNever; });
  cluster.set_spec<api::TrainingJob>(stays_[1], [](auto& j) { j.spec.checkpoint.intervalSteps = 0; });
  for (int i = 0; i < 20; ++i) {
    cluster.pass(1min);
    for (const auto& name : stays_) save(name, 20 + i);
  }
  EXPECT_FALSE(job("wide").status.nomination);
  for (const auto& name : stays_) EXPECT_EQ(job(name).status.epoch, 1);
}

TEST_F(RepackTest, a_plan_whose_world_changed_is_given_up_and_leaves_it_as_it_was) {
  add_queue("4");
  fragment();
  cluster.pass(7min);
  const auto moves = mover();
  ASSERT_FALSE(moves.empty());
  cluster.set_spec<api::Node>(node_of(moves), [](auto& n) { n.spec.unschedulable = true; });
  cluster.pass();
  save(moves, 30);
  cluster.pass();
  EXPECT_FALSE(job("wide").status.nomination);
  EXPECT_TRUE(was_told("given up: node"));
  for (const auto& name : stays_) {
    EXPECT_EQ(job(name).status.phase, "Running");
    EXPECT_EQ(job(name).status.epoch, 1);
  }
}

TEST_F(RepackTest, a_place_taken_meanwhile_gives_the_plan_up_before_anybody_leaves) {
  add_queue("4");
  fragment();
  cluster.pass(7min);
  const auto moves = mover();
  ASSERT_FALSE(moves.empty());
  submit("late", 4);
  ASSERT_EQ(job("late").status.phase, "Reserved");
  save(moves, 30);
  cluster.pass();
  EXPECT_FALSE(job("wide").status.nomination);
  EXPECT_TRUE(was_told("the moves that should make room were given up: "));
  EXPECT_EQ(job(moves).status.phase, "Running");
  check_nodes();
}

TEST_F(RepackTest, without_a_checkpoint_in_time_the_place_is_not_held_for_ever) {
  add_queue("4");
  fragment();
  cluster.pass(7min);
  ASSERT_FALSE(mover().empty());
  cluster.pass(32min);
  for (const auto& name : stays_) EXPECT_EQ(job(name).status.epoch, 1);
  // It may have been planned anew since; the first plan has gone.
  const auto now = job("wide").status;
  EXPECT_TRUE(!now.nomination || *now.nomination->madeAt > cluster.runtime().clock().wall() - 10min);
}

TEST_F(RepackTest, a_new_leader_gives_up_what_another_began) {
  add_queue("4");
  fragment();
  cluster.pass(7min);
  ASSERT_FALSE(mover().empty());
  const auto made = *job("wide").status.nomination->madeAt;
  cluster.start();
  cluster.pass(10s);
  const auto now = job("wide").status.nomination;
  EXPECT_TRUE(!now || *now->madeAt != made);
  for (const auto& name : stays_) EXPECT_EQ(job(name).status.epoch, 1);
}

// Hours of jobs that come, save, end and drain in any order.
class RepackChurnTest : public RepackTest {
 protected:
  static constexpr int kMovesPerHour = 6;
  RepackChurnTest() : RepackTest(4) { add_queue(std::to_string(kMovesPerHour)); }

  void churn(std::mt19937& random) {
    const auto pick = [&](int n) { return int(random() % unsigned(n)); };
    if (made_ < 60 && pick(3) == 0) {
      const int kind = pick(6);
      const std::string name = (kind == 0   ? "never-"
                                : kind == 1 ? "plain-"
                                : kind == 2 ? "wide-"
                                            : "small-") +
                               std::to_string(made_++);
      submit(name, kind == 2 ? 8 : 1 + pick(4), kind == 1 ? 0 : 10,
             kind == 0 ? api::InterruptionClass::kNever : api::InterruptionClass::kCheckpointed);
    }
    std::vector<api::Allocation> all;
    for (const auto& [key, allocation] : cluster.loop().state().all<api::Allocation>())
      all.push_back(allocation);
    for (const auto& one : all) {
      if (is_ended(one)) continue;
      const auto& phase = one.status.phase;
      cluster.set_status<api::Allocation>(one.metadata.name, [&](auto& a) {
        if (one.spec.desired == "Stop") {
          if (pick(2) == 0) a.status.phase = "Released";
        } else if (phase == "Running") {
          a.status.step = std::max(a.status.step, a.spec.process->resume.step) + 1;
          if (a.status.firstStep < 0) a.status.firstStep = a.status.step;
          if (pick(4) == 0 && !one.metadata.name.starts_with("plain"))
            a.status.checkpoint = {.step = a.status.step,
                                   .digest = "sha256:" + std::string(64, 'a'),
                                   .phase = "Durable",
                                   .size = Bytes{1}};
          if (pick(40) == 0) a.status.phase = "Succeeded";
        } else if (one.spec.committedEpoch > 0) {
          a.status.phase = "Running";
        } else {
          a.status.phase = "Prepared";
        }
      });
    }
    cluster.pass(2min);
  }

  void check_moves() {
    std::vector<WallTime> all;
    for (const auto& [key, job] : cluster.loop().state().all<api::TrainingJob>()) {
      std::optional<WallTime> last;
      for (const auto& run : job.status.runs) {
        if (run.reason != "Moved" || !run.endedAt) continue;
        EXPECT_TRUE(key.name.starts_with("small") || key.name.starts_with("wide")) << key.name;
        if (last) EXPECT_GE(*run.endedAt - *last, RepackTable::kStays) << key.name;
        last = run.endedAt;
        all.push_back(*run.endedAt);
      }
    }
    std::ranges::sort(all);
    for (std::size_t i = kMovesPerHour; i < all.size(); ++i)
      EXPECT_GE(all[i] - all[i - kMovesPerHour], std::chrono::minutes(30));
    moves_ = all.size();
  }

  int made_ = 0;
  std::size_t moves_ = 0;
};

TEST(RepackChurn, nothing_is_given_twice_nothing_moves_that_may_not_and_moves_are_few) {
  struct World final : RepackChurnTest {
    void TestBody() override {}
    using RepackChurnTest::check_moves, RepackChurnTest::check_nodes, RepackChurnTest::churn,
        RepackChurnTest::moves_;
  };
  std::size_t moves = 0;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    std::size_t first = 0;
    for (const bool again : {false, true}) {
      if (again && seed > 1) break;
      std::mt19937 random(seed);
      World world;
      for (int step = 0; step < 80; ++step) {
        world.churn(random);
        world.check_nodes();
        if (::testing::Test::HasFatalFailure()) return;
      }
      world.check_moves();
      if (again) EXPECT_EQ(world.moves_, first) << "the same hours give the same moves";
      first = world.moves_;
      if (!again) moves += world.moves_;
    }
  }
  EXPECT_GT(moves, 0u) << "the hours say something";
}

}  // namespace
}  // namespace neap::controllers
