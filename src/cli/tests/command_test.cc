// Every other command: golden outputs over the fake API, and what is said when something is wrong.
#include "internal/code_archive.h"
#include "internal/output.h"
#include "tests/cli_lab.h"

namespace neap::cli {
namespace {

constexpr std::string_view kSites = R"(
{apiVersion: neap.dev/v1, kind: Site, metadata: {name: hq, labels: {team: vision}}, spec: {tier: private, jurisdiction: DE}, status: {nodes: 2, nodesReady: 1, capacity: {cpu: "8", memory: 16Gi, accelerators: {NVIDIA_A100: "2"}}, free: {cpu: "6", memory: 12Gi, accelerators: {NVIDIA_A100: 500m}}}}
---
{apiVersion: neap.dev/v1, kind: Site, metadata: {name: shop}, spec: {tier: edge, jurisdiction: DE}}
)";

TEST(Get, prints_kubectls_table_formats_and_selections) {
  CliLab lab;
  lab.put(kSites);
  const auto table = lab.run({"get", "sites"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_TRUE(table.out.starts_with("NAME")) << table.out;
  EXPECT_NE(table.out.find("hq    private"), std::string::npos) << table.out;
  EXPECT_EQ(std::ranges::count(table.out, '\n'), 3);
  EXPECT_EQ(std::ranges::count(lab.run({"get", "sites", "--no-headers"}).out, '\n'), 2);
  EXPECT_EQ(lab.run({"get", "sites", "-o", "name"}).out, "site/hq\nsite/shop\n");
  EXPECT_EQ(lab.run({"get", "sites", "-l", "team=vision", "-o", "name"}).out, "site/hq\n");
  EXPECT_EQ(lab.run({"get", "site/shop", "site/hq", "-o", "name"}).out, "site/shop\nsite/hq\n");
  const auto one = parse_json(lab.run({"get", "site", "hq", "-o", "json"}).out);
  ASSERT_TRUE(one);
  EXPECT_EQ(get_string(*one, "kind"), "Site");
  const auto list = parse_json(lab.run({"get", "sites,links", "-o", "json"}).out);
  ASSERT_TRUE(list);
  EXPECT_EQ(list->at("items").as_array().size(), 2u);
  EXPECT_EQ(get_string(list->at("items").at(0), "kind"), "Site");
}

TEST(Get, takes_the_namespace_from_the_kubeconfig_or_the_line) {
  CliLab lab;
  lab.put(
      "{apiVersion: neap.dev/v1, kind: Dataset, metadata: {name: d, namespace: vision}, spec: {level: L2, "
      "jurisdiction: "
      "DE}}");
  lab.put(
      "{apiVersion: neap.dev/v1, kind: Dataset, metadata: {name: e, namespace: other}, spec: {level: L2, "
      "jurisdiction: "
      "DE}}");
  EXPECT_EQ(lab.run({"get", "datasets", "-o", "name"}).out, "dataset/d\n");
  EXPECT_EQ(lab.run({"-n", "other", "get", "datasets", "-o", "name"}).out, "dataset/e\n");
  EXPECT_EQ(lab.run({"get", "datasets", "-n", "other", "-o", "name"}).out, "dataset/e\n");
  const auto all = lab.run({"get", "datasets", "-A"});
  EXPECT_TRUE(all.out.starts_with("NAMESPACE")) << all.out;
  EXPECT_EQ(std::ranges::count(all.out, '\n'), 3);
  EXPECT_EQ(lab.run({"get", "datasets", "-n", "none"}).err, "No resources found in none namespace.\n");
}

TEST(Get, a_watch_prints_what_comes_until_it_is_interrupted) {
  CliLab lab;
  lab.put(kSites);
  lab.later(5s, [](client::FakeResourceClient& api) -> Task<void> {
    return [](client::FakeResourceClient& a) -> Task<void> {
      (void)co_await a.remove({}, {"neap.dev", "v1", "sites", "", "shop", ""}, {});
    }(api);
  });
  const auto outcome = lab.run({"get", "sites", "-w", "-o", "name"}, 1min);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "site/hq\nsite/shop\nsite/shop\n");
}

TEST(Describe, shows_everything_but_what_apply_keeps_for_itself) {
  CliLab lab;
  lab.write("/w/s.yaml",
            "{apiVersion: neap.dev/v1, kind: Site, metadata: {name: hq, labels: {a: b, c: d}}, spec: {tier: "
            "edge, jurisdiction: DE}}");
  ASSERT_EQ(lab.run({"apply", "-f", "/w/s.yaml"}).status, 0);
  const auto outcome = lab.run({"describe", "site", "hq"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(
      outcome.out.starts_with("Name:         hq\nLabels:       a=b, c=d\nAnnotations:  <none>\n"
                              "API Version:  neap.dev/v1\nKind:         Site\n"))
      << outcome.out;
  EXPECT_NE(outcome.out.find("Spec:\n"), std::string::npos);
  EXPECT_NE(outcome.out.find("  tier: edge\n"), std::string::npos);
}

constexpr std::string_view kDecision =
    R"({"request":"train","placed":true,"currency":"USD","score":81.25,"costPerHour":"2.400000",
  "placements":[{"replica":0,"node":"gpu-1","site":"hq","capacityType":"owned"}],
  "sites":[{"site":"hq","tier":"private","chosen":true,"nodesAdmitted":1},
           {"site":"cloud","tier":"public","chosen":false,"refusal":{"code":"data.level","message":"L1 data may not leave hq"}}]})";

TEST(Explain, renders_the_servers_answer_or_the_recorded_decision) {
  CliLab lab;
  lab.put(
      "{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {name: train, namespace: vision}, spec: "
      "{command: [x]}}");
  const std::string path = "/apis/neap.dev/v1/namespaces/vision/trainingjobs/train/explain";
  lab.answer(path, 404, "{}");
  const auto none = lab.run({"explain", "trainingjob/train"});
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.err.find("neap describe trainingjob/train"), std::string::npos) << none.err;
  lab.answer(path, 200, std::string(kDecision));
  const auto outcome = lab.run({"explain", "trainingjob/train"});
  EXPECT_EQ(outcome.out,
            "trainingjob/train: hq chosen: 2.4 USD/h, score 81.2.\n"
            "  replica 0 on gpu-1 at hq (owned)\n"
            "hq: no reason recorded\n"
            "cloud refused: L1 data may not leave hq [data.level]\n")
      << outcome.err;
  EXPECT_EQ(*parse_json(lab.run({"explain", "trainingjob/train", "-o", "json"}).out), *parse_json(kDecision));
  lab.answer(path, 200, fmt::format(R"({{"decisions":[{},{}]}})", kDecision, kDecision));
  EXPECT_NE(lab.run({"explain", "trainingjob/train"}).out.find("trainingjob/train [train]: hq chosen"),
            std::string::npos);
  lab.answer(path, 200, R"({"novel":"shape"})");
  EXPECT_EQ(lab.run({"explain", "trainingjob/train"}).out, "novel: shape\n");
}

TEST(Explain, falls_back_to_the_decision_in_the_status) {
  CliLab lab;
  lab.put(fmt::format(
      "{{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {{name: train, namespace: vision}}, "
      "spec: {{command: [x]}}, status: {{explanation: {}}}}}",
      kDecision));
  lab.answer("/apis/neap.dev/v1/namespaces/vision/trainingjobs/train/explain", 404, "{}");
  const auto outcome = lab.run({"explain", "trainingjob/train"});
  EXPECT_NE(outcome.out.find("cloud refused: L1 data may not leave hq [data.level]"), std::string::npos)
      << outcome.err;
}

TEST(Explain, without_a_slash_tells_what_the_fields_mean_and_needs_no_server) {
  CliLab lab;
  lab.environment.clear();
  const auto kind = lab.run({"explain", "site"});
  EXPECT_EQ(kind.status, 0) << kind.err;
  EXPECT_TRUE(kind.out.starts_with("KIND:       Site\nVERSION:    neap.dev/v1\n")) << kind.out;
  const auto field = lab.run({"explain", "site.spec.tier"});
  EXPECT_NE(field.out.find("FIELD:      spec.tier <string>"), std::string::npos) << field.out;
  EXPECT_NE(lab.run({"explain", "site.spec"}).out.find("tier\t<string> -required-"), std::string::npos);
  EXPECT_TRUE(lab.run({"explain", "deployments.apps"}).out.starts_with("KIND:       Deployment\n"));
  EXPECT_NE(lab.run({"explain"}).out.find("trainingjobs"), std::string::npos);
  EXPECT_EQ(lab.run({"explain", "site.spec.colour"}).err,
            "error: Site.spec has no field \"colour\"; `neap explain site.spec` lists them\n");
  EXPECT_EQ(lab.run({"explain", "."}).status, 1);
  EXPECT_EQ(lab.run({"explain", "spaceship"}).status, 1);
}

TEST(Plan, shows_each_what_if_with_its_price_or_its_reason) {
  CliLab lab;
  lab.write("/w/job.yaml",
            "apiVersion: neap.dev/v1\nkind: TrainingJob\nmetadata: {name: train}\nspec: {command: [run]}\n");
  lab.answer("/neap/v1/plan", 200,
             R"({"hours":2,"currency":"USD","variants":[
                 {"variant":"now","placed":true,"costPerHourMicros":40000,"totalMicros":80000,
                  "places":[{"site":"cloud-a","capacityType":"spot"},{"site":"cloud-a","capacityType":"spot"}]},
                 {"variant":"all-private","placed":false,"why":"no node has 4 cores"}]})");
  EXPECT_EQ(lab.run({"plan", "-f", "/w/job.yaml", "--duration", "2h"}).out,
            "TrainingJob train, 2.00 h\n"
            "WHAT IF      WHERE              AN HOUR   TOTAL     WHY\n"
            "now          cloud-a (spot) x2  0.04 USD  0.08 USD\n"
            "all-private  -                  -         -         no node has 4 cores\n");
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/plan?project=vision&milliseconds=7200000");
  lab.answer("/neap/v1/plan", 200,
             R"({"hours":2,"currency":"USD","variants":[
                 {"variant":"now","placed":true,"carbonGramsPerHour":123.4,
                  "places":[{"site":"cloud-a","capacityType":"spot"}],"why":"no price"},
                 {"variant":"all-private","placed":false,"why":"no node has 4 cores"}]})");
  EXPECT_EQ(lab.run({"plan", "-f", "/w/job.yaml", "--duration", "2h"}).out,
            "TrainingJob train, 2.00 h\n"
            "WHAT IF      WHERE           AN HOUR  TOTAL  CO2E AN HOUR  WHY\n"
            "now          cloud-a (spot)  -        -      123 g         no price\n"
            "all-private  -               -        -      -             no node has 4 cores\n");
  lab.answer("/neap/v1/plan", 200, R"({"hours":2,"currency":"USD","variants":[]})");
  EXPECT_TRUE(parse_json(lab.run({"plan", "-f", "/w/job.yaml", "-o", "json"}).out));
  lab.answer("/neap/v1/plan", 400, R"({"kind":"Status","message":"\"Site\" is not planned","code":400})");
  EXPECT_EQ(lab.run({"plan", "-f", "/w/job.yaml"}).status, 1);
  EXPECT_EQ(lab.run({"plan", "-f", "/w/job.yaml", "--duration", "soon"}).status, 1);
}

TEST(Plan, repacking_shows_each_move_with_its_cost_and_who_stays_for_which_reason) {
  CliLab lab;
  lab.answer("/neap/v1/plan/repack", 200,
             R"({"currency":"USD","plans":[
                 {"for":"vision/wide","isJob":true,"state":"moves","site":"hq","nodes":["n0"],
                  "setBackDeviceSeconds":1440,"bytes":1073741824,"costMicros":400000,"staysMore":2,
                  "moves":[{"job":"vision/a","site":"hq","from":["n0"],"to":["n1"],"checkpointStep":8,
                            "setBackSeconds":360,"setBackDeviceSeconds":1440,"bytes":1073741824,"costMicros":400000}],
                  "stays":[{"what":"vision/b","nodes":["n1"],"why":"its interruption is never"}]},
                 {"for":"a whole node of 8 A100","isJob":false,"state":"none","why":"nothing that runs may move for it"}]})");
  EXPECT_EQ(lab.run({"plan", "--repack", "wide"}).out,
            "vision/wide could start on n0 at hq after 1 move\n"
            "JOB       FROM  TO  GOES ON FROM  DONE AGAIN  DEVICE SECONDS  FETCHED  COST\n"
            "vision/a  n0    n1  step 8        360 s       1440            1.0 GiB  0.40 USD\n"
            "together: 1440 device seconds done again, up to 1.0 GiB fetched, cost 0.40 USD\n"
            "STAYS     ON  WHY\n"
            "vision/b  n1  its interruption is never\n"
            "and 2 more\n"
            "\n"
            "a whole node of 8 A100: no moves make room; nothing that runs may move for it\n");
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/plan/repack?project=vision&job=wide");
  EXPECT_TRUE(parse_json(lab.run({"plan", "--repack", "trainingjob/wide", "-o", "json"}).out));
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/plan/repack?project=vision&job=wide");
  (void)lab.run({"plan", "--repack"});
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/plan/repack?project=vision");
  EXPECT_NE(lab.run({"plan"}).err.find("-f FILE, or a waiting job with --repack JOB"), std::string::npos);
  EXPECT_NE(lab.run({"plan", "wide"}).status, 0);
  EXPECT_NE(lab.run({"plan", "--repack", "-f", "/w/job.yaml"}).status, 0);
}

TEST(Cost, lines_total_and_what_it_would_have_been_elsewhere) {
  CliLab lab;
  lab.answer(
      "/neap/v1/cost", 200,
      R"({"currency":"USD","total_micros":6000000,"all_public_micros":10000000,"all_private_micros":4800000,
                 "lines":[{"project":"vision","team":"a","model":"m","kind":"compute","micros":5999999},
                          {"project":"vision","kind":"egress","micros":1}]})");
  EXPECT_EQ(lab.run({"cost", "--project", "vi sion"}).out,
            "PROJECT  TEAM  MODEL  KIND     AMOUNT\n"
            "vision   a     m      compute  5.999999 USD\n"
            "vision   -     -      egress   0.000001 USD\n"
            "\n"
            "total        6.00 USD\n"
            "all public   10.00 USD (this bill is 40.0 % lower)\n"
            "all private  4.80 USD (this bill is 25.0 % higher)\n");
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/cost?project=vi%20sion");
  EXPECT_TRUE(parse_json(lab.run({"cost", "-o", "json"}).out));
  lab.answer("/neap/v1/focus", 200, "BilledCost\n1\n");
  EXPECT_EQ(lab.run({"cost", "-o", "focus", "--from", "2026-11-01T00:00:00Z"}).out, "BilledCost\n1\n");
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/focus?from=2026-11-01T00%3A00%3A00Z");
  EXPECT_EQ(lab.run({"cost", "--from", "2026-11-01T00:00:00Z"}).status, 1);
  lab.answer("/neap/v1/cost", 200, "{}");
  EXPECT_EQ(lab.run({"cost"}).out, "No usage was billed yet.\n\ntotal        0.00\n");
  lab.answer("/neap/v1/cost", 200, "<html>");
  EXPECT_EQ(lab.run({"cost"}).status, 1);
}

TEST(Audit, shows_crossings_and_fails_where_the_log_does_not_verify) {
  CliLab lab;
  lab.answer("/neap/v1/audit", 200,
             R"({"log_verified":true,"size":2,"root":"sha256:aa","entries":[
                 {"time":"2026-11-22T21:00:00Z","type":"crossing","from":"shop","to":"hq","level":"L2","bytes":2048,"purpose":"train","rule":"masked"},
                 {"type":"refusal","from":"shop","to":"cloud","level":"L1","purpose":"train","reason":"L1 stays\u001b[2J"}]})");
  const auto good = lab.run({"audit", "--type", "crossing"});
  EXPECT_EQ(good.status, 0);
  EXPECT_EQ(good.out,
            "TIME                  TYPE      FROM  TO     LEVEL  BYTES    PURPOSE  RULE OR REASON\n"
            "2026-11-22T21:00:00Z  crossing  shop  hq     L2     2.0 KiB  train    masked\n"
            "-                     refusal   shop  cloud  L1     -        train    L1 stays [2J\n"
            "log verified: 2 entries, root sha256:aa\n");
  EXPECT_EQ(lab.seen.back().target, "/neap/v1/audit?type=crossing");
  EXPECT_EQ(lab.run({"audit", "--verify"}).out, "log verified: 2 entries, root sha256:aa\n");
  lab.answer("/neap/v1/audit", 200, R"({"log_verified":false,"error":"entry 7 was changed","entries":[]})");
  for (const auto& argv :
       {std::vector<std::string>{"audit"}, {"audit", "--verify"}, {"audit", "-o", "json"}}) {
    const auto bad = lab.run(argv);
    EXPECT_EQ(bad.status, 1);
    EXPECT_NE(bad.err.find("entry 7 was changed"), std::string::npos) << bad.err;
  }
  lab.answer("/neap/v1/audit", 200, "{}");
  EXPECT_EQ(lab.run({"audit"}).status, 1) << "an answer that does not say is no proof";
}

TEST(Top, shows_what_is_held_of_sites_and_nodes) {
  CliLab lab;
  lab.put(kSites);
  EXPECT_EQ(lab.run({"top", "sites"}).out,
            "NAME  TIER     NODES  CPU  CPU%  MEMORY            MEMORY%  ACCELERATORS\n"
            "hq    private  1/2    2/8  25%   4.0 GiB/16.0 GiB  25%      NVIDIA_A100 1.50/2\n"
            "shop  edge     0/0    0/0  -     0 B/0 B           -        -\n");
  lab.put(R"(
{apiVersion: neap.dev/v1, kind: Node, metadata: {name: n1}, spec: {site: hq}, status: {capacity: {cpu: "4", memory: 8Gi}, conditions: [{type: Ready, status: "True"}]}}
---
{apiVersion: neap.dev/v1, kind: Allocation, metadata: {name: a, namespace: vision}, spec: {node: n1, site: hq, ownerKind: TrainingJob, ownerName: t, resources: {cpu: "1", memory: 1Gi}}}
---
{apiVersion: neap.dev/v1, kind: Allocation, metadata: {name: b, namespace: vision}, spec: {node: n1, site: hq, ownerKind: TrainingJob, ownerName: t, resources: {cpu: "3"}}, status: {phase: Succeeded}}
)");
  EXPECT_EQ(lab.run({"top", "nodes"}).out,
            "NAME  SITE  READY  CPU  CPU%  MEMORY           MEMORY%  ACCELERATORS\n"
            "n1    hq    True   1/4  25%   1.0 GiB/8.0 GiB  12%      -\n");
  EXPECT_EQ(lab.run({"top", "clouds"}).status, 2);
}

TEST(Logs, of_an_allocation_or_of_all_that_an_owner_has) {
  CliLab lab;
  lab.answer("/apis/neap.dev/v1/namespaces/vision/allocations/a/log", 200, "one\n\x1b[31mtwo");
  EXPECT_EQ(lab.run({"logs", "a", "--tail", "5"}).out, "one\n [31mtwo\n");
  EXPECT_NE(lab.seen.back().target.find("tailLines=5"), std::string::npos);
  EXPECT_NE(lab.seen.back().target.find("follow=false"), std::string::npos);
  EXPECT_EQ(lab.run({"logs", "-f", "a"}).out, "one\n [31mtwo\n");
  EXPECT_NE(lab.seen.back().target.find("follow=true"), std::string::npos);
  EXPECT_EQ(lab.run({"logs", "trainingjob/t"}).status, 1);
  lab.put(
      "{apiVersion: neap.dev/v1, kind: Allocation, metadata: {name: a, namespace: vision}, spec: {node: n1, "
      "site: hq, ownerKind: TrainingJob, ownerName: t}}");
  EXPECT_EQ(lab.run({"logs", "trainingjob/t"}).out, "one\n [31mtwo\n");
  lab.put(
      "{apiVersion: neap.dev/v1, kind: Allocation, metadata: {name: b, namespace: vision}, spec: {node: n1, "
      "site: hq, ownerKind: TrainingJob, ownerName: t}}");
  lab.answer("/apis/neap.dev/v1/namespaces/vision/allocations/b/log", 503,
             R"({"error": "node n1 is not connected"})");
  const auto followed = lab.run({"logs", "-f", "trainingjob/t"});
  EXPECT_EQ(followed.out, "[a] one\n[a]  [31mtwo\n");
  EXPECT_EQ(followed.status, 1);
  EXPECT_NE(followed.err.find("not connected"), std::string::npos) << followed.err;
}

TEST(Token, is_the_only_thing_printed) {
  CliLab lab;
  lab.answer("/neap/v1/join-tokens", 201, R"({"token":"neap-abc"})");
  const auto outcome = lab.run(
      {"token", "create-join", "--node", "n", "--site", "s", "--capacity-type", "spot", "--ttl", "10m"});
  EXPECT_EQ(outcome.out, "neap-abc\n") << outcome.err;
  EXPECT_EQ(*parse_json(lab.seen.back().body),
            *parse_json(R"({"node":"n","site":"s","capacityType":"spot","ttl":"10m"})"));
  EXPECT_EQ(lab.run({"token", "create-join", "--node", "n"}).status, 2);
  EXPECT_EQ(lab.run({"token", "create-join", "--node", "n", "--site", "s", "--ttl", "soon"}).status, 1);
  lab.answer("/neap/v1/join-tokens", 200, "{}");
  EXPECT_EQ(lab.run({"token", "create-join", "--node", "n", "--site", "s"}).status, 1);
}

TEST(Console, prints_the_address) {
  CliLab lab;
  lab.answer("/neap/v1/console-codes", 200, R"({"url":"https://hq:8443/console/login?code=x"})");
  EXPECT_EQ(lab.run({"console"}).out, "https://hq:8443/console/login?code=x\n");
}

TEST(Version, of_the_program_without_a_server_and_of_both_with_one) {
  CliLab lab;
  lab.answer("/version", 200, R"({"gitVersion":"v1.30.0+neap"})");
  EXPECT_TRUE(lab.run({"version"}).out.ends_with("Server Version: v1.30.0+neap\n"));
  lab.environment.clear();
  EXPECT_EQ(lab.run({"version", "--client"}).status, 0);
  const auto alone = lab.run({"version"});
  EXPECT_EQ(alone.status, 1);
  EXPECT_TRUE(alone.out.starts_with("Client Version: v"));
}

TEST(Check, names_what_does_not_hold) {
  CliLab lab;
  lab.answer("/readyz", 200, "ok");
  lab.answer("/version", 200, R"({"gitVersion":"v1"})");
  const auto good = lab.run({"check"});
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  lab.answer("/readyz", 503, "store is not open");
  const auto bad = lab.run({"check"});
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.out.find("FAILED  HTTP status 503: store is not open"), std::string::npos) << bad.out;
}

TEST(ModelPull, verifies_what_it_fetches_and_writes_only_plain_names) {
  CliLab lab;
  const std::string bytes = "weights", digest = sha256_digest(bytes);
  const auto manifest = [&](std::string_view title) {
    return fmt::format(
        R"({{"layers":[{{"digest":"{}","annotations":{{"org.opencontainers.image.title":"{}"}}}}]}})", digest,
        title);
  };
  lab.answer("/v2/vision/surface/manifests/v1", 200, manifest("student.onnx"));
  lab.answer("/v2/vision/surface/blobs/" + digest, 200, bytes);
  EXPECT_EQ(lab.run({"model", "pull", "vision/surface:v1", "/out"}).out,
            fmt::format("/out/student.onnx 7 B {}\n", digest));
  EXPECT_EQ(lab.files().read_file("/out/student.onnx").value_or(""), bytes);
  for (const auto* title : {"../evil", "a/b", ".bashrc", "a\\\\b"}) {
    lab.answer("/v2/vision/surface/manifests/v1", 200, manifest(title));
    EXPECT_EQ(lab.run({"model", "pull", "vision/surface:v1", "/out"}).status, 1) << title;
  }
  EXPECT_FALSE(lab.files().exists("/evil"));
  lab.answer("/v2/vision/surface/manifests/v1", 200, manifest("other.onnx"));
  lab.answer("/v2/vision/surface/blobs/" + digest, 200, "tampered");
  const auto tampered = lab.run({"model", "pull", "vision/surface:v1", "/out"});
  EXPECT_EQ(tampered.status, 1);
  EXPECT_FALSE(lab.files().exists("/out/other.onnx"));
  lab.answer("/v2/vision/surface/manifests/latest", 200, R"({"layers":[{"digest":"x"}]})");
  EXPECT_EQ(lab.run({"model", "pull", "vision/surface", "/out"}).status, 1) << "a digest that is none";
}

TEST(PolicyEval, prints_the_value_or_points_at_the_mistake) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/v.json", R"({"task":{"type":"training","gpu_demand":16}})");
  EXPECT_EQ(lab.run({"policy", "eval", "--expr", "task.type == 'training' AND task.gpu_demand > 8", "--vars",
                     "/w/v.json"})
                .out,
            "true\n");
  EXPECT_EQ(lab.run({"policy", "eval", "--expr", "1 + 2"}).out, "3\n");
  const auto wrong = lab.run({"policy", "eval", "--expr", "1 +"});
  EXPECT_EQ(wrong.status, 1);
  EXPECT_NE(wrong.err.find('^'), std::string::npos) << wrong.err;
  EXPECT_EQ(lab.run({"policy", "eval", "--expr", "nothing"}).status, 1);
  EXPECT_EQ(lab.run({"policy", "eval", "--json", "--expr", "[1, duration('90m'), b'hi']"}).out,
            "[1,\"5400s\",\"aGk=\"]\n");
  const auto placed = lab.run({"policy", "eval", "--json", "--expr", "1 +\n  1 / 0"});
  EXPECT_EQ(placed.status, 1);
  EXPECT_NE(placed.out.find(R"("reason":"cel.divide_by_zero","line":2,"column":5)"), std::string::npos)
      << placed.out;
  lab.write("/w/v.json", "[1]");
  EXPECT_EQ(lab.run({"policy", "eval", "--expr", "1", "--vars", "/w/v.json"}).status, 1);
}

TEST(PolicyEval, reads_durations_and_times_where_rules_have_them) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/v.json", R"({"now":"2026-11-23T12:00:00Z","label":"10ms","task":{"type":"inference",
      "latency_requirement":"10ms","deadline":"2026-11-23T13:00:00Z","name":"1h"},"site":{"rtt":"far"}})");
  const auto value = [&](const std::string& expression) {
    const auto done = lab.run({"policy", "eval", "--json", "--expr", expression, "--vars", "/w/v.json"});
    return done.status == 0 ? done.out : "failed: " + done.out;
  };
  EXPECT_EQ(value("task.type == 'inference' AND task.latency_requirement < 20ms"), "true\n");
  EXPECT_EQ(value("task.deadline - now"), "\"3600s\"\n");
  EXPECT_EQ(value("task.latency_requirement"), "\"0.01s\"\n");
  EXPECT_EQ(value("has(task.deadline) && !has(task.duration)"), "true\n");
  EXPECT_EQ(value("[task.name, label, site.rtt]"), "[\"1h\",\"10ms\",\"far\"]\n") << "text stays text";
}

TEST(CommandLine, wrong_words_are_usage_and_help_is_not) {
  CliLab lab;
  for (const auto& argv : std::vector<std::vector<std::string>>{{},
                                                                {"fly"},
                                                                {"get"},
                                                                {"get", "sites", "-o", "pdf"},
                                                                {"token"},
                                                                {"wait", "site/a"},
                                                                {"get", "sites", "--colour"}}) {
    const auto outcome = lab.run(argv);
    EXPECT_EQ(outcome.status, 2) << fmt::format("{}", fmt::join(argv, " "));
    EXPECT_TRUE(outcome.err.starts_with("error: ")) << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
  EXPECT_EQ(lab.run({"--help"}).status, 0);
  EXPECT_NE(lab.run({"get", "--help"}).out.find("--watch"), std::string::npos);
  EXPECT_EQ(lab.run({"get", "spaceships"}).err,
            "error: there is no kind \"spaceships\"; `neap explain` lists the kinds\n");
  EXPECT_EQ(lab.run({"get", "site/a/b"}).status, 1);
  EXPECT_EQ(lab.run({"get", "site", "a/b"}).status, 1);
}

TEST(Connection, says_what_is_wrong_with_it) {
  CliLab lab;
  lab.write("/w/wrong", CliLab::kubeconfig("guessed"));
  const auto token = lab.run({"get", "sites", "--kubeconfig", "/w/wrong"});
  EXPECT_EQ(token.status, 1);
  EXPECT_EQ(
      token.err,
      "error: the bearer token is not known; the server did not take the credentials of /w/wrong; get a "
      "fresh kubeconfig from it\n");
  lab.write("/w/nobody", CliLab::kubeconfig("secret", "http://hq:9"));
  const auto nobody = lab.run({"get", "sites", "--kubeconfig", "/w/nobody"});
  EXPECT_EQ(nobody.status, 1);
  EXPECT_NE(nobody.err.find("http://hq:9"), std::string::npos) << nobody.err;
  EXPECT_NE(nobody.err.find("check that the server runs"), std::string::npos) << nobody.err;
  EXPECT_EQ(lab.run({"get", "sites", "--kubeconfig", "/w/absent"}).err,
            "error: the kubeconfig /w/absent does not exist; name one with --kubeconfig FILE\n");
  lab.write("/w/broken", "{a: [");
  EXPECT_EQ(lab.run({"get", "sites", "--kubeconfig", "/w/broken"}).status, 1);
  lab.environment = {{"KUBECONFIG", "/w/absent:/home/.kube/config"}};
  EXPECT_EQ(lab.run({"get", "sites"}).status, 0);
  lab.environment = {{"KUBECONFIG", "/w/wrong"}, {"NEAP_KUBECONFIG", "/home/.kube/config"}};
  EXPECT_EQ(lab.run({"get", "sites"}).status, 0);
  lab.environment = {{"KUBECONFIG", "/w/absent"}};
  EXPECT_NE(lab.run({"get", "sites"}).err.find("KUBECONFIG names /w/absent"), std::string::npos);
  lab.environment.clear();
  EXPECT_NE(lab.run({"get", "sites"}).err.find("neap up"), std::string::npos);
}

TEST(ProcessContext, takes_the_variables_as_they_are) {
  CliLab lab;
  const char* const environment[] = {"HOME=/home/me", "EMPTY=", "BROKEN", "PATH=a=b", nullptr};
  const auto context = make_process_context(lab.runtime(), environment);
  EXPECT_EQ(context.environment,
            (std::map<std::string, std::string>{{"HOME", "/home/me"}, {"EMPTY", ""}, {"PATH", "a=b"}}));
}

TEST(Output, nothing_a_server_sends_steers_the_terminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\r\nc\xc2\x9b"
                      "d\x7f"),
            "a [2Jb  c d ");
  EXPECT_EQ(printable("a\n\tb\x07", true), "a\n\tb ");
  EXPECT_EQ(printable("Prüfung 检查"), "Prüfung 检查");
  EXPECT_EQ(render_table({{"A", "B"}, {"ü\n", "x"}}), "A   B\nü   x\n");
  EXPECT_EQ(money_text(1'500'000, "EUR"), "1.50 EUR");
  EXPECT_EQ(money_text(-1, ""), "-0.000001");
}

}  // namespace
}  // namespace neap::cli
