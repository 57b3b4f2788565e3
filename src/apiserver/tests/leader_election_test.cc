#include "neap/apiserver/leader_election.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::apiserver {
namespace {

constexpr auto kLease = "/registry/coordination.k8s.io/leases/neap-system/neap-controllers";

// A server on a machine of its own; `reach` cuts it off from the store as a long pause would.
struct Candidate {
  Candidate(io::Runtime& runtime, store::Store& store, std::string name)
      : fence(store, "/leadership/controllers"),
        election({.runtime = runtime,
                  .store = store,
                  .fence = fence,
                  .changed = [this](bool leads) { changes.push_back(leads); }},
                 {.holder = std::move(name)}) {}
  std::vector<bool> changes;
  store::FencedStore fence;
  LeaderElection election;
};

class LeaderElectionTest : public testing::Test {
 protected:
  io::Runtime& runtime() { return machine_.runtime(); }
  void run(Task<void> task) {
    TaskGroup group(runtime().executor());
    group.spawn(std::move(task));
    sim_.run_for(1min, [&] { return group.running() == 0; });
    ASSERT_EQ(group.running(), 0u);
  }
  std::string holder() {
    std::string out = "(absent)";
    run([](store::Store& store, std::string& holder) -> Task<void> {
      const auto lease = (co_await store.get({}, kLease)).value();
      if (!lease) co_return;
      const auto object = parse_json(lease->value).value();
      holder = get_string(*find_path(object, {"spec"}), "holderIdentity");
    }(store_, out));
    return out;
  }
  io::SimWorld sim_{3};
  io::SimMachine& machine_ = sim_.add_machine("m");
  store::MemoryStore store_{machine_.runtime().executor()};
};

TEST_F(LeaderElectionTest, one_of_three_leads_and_gives_way_at_once_when_it_stops) {
  Candidate a(runtime(), store_, "a"), b(runtime(), store_, "b"), c(runtime(), store_, "c");
  a.election.start();
  sim_.run_for(1s);
  EXPECT_TRUE(a.election.leads());
  EXPECT_EQ(holder(), "a");
  b.election.start();
  c.election.start();
  sim_.run_for(2min);
  EXPECT_TRUE(a.election.leads());
  EXPECT_EQ(a.changes, std::vector{true}) << "renewing is no change";
  run(a.election.stop());
  EXPECT_FALSE(a.election.leads());
  sim_.run_for(1s);
  EXPECT_EQ(int(b.election.leads()) + int(c.election.leads()), 1);
  run(b.election.stop());
  run(c.election.stop());
  EXPECT_EQ(holder(), "");
}

TEST_F(LeaderElectionTest, a_dead_leader_is_replaced_after_its_lease_and_writes_nothing_when_it_wakes) {
  Candidate a(runtime(), store_, "a"), b(runtime(), store_, "b");
  a.election.start();
  sim_.run_for(1s);
  b.election.start();
  a.election.abandon();  // no renewal any more, and still convinced to lead
  sim_.run_for(4s);
  EXPECT_FALSE(b.election.leads());
  sim_.run_for(4s);
  EXPECT_TRUE(b.election.leads());
  EXPECT_FALSE(a.election.leads()) << "its time is over by its own clock, too";
  run([](Candidate& old, Candidate& now) -> Task<void> {
    const auto late = co_await old.fence.put({}, "x", "late");
    EXPECT_FALSE(late);
    if (!late) EXPECT_EQ(late.error().reason, "store.fence.lost");
    EXPECT_TRUE(co_await now.fence.put({}, "x", "now"));
  }(a, b));
  EXPECT_EQ(a.changes, (std::vector{true, false}));
  EXPECT_EQ(b.changes, std::vector{true});
  run(b.election.stop());
}

TEST_F(LeaderElectionTest, a_lease_that_somebody_edits_or_deletes_ends_no_term_by_itself) {
  Candidate a(runtime(), store_, "a");
  a.election.start();
  sim_.run_for(1s);
  run([](store::Store& store) -> Task<void> { EXPECT_TRUE(co_await store.remove({}, kLease)); }(store_));
  sim_.run_for(10s);
  EXPECT_EQ(a.changes, std::vector{true});
  EXPECT_EQ(holder(), "a");
  run([](store::Store& store) -> Task<void> {
    EXPECT_TRUE(co_await store.put({}, kLease, R"({"metadata":{"name":"x"},"spec":{"holderIdentity":"z"}})"));
  }(store_));
  sim_.run_for(10s);
  EXPECT_EQ(a.changes, std::vector{true});
  EXPECT_EQ(holder(), "a");
  run(a.election.stop());
}

}  // namespace
}  // namespace neap::apiserver
