#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kJob = "/apis/neap.dev/v1/namespaces/default/trainingjobs/a";
std::string job(std::string_view spec) {
  return fmt::format(
      R"({{"apiVersion":"neap.dev/v1","kind":"TrainingJob","metadata":{{"name":"a"}},"spec":{{{}}}}})", spec);
}
std::string by(std::string_view manager, bool force = false) {
  return fmt::format("{}?fieldManager={}&force={}", kJob, manager, force);
}

TEST(Apply, it_creates_then_changes_then_does_nothing) {
  World world;
  const auto made = world.apply(by("ann"), job(R"("command":["x"],"replicas":2)"));
  ASSERT_EQ(made.status, 201) << made.text;
  const auto same = world.apply(by("ann"), job(R"("command":["x"],"replicas":2)"));
  EXPECT_EQ(same.status, 200);
  EXPECT_EQ(same.body, made.body);
  const auto changed = world.apply(by("ann"), job(R"("command":["x"],"replicas":3)"));
  EXPECT_EQ(get_int(changed.body.at("spec"), "replicas"), 3);
  const auto& entry = changed.body.at("metadata").at("managedFields").at(0);
  EXPECT_EQ(get_string(entry, "manager"), "ann");
  EXPECT_NE(find_path(entry, {"fieldsV1", "f:spec", "f:replicas"}), nullptr);
}

TEST(Apply, a_field_its_manager_stops_naming_goes_unless_another_names_it) {
  World world;
  world.apply(by("ann"), job(R"("command":["x"],"parameters":{"p":"1","q":"2"},"queue":"fast")"));
  world.apply(by("bob"), job(R"("queue":"fast")"));
  const auto after = world.apply(by("ann"), job(R"("command":["x"],"parameters":{"p":"1"})"));
  EXPECT_EQ(to_text(after.body.at("spec").at("parameters")), R"({"p":"1"})");
  EXPECT_EQ(get_string(after.body.at("spec"), "queue"), "fast");
}

TEST(Apply, another_managers_value_is_a_conflict_until_forced) {
  World world;
  world.apply(by("ann"), job(R"("command":["x"],"replicas":2)"));
  const auto refused = world.apply(by("bob"), job(R"("replicas":5)"));
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.reason(), "Conflict");
  const auto& cause = refused.body.at("details").at("causes").at(0);
  EXPECT_EQ(get_string(cause, "reason"), "FieldManagerConflict");
  EXPECT_EQ(get_string(cause, "field"), ".spec.replicas");
  EXPECT_EQ(get_string(cause, "message"), "conflict with \"ann\" using neap.dev/v1");
  EXPECT_EQ(world.apply(by("bob"), job(R"("replicas":2)")).status, 200)
      << "the same value is shared, not fought over";
  const auto forced = world.apply(by("bob", true), job(R"("replicas":5)"));
  EXPECT_EQ(get_int(forced.body.at("spec"), "replicas"), 5);
  EXPECT_EQ(world.apply(by("ann"), job(R"("command":["x"],"replicas":2)")).status, 409) << "bob owns it now";
}

TEST(Apply, an_update_takes_ownership_of_what_it_changes) {
  World world;
  world.apply(by("ann"), job(R"("command":["x"],"replicas":2)"));
  ASSERT_EQ(world.merge(kJob + "?fieldManager=kubectl-edit", R"({"spec":{"replicas":4}})").status, 200);
  const auto refused = world.apply(by("ann"), job(R"("command":["x"],"replicas":2)"));
  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.message().find("kubectl-edit"), std::string::npos);
}

TEST(Apply, lists_with_a_key_merge_by_it) {
  World world;
  world.apply(by("ann"), job(R"("command":["x"])"));
  const auto both = world.apply(by("bob"), job(R"("inputs":[{"name":"data","datasetVersion":"d"}])"));
  ASSERT_EQ(both.status, 200) << both.text;
  const auto more = world.apply(by("eve"), job(R"("inputs":[{"name":"extra","datasetVersion":"e"}])"));
  ASSERT_EQ(more.status, 200) << more.text;
  EXPECT_EQ(more.body.at("spec").at("inputs").get_array().size(), 2u);
  const auto fewer = world.apply(by("bob"), job(""));
  ASSERT_EQ(fewer.status, 200) << fewer.text;
  EXPECT_EQ(fewer.body.at("spec").at("inputs").get_array().size(), 1u);
}

TEST(Apply, finalizers_are_a_set_and_owners_a_list_by_uid_that_managers_share) {
  World world;
  const std::string map = "/api/v1/namespaces/default/configmaps/a";
  const auto document = [](std::string_view metadata) {
    return fmt::format(R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a"{}}}}})", metadata);
  };
  const auto held = [](const Answer& answer, std::string_view list) {
    const auto* found = find_path(answer.body, {"metadata", list});
    return found ? to_text(*found) : std::string();
  };
  const auto owner = world.post("/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"o"}})");
  const auto uid = get_string(owner.body.at("metadata"), "uid");
  const auto reference =
      fmt::format(R"({{"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"{}"}})", uid);
  world.apply(map + "?fieldManager=ann",
              document(fmt::format(R"(,"finalizers":["x/a"],"ownerReferences":[{}])", reference)));
  const auto both = world.apply(map + "?fieldManager=bob", document(R"(,"finalizers":["x/b"])"));
  ASSERT_EQ(both.status, 200) << both.text;
  EXPECT_EQ(held(both, "finalizers"), R"(["x/a","x/b"])");
  EXPECT_NE(held(both, "managedFields").find(R"("f:finalizers":{"v:\"x/b\"":{}})"), std::string::npos);
  EXPECT_NE(held(both, "managedFields").find(fmt::format(R"(k:{{\"uid\":\"{}\"}})", uid)), std::string::npos)
      << held(both, "managedFields");
  const auto fewer = world.apply(map + "?fieldManager=ann", document(""));
  ASSERT_EQ(fewer.status, 200) << fewer.text;
  EXPECT_EQ(held(fewer, "finalizers"), R"(["x/b"])")
      << "what ann no longer asks for goes, what bob asks for stays";
  EXPECT_EQ(held(fewer, "ownerReferences"), "");
  EXPECT_EQ(world.apply(map + "?fieldManager=bob", document("")).status, 200);
  EXPECT_EQ(held(world.get(map), "finalizers"), "");
}

TEST(Apply, what_the_server_keeps_about_managers_is_not_applied) {
  World world;
  const auto refused = world.apply(
      "/api/v1/namespaces/default/configmaps/a?fieldManager=ann",
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","managedFields":[{"manager":"eve"}]}})");
  EXPECT_EQ(refused.status, 400) << refused.text;
  EXPECT_NE(refused.message().find("managedFields must be nil"), std::string::npos);
}

// The merge comes before validation, so a long list must not cost its length squared.
TEST(Apply, a_list_with_a_key_that_is_far_too_long_is_refused_for_its_length) {
  World world;
  std::string inputs;
  for (int i = 0; i < 40'000; ++i)
    inputs += fmt::format(R"({}{{"name":"i{}","datasetVersion":"d"}})", i == 0 ? "" : ",", i);
  const auto refused = world.apply(by("ann"), job(fmt::format(R"("command":["x"],"inputs":[{}])", inputs)));
  EXPECT_EQ(refused.status, 422);
  EXPECT_NE(refused.message().find("spec.inputs"), std::string::npos) << refused.text.substr(0, 500);
}

TEST(Apply, yaml_bodies_and_bad_ones) {
  World world;
  const auto made = world.apply(
      by("ann"), "apiVersion: neap.dev/v1\nkind: TrainingJob\nmetadata:\n  name: a\nspec:\n  command: [x]\n");
  EXPECT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(world.apply(kJob, job(R"("command":["x"])")).status, 400) << "a manager is required";
  EXPECT_EQ(world.apply(by("ann"), "- 1").status, 400);
  EXPECT_EQ(world.apply(by("ann"), R"({"kind":"Site"})").status, 400);
  EXPECT_EQ(world.apply(by("ann"), "a: &x [*x, *x]").status, 400);
}

}  // namespace
}  // namespace neap::apiserver
