// One agent before an API in memory, on simulated time; the test plays the controllers.
#include "neap/agent/agent.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "neap/base/task_group.h"
#include "neap/client/fake_resource_client.h"
#include "neap/client/typed.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::agent {
namespace {

using api::Allocation;

class Quiet final : public telemetry::LogSink {
 public:
  void write(const telemetry::Record&) override {}
};

class NoBlobs final : public BlobExchange {
 public:
  Task<Result<std::string>> fetch(CallContext, std::string, std::string digest) override {
    co_return "/content/" + digest;
  }
  Task<Result<api::ArtifactRef>> send(CallContext, ExportIntent, std::string, std::string,
                                      std::function<void(std::int64_t)>) override {
    co_return fail(Code::kUnimplemented, "test.send", "nothing leaves here");
  }
  Task<Result<FetchedModel>> fetch_model(CallContext, std::string, std::string digest) override {
    if (is_away) co_return fail(Code::kUnavailable, "test.away", "the link is down");
    if (digest.ends_with("bad"))
      co_return fail(Code::kPermissionDenied, "test.signature", "the signature is forged");
    co_return FetchedModel{
        .manifest_digest = digest, .signature_key_id = "key", .files = {{"m.onnx", "/content/m"}}};
  }
  Task<Status> record_refused_model(ExportIntent intent, std::string reason) override {
    refused.push_back(intent.owner + ": " + reason);
    co_return ok();
  }
  std::vector<std::string> refused;
  bool is_away = false;
};

class NoCollector final : public Collector {
 public:
  Task<Result<CollectedPart>> prepare(CallContext, api::CollectWork, std::string, std::string) override {
    co_return CollectedPart{};
  }
};

class RecordedServing final : public ServingHost {
 public:
  std::vector<std::string> events;
  void expect(const api::ServeWork&) override {}
  Task<Status> load(CallContext, std::string, std::string version, std::string) override {
    events.push_back("load " + version);
    co_return ok();
  }
  Task<Result<ProbeResult>> probe(CallContext, std::string, std::string, std::string) override {
    co_return ProbeResult{};
  }
  Task<Status> activate(CallContext, api::ServeWork work) override {
    events.push_back("activate " + work.modelVersion);
    co_return ok();
  }
  Status set_shadow(const std::string&, const std::string&) override { return ok(); }
  api::ShadowStatus shadow_report(const std::string&) override { return {}; }
  double take_busy_seconds(const std::string&) override { return busy_seconds; }
  double busy_seconds = 0;
  Task<Status> remove(CallContext, std::string) override {
    events.push_back("remove");
    co_return ok();
  }
};

class Node : public ::testing::Test {
 protected:
  Node()
      : machine_(sim_.add_machine("press-1")),
        client_(runtime()),
        store_(runtime().executor()),
        limiter_(executor::ResourceLimiter::detect(runtime().files(), "press-1")),
        log_(sink_, runtime().clock()) {
    api::Node node;
    node.metadata.name = "press-1";
    node.spec.site = "shop";
    EXPECT_TRUE(wait(client::TypedClient<api::Node>(client_).create({}, node)));
    script_.run_for = std::nullopt;
    machine_.set_behaviour([this](const io::ProcessSpec&) -> Result<io::SimProgram> {
      ++starts_;
      return script_;
    });
    start();
  }
  ~Node() override { end(); }

  io::Runtime& runtime() { return machine_.runtime(); }
  void pass(Duration time = 3s) { sim_.run_for(time); }
  // The agent's program; what it started lives on.
  void start() {
    processes_ = std::make_unique<executor::ProcessDriver>(runtime(), limiter_, executor::DriverOptions{});
    AgentOptions options;
    options.node = "press-1";
    options.site = "shop";
    options.state_directory = "/neap";
    options.data_directory = "/data";
    options.advertise_host = "press-1";
    agent_ = std::make_unique<Agent>(Agent::Dependencies{.runtime = runtime(),
                                                         .store = store_,
                                                         .client = client_,
                                                         .processes = *processes_,
                                                         .blobs = blobs_,
                                                         .collector = collector_,
                                                         .serving = serving_,
                                                         .log = log_},
                                     options);
    EXPECT_TRUE(wait(agent_->start()));
    pass();
  }
  void end() {
    if (agent_) agent_->abandon();
    if (processes_) processes_->abandon();
    agent_.reset();
    processes_.reset();
  }
  void lose_server() {
    client_.fail_next(1'000'000,
                      Error{.code = Code::kUnavailable, .reason = "test.down", .message = "no route"});
    client_.end_watches();
  }
  void find_server() { client_.fail_next(0, Error{}); }

  template <class R>
  R wait(Task<R> task) {
    std::optional<R> out;
    TaskGroup group(runtime().executor());
    group.spawn([](Task<R> inner, std::optional<R>& result) -> Task<void> {
      result.emplace(co_await std::move(inner));
    }(std::move(task), out));
    sim_.run_for(1min, [&] { return out && group.running() == 0; });
    return std::move(*out);
  }
  Allocation allocation(const std::string& name) {
    Allocation out;
    out.metadata.name = name;
    out.metadata.namespace_ = "default";
    out.spec.node = "press-1";
    out.spec.site = "shop";
    return out;
  }
  Allocation member(const std::string& name, std::int64_t committed) {
    auto out = allocation(name);
    out.spec.ownerKind = "TrainingJob";
    out.spec.ownerName = "gang";
    out.spec.epoch = 1;
    out.spec.committedEpoch = committed;
    out.spec.process = api::ProcessWork{};
    out.spec.process->command = {"/usr/bin/train"};
    return out;
  }
  Allocation replica(const std::string& manifest) {
    auto out = allocation("inspect");
    out.spec.ownerKind = "InferenceService";
    out.spec.ownerName = "inspect";
    out.spec.serve = api::ServeWork{};
    out.spec.serve->service = "inspect";
    out.spec.serve->model = "inspector";
    out.spec.serve->repository = "default/inspector";
    out.spec.serve->modelVersion = manifest;
    out.spec.serve->manifestDigest = "sha256:" + manifest;
    return out;
  }
  void create(const Allocation& wanted) {
    auto made = wait(client::TypedClient<Allocation>(client_).create({}, wanted));
    ASSERT_TRUE(made) << made.error().to_string();
    pass();
  }
  void remove(const std::string& name) {
    ASSERT_TRUE(wait(client::TypedClient<Allocation>(client_).remove({}, "default", name)));
  }
  Allocation get(const std::string& name) {
    auto got = wait(client::TypedClient<Allocation>(client_).get({}, "default", name));
    EXPECT_TRUE(got);
    return got ? *got : Allocation{};
  }
  void set_spec(const std::string& name, const std::function<void(Allocation&)>& change) {
    auto object = get(name);
    change(object);
    ASSERT_TRUE(wait(client::TypedClient<Allocation>(client_).update({}, object)));
    pass();
  }
  std::size_t living() const { return machine_.running_processes().size(); }

  io::SimWorld sim_{7};
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  store::MemoryStore store_;
  executor::ResourceLimiter limiter_;
  Quiet sink_;
  telemetry::Logger log_;
  NoBlobs blobs_;
  NoCollector collector_;
  RecordedServing serving_;
  io::SimProgram script_;
  int starts_ = 0;
  std::unique_ptr<executor::ProcessDriver> processes_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(Node, a_member_runs_only_when_its_epoch_is_committed) {
  create(member("gang-e1-0", 0));
  EXPECT_EQ(get("gang-e1-0").status.phase, "Prepared");
  EXPECT_EQ(living(), 0u);
  set_spec("gang-e1-0", [](auto& a) { a.spec.committedEpoch = 1; });
  EXPECT_EQ(get("gang-e1-0").status.phase, "Running");
  EXPECT_EQ(living(), 1u);
}

TEST_F(Node, training_stops_when_the_lease_has_run_out_and_serving_goes_on) {
  create(member("gang-e1-0", 1));
  create(replica("v1"));
  lose_server();
  pass(15s);
  EXPECT_EQ(living(), 1u);
  pass(15s);
  EXPECT_EQ(living(), 0u);
  EXPECT_THAT(serving_.events, ::testing::ElementsAre("load v1", "activate v1"));
  find_server();
  pass(10s);
  EXPECT_EQ(get("gang-e1-0").status.phase, "Released");
  EXPECT_EQ(get("gang-e1-0").status.reason, "LeaseExpired");
  EXPECT_EQ(get("inspect").status.phase, "Running");
}

TEST_F(Node, renews_its_lease_in_time_and_not_in_step_with_others) {
  const client::ResourcePath path{.group = "coordination.k8s.io",
                                  .version = "v1",
                                  .plural = "leases",
                                  .namespace_ = "neap-node-lease",
                                  .name = "press-1",
                                  .subresource = {}};
  std::set<WallTime> renewed;
  for (int i = 0; i < 600; ++i) {
    pass(100ms);
    const auto lease = wait(client_.get({}, path));
    ASSERT_TRUE(lease);
    renewed.insert(*parse_rfc3339(get_string(lease->at("spec"), "renewTime")));
  }
  std::set<Duration> pauses;
  for (auto at = renewed.begin(); std::next(at) != renewed.end(); ++at) pauses.insert(*std::next(at) - *at);
  const Duration renew = AgentOptions{}.lease_renew;
  EXPECT_GE(*pauses.begin(), renew - renew / 8);
  EXPECT_LE(*pauses.rbegin(), renew + 100ms);
  EXPECT_GE(pauses.size(), 8u) << "each pause is drawn anew";
}

TEST_F(Node, a_replica_reports_how_many_requests_it_had_at_once) {
  create(replica("v1"));
  pass(5s);
  EXPECT_TRUE(get("inspect").status.metrics.is_null()) << "there was no minute yet";
  serving_.busy_seconds = 150;
  pass(61s);
  const auto seen = get("inspect");
  const auto* told = find_path(seen.status.metrics, {"concurrency"});
  ASSERT_TRUE(told);
  EXPECT_NEAR(told->to_number<double>(), 2.5, 0.11);
}

TEST_F(Node, a_program_that_will_not_stop_is_ended_before_a_successor_may_start) {
  script_.reactions[15] = {.ignored = true, .after = {}, .status = {}};
  create(member("gang-e1-0", 1));
  lose_server();
  pass(29s);
  EXPECT_EQ(living(), 0u);
}

TEST_F(Node, a_prepared_member_whose_lease_ran_out_does_not_start_with_a_late_commit) {
  create(member("gang-e1-0", 0));
  lose_server();
  pass(25s);
  find_server();
  pass(10s);
  set_spec("gang-e1-0", [](auto& a) { a.spec.committedEpoch = 1; });
  EXPECT_EQ(starts_, 0);
  EXPECT_EQ(get("gang-e1-0").status.reason, "LeaseExpired");
}

TEST_F(Node, a_restart_without_the_server_serves_again_and_keeps_programs) {
  create(member("gang-e1-0", 1));
  create(replica("v1"));
  end();
  lose_server();
  serving_.events.clear();
  start();
  EXPECT_THAT(serving_.events, ::testing::ElementsAre("load v1", "activate v1"));
  EXPECT_EQ(living(), 1u);
  EXPECT_EQ(starts_, 1);
}

TEST_F(Node, a_committed_member_from_disk_waits_for_the_servers_word) {
  create(member("gang-e1-0", 1));
  end();
  // What a power loss just before the start leaves: committed and prepared, and no program.
  auto saved = wait(store_.get({}, "allocation/default/gang-e1-0"));
  ASSERT_TRUE(saved && *saved);
  auto object = api::from_json<Allocation>(*parse_json((*saved)->value));
  ASSERT_TRUE(object);
  object->status.phase = "Prepared";
  ASSERT_TRUE(
      wait(store_.put({}, "allocation/default/gang-e1-0", to_text(api::to_json(*object)), std::nullopt)));
  lose_server();
  start();
  pass(10s);
  EXPECT_EQ(starts_, 1);
  pass(20s);
  EXPECT_EQ(starts_, 1);
}

TEST_F(Node, adopted_programs_have_the_time_of_the_old_lease_and_no_more) {
  create(member("gang-e1-0", 1));
  end();
  lose_server();
  pass(30s);
  start();
  EXPECT_EQ(living(), 0u);
}

TEST_F(Node, an_allocation_made_again_under_its_name_starts_when_the_first_has_stopped) {
  script_.reactions[15] = {.ignored = false, .after = 5s, .status = {.code = 75, .signal = 0}};
  create(member("gang-e1-0", 1));
  remove("gang-e1-0");
  create(member("gang-e1-0", 1));
  EXPECT_EQ(starts_, 1);
  pass(10s);
  EXPECT_EQ(starts_, 2);
  EXPECT_EQ(living(), 1u);
  EXPECT_EQ(get("gang-e1-0").status.phase, "Running");
}

TEST_F(Node, an_allocation_deleted_while_it_ends_leaves_nothing_behind) {
  script_.run_for = 4s;
  create(member("gang-e1-0", 1));
  // Ended, its socket still closing: the moment at which the worker must not be freed.
  for (int i = 0; i < 400 && get("gang-e1-0").status.phase == "Running"; ++i) sim_.run_for(5ms);
  remove("gang-e1-0");
  pass();
  auto left = wait(store::list_all(store_, {}, "allocation/"));
  ASSERT_TRUE(left);
  EXPECT_TRUE(left->items.empty());
}

TEST_F(Node, work_that_the_server_gave_up_ends_here_too) {
  create(member("gang-e1-0", 1));
  auto object = get("gang-e1-0");
  object.status.phase = "Released";
  ASSERT_TRUE(wait(client::TypedClient<Allocation>(client_).update_status({}, object)));
  pass();
  EXPECT_EQ(living(), 0u);
  EXPECT_EQ(get("gang-e1-0").status.reason, "Superseded");
}

TEST_F(Node, a_version_that_does_not_verify_never_replaces_one_that_does) {
  create(replica("v1"));
  set_spec("inspect", [](auto& a) {
    a.spec.serve->modelVersion = "v2";
    a.spec.serve->manifestDigest = "sha256:bad";
  });
  EXPECT_THAT(serving_.events, ::testing::ElementsAre("load v1", "activate v1"));
  const auto status = get("inspect").status;
  EXPECT_EQ(status.servingVersion, "v1");
  const auto* refused = api::find_condition(status.conditions, "ModelRefused");
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->reason, "v2");
  sim_.run_for(1min);
  EXPECT_THAT(blobs_.refused, ::testing::ElementsAre(::testing::AllOf(
                                  ::testing::HasSubstr("v2 is not served"), ::testing::HasSubstr("forged"))))
      << "each refusal is on record once, however often it is tried";
}

TEST_F(Node, a_refusal_is_taken_back_at_the_server_too) {
  auto object = replica("v1");
  object.spec.serve->manifestDigest = "sha256:bad";
  create(object);
  EXPECT_NE(api::find_condition(get("inspect").status.conditions, "ModelRefused"), nullptr);
  set_spec("inspect", [](auto& a) { a.spec.serve->manifestDigest = "sha256:good"; });
  EXPECT_EQ(get("inspect").status.servingVersion, "v1");
  EXPECT_EQ(api::find_condition(get("inspect").status.conditions, "ModelRefused"), nullptr);
}

TEST_F(Node, a_shadow_that_could_not_be_had_is_tried_again) {
  create(replica("v1"));
  blobs_.is_away = true;
  set_spec("inspect", [](auto& a) {
    a.spec.serve->shadowModelVersion = "v2";
    a.spec.serve->shadowManifestDigest = "sha256:v2";
  });
  EXPECT_EQ(api::find_condition(get("inspect").status.conditions, "ShadowReady"), nullptr);
  EXPECT_EQ(api::find_condition(get("inspect").status.conditions, "ModelRefused"), nullptr);
  blobs_.is_away = false;
  sim_.run_for(30s);
  const auto status = get("inspect").status;
  ASSERT_NE(api::find_condition(status.conditions, "ShadowReady"), nullptr);
  EXPECT_EQ(status.servingVersion, "v1");
  EXPECT_EQ(status.message, "v1 answers");
}

}  // namespace
}  // namespace neap::agent
