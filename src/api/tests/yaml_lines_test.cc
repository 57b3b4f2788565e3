#include "neap/api/yaml_lines.h"

#include <gtest/gtest.h>

#include <string>

namespace neap::api {
namespace {

constexpr std::string_view kText =
    "# first\n"
    "---\n"
    "a: 1\n"
    "spec:\n"
    "  nodes:\n"
    "  - {name: x, site: y}\n"
    "  - name: z\n"
    "    deep: {spec: [1, 2]}\n"
    "---\n"
    "spec:\n"
    "  late: 3\n";

TEST(YamlLines, a_field_is_found_where_it_stands_in_its_document) {
  EXPECT_EQ(find_yaml_line(kText, 0, "a"), 3u);
  EXPECT_EQ(find_yaml_line(kText, 0, "spec.nodes[0].site"), 6u);
  EXPECT_EQ(find_yaml_line(kText, 0, "spec.nodes[1]"), 7u);
  EXPECT_EQ(find_yaml_line(kText, 0, "spec.nodes[1].deep.spec[1]"), 8u);
  EXPECT_EQ(find_yaml_line(kText, 1, "spec.late"), 11u);
}

TEST(YamlLines, what_is_absent_is_where_it_would_belong) {
  EXPECT_EQ(find_yaml_line(kText, 0, "spec.nodes[1].site"), 7u);
  EXPECT_EQ(find_yaml_line(kText, 0, "spec.nodes[9]"), 5u);
  EXPECT_EQ(find_yaml_line(kText, 1, "metadata.name"), 10u);
  EXPECT_EQ(find_yaml_line(kText, 2, "spec"), 0u);
}

TEST(YamlLines, any_text_and_path_ends) {
  EXPECT_EQ(find_yaml_line("", 0, "a.b"), 0u);
  EXPECT_EQ(find_yaml_line("a: [1, 2", 0, "a[1]"), 1u);
  find_yaml_line(kText, 0, "[.]..[x][99999999999999999999]");
  find_yaml_line(std::string(50'000, '['), 0, "a[0][0]");
  find_yaml_line("{? {a: b} : c, spec: &x {y: *x}}", 0, "spec.y.z");
}

}  // namespace
}  // namespace neap::api
