#include "internal/node_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace neap::controllers {
namespace {

int made = 0;

scheduler::Node make(const api::Node& node) {
  ++made;
  scheduler::Node out;
  out.name = node.metadata.name;
  out.cores_allocatable = out.cores_free = node.status.allocatable.cpu;
  out.devices_free = {1000, 1000};
  return out;
}

class Nodes : public ::testing::Test {
 protected:
  void SetUp() override {
    made = 0;
    for (const auto* name : {"a", "b", "c"}) set(name, 4000);
  }
  void set(const std::string& name, std::int64_t cores) {
    auto& node = state.all<api::Node>()[{"", name}];
    node.metadata.name = name;
    node.status.allocatable.cpu = MilliCores{cores};
  }
  // What a pass does with them: place something everywhere, then hand them back.
  std::vector<std::string> shown() {
    auto nodes = cache.take(state, make);
    std::vector<std::string> out;
    for (auto& node : nodes) {
      out.push_back(node.name + " " + std::to_string(node.cores_free.value) + " " +
                    std::to_string(node.devices_free.at(1)));
      node.cores_free.value -= 1000;
      node.devices_free.at(1) = 0;
    }
    cache.give_back(std::move(nodes));
    return out;
  }
  ClusterState state;
  NodeCache cache;
};

using ::testing::ElementsAre;

TEST_F(Nodes, that_did_not_change_are_made_once_and_come_back_with_nothing_held) {
  EXPECT_THAT(shown(), ElementsAre("a 4000 1000", "b 4000 1000", "c 4000 1000"));
  EXPECT_THAT(shown(), ElementsAre("a 4000 1000", "b 4000 1000", "c 4000 1000"));
  EXPECT_EQ(made, 3);
}

TEST_F(Nodes, that_changed_came_or_went_are_seen) {
  (void)shown();
  set("b", 8000);
  EXPECT_THAT(shown(), ElementsAre("a 4000 1000", "b 8000 1000", "c 4000 1000"));
  EXPECT_EQ(made, 4);
  state.all<api::Node>().set({"", "a"}, nullptr);
  set("d", 1000);
  EXPECT_THAT(shown(), ElementsAre("b 8000 1000", "c 4000 1000", "d 1000 1000"));
  set("aa", 2000);
  EXPECT_THAT(shown(), ElementsAre("aa 2000 1000", "b 8000 1000", "c 4000 1000", "d 1000 1000"));
}

TEST_F(Nodes, that_were_not_given_back_are_made_anew) {
  auto kept = cache.take(state, make);
  EXPECT_EQ(kept.size(), 3u);
  EXPECT_THAT(shown(), ElementsAre("a 4000 1000", "b 4000 1000", "c 4000 1000"));
  EXPECT_EQ(made, 6);
}

}  // namespace
}  // namespace neap::controllers
