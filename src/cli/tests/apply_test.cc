// apply, delete and wait against the fake API over HTTP.
#include "internal/code_archive.h"
#include "internal/documents.h"
#include "tests/cli_lab.h"

namespace neap::cli {
namespace {

using testing::TempDir;

constexpr std::string_view kSite =
    "apiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: hq}\nspec: {tier: private, jurisdiction: DE}\n";

TEST(Apply, creates_then_changes_then_says_unchanged) {
  CliLab lab;
  lab.write("/w/site.yaml", kSite);
  EXPECT_EQ(lab.run({"apply", "-f", "/w/site.yaml"}).out, "site/hq created\n");
  EXPECT_EQ(lab.run({"apply", "-f", "/w/site.yaml"}).out, "site/hq unchanged\n");
  lab.write("/w/site.yaml",
            std::string(kSite) + "---\n" + std::string(kSite).replace(kSite.find("hq"), 2, "edge"));
  const auto both = lab.run({"apply", "-f", "/w/site.yaml"});
  EXPECT_EQ(both.out, "site/hq unchanged\nsite/edge created\n");
  lab.write("/w/site.yaml",
            "apiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: hq, labels: {a: b}}\nspec: {tier: "
            "private, jurisdiction: FR}\n");
  EXPECT_EQ(lab.run({"apply", "-f", "/w/site.yaml"}).out, "site/hq configured\n");
  EXPECT_EQ(lab.run({"get", "site", "hq", "-o", "name"}).out, "site/hq\n");
  EXPECT_NE(lab.run({"get", "site", "hq", "-o", "yaml"}).out.find("jurisdiction: FR"), std::string::npos);
  // What the file no longer says goes away; what others set stays.
  lab.write("/w/site.yaml", kSite);
  EXPECT_EQ(lab.run({"apply", "-f", "/w/site.yaml"}).out, "site/hq configured\n");
  EXPECT_EQ(lab.run({"get", "site", "hq", "-o", "yaml"}).out.find("\n    a: b"), std::string::npos);
}

TEST(Apply, a_dry_run_stores_nothing) {
  CliLab lab;
  lab.write("/w/site.yaml", kSite);
  EXPECT_EQ(lab.run({"apply", "-f", "/w/site.yaml", "--dry-run=server"}).out,
            "site/hq created (server dry run)\n");
  EXPECT_EQ(lab.run({"get", "sites"}).err, "No resources found\n");
}

TEST(Apply, reads_standard_input_and_folders) {
  CliLab lab;
  lab.input = kSite;
  EXPECT_EQ(lab.run({"apply", "-f", "-"}).out, "site/hq created\n");
  lab.write("/w/b.yaml", kSite);
  lab.write(
      "/w/a.json",
      R"({"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"vision"}}]})");
  lab.write("/w/notes.txt", "not a document");
  EXPECT_EQ(lab.run({"apply", "-f", "/w"}).out, "namespace/vision created\nsite/hq unchanged\n");
}

TEST(Apply, the_bare_policy_list_becomes_a_policy) {
  CliLab lab;
  lab.write("/w/p.yaml",
            "SchedulingPolicy:\n"
            "- name: near\n  condition: task.type == 'inference' AND task.latency_requirement < 20ms\n"
            "  action: schedule_to(edge_cluster)\n"
            "- name: big\n  condition: task.type == 'training' AND task.gpu_demand > 8\n"
            "  action: schedule_to(public_cloud_gpu_pool)\n");
  const auto applied = lab.run({"apply", "-f", "/w/p.yaml"});
  EXPECT_EQ(applied.out, "schedulingpolicy/policy-list created\n") << applied.err;
  const auto read = lab.run({"get", "schedulingpolicy", "policy-list", "-o", "yaml"});
  EXPECT_NE(read.out.find("schedule_to(edge_cluster)"), std::string::npos) << read.out;
  lab.write("/w/p.yaml",
            "SchedulingPolicy: [{name: a, condition: 'true', action: schedule_to(x), colour: red}]");
  const auto refused = lab.run({"apply", "-f", "/w/p.yaml"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("colour"), std::string::npos) << refused.err;
}

constexpr std::string_view kJob =
    "apiVersion: neap.dev/v1\nkind: TrainingJob\nmetadata: {name: train}\nspec: {command: [python3, "
    "train.py], code: CODE}\n";
std::string job(std::string_view code) {
  std::string out(kJob);
  return out.replace(out.find("CODE"), 4, code);
}

TEST(Apply, a_code_folder_is_packed_pushed_and_replaced_by_its_digest) {
  CliLab lab;
  lab.write("/w/code/train.py", "print(1)\n");
  lab.write("/w/job.yaml", job("./code"));
  const auto digest = sha256_digest(*pack_code_folder(lab.files(), "/w/code"));
  const auto dry = lab.run({"apply", "-f", "/w/job.yaml", "--dry-run=server"});
  EXPECT_EQ(dry.out, "trainingjob/train created (server dry run)\n") << dry.err;
  for (const auto& seen : lab.seen)
    EXPECT_FALSE(seen.target.starts_with("/v2/")) << "a dry run pushes nothing";
  const auto applied = lab.run({"apply", "-f", "/w/job.yaml"});
  EXPECT_EQ(applied.out, "trainingjob/train created\n") << applied.err;
  const Seen* push = nullptr;
  for (const auto& seen : lab.seen)
    if (seen.method == "POST" && seen.target.starts_with("/v2/")) push = &seen;
  ASSERT_NE(push, nullptr);
  EXPECT_TRUE(push->target.starts_with("/v2/vision/code/blobs/uploads/?digest=sha256")) << push->target;
  EXPECT_EQ(push->level, "L3");
  EXPECT_EQ(push->token, "Bearer secret");
  EXPECT_EQ(sha256_digest(push->body), digest);
  EXPECT_NE(lab.run({"get", "trainingjob/train", "-o", "yaml"}).out.find(digest), std::string::npos);
  EXPECT_EQ(lab.run({"apply", "-f", "/w/job.yaml"}).out, "trainingjob/train unchanged\n");
}

TEST(Apply, a_strategy_names_its_code_under_train) {
  CliLab lab;
  lab.write("/w/src/t.py", "x\n");
  lab.write("/w/s.yaml", R"(
apiVersion: neap.dev/v1
kind: DeploymentStrategy
metadata: {name: s, namespace: vision}
spec:
  model: m
  collect: {dataset: d}
  train: {command: [python3, t.py], code: src}
  serve: {name: s, places: [{site: a}]}
)");
  const auto dry = lab.run({"apply", "-f", "/w/s.yaml", "--dry-run=server", "-o", "json"});
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_NE(dry.out.find(sha256_digest(*pack_code_folder(lab.files(), "/w/src"))), std::string::npos)
      << dry.out;
}

TEST(Apply, a_refused_push_leaves_the_object_alone) {
  CliLab lab;
  lab.write("/w/code/train.py", "x\n");
  lab.write("/w/job.yaml", job("code"));
  lab.answer("/v2/vision/code/blobs/uploads/", 403,
             R"({"errors":[{"code":"DENIED","message":"me may not create models"}]})");
  const auto refused = lab.run({"apply", "-f", "/w/job.yaml"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("me may not create models"), std::string::npos) << refused.err;
  EXPECT_EQ(lab.run({"get", "trainingjobs"}).err, "No resources found in vision namespace.\n");
}

TEST(Apply, bad_input_gets_one_line_that_says_what_to_do) {
  struct Case {
    std::string name, text, wanted;
  };
  const std::vector<Case> cases{
      {"malformed", "a: [1\nb: }", "/w/x.yaml: "},
      {"duplicate key", "kind: A\nkind: B\n", "/w/x.yaml: "},
      {"not a mapping", "[1, 2]", "is not a mapping"},
      {"scalar", "hello", "is not a mapping"},
      {"empty", "# nothing\n", "hold no document"},
      {"no kind", "apiVersion: v1\n", "has no kind"},
      {"no apiVersion", "kind: Site\n", "has no apiVersion"},
      {"no name", "apiVersion: neap.dev/v1\nkind: Site\nmetadata: {}\n", "no metadata.name"},
      {"unknown kind", "apiVersion: neap.dev/v1\nkind: Spaceship\nmetadata: {name: x}\n",
       "no kind Spaceship in neap.dev/v1"},
      {"unknown version", "apiVersion: neap.dev/v9\nkind: Site\nmetadata: {name: x}\n",
       "no kind Site in neap.dev/v9"},
      {"unknown field", std::string(kSite) + "colour: red\n", "unknown field \"colour\""},
      {"invalid", "apiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: x}\nspec: {tier: orbit}\n",
       "spec.tier"},
      {"metadata list", "apiVersion: neap.dev/v1\nkind: Site\nmetadata: [1]\n", "no metadata.name"},
      {"bad policy", "SchedulingPolicy: 7\n", "SchedulingPolicy"},
      {"huge", std::string(5u << 20, '#'), "larger than"},
      {"missing code", job("nowhere"), "/w/nowhere is not a folder"},
      {"binary", std::string("\x00\x01\xff\xfe", 4), "/w/x.yaml"},
  };
  for (const auto& c : cases) {
    CliLab lab;
    lab.write("/w/x.yaml", c.text);
    const auto outcome = lab.run({"apply", "-f", "/w/x.yaml"});
    EXPECT_EQ(outcome.status, 1) << c.name;
    EXPECT_EQ(outcome.out, "") << c.name;
    EXPECT_TRUE(outcome.err.starts_with("error: ")) << c.name << ": " << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << c.name << ": " << outcome.err;
    EXPECT_NE(outcome.err.find(c.wanted), std::string::npos) << c.name << ": " << outcome.err;
  }
  CliLab lab;
  EXPECT_NE(lab.run({"apply", "-f", "/absent.yaml"}).err.find("/absent.yaml"), std::string::npos);
  EXPECT_EQ(lab.run({"apply"}).status, 2);
}

TEST(Apply, goes_on_after_a_refused_document_and_fails) {
  CliLab lab;
  lab.write("/w/x.yaml", "apiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: bad}\nspec: {}\n---\n" +
                             std::string(kSite));
  const auto outcome = lab.run({"apply", "-f", "/w/x.yaml"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "site/hq created\n");
  EXPECT_NE(outcome.err.find("spec.tier"), std::string::npos) << outcome.err;
}

TEST(ThreeWayPatch, brings_live_to_wanted_and_keeps_what_others_set) {
  struct Case {
    const char *last, *live, *wanted, *patch;
  };
  const std::vector<Case> cases{
      {"{}", "{}", "{}", "{}"},
      {"{}", "{}", R"({"a":1})", R"({"a":1})"},
      {R"({"a":1})", R"({"a":1,"b":2})", R"({"a":1})", "{}"},
      {R"({"a":1,"b":2})", R"({"a":1,"b":2})", R"({"a":1})", R"({"b":null})"},
      {R"({"b":2})", R"({"a":1})", R"({"a":1})", "{}"},
      {R"({"m":{"x":1,"y":1}})", R"({"m":{"x":1,"y":1,"z":1}})", R"({"m":{"x":2}})",
       R"({"m":{"x":2,"y":null}})"},
      {"null", R"({"l":[1,2]})", R"({"l":[1]})", R"({"l":[1]})"},
      {R"({"m":{"x":1}})", R"({"m":7})", R"({"m":{"x":1}})", R"({"m":{"x":1}})"},
      {R"({"m":{"x":1}})", R"({"m":{"x":1}})", "{}", R"({"m":null})"},
      {"{}", "{}", R"({"a":null})", "{}"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(to_text(three_way_patch(*parse_json(c.last), *parse_json(c.live), *parse_json(c.wanted))),
              c.patch)
        << c.last << " " << c.live << " " << c.wanted;
}

TEST(Delete, by_name_by_file_by_label_and_refuses_to_guess) {
  CliLab lab;
  lab.write("/w/site.yaml", kSite);
  EXPECT_EQ(lab.run({"delete", "-f", "/w/site.yaml"}).status, 1);
  EXPECT_EQ(lab.run({"delete", "-f", "/w/site.yaml", "--ignore-not-found"}).status, 0);
  (void)lab.run({"apply", "-f", "/w/site.yaml"});
  EXPECT_EQ(lab.run({"delete", "sites"}).status, 2) << "a kind alone is not an order to delete all of it";
  EXPECT_EQ(lab.run({"delete", "site", "hq", "--dry-run=server"}).out, "site/hq deleted (server dry run)\n");
  EXPECT_EQ(lab.run({"delete", "site/hq"}).out, "site/hq deleted\n");
  lab.put(
      "{apiVersion: neap.dev/v1, kind: Site, metadata: {name: a, labels: {x: z}}, spec: {tier: edge, "
      "jurisdiction: DE}}");
  lab.put("{apiVersion: neap.dev/v1, kind: Site, metadata: {name: b}, spec: {tier: edge, jurisdiction: DE}}");
  EXPECT_EQ(lab.run({"delete", "sites", "-l", "x=z"}).out, "site/a deleted\n");
  EXPECT_EQ(lab.run({"delete", "sites", "--all"}).out, "site/b deleted\n");
}

Task<void> set_phase(client::FakeResourceClient& api, std::string phase, std::string message) {
  const Json patch = JsonObject{{"status", JsonObject{{"phase", phase}, {"message", message}}}};
  const auto done = co_await api.patch({}, {"neap.dev", "v1", "trainingjobs", "vision", "train", "status"},
                                       client::PatchType::kMerge, patch, {});
  EXPECT_TRUE(done) << done.error().to_string();
}
constexpr std::string_view kStoredJob =
    "{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {name: train, namespace: vision}, spec: "
    "{command: [x]}}";

TEST(Wait, ends_when_the_phase_comes) {
  CliLab lab;
  lab.put(kStoredJob);
  lab.later(3s, [](client::FakeResourceClient& api) { return set_phase(api, "Running", ""); });
  const auto outcome = lab.run({"wait", "trainingjob/train", "--for=phase=running", "--timeout", "10m"});
  EXPECT_EQ(outcome.out, "trainingjob/train condition met\n") << outcome.err;
  EXPECT_EQ(outcome.status, 0);
}

TEST(Wait, says_why_when_the_time_is_up_or_the_end_is_another) {
  CliLab lab;
  lab.put(kStoredJob);
  const auto late = lab.run({"wait", "trainingjob/train", "--for=phase=Succeeded", "--timeout=5s"});
  EXPECT_EQ(late.status, 1);
  EXPECT_NE(late.err.find("timed out after 5s"), std::string::npos) << late.err;
  lab.later(1s, [](client::FakeResourceClient& api) { return set_phase(api, "Failed", "exit code 3"); });
  const auto failed = lab.run({"wait", "trainingjob/train", "--for=phase=Succeeded", "--timeout=5m"});
  EXPECT_EQ(failed.status, 1);
  EXPECT_NE(failed.err.find("exit code 3"), std::string::npos) << failed.err;
  EXPECT_EQ(lab.run({"wait", "trainingjob/absent", "--for=phase=Succeeded"}).status, 1);
  EXPECT_EQ(lab.run({"wait", "trainingjob/absent", "--for=delete"}).status, 0);
  EXPECT_NE(lab.run({"wait", "trainingjob/train", "--for=luck"}).err.find("not understood"),
            std::string::npos);
  EXPECT_EQ(lab.run({"wait", "trainingjob/train", "--for=phase=X", "--timeout=soon"}).status, 1);
}

}  // namespace
}  // namespace neap::cli
