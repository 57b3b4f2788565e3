#include "neap/store/fenced_store.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::store {
namespace {

template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

struct World {
  io::SimWorld sim{1};
  io::SimMachine& machine = sim.add_machine("m");
  MemoryStore store{machine.runtime().executor()};
  void run(Task<void> task) {
    TaskGroup group(machine.runtime().executor());
    group.spawn(std::move(task));
    sim.run_for(1min, [&] { return group.running() == 0; });
    ASSERT_EQ(group.running(), 0u);
  }
};

TEST(FencedStore, writes_in_its_term_and_never_before_or_after) {
  World world;
  world.run([](Store& store) -> Task<void> {
    FencedStore fenced(store, "/fence");
    bool lost = false;
    fenced.on_lost([&lost] { lost = true; });
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "1")), "store.fence.closed");
    const auto first = (co_await store.put({}, "/fence", "one")).value();
    fenced.open(first);
    const auto written = (co_await fenced.put({}, "a", "1")).value();
    EXPECT_EQ((co_await fenced.get({}, "a")).value()->value, "1");
    EXPECT_TRUE(co_await fenced.put({}, "a", "2", written));
    EXPECT_TRUE(co_await fenced.remove({}, "a"));
    EXPECT_FALSE(lost);
    // Somebody else's term begins.
    (void)(co_await store.put({}, "/fence", "two")).value();
    const auto before = store.current_revision();
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "late")), "store.fence.lost");
    EXPECT_TRUE(lost);
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "later")), "store.fence.closed");
    EXPECT_EQ(store.current_revision(), before);
    EXPECT_EQ((co_await store.get({}, "a")).value(), std::nullopt);
  }(world.store));
}

TEST(FencedStore, a_refusal_that_is_not_the_terms_is_passed_on) {
  World world;
  world.run([](Store& store) -> Task<void> {
    FencedStore fenced(store, "/fence");
    fenced.open((co_await store.put({}, "/fence", "one")).value());
    (void)(co_await store.put({}, "a", "1")).value();
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "2", Revision{})), "store.key.exists");
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "2", Revision{77})), "store.revision.conflict");
    EXPECT_EQ(reason_of(co_await fenced.remove({}, "absent")), "store.key.absent");
    EXPECT_TRUE(co_await fenced.put({}, "a", "2"));
    // A fence that somebody deleted is no right either.
    EXPECT_TRUE(co_await store.remove({}, "/fence"));
    EXPECT_EQ(reason_of(co_await fenced.put({}, "a", "3")), "store.fence.lost");
  }(world.store));
}

}  // namespace
}  // namespace neap::store
