// What kubectl is shown: tables, OpenAPI documents; and the generated files that are checked in.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "neap/api/codec.h"
#include "neap/api/openapi.h"
#include "neap/api/printing.h"
#include "neap/api/resource.h"

namespace neap::api {
namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

const KindEntry& kind(std::string_view plural, std::string_view group = kGroup,
                      std::string_view version = kVersion) {
  return *KindTable::standard().find(group, version, plural);
}

Json running_job() {
  TrainingJob job;
  job.metadata.name = "mnist";
  job.metadata.namespace_ = "team-a";
  job.metadata.creationTimestamp = kNow - 200s;
  job.spec.command = {"train"};
  job.status = {.phase = "Running",
                .message = "all\x1b[31m well",
                .site = "cloud",
                .capacityType = "spot",
                .interruptions = 2,
                .step = 400};
  return to_json(job);
}

TEST(Printing, a_training_job_shows_phase_site_capacity_step_interruptions_and_age) {
  const Json list =
      JsonObject{{"metadata", JsonObject{{"resourceVersion", "12"}}}, {"items", JsonArray{running_job()}}};
  const Json table = to_table(kind("trainingjobs"), list, {.now = kNow});
  EXPECT_EQ(get_string(table.at("metadata"), "resourceVersion"), "12");
  EXPECT_EQ(get_string(table, "kind"), "Table");
  EXPECT_EQ(table_text(table),
            "NAME   PHASE    SITE   CAPACITY  STEP  INTERRUPTIONS  AGE\n"
            "mnist  Running  cloud  spot      400   2              3m20s\n");
  EXPECT_EQ(get_string(table.at("rows").at(0).at("object"), "kind"), "PartialObjectMetadata");
}

TEST(Printing, an_object_without_status_shows_what_it_will_begin_with) {
  const Json bare = JsonObject{{"metadata", JsonObject{{"name", "new"}}}, {"spec", JsonObject{}}};
  EXPECT_EQ(table_text(to_table(kind("trainingjobs"), bare, {.now = kNow}), {.headers = false}),
            "new  Pending  <none>  <none>  <none>  0  <none>\n");
}

TEST(Printing, wide_rows_show_more_and_never_control_characters) {
  const auto text = table_text(to_table(kind("trainingjobs"), running_job(), {.now = kNow}),
                               {.wide = true, .with_namespace = true});
  EXPECT_NE(text.find("MESSAGE"), std::string::npos);
  EXPECT_NE(text.find("all [31m well"), std::string::npos);
  EXPECT_TRUE(text.starts_with("NAMESPACE"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Printing, paths_enter_lists_and_join_two_values) {
  const auto node =
      parse_yaml(
          "{metadata: {name: node-1}, spec: {site: s}, status: {conditions: [{type: X, status: 'False'}, "
          "{type: Ready, status: 'True'}], allocatable: {accelerators: {A100: '2'}}}}")
          ->at(0);
  EXPECT_EQ(table_text(to_table(kind("nodes"), node, {.now = kNow}), {.headers = false}),
            "node-1  s  True  <none>  <none>  <none>  A100=2  <none>\n");
  const auto deployment =
      parse_yaml("{metadata: {name: d}, spec: {replicas: 2}, status: {readyReplicas: 1}}")->at(0);
  EXPECT_TRUE(table_text(to_table(kind("deployments", "apps"), deployment, {.now = kNow}), {.headers = false})
                  .starts_with("d  1/2"));
}

TEST(Printing, ages_are_as_coarse_as_those_of_kubectl) {
  const std::pair<Duration, std::string_view> cases[] = {
      {0s, "0s"},           {119s, "119s"},      {120s, "2m"},      {200s, "3m20s"}, {11min, "11m"},
      {3h, "3h"},           {200min, "3h20m"},   {47h, "47h"},      {49h, "2d1h"},   {24h * 30, "30d"},
      {24h * 800, "2y70d"}, {24h * 4000, "10y"}, {-5s, "<invalid>"}};
  for (const auto& [age, text] : cases) EXPECT_EQ(format_age(age), text);
}

TEST(OpenApi, every_kind_has_a_patch_operation_with_field_validation_and_a_schema_to_explain) {
  const auto& documents = OpenApi::standard();
  const Json index = parse_json(documents.index()).value();
  for (const auto& entry : KindTable::standard().all()) {
    const std::string path = entry.group.empty() ? "api/v1" : "apis/" + entry.api_version();
    const auto* document = documents.find(path);
    ASSERT_NE(document, nullptr) << path;
    EXPECT_EQ(get_string(index.at("paths").at(path), "serverRelativeURL"),
              "/openapi/v3/" + path + "?hash=" + document->hash);
    const Json json = parse_json(document->text).value();
    bool patch_found = false, schema_found = false;
    for (const auto& item : json.at("paths").as_object()) {
      const Json* patch = find_path(item.value(), {"patch"});
      if (!patch || get_string(patch->at("x-kubernetes-group-version-kind"), "kind") != entry.kind) continue;
      for (const auto& p : patch->at("parameters").as_array())
        patch_found |= get_string(p, "name") == "fieldValidation";
    }
    for (const auto& component : json.at("components").at("schemas").as_object()) {
      const Json* gvks = find_path(component.value(), {"x-kubernetes-group-version-kind"});
      schema_found |= gvks && get_string(gvks->at(0), "kind") == entry.kind &&
                      component.value().at("properties").as_object().contains("metadata");
    }
    EXPECT_TRUE(patch_found) << entry.kind;
    EXPECT_TRUE(schema_found) << entry.kind;
  }
}

TEST(OpenApi, no_reference_points_nowhere) {
  for (const auto& document : OpenApi::standard().all()) {
    const Json json = parse_json(document.text).value();
    const auto& schemas = json.at("components").at("schemas").as_object();
    std::size_t found = 0;
    for (std::size_t at = document.text.find("#/components/schemas/"); at != std::string::npos;
         at = document.text.find("#/components/schemas/", at + 1)) {
      const auto first = at + 21;
      EXPECT_TRUE(schemas.contains(document.text.substr(first, document.text.find('"', first) - first)));
      ++found;
    }
    EXPECT_GT(found, 0u);
  }
}

TEST(OpenApi, schemas_carry_what_describe_says) {
  const Json& spec = kind("trainingjobs").schema.at("properties").at("spec");
  EXPECT_EQ(get_int(spec.at("properties").at("replicas"), "minimum"), 1);
  EXPECT_EQ(get_string(spec.at("properties").at("replicas"), "description"), "Members of the gang.");
  EXPECT_EQ(spec.at("required"), JsonArray{"command"});
  EXPECT_EQ(spec.at("properties").at("inputs").at("x-kubernetes-list-map-keys"), JsonArray{"name"});
  EXPECT_TRUE(spec.at("properties").at("interruption").at("enum").is_array());
  EXPECT_TRUE(
      get_bool(kind("trainingjobs").schema.at("properties").at("status").at("properties").at("metrics"),
               "x-kubernetes-preserve-unknown-fields"));
  EXPECT_TRUE(get_bool(spec.at("properties").at("resources").at("properties").at("memory"),
                       "x-kubernetes-int-or-string"));
}

TEST(OpenApi, the_old_document_has_exactly_the_fourteen_bytes_old_clients_accept) {
  const auto v2 = openapi_v2(KindTable::standard(), OpenApi::standard());
  // swagger "2.0", then the info object.
  EXPECT_EQ(v2.substr(0, 6), std::string("\x0a\x03"
                                         "2.0"
                                         "\x12"));
  EXPECT_NE(v2.find("dev.neap.v1.TrainingJob"), std::string::npos);
  EXPECT_NE(v2.find("fieldValidation"), std::string::npos);
}

// The files under api/ and docs/reference are made from the types; NEAP_UPDATE_GENERATED=1 rewrites them.
void compare_or_update(const std::filesystem::path& path, const std::string& wanted) {
  if (std::getenv("NEAP_UPDATE_GENERATED")) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << wanted;
    return;
  }
  std::ifstream in(path, std::ios::binary);
  std::stringstream found;
  found << in.rdbuf();
  EXPECT_TRUE(found.str() == wanted)
      << path
      << " differs from the types; run this test with NEAP_UPDATE_GENERATED=1 and look at the difference";
}

TEST(GeneratedFiles, are_what_the_types_say) {
  const char* source = std::getenv("NEAP_SOURCE_DIR");
  if (!source) GTEST_SKIP() << "NEAP_SOURCE_DIR is not set: run through ctest";
  const std::filesystem::path root(source);
  for (const auto& document : OpenApi::standard().all()) {
    std::string name = document.path;
    for (char& c : name) c = c == '/' ? '_' : c;
    compare_or_update(root / "api" / "openapi" / (name + ".json"),
                      to_pretty_text(parse_json(document.text).value()) + "\n");
  }
  compare_or_update(root / "docs" / "reference" / "api.md", reference_page(KindTable::standard()));
}

}  // namespace
}  // namespace neap::api
