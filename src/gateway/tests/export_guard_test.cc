#include "neap/gateway/export_guard.h"

#include "gateway_fixture.h"

namespace neap::gateway {
namespace {

class SetClock final : public Clock {
 public:
  MonoTime now() const override { return {}; }
  WallTime wall() const override { return time; }
  WallTime time = WallTime(1000h);
};

const dataguard::Place kEdge{SiteName("edge"), api::Tier::kEdge, "CN", "plant"};
const dataguard::Place kHq{SiteName("hq"), api::Tier::kPrivate, "CN", "plant"};
const dataguard::Place kCloud{SiteName("cloud"), api::Tier::kPublic, "US", ""};

UpstreamTarget target(const dataguard::Place& place, io::Endpoint endpoint = {}) {
  return {.site = place.site,
          .node = NodeName("n"),
          .endpoint = std::move(endpoint),
          .tier = place.tier,
          .levels = {Level::kL1, Level::kL2, Level::kL3}};
}

dataguard::DataPolicyTable policies() {
  return dataguard::DataPolicyTable(
      {{.name = "business-stays-private", .level = Level::kL2, .toTiers = {"private"}, .effect = "allow"}});
}

struct GuardCase {
  Level level;
  dataguard::Place to;
  bool strict;
  bool encrypted;
  bool allowed;
};

TEST(ExportGuard, gives_permits_as_the_data_policies_say) {
  const SetClock clock;
  const std::vector<GuardCase> cases{
      {Level::kL1, kHq, false, true, false},
      {Level::kL1, kCloud, false, true, false},
      {Level::kL2, kHq, false, true, true},
      {Level::kL2, kHq, false, false, false},
      {Level::kL2, kCloud, false, true, false},
      {Level::kL3, kCloud, false, true, true},
      {Level::kL3, kCloud, true, true, false},
      {Level::kL3, {SiteName("nowhere"), api::Tier::kPrivate, "", ""}, false, true, false}};
  for (const GuardCase& c : cases) {
    ExportGuard guard(clock, {.here = kEdge.site, .encrypted = c.encrypted, .logged = true});
    guard.set_policies({{"default", policies()}});
    guard.set_places({kEdge, kHq, kCloud});
    const UpstreamTarget to = target(c.to);
    const auto permit = guard.permit({"p", "s", "m", c.level, c.strict, to, 10});
    EXPECT_EQ(permit.has_value(), c.allowed) << api::enum_name(c.level) << " to " << c.to.site.str();
    if (permit && c.level == Level::kL2) EXPECT_EQ((*permit)->rule(), "business-stays-private");
    if (!permit) EXPECT_EQ(permit.error().code, Code::kPermissionDenied);
  }
}

TEST(ExportGuard, asks_the_policies_of_the_requests_project) {
  const SetClock clock;
  ExportGuard guard(clock, {.here = kEdge.site, .encrypted = true, .logged = true});
  guard.set_policies({{"default", policies()}, {"closed", {}}});
  const UpstreamTarget to = target(kHq);
  const auto ask = [&](const std::string& project) {
    const auto permit = guard.permit({project, "s", "m", Level::kL2, false, to, 10});
    return permit ? std::string() : permit.error().reason;
  };
  EXPECT_EQ(ask("any"), "gateway.place.unknown");
  guard.set_places({kHq});
  EXPECT_EQ(ask("any"), "gateway.place.unknown") << "where the node itself is must be known too";
  guard.set_places({kEdge, kHq});
  EXPECT_EQ(ask("any"), "");
  EXPECT_NE(ask("closed"), "");
}

TEST(HttpUpstream, sends_only_what_its_permit_covers) {
  const auto runtime = io::RealRuntime::create({.worker_threads = 2});
  inference::FakeEngine engine;
  ScriptedUpstream unused;
  Node hq(*runtime, engine, unused, "hq");
  hq.gateway.pipeline().set_route({.service = "s", .model = "m"});
  hq.deploy("1", inference::to_fake_model(inference::make_dense_model({4, 3}, 1)));
  ExportGuard guard(runtime->clock(), {.here = kEdge.site, .encrypted = true, .logged = true});
  guard.set_places({kEdge, kHq, kCloud});
  guard.set_policies({{"default", policies()}});
  HttpUpstream upstream(*runtime, [](const UpstreamTarget&) { return io::HttpClientOptions{}; });
  const UpstreamTarget to = target(kHq, hq.server->local());
  const auto send = [&](const UpstreamTarget& where, std::uint64_t bytes) {
    auto permit = guard.permit({"p", "s", "m", Level::kL2, false, to, bytes});
    EXPECT_TRUE(permit);
    return runtime->run_task(upstream.send({}, where, *std::move(permit), Node::infer_request()));
  };
  const auto good = send(to, kBody.size());
  ASSERT_TRUE(good) << good.error().to_string();
  EXPECT_EQ(good->status, 200);
  EXPECT_EQ(send(to, kBody.size() - 1).error().reason, "dataguard.permit.bytes");
  EXPECT_EQ(send(target(kCloud, hq.server->local()), kBody.size()).error().reason,
            "dataguard.permit.destination");
  EXPECT_EQ(runtime->run_task(upstream.send({}, to, std::make_unique<TablePermit>(), Node::infer_request()))
                .error()
                .reason,
            "gateway.permit.foreign");
  EXPECT_EQ(hq.events.served.size(), 1u);
  upstream.keep_only({});
  EXPECT_TRUE(send(to, kBody.size()));
}

}  // namespace
}  // namespace neap::gateway
