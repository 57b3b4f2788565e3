#include "internal/derivation.h"
#include "internal/spot_history.h"
#include "neap/api/codec.h"
#include "neap/dataguard/dataguard.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::DataPolicy;
using api::DeploymentStrategy;
using api::InferenceService;
using api::SchedulingPolicy;
using api::TrainingJob;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Shapes as their users have them; values are examples.
constexpr std::string_view kStrategy = R"(
apiVersion: ai.hybrid.io/v1
kind: DeploymentStrategy
metadata: {name: vision, namespace: default, labels: {team: quality}}
spec:
  workloadType: Training
  targetCloud: public-cloud-gpu-cluster
  resources: {gpuType: NVIDIA_A100, replicas: 32, costStrategy: SpotPreemptible}
  postTraining:
    action: DistillAndPush
    targetEdge:
    - {location: shanghai-factory, latencyTarget: 10ms}
    - {location: munich, dataSovereignty: Strict}
)";
constexpr std::string_view kPolicy = R"(
apiVersion: ai.hybridcloud/v1
kind: SchedulingPolicy
metadata: {name: realtime, namespace: default}
spec:
  priorityClass: critical-realtime
  constraints:
  - {type: Latency, threshold: 10ms, action: ForceEdge}
  - {type: Cost, threshold: spot-price-low, action: PreemptibleCloud}
)";
constexpr std::string_view kDeployment = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge-inference, namespace: default}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: inference
        image: registry.example/inference:1.2
        resources: {limits: {nvidia.com/gpu: 1, memory: 2Gi}}
        env: [{name: MODEL_PATH, value: /models/surface/1/model.onnx}]
)";
constexpr std::string_view kJob = R"(
apiVersion: batch/v1
kind: Job
metadata: {name: model-sync, namespace: default}
spec:
  template:
    spec:
      containers:
      - name: sync
        image: registry.example/sync:1
        command: [/opt/sync, --once]
        env: [{name: EDGE_ENDPOINT, value: "https://edge.example:8443"}]
)";
constexpr std::string_view kPodGroup = R"(
apiVersion: scheduling.volcano.sh/v1beta1
kind: PodGroup
metadata: {name: gang, namespace: default}
spec:
  minMember: 4
  minResources: {cpu: "6", memory: 10Gi}
  queue: research
)";

Json yaml(std::string_view text) { return api::parse_yaml(text).value().front(); }
Json edited(std::string_view text, const std::function<void(JsonObject& spec)>& change) {
  Json out = yaml(text);
  change(out.at("spec").get_object());
  return out;
}
void annotate(Json& document, std::string_view key, std::string_view value) {
  auto& metadata = sub_object(document.get_object(), "metadata");
  sub_object(metadata, "annotations")[key] = boost::json::string(value);
}

class Documents : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("cloud-a", api::Tier::kPublic);
    add_site("factory-01", {"shanghai-factory"}, {});
    add_site("factory-02", {}, {{"city", "munich"}});
    cluster.pass();
  }
  void add_site(const std::string& name, std::vector<std::string> aliases, api::Labels labels) {
    api::Site site;
    site.metadata.name = name;
    site.metadata.labels = std::move(labels);
    site.spec.tier = api::Tier::kEdge;
    site.spec.jurisdiction = "DE";
    site.spec.aliases = std::move(aliases);
    cluster.create(site);
  }
  void add_template(const std::string& name, bool is_default = true) {
    DeploymentStrategy t;
    t.metadata.name = name;
    t.metadata.namespace_ = "default";
    t.metadata.labels["neap.dev/template"] = "true";
    if (is_default) t.metadata.labels["neap.dev/default-template"] = "true";
    t.spec.model = "surface";
    t.spec.collect.dataset = "inspections";
    t.spec.train.command = {"{python}", "train.py"};
    t.spec.train.code = "sha256:" + std::string(64, 'c');
    t.spec.train.checkpoint.intervalSteps = 20;
    t.spec.compress = api::CompressStage{.command = {"{python}", "compress.py"}};
    t.spec.serve.name = "surface";
    t.spec.serve.places = {{.site = "factory-01", .replicas = 3, .role = "active"},
                           {.site = "cloud-a", .replicas = 1, .role = "standby"}};
    cluster.create(t);
  }
  void add_model(const std::string& name) {
    api::Model model;
    model.metadata.name = name;
    model.metadata.namespace_ = "default";
    cluster.create(model);
    add_version(name, name + "-g1-v1");
  }
  void add_version(const std::string& model, const std::string& name) {
    api::ModelVersion version;
    version.metadata.name = name;
    version.metadata.namespace_ = "default";
    version.spec.model = model;
    version.spec.repository = "default/" + model;
    version.spec.manifestDigest = "sha256:" + std::string(64, 'a');
    version.spec.file = "model.onnx";
    cluster.create(version);
  }
  static client::ResourcePath path_of(const Json& document, bool with_name = true) {
    const auto version = get_string(document, "apiVersion");
    const auto slash = version.find('/');
    const auto* kind = api::KindTable::standard().find_kind(
        version.substr(0, slash), version.substr(slash + 1), get_string(document, "kind"));
    return {.group = kind->group,
            .version = kind->version,
            .plural = kind->plural,
            .namespace_ = "default",
            .name = with_name ? meta_text(document, "name") : "",
            .subresource = {}};
  }
  void apply(const Json& document) {
    auto made = cluster.wait(cluster.client().create({}, path_of(document, false), document, {}));
    ASSERT_TRUE(made) << made.error().to_string();
    cluster.pass(10s);
  }
  void replace(const Json& document) {
    auto written = cluster.wait(cluster.client().update({}, path_of(document), document, {}));
    ASSERT_TRUE(written) << written.error().to_string();
    cluster.pass(10s);
  }
  Json stored(const Json& document) {
    return cluster.wait(cluster.client().get({}, path_of(document))).value();
  }
  // "True Derived: ..." of the condition that says what became of it.
  std::string verdict(const Json& document) {
    const auto now = stored(document);
    const auto* conditions = find_path(now, {"status", "conditions"});
    if (conditions)
      for (const auto& c : conditions->get_array())
        if (get_string(c, "type") == "Derived")
          return fmt::format("{} {}: {}", get_string(c, "status"), get_string(c, "reason"),
                             get_string(c, "message"));
    return "nothing was said";
  }
  std::vector<std::string> events() {
    const auto list = cluster
                          .wait(cluster.client().list({},
                                                      {.group = "",
                                                       .version = "v1",
                                                       .plural = "events",
                                                       .namespace_ = "default",
                                                       .name = {},
                                                       .subresource = {}},
                                                      {}))
                          .value();
    std::vector<std::string> out;
    for (const auto& event : list.at("items").get_array())
      out.push_back(fmt::format("{} {}", get_string(event, "type"), get_string(event, "reason")));
    return out;
  }
  Cluster cluster;
};

TEST_F(Documents, a_hybrid_strategy_takes_its_program_from_the_default_template) {
  add_template("house");
  const auto document = yaml(kStrategy);
  apply(document);
  EXPECT_THAT(verdict(document),
              HasSubstr("True Derived: derived datapolicy/vision-strict, deploymentstrategy/vision"));
  const auto s = cluster.get<DeploymentStrategy>("vision");
  EXPECT_EQ(s.metadata.ownerReferences.front().apiVersion, "ai.hybrid.io/v1");
  EXPECT_EQ(s.metadata.labels.at("team"), "quality");
  EXPECT_THAT(s.spec.train.allowedSites, ElementsAre("cloud-a"))
      << "public-cloud-gpu-cluster by its tier word";
  EXPECT_EQ(s.spec.train.replicas, 32);
  EXPECT_EQ(s.spec.train.resources.accelerators.at("NVIDIA_A100").value, 1000);
  EXPECT_EQ(s.spec.train.costStrategy, "SpotPreemptible");
  EXPECT_EQ(s.spec.train.interruption, api::InterruptionClass::kCheckpointed);
  EXPECT_EQ(s.spec.serve.latencyTarget, 10ms);
  EXPECT_EQ(s.spec.serve.name, "vision");
  ASSERT_EQ(s.spec.serve.places.size(), 3u);
  EXPECT_EQ(s.spec.serve.places[0].site, "factory-01") << "by alias";
  EXPECT_EQ(s.spec.serve.places[0].replicas, 3) << "as the template has it";
  EXPECT_EQ(s.spec.serve.places[1].site, "factory-02") << "by label";
  EXPECT_EQ(s.spec.serve.places[2].role, "standby");
  EXPECT_EQ(stored(document).at("spec"), document.at("spec")) << "stored as applied";
  EXPECT_EQ(cluster.get<DeploymentStrategy>("house").status.phase, "Template") << "a template does not run";
}

TEST_F(Documents, what_is_strict_is_a_guard_that_no_other_rule_overrides) {
  add_template("house");
  DataPolicy open;
  open.metadata.name = "a-first-in-order";
  open.metadata.namespace_ = "default";
  for (const auto level : {api::DataLevel::kL2, api::DataLevel::kL3})
    open.spec.rules.push_back({.name = fmt::format("all-{}", int(level)), .level = level, .effect = "allow"});
  cluster.create(open);
  apply(yaml(kStrategy));
  dataguard::DataPolicyTable table;
  table.append(open.spec);
  table.append(cluster.get<DataPolicy>("vision-strict").spec);
  const dataguard::Place munich{
      .site = SiteName("factory-02"), .tier = api::Tier::kEdge, .jurisdiction = "DE"};
  const dataguard::Place shanghai{
      .site = SiteName("factory-01"), .tier = api::Tier::kEdge, .jurisdiction = "DE"};
  for (const auto level : {api::DataLevel::kL1, api::DataLevel::kL2, api::DataLevel::kL3})
    EXPECT_FALSE(
        table.judge(munich, shanghai, {.level = level, .declassified_by = "mask-identifiers-v1"}, "store")
            .allowed)
        << int(level);
  EXPECT_TRUE(table.judge(munich, munich, {.level = api::DataLevel::kL1}, "train").allowed);
  EXPECT_TRUE(table.judge(shanghai, munich, {.level = api::DataLevel::kL3}, "store").allowed)
      << "a model may come in";
}

TEST_F(Documents, nothing_is_collected_where_the_location_is_strict) {
  add_template("house");
  cluster.add_node("f1", "factory-01", 4);
  cluster.add_node("f2", "factory-02", 4);
  api::Dataset dataset;
  dataset.metadata.name = "inspections";
  dataset.metadata.namespace_ = "default";
  dataset.spec.level = api::DataLevel::kL2;
  dataset.spec.jurisdiction = "DE";
  dataset.spec.sources = {{.site = "factory-01", .path = "x"}, {.site = "factory-02", .path = "x"}};
  cluster.create(dataset);
  apply(yaml(kStrategy));
  EXPECT_TRUE(cluster.find<Allocation>("inspections-vision-g1-factory-01"));
  EXPECT_FALSE(cluster.find<Allocation>("inspections-vision-g1-factory-02"));
}

TEST_F(Documents, without_a_template_it_is_refused_with_what_is_missing) {
  const auto document = yaml(kStrategy);
  apply(document);
  EXPECT_THAT(verdict(document), HasSubstr("False TemplateMissing"));
  EXPECT_THAT(verdict(document), HasSubstr("neap.dev/default-template=true"));
  EXPECT_FALSE(cluster.find<DeploymentStrategy>("vision"));
  EXPECT_THAT(events(), ElementsAre("Warning TemplateMissing"));
  add_template("house");
  cluster.pass(10s);
  EXPECT_TRUE(cluster.find<DeploymentStrategy>("vision")) << "what was missing came later";
}

TEST_F(Documents, names_that_no_site_has_are_refused_with_the_names_there_are) {
  add_template("house");
  auto document = edited(kStrategy, [](auto& spec) { spec["targetCloud"] = "andromeda"; });
  apply(document);
  EXPECT_THAT(verdict(document), HasSubstr("False SiteUnknown: spec.targetCloud is \"andromeda\""));
  EXPECT_THAT(verdict(document), HasSubstr("cloud-a, factory-01, factory-02"));
  auto edge = yaml(kStrategy);
  edge.at("metadata").get_object()["name"] = "other";
  edge.at("spec").at("postTraining").at("targetEdge").get_array()[0].get_object()["location"] = "edge-lyon";
  apply(edge);
  EXPECT_THAT(verdict(edge), HasSubstr("SiteUnknown"))
      << "a tier word in a location does not mean every edge";
}

TEST_F(Documents, what_cannot_be_carried_out_is_named) {
  add_template("house");
  const struct {
    const char* reason;
    std::function<void(JsonObject&)> change;
  } kCases[] = {
      {"WorkloadType", [](auto& spec) { spec["workloadType"] = "Dreaming"; }},
      {"PostTrainingAction", [](auto& spec) { spec["postTraining"].get_object()["action"] = "Burn"; }},
      {"LatencyTarget",
       [](auto& spec) {
         spec["postTraining"].get_object()["targetEdge"].get_array()[0].get_object()["latencyTarget"] = "0s";
       }},
      {"ModelMissing", [](auto& spec) { spec["workloadType"] = "Inference"; }},
  };
  int n = 0;
  for (const auto& test : kCases) {
    auto document = edited(kStrategy, test.change);
    document.at("metadata").get_object()["name"] = fmt::format("case-{}", n++);
    apply(document);
    EXPECT_THAT(verdict(document), HasSubstr(fmt::format("False {}:", test.reason)));
  }
}

TEST_F(Documents, an_inference_workload_becomes_a_service_of_the_newest_version) {
  add_template("house");
  add_model("surface");
  apply(edited(kStrategy, [](auto& spec) {
    spec["workloadType"] = "Inference";
    spec["resources"].get_object()["replicas"] = 2;
  }));
  EXPECT_EQ(cluster.get<InferenceService>("vision").spec.modelVersion, "surface-g1-v1");
  EXPECT_EQ(cluster.get<InferenceService>("vision").spec.places[0].replicas, 2);
  cluster.pass(5s);
  add_version("surface", "surface-g2-v1");
  cluster.pass(10s);
  EXPECT_EQ(cluster.get<InferenceService>("vision").spec.modelVersion, "surface-g2-v1");
}

TEST_F(Documents, an_object_of_another_owner_is_left_alone) {
  add_template("vision");
  const auto document = yaml(kStrategy);
  apply(document);
  EXPECT_THAT(verdict(document), HasSubstr("False NameTaken: deploymentstrategy/vision"));
  EXPECT_EQ(cluster.get<DeploymentStrategy>("vision").spec.train.replicas, 1);
}

TEST_F(Documents, a_changed_derived_object_is_set_right_and_a_repeated_pass_writes_nothing) {
  const auto document = yaml(kPolicy);
  apply(document);
  const auto first = cluster.get<SchedulingPolicy>("realtime");
  cluster.pass(30s);
  EXPECT_EQ(cluster.get<SchedulingPolicy>("realtime").metadata.resourceVersion,
            first.metadata.resourceVersion);
  cluster.set_spec<SchedulingPolicy>("realtime", [](auto& p) { p.spec.rules.pop_back(); });
  cluster.pass(10s);
  EXPECT_EQ(cluster.get<SchedulingPolicy>("realtime").spec.rules.size(), first.spec.rules.size());
  EXPECT_THAT(events(), ElementsAre("Normal Derived"));
}

TEST_F(Documents, a_hybridcloud_policy_keeps_critical_work_at_the_edge) {
  apply(yaml(kPolicy));
  cluster.add_node("c1", "cloud-a", 8);
  cluster.add_node("f1", "factory-01", 2);
  auto job = cluster.job("urgent", 1, 1);
  job.spec.priorityClass = "critical-realtime";
  cluster.create(job);
  auto large = cluster.job("urgent-and-large", 1, 4);  // only the cloud has the room
  large.spec.priorityClass = "critical-realtime";
  cluster.create(large);
  cluster.create(cluster.job("patient", 1, 4));
  cluster.pass(10s);
  EXPECT_EQ(cluster.get<TrainingJob>("urgent").status.site, "factory-01");
  EXPECT_EQ(cluster.get<TrainingJob>("urgent-and-large").status.phase, "Pending");
  EXPECT_EQ(cluster.get<TrainingJob>("patient").status.site, "cloud-a");
}

TEST_F(Documents, a_constraint_nobody_knows_is_refused_and_the_guard_before_it_stays) {
  auto document = yaml(kPolicy);
  apply(document);
  replace(edited(
      kPolicy, [](auto& spec) { spec["constraints"].get_array()[0].get_object()["action"] = "ForceMoon"; }));
  EXPECT_THAT(verdict(document), HasSubstr("False Constraint"));
  EXPECT_EQ(cluster.get<SchedulingPolicy>("realtime").spec.rules.size(), 3u);
}

TEST_F(Documents, a_deployment_serves_the_model_its_path_names_and_says_that_no_image_runs) {
  add_model("surface");
  const auto document = yaml(kDeployment);
  apply(document);
  const auto service = cluster.get<InferenceService>("edge-inference");
  EXPECT_EQ(service.spec.model, "surface");
  EXPECT_EQ(service.spec.resources.memory, Bytes{2ll << 30});
  EXPECT_EQ(service.spec.resources.accelerators.begin()->second.value, 1000);
  ASSERT_EQ(service.spec.places.size(), 1u);
  EXPECT_EQ(service.spec.places[0].site, "*");
  EXPECT_EQ(service.spec.places[0].replicas, 2);
  const auto* runs = api::find_condition(service.status.conditions, "ContainerRuns");
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->status + " " + runs->reason, "False NoContainerExecutor");
  EXPECT_THAT(verdict(document), HasSubstr("image registry.example/inference:1.2 is not run"));
}

TEST_F(Documents, a_deployment_is_placed_wherever_there_is_room_or_where_it_says) {
  cluster.add_node("f1", "factory-01", 2);
  add_model("surface");
  auto free = edited(kDeployment, [](auto& spec) {
    spec["template"].at("spec").at("containers").get_array()[0].get_object().erase("resources");
  });
  apply(free);
  EXPECT_EQ(cluster.get<Allocation>("edge-inference-any-0").spec.site, "factory-01");
  auto named = free;
  named.at("metadata").get_object()["name"] = "named";
  annotate(named, "neap.dev/sites", "shanghai-factory, munich");
  named.at("spec").get_object()["replicas"] = 3;
  apply(named);
  const auto places = cluster.get<InferenceService>("named").spec.places;
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].replicas + places[1].replicas, 3);
}

TEST_F(Documents, a_deployment_without_a_registered_model_is_refused_with_what_was_tried) {
  const auto document = yaml(kDeployment);
  apply(document);
  EXPECT_THAT(verdict(document), HasSubstr("False ModelMissing: MODEL_PATH is /models/surface/1/model.onnx"));
  EXPECT_FALSE(cluster.find<InferenceService>("edge-inference"));
  auto two = edited(kDeployment, [](auto& spec) {
    auto& list = spec["template"].at("spec").at("containers").get_array();
    Json again = list.front();
    again.get_object()["name"] = "second";
    list.push_back(std::move(again));
  });
  two.at("metadata").get_object()["name"] = "two";
  apply(two);
  EXPECT_THAT(verdict(two), HasSubstr("False SeveralContainers"));
}

TEST_F(Documents, a_job_with_an_image_waits_until_its_author_lets_it_run_without) {
  auto document = yaml(kJob);
  apply(document);
  auto job = cluster.get<TrainingJob>("model-sync");
  EXPECT_TRUE(job.spec.suspend);
  EXPECT_THAT(job.spec.command, ElementsAre("/opt/sync", "--once"));
  EXPECT_THAT(job.spec.environment, ElementsAre("EDGE_ENDPOINT=https://edge.example:8443"));
  EXPECT_TRUE(api::find_condition(job.status.conditions, "ContainerRuns"));
  EXPECT_EQ(job.status.epoch, 0) << "nothing runs in pretence";

  cluster.add_node("f1", "factory-01", 2);
  annotate(document, "neap.dev/run-as", "process");
  replace(document);
  EXPECT_FALSE(cluster.get<TrainingJob>("model-sync").spec.suspend);
  cluster.set_phase("model-sync-e1-0", "Prepared");
  cluster.set_phase("model-sync-e1-0", "Running");
  cluster.set_phase("model-sync-e1-0", "Succeeded");
  cluster.pass(5s);
  const auto now = stored(document);
  EXPECT_EQ(now.at("status").at("succeeded").to_number<int>(), 1);
  EXPECT_EQ(get_string(now.at("status").at("conditions").get_array().back(), "type"), "Complete");
}

TEST_F(Documents, what_a_job_asks_that_is_not_read_is_refused_by_name) {
  const struct {
    const char* reason;
    std::function<void(JsonObject& spec, JsonObject& container)> change;
  } kCases[] = {
      {"CommandMissing", [](auto&, auto& container) { container.erase("command"); }},
      {"EnvFrom", [](auto&, auto& container) { container["envFrom"] = JsonArray(); }},
      {"EnvValueFrom",
       [](auto&, auto& container) {
         container["env"].get_array()[0].get_object()["valueFrom"] =
             JsonObject{{"secretKeyRef", JsonObject()}};
       }},
      {"Completions", [](auto& spec, auto&) { spec["completions"] = 5; }},
      {"Parallelism", [](auto& spec, auto&) { spec["parallelism"] = 0; }},
  };
  int n = 0;
  for (const auto& test : kCases) {
    auto document = edited(kJob, [&](JsonObject& spec) {
      test.change(spec, spec["template"].at("spec").at("containers").get_array()[0].get_object());
    });
    document.at("metadata").get_object()["name"] = fmt::format("case-{}", n++);
    apply(document);
    EXPECT_THAT(verdict(document), HasSubstr(fmt::format("False {}:", test.reason)));
    EXPECT_FALSE(cluster.find<TrainingJob>(meta_text(document, "name")));
  }
}

TEST_F(Documents, a_pod_group_makes_one_gang_of_the_job_that_names_it) {
  const auto group = yaml(kPodGroup);
  apply(group);
  EXPECT_THAT(verdict(group), HasSubstr("False NoWorkload"));
  auto document = edited(kJob, [](auto& spec) {
    spec["parallelism"] = 4;
    auto& pod = spec["template"].get_object();
    pod["metadata"] = JsonObject{{"annotations", JsonObject{{"scheduling.k8s.io/group-name", "gang"}}}};
  });
  apply(document);
  const auto job = cluster.get<TrainingJob>("model-sync");
  EXPECT_EQ(job.spec.replicas, 4);
  EXPECT_EQ(job.spec.queue, "research");
  EXPECT_EQ(job.spec.resources.cpu.value, 1500)
      << "a quarter of the group's least, where the Job asks for less";
  EXPECT_EQ(job.spec.resources.memory.value, (10ll << 30) / 4);
  EXPECT_THAT(verdict(group), HasSubstr("True Derived: job model-sync starts its 4 members together"));
  EXPECT_EQ(get_string(stored(group).at("status"), "phase"), "Pending") << "its image holds it";
}

TEST_F(Documents, a_parallelism_that_wraps_around_is_refused_like_any_that_is_too_large) {
  apply(edited(kPodGroup, [](auto& spec) { spec["minResources"] = JsonObject{{"nvidia.com/gpu", "4"}}; }));
  const auto document = edited(kJob, [](auto& spec) {
    spec["parallelism"] = std::int64_t(1) << 61;  // a thousand times that is zero in 64 bits
    spec["template"].get_object()["metadata"] =
        JsonObject{{"annotations", JsonObject{{"scheduling.k8s.io/group-name", "gang"}}}};
  });
  apply(document);
  EXPECT_THAT(verdict(document), HasSubstr("False Parallelism: spec.parallelism is above 100000"));
  EXPECT_FALSE(cluster.find<TrainingJob>("model-sync"));
}

TEST_F(Documents, a_pod_group_with_too_few_members_starts_nothing) {
  apply(yaml(kPodGroup));
  auto document = edited(kJob, [](auto& spec) {
    spec["parallelism"] = 2;
    spec["template"].get_object()["metadata"] =
        JsonObject{{"annotations", JsonObject{{"scheduling.k8s.io/group-name", "gang"}}}};
  });
  annotate(document, "neap.dev/run-as", "process");
  apply(document);
  EXPECT_FALSE(cluster.find<TrainingJob>("model-sync"));
  EXPECT_THAT(verdict(document), HasSubstr("False PodGroupTooFew"));
  EXPECT_THAT(verdict(yaml(kPodGroup)), HasSubstr("minMember is 4 and job model-sync has 2 members"));
}

TEST_F(Documents, allowed_sites_that_no_site_answers_to_do_not_mean_anywhere) {
  cluster.add_node("c1", "cloud-a", 8);
  auto job = cluster.job("lost", 1, 1);
  job.spec.allowedSites = {"andromeda"};
  cluster.create(job);
  cluster.pass(5s);
  EXPECT_EQ(cluster.get<TrainingJob>("lost").status.phase, "Pending");
  EXPECT_THAT(cluster.get<TrainingJob>("lost").status.message, HasSubstr("andromeda"));
}

TEST(SpotHistory, the_median_counts_each_price_by_how_long_it_held) {
  api::SiteSpec site;
  site.prices = {{.capacityType = api::CapacityType::kSpot, .perCoreHour = MoneyMicros{100}}};
  std::vector<api::SpotPrice> history;
  const WallTime start{std::chrono::hours(24 * 365 * 50)};
  const auto at = [&](int day) { return start + std::chrono::hours(24 * day); };
  record_spot_price(site, history, at(0));
  EXPECT_DOUBLE_EQ(spot_price_to_median(history, at(0)), 1);
  site.prices[0].perCoreHour = MoneyMicros{60};
  record_spot_price(site, history, at(10));
  record_spot_price(site, history, at(11));
  ASSERT_EQ(history.size(), 2u) << "only changes are kept";
  EXPECT_DOUBLE_EQ(spot_price_to_median(history, at(12)), 0.6) << "100 held for 10 days of 12";
  EXPECT_DOUBLE_EQ(spot_price_to_median(history, at(25)), 1) << "60 held for 15 days of 25";
  site.prices[0].perCoreHour = MoneyMicros{50};
  record_spot_price(site, history, at(41));
  EXPECT_EQ(history.size(), 2u) << "what ended more than 30 days ago is forgotten";
  site.prices.clear();
  record_spot_price(site, history, at(42));
  EXPECT_TRUE(history.empty());
}

}  // namespace
}  // namespace neap::controllers
