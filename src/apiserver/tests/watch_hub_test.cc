// The hub while it still reads what the store holds: nothing that happens meanwhile is missed, told twice or
// told wrong.
#include "internal/watch_hub.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"
#include "tests/gated_store.h"

namespace neap::apiserver {
namespace {

using Type = ObjectEvent::Type;
using Model = std::map<std::string, std::string>;  // texts by key

const std::string kPrefix = "/registry/core/configmaps/";

class WatchHubTest : public testing::Test {
 protected:
  WatchHubTest()
      : executor_(world_.add_machine("m").runtime().executor()),
        memory_(executor_),
        store_(executor_, memory_) {}
  ~WatchHubTest() override { end(); }

  static std::string key(int number) { return fmt::format("{}default/o{:05}", kPrefix, number); }
  static std::string text(int value) { return fmt::format(R"({{"value":{}}})", value); }

  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    TaskGroup group(executor_);
    group.spawn([](Task<T> inner, std::optional<T>& to) -> Task<void> {
      to.emplace(co_await std::move(inner));
    }(std::move(task), out));
    world_.run_for(1h, [&] { return group.running() == 0; });
    return std::move(*out);
  }
  void put(int number, int value) { ASSERT_TRUE(run(memory_.put({}, key(number), text(value)))); }
  void remove(int number) { ASSERT_TRUE(run(memory_.remove({}, key(number)))); }
  void settle(Duration time = 100ms) { world_.run_for(time); }

  void begin() {
    seen_.clear();
    hub_ = std::make_unique<WatchHub>(executor_, store_, WatchHub::Options{.history_events = 40});
    const auto started = hub_->start(
        memory_.current_revision(),
        {.on_event =
             [this](const EventPtr& event) {
               if (event->type == Type::kDeleted)
                 seen_.erase(event->key);
               else
                 seen_[event->key] = event->text();
             },
         .on_known = [this](const std::string& at, const WatchHub::Known& known) { seen_[at] = *known.text; },
         .on_failure = [this](const Error& error) { failures_.push_back(error.reason); }});
    ASSERT_TRUE(started);
  }
  void end() {
    if (!hub_) return;
    TaskGroup group(executor_);
    group.spawn(hub_->stop());
    world_.run_for(1min, [&] { return group.running() == 0; });
    hub_.reset();
  }
  // Nothing when the watch was ended.
  std::optional<std::vector<EventPtr>> take(Watcher& watcher) {
    CallContext soon;
    soon.deadline = executor_.now() + 1s;
    auto events = run(watcher.take(soon));
    if (events) return *std::move(events);
    if (events.error().code == Code::kOutOfRange) return std::nullopt;
    return std::vector<EventPtr>();
  }
  Model stored() {
    Model out;
    for (auto& item : run(store::list_all(memory_, {}, kPrefix)).value().items) out[item.key] = item.value;
    return out;
  }
  Model known() {
    Model out;
    hub_->for_each(kPrefix, [&](const std::string& at, const WatchHub::Known& one) { out[at] = *one.text; });
    return out;
  }

  io::SimWorld world_{5};
  Executor& executor_;
  store::MemoryStore memory_;
  GatedStore store_;
  std::unique_ptr<WatchHub> hub_;
  Model seen_;  // what observers were told
  std::vector<std::string> failures_;
};

TEST_F(WatchHubTest, waits_for_a_busy_store_and_not_for_an_answer_that_is_too_large) {
  for (int i = 0; i < 20; ++i) put(i, i);
  store_.refuse_pages(30, Error{Code::kResourceExhausted, "store.queue.full", "busy", {}});
  begin();
  settle(1s);
  EXPECT_FALSE(hub_->is_whole());
  settle(1min);
  EXPECT_TRUE(hub_->is_whole());
  EXPECT_THAT(failures_, testing::IsEmpty());
  EXPECT_EQ(known(), stored());
  end();
  store_.refuse_pages(1, Error{Code::kResourceExhausted, "http.body.too_large", "too large", {}});
  begin();
  settle(1min);
  EXPECT_THAT(failures_, testing::ElementsAre("http.body.too_large"));
}

TEST_F(WatchHubTest, a_change_of_what_was_not_read_yet_is_told_with_the_state_before_it) {
  for (int i = 0; i < 1200; ++i) put(i, i);
  store_.close_after(1);
  begin();
  settle();
  EXPECT_FALSE(hub_->is_whole());
  EXPECT_TRUE(hub_->find(key(10)));
  EXPECT_FALSE(hub_->find(key(1100)));
  auto watcher = hub_->watch(kPrefix, memory_.current_revision()).value();
  put(1100, 1);  // not read yet
  put(1100, 2);  // known by now
  put(10, 3);    // read
  remove(1101);  // not read yet
  remove(11);    // read
  put(1200, 4);  // new
  put(1201, 5);  // new, and a page will show a later state of it
  const auto events = take(*watcher);
  ASSERT_TRUE(events);
  std::string told;
  for (const auto& event : *events)
    told += fmt::format("{} {}{} ", event->key.substr(event->key.size() - 4),
                        event->text_before() ? *event->text_before() + ">" : "", event->text());
  EXPECT_EQ(told,
            R"(1100 {"value":1100}>{"value":1} 1100 {"value":1}>{"value":2} 0010 {"value":10}>{"value":3} )"
            R"(1101 {"value":1101}>{"value":1101} 0011 {"value":11}>{"value":11} )"
            R"(1200 {"value":4} 1201 {"value":5} )");
  EXPECT_EQ((*events)[0]->type, Type::kModified);
  EXPECT_EQ((*events)[3]->type, Type::kDeleted);
  EXPECT_EQ((*events)[5]->type, Type::kAdded);
  store_.open();
  settle();
  ASSERT_TRUE(hub_->is_whole());
  EXPECT_EQ(known(), stored());
  EXPECT_EQ(seen_, stored());
  EXPECT_EQ(hub_->count_after(kPrefix, key(1198)), 3);
  EXPECT_TRUE(take(*watcher)->empty()) << "reading tells nobody anything";
}

TEST_F(WatchHubTest, the_past_is_told_from_where_a_watcher_of_an_earlier_life_stood) {
  for (int i = 0; i < 600; ++i) put(i, i);
  const auto stood = memory_.current_revision();
  put(7, 100);
  put(7, 101);
  remove(8);
  put(8, 102);
  store_.close_after(0);
  begin();
  auto watcher = hub_->watch(kPrefix, stood).value();
  settle();
  const auto events = take(*watcher);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 4u);
  EXPECT_EQ(*(*events)[0]->text_before(), text(7));
  EXPECT_EQ(*(*events)[1]->text_before(), text(100));
  EXPECT_EQ((*events)[2]->type, Type::kDeleted);
  EXPECT_EQ((*events)[3]->type, Type::kAdded);
  EXPECT_TRUE(seen_.empty()) << "observers begin with what there is, not with what was";
  store_.open();
  settle();
  EXPECT_EQ(known(), stored());
  EXPECT_EQ(seen_, stored());
}

TEST_F(WatchHubTest, who_watches_lists_again_when_a_state_before_cannot_be_told_any_more) {
  for (int i = 0; i < 600; ++i) put(i, i);
  store_.close_after(0);
  begin();
  settle();
  store_.forget_past();
  const auto stood = memory_.current_revision();
  auto watcher = hub_->watch(kPrefix, stood).value();
  put(7, 100);
  settle();
  EXPECT_FALSE(take(*watcher));
  EXPECT_FALSE(hub_->watch(kPrefix, stood));
  auto fresh = hub_->watch(kPrefix, memory_.current_revision()).value();
  put(600, 1);
  ASSERT_TRUE(take(*fresh));
  store_.open();
  settle();
  EXPECT_EQ(known(), stored());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(WatchHubTest, a_hub_that_is_ended_while_it_reads_lets_nobody_wait_for_it) {
  for (int i = 0; i < 600; ++i) put(i, i);
  store_.close_after(0);
  begin();
  std::optional<Status> outcome;
  TaskGroup group(executor_);
  group.spawn([](WatchHub& hub, std::optional<Status>& out) -> Task<void> { out = co_await hub.whole({}); }(
                                                                *hub_, outcome));
  settle();
  EXPECT_FALSE(outcome);
  group.spawn(hub_->stop());
  world_.run_for(1min, [&] { return group.running() == 0; });
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error().reason, "api.hub.stopped");
  EXPECT_TRUE(failures_.empty());
}

// Any order of writes and pages: what watchers are told is one history, each step with the state before it.
TEST_F(WatchHubTest, writes_while_it_reads_lead_to_what_the_store_holds_in_any_order) {
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    for (int i = 0; i < 20; ++i) put(int(world_.random_below(3000)), round);
    if (round == 0)
      for (int i = 0; i < 2000; ++i) put(i, i);
    const auto stood = memory_.current_revision();
    Model model = stored();
    const auto write = [&](int count) {
      for (int i = 0; i < count; ++i) {
        const int number = int(world_.random_below(3000));
        if (world_.random_below(3) == 0 && stored().contains(key(number)))
          remove(number);
        else
          put(number, int(world_.random_below(1000)));
      }
    };
    write(int(world_.random_below(6)));
    store_.close_after(int(world_.random_below(5)));
    begin();
    auto watcher = hub_->watch(kPrefix, stood).value();
    for (int step = 0; step < 4; ++step) {
      write(int(world_.random_below(6)));
      store_.close_after(int(world_.random_below(2)));
      if (world_.random_below(2)) settle(1ms);
    }
    store_.open();
    write(int(world_.random_below(3)));
    settle();
    ASSERT_TRUE(hub_->is_whole());
    const auto events = take(*watcher);
    ASSERT_TRUE(events);
    for (const auto& event : *events) {
      const auto at = model.find(event->key);
      ASSERT_EQ(event->type == Type::kAdded, at == model.end());
      if (at != model.end()) ASSERT_EQ(*event->text_before(), at->second);
      if (event->type == Type::kDeleted)
        model.erase(event->key);
      else
        model[event->key] = event->text();
    }
    EXPECT_EQ(model, stored());
    EXPECT_EQ(known(), stored());
    EXPECT_EQ(seen_, stored());
    watcher.reset();
    end();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace neap::apiserver
