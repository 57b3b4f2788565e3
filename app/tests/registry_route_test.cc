#include "registry_route.h"

#include <gtest/gtest.h>

#include "neap/artifacts/artifact_store.h"
#include "neap/artifacts/repository_table.h"
#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

class EverybodyMay final : public auth::Authorizer {
 public:
  auth::Decision authorize(const auth::Identity&, const auth::Attributes& what) const override {
    asked = what.namespace_;
    return {true, {}};
  }
  mutable std::string asked;
};

// A request that came, and what was answered.
class Exchange final : public io::HttpExchange {
 public:
  Exchange(std::string method, std::string path) {
    request_.method = std::move(method);
    request_.target = request_.path = std::move(path);
  }
  const io::HttpRequest& request() const override { return request_; }
  io::BodyReader& body() override { std::abort(); }
  CallContext context() const override { return {}; }
  const io::PeerCertificate* peer_certificate() const override { return nullptr; }
  io::Endpoint peer() const override { return {}; }
  Task<Status> reply(io::HttpResponse response) override {
    answer = std::move(response);
    has_started_ = true;
    co_return ok();
  }
  Task<Status> start(io::HttpResponse response) override { return reply(std::move(response)); }
  Task<Status> write(std::string_view piece) override {
    answer.body += piece;
    co_return ok();
  }
  Task<Status> finish() override { co_return ok(); }
  bool has_started() const override { return has_started_; }
  Task<Result<std::unique_ptr<io::Stream>>> upgrade(io::Headers) override {
    co_return fail(Code::kUnimplemented, "test", "no upgrade");
  }
  io::HttpResponse answer;

 private:
  io::HttpRequest request_;
  bool has_started_ = false;
};

// A registry at hq with one L1 and one L2 repository; "edge-1" is a node of another site.
class RegistryRouteTest : public ::testing::Test {
 protected:
  RegistryRouteTest()
      : log_(sink_, machine_.runtime().clock()),
        metering_([](Json) -> Task<Status> { co_return ok(); }, machine_.runtime().clock()),
        ledger_(run(ledger::Ledger::open(machine_.runtime(), {.directory = "/audit", .origin = "test/audit"},
                                         crypto::PrivateKey::from_ed25519_seed(std::string(32, 'k')).value()))
                    .value()),
        store_(artifacts::ArtifactStore::open(machine_.runtime(), {.root = "/blobs"}).value()),
        repositories_(*store_),
        registry_(*store_, repositories_),
        border_({.runtime = machine_.runtime(),
                 .audit = *ledger_,
                 .metering = metering_,
                 .state = state_,
                 .log = log_},
                "hq"),
        route_(registry_, border_, everybody_) {
    EXPECT_TRUE(run(border_.restore()));
    api::Node node;
    node.metadata.name = "edge-1";
    node.spec.site = "factory-01";
    state_.all<api::Node>()[{"", "edge-1"}] = node;
    api::DataPolicy policy;
    policy.metadata.namespace_ = "default";
    policy.metadata.name = "copies";
    api::DataRule rule;
    rule.name = "business data may be copied";
    rule.level = api::DataLevel::kL2;
    rule.effect = "allow";
    policy.spec.rules = {rule};
    state_.all<api::DataPolicy>()[{"default", "copies"}] = policy;
    describe("core/model", api::DataLevel::kL1);
    describe("open/model", api::DataLevel::kL2);
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    TaskGroup group(machine_.runtime().executor());
    group.spawn([](Task<T> t, std::optional<T>& result) -> Task<void> {
      result.emplace(co_await std::move(t));
    }(std::move(task), out));
    world_.run_for(1min, [&] { return group.running() == 0; });
    return *std::move(out);
  }
  void describe(std::string repository, api::DataLevel level) {
    const auto digest = crypto::sha256(repository).to_string();
    const auto project = repository.substr(0, repository.find('/'));
    ASSERT_TRUE(run(border_.describe_repository(repository, {.level = level, .project = project}, digest)));
  }
  io::HttpResponse get(std::string path, auth::Identity who, std::string method = "GET") {
    Exchange exchange(std::move(method), std::move(path));
    run([](RegistryRoute& route, Exchange& x, const auth::Identity& i) -> Task<bool> {
      co_await route.handle(x, i);
      co_return true;
    }(route_, exchange, who));
    return exchange.answer;
  }
  static auth::Identity node() {
    return auth::identity_of_certificate("system:node:edge-1", {std::string(auth::kNodesGroup)});
  }
  std::size_t refusals() {
    return find_path(run(border_.list("refusal", 100)).value(), {"entries"})->get_array().size();
  }

  io::SimWorld world_{7};
  io::SimMachine& machine_ = world_.add_machine("hq");
  telemetry::StderrSink sink_{telemetry::LogFormat::kKeyValue};
  telemetry::Logger log_;
  controllers::ClusterState state_;
  controllers::Metering metering_;
  std::unique_ptr<ledger::Ledger> ledger_;
  std::unique_ptr<artifacts::ArtifactStore> store_;
  artifacts::RepositoryTable repositories_;
  artifacts::OciRegistry registry_;
  Border border_;
  EverybodyMay everybody_;
  RegistryRoute route_;
};

TEST_F(RegistryRouteTest, a_node_elsewhere_learns_nothing_of_an_L1_repository_by_tag_list_or_referrer) {
  const auto digest = crypto::sha256("core/model").to_string();
  std::size_t recorded = 0;
  for (const auto& rest : {std::string("/manifests/latest"), std::string("/tags/list"),
                           "/referrers/" + digest, "/manifests/" + digest, "/blobs/" + digest})
    for (const auto* method : {"GET", "HEAD"}) {
      const auto answer = get("/v2/core/model" + rest, node(), method);
      EXPECT_EQ(answer.status, 403) << method << " " << rest << ": " << answer.body;
      EXPECT_EQ(refusals(), ++recorded) << rest;
    }
}

TEST_F(RegistryRouteTest, what_policy_lets_out_reaches_the_registry) {
  EXPECT_EQ(get("/v2/", node()).status, 200);
  EXPECT_EQ(get("/v2/open/model/tags/list", node()).status, 404) << "allowed, and nothing was pushed";
  EXPECT_EQ(get("/v2/open/model/manifests/latest", node()).status, 404);
  EXPECT_EQ(refusals(), 0u);
  EXPECT_EQ(get("/v2/_catalog", node()).status, 403) << "nodes do not list repositories";
}

TEST_F(RegistryRouteTest, a_users_list_of_tags_is_judged_in_the_project_of_the_repository) {
  auth::Identity who;
  who.user = "ann";
  who.authenticated = true;
  (void)get("/v2/open/model/tags/list", who);
  EXPECT_EQ(everybody_.asked, "open");
}

}  // namespace
}  // namespace neap::app
