#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string owned(std::string_view name, const Answer& owner, bool block = true) {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"{}","uid":"{}","blockOwnerDeletion":{}}}]}}}})",
      name, get_string(owner.body.at("metadata"), "name"), get_string(owner.body.at("metadata"), "uid"),
      block);
}
std::string map(std::string_view name, std::string_view more = "") {
  return fmt::format(R"({{"metadata":{{"name":"{}"{}}}}})", name, more);
}

TEST(Deletion, an_object_without_finalizers_is_gone_at_once) {
  World world;
  const auto made = world.post(kMaps, map("a"));
  const auto gone = world.remove(kMaps + "/a", R"({"propagationPolicy":"Background"})");
  EXPECT_EQ(gone.status, 200);
  EXPECT_EQ(get_string(gone.body, "status"), "Success");
  EXPECT_EQ(get_string(*find_path(gone.body, {"details"}), "uid"),
            get_string(made.body.at("metadata"), "uid"));
  EXPECT_EQ(world.get(kMaps + "/a").status, 404);
  EXPECT_EQ(world.remove(kMaps + "/a").status, 404);
}

TEST(Deletion, options_may_come_in_the_query_as_the_python_client_sends_them) {
  World world;
  const auto owner = world.post(kMaps, map("owner"));
  world.post(kMaps, owned("child", owner));
  EXPECT_EQ(world.remove(kMaps + "/owner?propagationPolicy=Sideways").status, 422);
  EXPECT_EQ(world.remove(kMaps + "/owner?propagationPolicy=Orphan").status, 200);
  world.settle(30s);
  EXPECT_EQ(world.get(kMaps + "/owner").status, 404);
  const auto child = world.get(kMaps + "/child");
  EXPECT_EQ(child.status, 200) << "orphaned, not collected";
  EXPECT_EQ(find_path(child.body, {"metadata", "ownerReferences"}), nullptr);
}

TEST(Deletion, options_that_mean_nothing_or_two_things_are_refused) {
  World world;
  world.post(kMaps, map("a"));
  for (const auto* options :
       {R"({"propagationPolicy":"Orphan","orphanDependents":true})", R"({"dryRun":["Some"]})"})
    EXPECT_EQ(world.remove(kMaps + "/a", options).status, 422) << options;
  EXPECT_EQ(world.remove(kMaps + "/a", R"({"kind":"ConfigMap"})").status, 400);
  EXPECT_EQ(world.remove(kMaps + "/a", R"({"dryRun":["All"]})").status, 200);
  EXPECT_EQ(world.get(kMaps + "/a").status, 200);
  EXPECT_EQ(world.remove(kMaps + "/a", R"({"dryRun":[]})").status, 200);
  EXPECT_EQ(world.get(kMaps + "/a").status, 404) << "an empty list of rounds is no dry run";
}

TEST(Deletion, no_request_empties_all_namespaces_at_once) {
  World world;
  world.post(kMaps, map("a"));
  EXPECT_EQ(world.remove("/api/v1/configmaps").status, 405);
  EXPECT_EQ(world.remove("/api/v1/namespaces").status, 405);
  EXPECT_EQ(world.get(kMaps + "/a").status, 200);
}

TEST(Deletion, finalizers_keep_an_object_until_the_last_is_removed) {
  World world;
  world.post(kMaps, map("a", R"(,"finalizers":["neap.dev/one","neap.dev/two"])"));
  const auto first = world.remove(kMaps + "/a");
  EXPECT_EQ(get_string(first.body, "kind"), "ConfigMap");
  EXPECT_FALSE(get_string(first.body.at("metadata"), "deletionTimestamp").empty());
  const auto again = world.remove(kMaps + "/a");
  EXPECT_EQ(again.body, first.body) << "a second delete changes nothing";
  EXPECT_EQ(world
                .merge(kMaps + "/a",
                       R"({"metadata":{"finalizers":["neap.dev/one","neap.dev/two","neap.dev/three"]}})")
                .status,
            422);
  EXPECT_EQ(world.merge(kMaps + "/a", R"({"metadata":{"finalizers":["neap.dev/one"]}})").status, 200);
  EXPECT_EQ(world.get(kMaps + "/a").status, 200);
  EXPECT_EQ(world.merge(kMaps + "/a", R"({"metadata":{"finalizers":null}})").status, 200);
  EXPECT_EQ(world.get(kMaps + "/a").status, 404);
}

TEST(Deletion, dependents_follow_their_last_owner) {
  World world;
  const auto a = world.post(kMaps, map("a"));
  const auto child = world.post(kMaps, owned("child", a));
  world.post(kMaps, owned("grandchild", child));
  const auto b = world.post(kMaps, map("b"));
  auto shared = json(owned("shared", a));
  shared.at("metadata")
      .at("ownerReferences")
      .get_array()
      .push_back(json(owned("x", b)).at("metadata").at("ownerReferences").at(0));
  world.post(kMaps, to_text(shared));
  world.remove(kMaps + "/a");
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/child").status, 404);
  EXPECT_EQ(world.get(kMaps + "/grandchild").status, 404);
  const auto kept = world.get(kMaps + "/shared");
  ASSERT_EQ(kept.status, 200);
  EXPECT_EQ(kept.body.at("metadata").at("ownerReferences").get_array().size(), 1u);
  world.remove(kMaps + "/b");
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/shared").status, 404);
}

TEST(Deletion, a_dependent_of_an_owner_that_never_was_goes_and_one_of_an_unknown_kind_stays) {
  World world;
  const auto a = world.post(kMaps, map("a"));
  auto impostor = json(owned("impostor", a));
  impostor.at("metadata").at("ownerReferences").at(0).get_object()["uid"] =
      "00000000-0000-0000-0000-000000000000";
  world.post(kMaps, to_text(impostor));
  auto foreign = json(owned("foreign", a));
  foreign.at("metadata").at("ownerReferences").at(0).get_object()["kind"] = "Unheard";
  world.post(kMaps, to_text(foreign));
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/impostor").status, 404);
  EXPECT_EQ(world.get(kMaps + "/foreign").status, 200);
}

TEST(Deletion, foreground_waits_for_those_that_block) {
  World world;
  const auto a = world.post(kMaps, map("a"));
  auto slow = json(owned("slow", a));
  slow.at("metadata").get_object()["finalizers"] = JsonArray{"neap.dev/hold"};
  world.post(kMaps, to_text(slow));
  world.post(kMaps, owned("quick", a));
  const auto marked = world.remove(kMaps + "/a", R"({"propagationPolicy":"Foreground"})");
  EXPECT_EQ(to_text(marked.body.at("metadata").at("finalizers")), R"(["foregroundDeletion"])");
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/quick").status, 404);
  EXPECT_EQ(world.get(kMaps + "/a").status, 200) << "slow still holds it";
  world.merge(kMaps + "/slow", R"({"metadata":{"finalizers":null}})");
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/slow").status, 404);
  EXPECT_EQ(world.get(kMaps + "/a").status, 404);
}

TEST(Deletion, orphaning_leaves_the_dependents) {
  World world;
  const auto a = world.post(kMaps, map("a"));
  world.post(kMaps, owned("child", a));
  world.remove(kMaps + "/a", R"({"propagationPolicy":"Orphan"})");
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/a").status, 404);
  const auto child = world.get(kMaps + "/child");
  ASSERT_EQ(child.status, 200);
  EXPECT_EQ(find_path(child.body, {"metadata", "ownerReferences"}), nullptr);
}

TEST(Deletion, a_cascade_that_a_crash_cut_short_is_finished_after_the_restart) {
  World world;
  const auto a = world.post(kMaps, map("a"));
  world.post(kMaps, owned("child", a));
  // The owner goes while no server watches.
  world.run([](World& self) -> Task<void> {
    co_await self.server().stop();
    const auto removed = co_await self.store().remove({}, "/registry//configmaps/default/a");
    EXPECT_TRUE(removed);
  }(world));
  world.restart();
  world.settle(5s);
  EXPECT_EQ(world.get(kMaps + "/child").status, 404);
}

TEST(Deletion, a_namespace_takes_its_content_with_it_and_lets_nothing_new_in) {
  World world;
  EXPECT_EQ(world.post("/api/v1/namespaces", map("team-a")).status, 201);
  const std::string maps = "/api/v1/namespaces/team-a/configmaps";
  ASSERT_EQ(world.post(maps, map("a")).status, 201);
  ASSERT_EQ(world.post(maps, map("held", R"(,"finalizers":["neap.dev/hold"])")).status, 201);
  const auto marked = world.remove("/api/v1/namespaces/team-a");
  EXPECT_EQ(get_string(*find_path(marked.body, {"status"}), "phase"), "Terminating");
  const auto refused = world.post(maps, map("late"));
  EXPECT_EQ(refused.status, 403) << refused.text;
  EXPECT_NE(refused.message().find("because it is being terminated"), std::string::npos);
  world.settle(5s);
  EXPECT_EQ(world.get(maps + "/a").status, 404);
  EXPECT_EQ(world.get("/api/v1/namespaces/team-a").status, 200);
  EXPECT_EQ(world.merge(maps + "/held", R"({"metadata":{"finalizers":null}})").status, 200);
  world.settle(5s);
  EXPECT_EQ(world.get("/api/v1/namespaces/team-a").status, 404);
  EXPECT_EQ(world.post(maps, map("late")).status, 404);
  EXPECT_EQ(world.remove("/api/v1/namespaces/default").status, 403);
}

TEST(Deletion, a_collection_is_deleted_by_selector) {
  World world;
  for (int i = 0; i < 4; ++i)
    world.post(kMaps, map(fmt::format("m{}", i), fmt::format(R"(,"labels":{{"odd":"{}"}})", i % 2)));
  EXPECT_EQ(world.remove(kMaps + "?labelSelector=odd%3D1").status, 200);
  EXPECT_EQ(world.get(kMaps).body.at("items").get_array().size(), 2u);
}

TEST(Deletion, old_events_expire) {
  World world;
  const std::string events = "/api/v1/namespaces/default/events";
  const auto made = world.post(
      events,
      R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Site","name":"x"},"reason":"R","message":"m"})");
  ASSERT_EQ(made.status, 201) << made.text;
  world.settle(50min);
  EXPECT_EQ(world.get(events + "/e").status, 200);
  world.settle(30min);
  EXPECT_EQ(world.get(events + "/e").status, 404);
}

}  // namespace
}  // namespace neap::apiserver
