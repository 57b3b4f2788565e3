#include "internal/upstream_health.h"

#include <gtest/gtest.h>

namespace neap::gateway {
namespace {

using Answer = UpstreamHealth::Answer;
constexpr MonoTime kStart{1h};

class Upstreams : public ::testing::Test {
 protected:
  bool is_open(Duration after) const { return health_.find_obstacle(kStart + after).empty(); }
  void begin(int count) {
    for (int i = 0; i < count; ++i) health_.begin();
  }
  void end(Answer answer, int count, Duration after = 0s) {
    for (int i = 0; i < count; ++i) health_.end(answer, kStart + after);
  }
  // Requests it would take now on top of those that are there.
  int count_room(Duration after) {
    int room = 0;
    for (; room < 1000 && is_open(after); ++room) health_.begin();
    for (int i = 0; i < room; ++i) health_.give_up();
    return room;
  }
  UpstreamHealth health_{UpstreamHealthOptions{}};
};

TEST_F(Upstreams, one_that_is_full_gets_again_as_many_as_it_holds) {
  begin(24);
  end(Answer::kFull, 14);
  EXPECT_EQ(health_.find_obstacle(kStart), "it is full");
  end(Answer::kServed, 4);
  EXPECT_EQ(count_room(0s), 4);
}

TEST_F(Upstreams, one_that_is_full_of_others_work_is_asked_again_20_ms_later_by_one_request) {
  begin(1);
  end(Answer::kFull, 1);
  EXPECT_FALSE(is_open(19ms));
  EXPECT_EQ(count_room(20ms), 1);
}

TEST_F(Upstreams, the_window_grows_by_one_a_round_trip_while_it_is_used_up) {
  begin(10);
  end(Answer::kFull, 6);  // holds four
  end(Answer::kServed, 4);
  int window = 4;
  for (int round = 0; round < 10; ++round) {
    const int room = count_room(0s);
    EXPECT_GE(room, window);
    EXPECT_LE(room, window + 1);
    window = room;
    for (int i = 0; i < room; ++i) {  // each answer makes way for the next request
      begin(room);
      end(Answer::kServed, 1);
      for (int rest = 1; rest < room; ++rest) health_.give_up();
    }
  }
  window = count_room(0s);
  EXPECT_GE(window, 10);
  for (int i = 0; i < 100; ++i) {
    begin(1);
    end(Answer::kServed, 1);
  }
  EXPECT_EQ(count_room(0s), window) << "requests one at a time say nothing about more";
}

TEST_F(Upstreams, a_broken_one_rests_five_seconds_then_one_request_tries_it) {
  begin(5);
  end(Answer::kBroken, 2);
  EXPECT_TRUE(is_open(0s));
  end(Answer::kBroken, 1);
  EXPECT_EQ(health_.find_obstacle(kStart), "it failed lately");
  end(Answer::kBroken, 2, 4s);  // were on their way when the rest began
  EXPECT_FALSE(is_open(4999ms));
  EXPECT_EQ(count_room(5s), 1);
  begin(1);
  EXPECT_EQ(health_.find_obstacle(kStart + 5s), "it failed lately and is being tried");
  end(Answer::kBroken, 1, 6s);
  EXPECT_FALSE(is_open(10s));
  begin(1);
  end(Answer::kServed, 1, 11s);
  EXPECT_EQ(count_room(11s), 2);
}

TEST_F(Upstreams, full_is_not_broken) {
  for (int i = 0; i < 100; ++i) {
    begin(1);
    end(Answer::kFull, 1);
  }
  EXPECT_EQ(health_.find_obstacle(kStart), "it is full");
  EXPECT_TRUE(is_open(20ms));
}

}  // namespace
}  // namespace neap::gateway
