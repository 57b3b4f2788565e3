#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "tests/conformance/worlds.h"

namespace neap::store::conformance {
namespace {

using testing::ElementsAre;

class StoreConformance : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam().program && !std::filesystem::exists(GetParam().program))
      GTEST_SKIP() << GetParam().program << " is missing; run tools/bootstrap.sh test";
  }
  // Runs `body` on a fresh store, then closes it.
  void with_store(Task<void> (*body)(Store&, World&)) {
    auto world = GetParam().make();
    world->run([](World& w, Task<void> (*inner)(Store&, World&)) -> Task<void> {
      auto store = co_await w.open();
      co_await inner(*store, w);
      co_await store->close();
    }(*world, body));
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, StoreConformance, testing::ValuesIn(all_kinds()),
                         [](const auto& kind) { return std::string(kind.param.name); });

std::vector<std::string> keys_of(const ListPage& page) {
  std::vector<std::string> out;
  for (const auto& kv : page.items) out.push_back(kv.key);
  return out;
}
template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}
constexpr Revision kAbsent{0};

TEST_P(StoreConformance, a_written_value_is_read_back_with_its_revisions) {
  with_store([](Store& store, World&) -> Task<void> {
    EXPECT_EQ((co_await store.get({}, "a")).value(), std::nullopt);
    const auto first = (co_await store.put({}, "a", "1")).value();
    const std::string binary("2\0\xff", 3);
    const auto second = (co_await store.put({}, "a", binary)).value();
    EXPECT_EQ(to_number(second), to_number(first) + 1);
    EXPECT_EQ((co_await store.get({}, "a")).value(), (KeyValue{"a", binary, first, second}));
    EXPECT_EQ(store.current_revision(), second);
    const auto empty = (co_await store.put({}, "e", "")).value();
    EXPECT_EQ((co_await store.get({}, "e")).value(), (KeyValue{"e", "", empty, empty}));
    (void)(co_await store.remove({}, "a")).value();
    EXPECT_EQ((co_await store.get({}, "a")).value(), std::nullopt);
    const auto again = (co_await store.put({}, "a", "3")).value();
    EXPECT_EQ((co_await store.get({}, "a")).value()->create_revision, again);
  });
}

TEST_P(StoreConformance, a_write_with_the_wrong_expectation_changes_nothing) {
  with_store([](Store& store, World&) -> Task<void> {
    const auto one = (co_await store.put({}, "k", "1", kAbsent)).value();
    EXPECT_EQ(reason_of(co_await store.put({}, "k", "x", kAbsent)), "store.key.exists");
    const auto two = (co_await store.put({}, "k", "2", one)).value();
    EXPECT_EQ(reason_of(co_await store.put({}, "k", "x", one)), "store.revision.conflict");
    EXPECT_EQ(reason_of(co_await store.remove({}, "k", one)), "store.revision.conflict");
    EXPECT_EQ(reason_of(co_await store.put({}, "absent", "x", one)), "store.key.absent");
    EXPECT_EQ(reason_of(co_await store.remove({}, "absent")), "store.key.absent");
    EXPECT_EQ(reason_of(co_await store.remove({}, "absent", kAbsent)), "store.key.absent");
    EXPECT_EQ((co_await store.get({}, "k")).value()->value, "2");
    EXPECT_EQ(store.current_revision(), two);
    EXPECT_TRUE(co_await store.remove({}, "k", two));
  });
}

TEST_P(StoreConformance, a_commit_holds_as_a_whole_or_not_at_all) {
  with_store([](Store& store, World&) -> Task<void> {
    const auto a = (co_await store.put({}, "a", "1")).value();
    std::vector<Op> bad{Op::put("b", "1"), Op::put("a", "2", Revision{to_number(a) + 7})};
    EXPECT_EQ(reason_of(co_await store.commit({}, bad)), "store.revision.conflict");
    EXPECT_EQ((co_await store.get({}, "b")).value(), std::nullopt);
    std::vector<Op> good{Op::put("b", "1", kAbsent), Op::put("a", "2", a), Op::check("c", kAbsent)};
    const auto both = (co_await store.commit({}, good)).value();
    EXPECT_EQ((co_await store.get({}, "a")).value()->mod_revision, both);
    EXPECT_EQ((co_await store.get({}, "b")).value()->mod_revision, both);
    std::vector<Op> right{Op::check("a", both)}, wrong{Op::check("a", a)}, absent{Op::check("zz", a)};
    EXPECT_EQ((co_await store.commit({}, right)).value(), both);
    EXPECT_EQ(reason_of(co_await store.commit({}, wrong)), "store.revision.conflict");
    EXPECT_EQ(reason_of(co_await store.commit({}, absent)), "store.key.absent");
    EXPECT_EQ(store.current_revision(), both);
  });
}

TEST_P(StoreConformance, a_watch_that_waits_misses_nothing_between_writes_that_are_not_its_own) {
  with_store([](Store& store, World& world) -> Task<void> {
    auto watch = store.watch("mine/", store.current_revision()).value();
    constexpr int kRounds = 40;
    std::vector<std::string> seen;
    TaskGroup group(world.executor());
    group.spawn([](Watch& w, std::vector<std::string>& out) -> Task<void> {
      while (out.size() < kRounds) {
        auto event = co_await w.next({});
        if (!event) co_return;
        out.push_back(event->kv.value);
      }
    }(*watch, seen));
    // Written together, so that stores that commit or hear of several at a time do.
    for (int i = 0; i < kRounds; ++i) {
      TaskGroup writers(world.executor());
      const auto write = [](Store& s, std::string key, std::string value) -> Task<void> {
        EXPECT_TRUE(co_await s.put({}, std::move(key), std::move(value)));
      };
      writers.spawn(write(store, "mine/a", std::to_string(i)));
      for (int j = 0; j < 3; ++j) writers.spawn(write(store, "others/" + std::to_string(j), "x"));
      co_await writers.stop();
    }
    for (int tries = 0; seen.size() < kRounds && tries < 200; ++tries)
      (void)co_await sleep_for(world.executor(), {}, 10ms);
    EXPECT_EQ(seen.size(), std::size_t(kRounds));
    for (int i = 0; i < int(seen.size()); ++i) EXPECT_EQ(seen[std::size_t(i)], std::to_string(i));
    co_await store.close();
    co_await group.stop();
  });
}

TEST_P(StoreConformance, operations_outside_the_limits_are_refused) {
  with_store([](Store& store, World&) -> Task<void> {
    EXPECT_EQ(reason_of(co_await store.put({}, "", "x")), "store.key.length");
    EXPECT_EQ(reason_of(co_await store.put({}, std::string(kKeyBytesMax + 1, 'k'), "x")), "store.key.length");
    EXPECT_EQ(reason_of(co_await store.put({}, "k", std::string(kValueBytesMax + 1, 'x'))),
              "store.value.length");
    std::vector<Op> none, many, twice{Op::put("a", "1"), Op::put("a", "2")};
    for (std::size_t i = 0; i <= kCommitOpsMax; ++i) many.push_back(Op::put(std::to_string(i), ""));
    EXPECT_EQ(reason_of(co_await store.commit({}, none)), "store.commit.size");
    EXPECT_EQ(reason_of(co_await store.commit({}, many)), "store.commit.size");
    EXPECT_EQ(reason_of(co_await store.commit({}, twice)), "store.commit.duplicate");
    EXPECT_TRUE(co_await store.put({}, std::string(kKeyBytesMax, '\xff'), std::string(kValueBytesMax, 'x')));
    many.pop_back();
    EXPECT_TRUE(co_await store.commit({}, many));
    EXPECT_EQ((co_await list_all(store, {}, "")).value().items.size(), kCommitOpsMax + 1);
    CancelSource source;
    source.cancel();
    CallContext cancelled;
    cancelled.cancel = source.token();
    EXPECT_EQ(reason_of(co_await store.put(cancelled, "c", "")), "call.cancelled");
  });
}

TEST_P(StoreConformance, a_list_shows_a_prefix_in_order_and_pages_through_one_state) {
  with_store([](Store& store, World&) -> Task<void> {
    for (const char* key : {"p/c", "p/a", "p", "p/b", "q/a", "o", "p/d"})
      (void)(co_await store.put({}, key, key)).value();
    (void)(co_await store.remove({}, "p/b")).value();
    const auto all = (co_await store.list({}, "p/", {})).value();
    EXPECT_THAT(keys_of(all), ElementsAre("p/a", "p/c", "p/d"));
    EXPECT_FALSE(all.more);
    EXPECT_EQ(all.revision, store.current_revision());
    const auto first = (co_await store.list({}, "p/", {.limit = 2})).value();
    EXPECT_THAT(keys_of(first), ElementsAre("p/a", "p/c"));
    EXPECT_TRUE(first.more);
    (void)(co_await store.put({}, "p/cc", "later")).value();
    (void)(co_await store.put({}, "p/d", "changed")).value();
    (void)(co_await store.remove({}, "p/a")).value();
    const ListOptions rest{.limit = 2, .start_after = "p/c", .revision = first.revision};
    const auto second = (co_await store.list({}, "p/", rest)).value();
    EXPECT_THAT(keys_of(second), ElementsAre("p/d"));
    EXPECT_EQ(second.items[0].value, "p/d");
    EXPECT_EQ(second.revision, first.revision);
    EXPECT_FALSE(second.more);
    const ListOptions then{.revision = all.revision};
    EXPECT_EQ((co_await store.list({}, "p/", then)).value().items, all.items);
    EXPECT_THAT(keys_of((co_await store.list({}, "", {})).value()),
                ElementsAre("o", "p", "p/c", "p/cc", "p/d", "q/a"));
    const ListOptions ahead{.revision = Revision{1'000'000}};
    EXPECT_EQ(reason_of(co_await store.list({}, "", ahead)), "store.revision.future");
    EXPECT_EQ((co_await store.list({}, "nothing", {})).value().items.size(), 0u);
  });
}

TEST_P(StoreConformance, a_list_of_a_binary_prefix_ends_where_the_prefix_ends) {
  with_store([](Store& store, World&) -> Task<void> {
    for (const char* key : {"\xff", "\xff\xff", "\xfe\xff", "\xfe\xff\xff", "\xff\x01"})
      (void)(co_await store.put({}, key, "")).value();
    EXPECT_EQ((co_await store.list({}, "\xff", {})).value().items.size(), 3u);
    EXPECT_EQ((co_await store.list({}, "\xfe\xff", {})).value().items.size(), 2u);
  });
}

TEST_P(StoreConformance, a_watch_delivers_old_and_new_events_of_its_prefix_in_order) {
  with_store([](Store& store, World& world) -> Task<void> {
    const auto start = store.current_revision();
    const auto one = (co_await store.put({}, "w/a", "1")).value();
    (void)(co_await store.put({}, "other", "x")).value();
    auto watch = store.watch("w/", start).value();
    std::vector<Op> ops{Op::put("w/b", "2"), Op::put("zzz", "x"), Op::remove("w/a")};
    const auto two = (co_await store.commit({}, ops)).value();
    const auto first = (co_await watch->next({})).value();
    EXPECT_EQ(first.type, WatchEvent::Type::kPut);
    EXPECT_TRUE(first.is_create());
    EXPECT_EQ(first.kv, (KeyValue{"w/a", "1", one, one}));
    EXPECT_EQ((co_await watch->next({})).value().kv, (KeyValue{"w/b", "2", two, two}));
    const auto third = (co_await watch->next({})).value();
    EXPECT_EQ(third.type, WatchEvent::Type::kDelete);
    EXPECT_EQ(third.kv, (KeyValue{"w/a", "1", one, two}));

    TaskGroup group(world.executor());
    std::vector<std::string> seen;
    group.spawn([](Watch& w, std::vector<std::string>& out) -> Task<void> {
      for (int i = 0; i < 2; ++i) out.push_back((co_await w.next({})).value().kv.value);
    }(*watch, seen));
    (void)(co_await store.put({}, "nope", "x")).value();
    (void)(co_await store.put({}, "w/b", "3")).value();
    const auto last = (co_await store.put({}, "w/b", "4")).value();
    co_await group.stop();
    EXPECT_THAT(seen, ElementsAre("3", "4"));
    EXPECT_LE(watch->position(), last);
    // A deadline ends one call, not the watch.
    CallContext soon;
    soon.deadline = world.executor().now() + 1ms;
    EXPECT_EQ(reason_of(co_await watch->next(soon)), "call.deadline");
    EXPECT_EQ(watch->position(), last);
    (void)(co_await store.put({}, "w/c", "5")).value();
    EXPECT_EQ((co_await watch->next({})).value().kv.value, "5");
  });
}

constexpr int kWriters = 8, kWrites = 25;

// Increments a shared counter and writes a key of its own, in one commit.
Task<void> count_up(Store& store, int id) {
  for (int i = 0; i < kWrites; ++i) {
    for (;;) {
      const auto shared = (co_await store.get({}, "counter")).value();
      std::vector<Op> ops{Op::put("counter", std::to_string((shared ? std::stoi(shared->value) : 0) + 1),
                                  shared ? shared->mod_revision : kAbsent),
                          Op::put("w" + std::to_string(id), std::to_string(i))};
      const auto done = co_await store.commit({}, ops);
      if (done) break;
      EXPECT_TRUE(done.error().reason == "store.revision.conflict" ||
                  done.error().reason == "store.key.exists");
    }
  }
}

TEST_P(StoreConformance, a_watch_from_a_list_misses_nothing_under_concurrent_writers) {
  with_store([](Store& store, World& world) -> Task<void> {
    TaskGroup group(world.executor());
    for (int w = 0; w < kWriters; ++w) group.spawn(count_up(store, w));
    for (int i = 0; i < 5; ++i) (void)(co_await store.put({}, "warm", "")).value();
    const auto page = (co_await list_all(store, {}, "")).value();
    std::map<std::string, std::string> state;
    for (const auto& kv : page.items) state[kv.key] = kv.value;
    auto watch = store.watch("", page.revision).value();
    Revision last = page.revision;
    while (state["counter"] != std::to_string(kWriters * kWrites)) {
      const auto event = (co_await watch->next({})).value();
      EXPECT_GE(event.kv.mod_revision, last);
      last = event.kv.mod_revision;
      state[event.kv.key] = event.kv.value;
    }
    co_await group.stop();
    for (int w = 0; w < kWriters; ++w)
      EXPECT_EQ((co_await store.get({}, "w" + std::to_string(w))).value()->value,
                std::to_string(kWrites - 1));
    EXPECT_EQ((co_await store.get({}, "counter")).value()->value, std::to_string(kWriters * kWrites));
  });
}

TEST_P(StoreConformance, compaction_forgets_old_states_and_keeps_the_newest) {
  with_store([](Store& store, World&) -> Task<void> {
    for (int i = 0; i < 400; ++i)
      (void)(co_await store.put({}, "k" + std::to_string(i % 7), std::to_string(i))).value();
    const auto before = store.current_revision();
    (void)(co_await store.remove({}, "k0")).value();
    const auto at = (co_await store.put({}, "k1", "newest")).value();
    const auto shown = (co_await store.list({}, "", {})).value();
    auto slow = store.watch("", before).value();
    EXPECT_TRUE(co_await store.compact({}, at));
    const ListOptions then{.revision = before}, now{.revision = at};
    EXPECT_EQ(reason_of(co_await store.list({}, "", then)), "store.revision.compacted");
    EXPECT_EQ((co_await store.list({}, "", now)).value().items, shown.items);
    EXPECT_EQ((co_await store.list({}, "", {})).value().items, shown.items);
    EXPECT_EQ(reason_of(store.watch("", before)), "store.revision.compacted");
    EXPECT_EQ(reason_of(co_await slow->next({})), "store.watch.lagging");
    auto watch = store.watch("", at).value();
    const auto next = (co_await store.put({}, "k0", "back")).value();
    EXPECT_EQ(to_number(next), to_number(at) + 1);
    EXPECT_TRUE((co_await watch->next({})).value().is_create());
    EXPECT_EQ(reason_of(co_await store.compact({}, Revision{1'000'000})), "store.revision.future");
    EXPECT_TRUE(co_await store.compact({}, Revision{1}));
    // Compacting at a removal must not take the revision back.
    const auto removed = (co_await store.remove({}, "k0")).value();
    EXPECT_TRUE(co_await store.compact({}, removed));
    EXPECT_EQ(store.current_revision(), removed);
    EXPECT_EQ((co_await store.list({}, "", {})).value().revision, removed);
  });
}

TEST_P(StoreConformance, closing_ends_watches_and_refuses_later_calls) {
  with_store([](Store& store, World& world) -> Task<void> {
    auto watch = store.watch("", store.current_revision()).value();
    TaskGroup group(world.executor());
    std::string end;
    group.spawn(
        [](Watch& w, std::string& out) -> Task<void> { out = reason_of(co_await w.next({})); }(*watch, end));
    co_await yield_to(world.executor());
    co_await store.close();
    co_await group.stop();
    EXPECT_EQ(end, "store.closed");
    EXPECT_EQ(reason_of(co_await store.get({}, "a")), "store.closed");
    EXPECT_EQ(reason_of(co_await store.list({}, "", {})), "store.closed");
    EXPECT_EQ(reason_of(co_await store.put({}, "a", "b")), "store.closed");
    EXPECT_EQ(reason_of(store.watch("", Revision{0})), "store.closed");
  });
}

TEST_P(StoreConformance, what_was_acknowledged_is_there_after_reopening_and_watches_resume) {
  auto world = GetParam().make();
  if (!world->is_durable()) return;  // keeps nothing by design
  world->run([](World& w) -> Task<void> {
    Revision middle{}, last{};
    {
      auto store = co_await w.open();
      for (int i = 0; i < 20; ++i) {
        last = (co_await store->put({}, "k" + std::to_string(i % 5), std::to_string(i))).value();
        if (i == 9) middle = last;
      }
      last = (co_await store->remove({}, "k0")).value();
      co_await store->close();
    }
    auto store = co_await w.open();
    EXPECT_EQ(store->current_revision(), last);
    EXPECT_EQ((co_await store->list({}, "", {})).value().items.size(), 4u);
    auto watch = store->watch("", middle).value();
    for (int i = 10; i < 20; ++i) EXPECT_EQ((co_await watch->next({})).value().kv.value, std::to_string(i));
    const auto removal = (co_await watch->next({})).value();
    EXPECT_EQ(removal.type, WatchEvent::Type::kDelete);
    EXPECT_EQ(removal.kv.value, "15");
    EXPECT_EQ(to_number((co_await store->put({}, "n", "")).value()), to_number(last) + 1);
    EXPECT_EQ((co_await watch->next({})).value().kv.key, "n");
    co_await store->close();
  }(*world));
}

}  // namespace
}  // namespace neap::store::conformance
