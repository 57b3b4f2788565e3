#include "gateway_fixture.h"

namespace neap::gateway {
namespace {

using inference::make_dense_model;
using inference::to_fake_model;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

UpstreamTarget target(const std::string& site, api::Tier tier, std::vector<Level> levels) {
  return {.site = SiteName(site),
          .node = NodeName(site + "-1"),
          .endpoint = {.host = site, .port = 1, .unix_path = {}},
          .tier = tier,
          .levels = std::move(levels)};
}

// Private takes all levels, public L3 alone: as services usually are.
std::vector<UpstreamTarget> usual_upstreams() {
  return {target("private", api::Tier::kPrivate, {Level::kL2, Level::kL3}),
          target("public", api::Tier::kPublic, {Level::kL2, Level::kL3})};
}

class Overflow : public ::testing::Test {
 protected:
  void set_route(Route route) {
    route.service = "s";
    route.model = "m";
    node_.gateway.pipeline().set_route(std::move(route));
  }
  void deploy(inference::ModelOptions options = {}) {
    node_.deploy("1", to_fake_model(make_dense_model({4, 3}, 1)), options);
  }
  std::vector<std::string> sites() const {
    std::vector<std::string> out;
    for (const auto& [site, request] : upstream_.sent) out.push_back(site);
    return out;
  }

  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create({.worker_threads = 4});
  inference::FakeEngine engine_;
  ScriptedUpstream upstream_;
  Node node_{*runtime_, engine_, upstream_, "edge"};
};

struct LevelCase {
  std::string level;           // header, empty: none
  std::vector<Level> allowed;  // by the guard, at the public site; private gets what its target lists
  std::string served_by;       // empty: refused
  int refusals;
};

TEST_F(Overflow, sends_each_level_only_where_both_route_and_guard_let_it) {
  const std::vector<LevelCase> cases{
      {"L1", {Level::kL1, Level::kL2, Level::kL3}, "", 2},
      {"", {Level::kL1, Level::kL2, Level::kL3}, "", 2},  // the default is L1
      {"L2", {Level::kL2, Level::kL3}, "public-1/public", 1},
      {"L2", {Level::kL3}, "", 2},
      {"L3", {Level::kL3}, "public-1/public", 1},
      {"L3", {}, "", 2},
  };
  set_route({.local = false, .upstreams = usual_upstreams()});
  for (const LevelCase& c : cases) {
    node_.guard.allows = [&c](const Crossing& crossing) {
      return crossing.target.tier == api::Tier::kPublic &&
             std::ranges::find(c.allowed, crossing.level) != c.allowed.end();
    };
    node_.events.refusals.clear();
    node_.events.crossings.clear();
    upstream_.sent.clear();
    std::vector<std::pair<std::string, std::string>> headers;
    if (!c.level.empty()) headers.emplace_back("X-Neap-Data-Level", c.level);
    const auto response = node_.infer(kBody, headers);
    EXPECT_EQ(response.headers.get("X-Neap-Served-By"), c.served_by) << c.level;
    EXPECT_EQ(node_.events.refusals.size(), static_cast<std::size_t>(c.refusals)) << c.level;
    EXPECT_EQ(upstream_.sent.size(), c.served_by.empty() ? 0u : 1u);
    if (c.served_by.empty()) {
      EXPECT_EQ(response.status, 503);
      EXPECT_FALSE(response.headers.get("Retry-After").empty());
      EXPECT_THAT(response.body, HasSubstr("private"));
    } else {
      EXPECT_EQ(response.status, 200);
      ASSERT_EQ(node_.events.crossings.size(), 1u);
      EXPECT_EQ(node_.events.crossings[0].bytes_out, kBody.size());
      EXPECT_EQ(node_.events.crossings[0].bytes_in, response.body.size());
      EXPECT_EQ(node_.events.crossings[0].rule, "table");
      EXPECT_EQ(upstream_.sent[0].second.headers.get("X-Neap-Hop"), "1");
      EXPECT_EQ(upstream_.sent[0].second.headers.get("X-Neap-Data-Level"), c.level);
      EXPECT_EQ(upstream_.sent[0].second.body, kBody);
    }
  }
}

TEST_F(Overflow, takes_the_level_from_the_parameter_and_the_stricter_of_two) {
  set_route({.local = false, .upstreams = usual_upstreams()});
  const auto with_level = [](std::string_view level) {
    return fmt::format(R"({{"parameters":{{"neap_data_level":"{}"}},"inputs":[]}})", level);
  };
  EXPECT_EQ(node_.infer(with_level("L3")).status, 200);
  EXPECT_EQ(node_.infer(with_level("L1"), {{"X-Neap-Data-Level", "L3"}}).status, 503);
  EXPECT_EQ(node_.infer(with_level("L3"), {{"X-Neap-Data-Level", "L1"}}).status, 503);
  EXPECT_EQ(node_.infer(with_level("L0")).status, 400);
  EXPECT_EQ(upstream_.sent.size(), 1u);
}

TEST_F(Overflow, stays_home_while_the_local_engine_can_answer) {
  set_route({.level_default = Level::kL3, .upstreams = usual_upstreams()});
  deploy();
  EXPECT_EQ(node_.infer().headers.get("X-Neap-Served-By"), "edge/edge-site");
  EXPECT_EQ(node_.guard.asked, 0);
  EXPECT_TRUE(upstream_.sent.empty());
}

TEST_F(Overflow, answers_64_clients_at_once_at_home_or_elsewhere_or_with_503) {
  for (const bool may_leave : {true, false}) {
    set_route({.level_default = may_leave ? Level::kL3 : Level::kL1, .upstreams = usual_upstreams()});
    if (node_.host.versions("m").empty()) deploy({.max_concurrency = 2, .max_queue = 4});
    upstream_.sent.clear();
    std::map<std::string, int> by;
    int answers = 0;
    engine_.hold();
    TaskGroup group(runtime_->executor());
    for (int i = 0; i < 64; ++i) {
      group.spawn([](Node& node, std::map<std::string, int>& out, int& count) -> Task<void> {
        const auto response = co_await node.call(Node::infer_request());
        ++out[fmt::format("{} {}", response.status, response.headers.get("X-Neap-Served-By"))];
        ++count;
      }(node_, by, answers));
    }
    runtime_->run_task(until(runtime_->executor(), [&] { return answers == 58; }));
    engine_.release();
    runtime_->run_task(until(runtime_->executor(), [&] { return answers == 64; }));
    runtime_->run_task(group.stop());
    EXPECT_EQ(by["200 edge/edge-site"], 6);
    EXPECT_EQ(by[may_leave ? "200 private-1/private" : "503 "], 58);
    EXPECT_EQ(upstream_.sent.size(), may_leave ? 58u : 0u);
  }
}

TEST_F(Overflow, goes_on_to_the_next_place_when_one_fails_and_lets_it_rest) {
  set_route({.level_default = Level::kL3, .local = false, .upstreams = usual_upstreams()});
  const auto good = upstream_.answer;
  upstream_.answer = [&good](const std::string& site) -> Result<io::HttpResponse> {
    if (site == "private") return fail(Code::kUnavailable, "net.refused", "the connection was refused");
    return good(site);
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(node_.infer().headers.get("X-Neap-Served-By"), "public-1/public");
  EXPECT_THAT(sites(),
              ElementsAre("private", "public", "private", "public", "private", "public", "public", "public"));
  EXPECT_EQ(node_.events.crossings.size(), 8u);  // what failed on the way has left as well
  EXPECT_EQ(node_.events.crossings[0].status, 0);
}

// Keeps `room` requests until it is opened and answers 503 to what comes beyond.
class SmallUpstream final : public Upstream {
 public:
  SmallUpstream(Executor& executor, int room) : opened_(executor), room_(room) {}
  Task<Result<io::HttpResponse>> send(CallContext ctx, UpstreamTarget, std::unique_ptr<RoutePermit>,
                                      io::HttpRequest) override {
    ++sent;
    if (held_ == room_) co_return io::HttpResponse{.status = 503, .headers = {}, .body = {}};
    ++held_;
    if (!is_open_) NEAP_CO_TRY_VOID(co_await opened_.wait(ctx, 0));
    --held_;
    co_return io::HttpResponse{.status = 200, .headers = {}, .body = {}};
  }
  void open() {
    is_open_ = true;
    opened_.notify_all();
  }
  int sent = 0;

 private:
  Notifier opened_;
  int room_;
  int held_ = 0;
  bool is_open_ = false;
};

TEST(OverflowToAFullPlace, sends_no_more_than_it_holds_and_goes_on_as_soon_as_there_is_room) {
  const auto runtime = io::RealRuntime::create({.worker_threads = 2});
  inference::FakeEngine engine;
  SmallUpstream upstream(runtime->executor(), 4);
  Node edge(*runtime, engine, upstream, "edge");
  edge.gateway.pipeline().set_route({.service = "s",
                                     .model = "m",
                                     .level_default = Level::kL2,
                                     .local = false,
                                     .upstreams = {target("hq", api::Tier::kPrivate, {Level::kL2})}});
  std::map<int, int> by;
  TaskGroup group(runtime->executor());
  const auto flood = [&](int count, const std::function<bool()>& done) {
    for (int i = 0; i < count; ++i)
      group.spawn([](Node& node, std::map<int, int>& out) -> Task<void> {
        ++out[(co_await node.call(Node::infer_request())).status];
      }(edge, by));
    runtime->run_task(until(runtime->executor(), done));
  };
  flood(16, [&] { return by[503] == 12; });
  const int sent = upstream.sent;
  EXPECT_LE(sent, 16);
  flood(16, [&] { return by[503] == 28; });
  EXPECT_EQ(upstream.sent, sent) << "it was asked although it held as much as it has room for";
  upstream.open();
  runtime->run_task(until(runtime->executor(), [&] { return by[200] == 4; }));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(edge.infer().status, 200) << "it is let be although it has room";
  runtime->run_task(group.stop());
}

TEST_F(Overflow, a_full_place_is_passed_over_only_by_what_may_go_further) {
  set_route({.local = false,
             .upstreams = {target("private", api::Tier::kPrivate, {Level::kL2, Level::kL3}),
                           target("public", api::Tier::kPublic, {Level::kL3})}});
  const auto good = upstream_.answer;
  upstream_.answer = [&good](const std::string& site) -> Result<io::HttpResponse> {
    if (site == "private") return io::HttpResponse{.status = 503, .headers = {}, .body = {}};
    return good(site);
  };
  const auto l2 = node_.infer(kBody, {{"X-Neap-Data-Level", "L2"}});
  EXPECT_EQ(l2.status, 503);
  EXPECT_THAT(l2.body, HasSubstr("private: it is full"));
  EXPECT_EQ(node_.infer(kBody, {{"X-Neap-Data-Level", "L3"}}).headers.get("X-Neap-Served-By"),
            "public-1/public");
  EXPECT_EQ(std::ranges::count(sites(), "public"), 1);
}

TEST_F(Overflow, relays_the_upstreams_own_refusal_of_a_bad_request) {
  set_route({.level_default = Level::kL3, .local = false, .upstreams = usual_upstreams()});
  upstream_.answer = [](const std::string&) {
    return io::HttpResponse{.status = 400, .headers = {}, .body = R"({"error":"no"})"};
  };
  const auto response = node_.infer();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, R"({"error":"no"})");
  EXPECT_EQ(upstream_.sent.size(), 1u);
}

TEST_F(Overflow, does_not_forward_what_was_forwarded_once) {
  set_route({.level_default = Level::kL3, .local = false, .upstreams = usual_upstreams()});
  for (const char* hop : {"1", "0", "x"}) {
    const auto response = node_.infer(kBody, {{"X-Neap-Hop", hop}});
    EXPECT_EQ(response.status, 503);
    EXPECT_THAT(response.body, HasSubstr("forwarded once"));
  }
  EXPECT_TRUE(upstream_.sent.empty());
}

TEST_F(Overflow, asks_to_come_back_while_the_model_is_on_its_way) {
  set_route({.active_version = "2"});
  const auto early = node_.infer();
  EXPECT_EQ(early.status, 503);
  EXPECT_FALSE(early.headers.get("Retry-After").empty());
  EXPECT_EQ(early.headers.get("X-Neap-Reason"), "gateway.nowhere_to_go");
  deploy();
  EXPECT_EQ(node_.infer().headers.get("X-Neap-Model-Version"), "1");
  node_.deploy("2", to_fake_model(make_dense_model({4, 3}, 2)));
  EXPECT_EQ(node_.infer().headers.get("X-Neap-Model-Version"), "2");
}

TEST_F(Overflow, does_not_send_a_request_elsewhere_that_is_wrong_anyway) {
  set_route({.level_default = Level::kL3, .upstreams = usual_upstreams()});
  deploy();
  EXPECT_EQ(node_.infer(R"({"inputs":[]})").status, 400);
  EXPECT_EQ(node_.infer("nonsense").status, 400);
  EXPECT_TRUE(upstream_.sent.empty());
}

TEST_F(Overflow, forwards_a_raw_body_it_cannot_read_itself) {
  set_route({.level_default = Level::kL3, .local = false, .upstreams = usual_upstreams()});
  EXPECT_EQ(node_.infer(floats(kRow), {{"Inference-Header-Content-Length", "0"}}).status, 200);
  ASSERT_EQ(upstream_.sent.size(), 1u);
  EXPECT_EQ(upstream_.sent[0].second.headers.get("Inference-Header-Content-Length"), "0");
}

TEST(GatewayMemory, holds_no_more_bodies_than_it_has_room_for) {
  const auto runtime = io::RealRuntime::create({.worker_threads = 2});
  inference::FakeEngine engine;
  ScriptedUpstream upstream;
  Node node(*runtime, engine, upstream, "n", {.inline_below = Duration(0)}, kBody.size() + 10);
  node.gateway.pipeline().set_route({.service = "s", .model = "m"});
  node.deploy("1", to_fake_model(make_dense_model({4, 3}, 1)));
  const int before = engine.started();
  engine.hold();
  int first = 0;
  TaskGroup group(runtime->executor());
  group.spawn([](Node& its_node, int& status) -> Task<void> {
    status = (co_await its_node.call(Node::infer_request())).status;
  }(node, first));
  runtime->run_task(until(runtime->executor(), [&] { return engine.started() > before; }));
  const auto second = node.infer();
  EXPECT_EQ(second.status, 503);
  EXPECT_EQ(second.headers.get("X-Neap-Reason"), "gateway.memory");
  engine.release();
  runtime->run_task(until(runtime->executor(), [&] { return first != 0; }));
  EXPECT_EQ(first, 200);
  EXPECT_EQ(node.infer().status, 200);
  runtime->run_task(group.stop());
}

// Sends over real HTTP to whatever node is set.
class HttpUpstream final : public Upstream {
 public:
  Task<Result<io::HttpResponse>> send(CallContext ctx, UpstreamTarget, std::unique_ptr<RoutePermit>,
                                      io::HttpRequest request) override {
    co_return co_await next->client->call(ctx, std::move(request));
  }
  Node* next = nullptr;
};

TEST(OverflowBetweenNodes, reaches_the_other_node_and_never_comes_back) {
  const auto runtime = io::RealRuntime::create({.worker_threads = 2});
  inference::FakeEngine engine;
  HttpUpstream to_private;
  HttpUpstream to_edge;
  Node edge(*runtime, engine, to_private, "edge");
  Node hq(*runtime, engine, to_edge, "hq");
  to_private.next = &hq;
  to_edge.next = &edge;
  Route route{.service = "s", .model = "m", .level_default = Level::kL3, .local = false};
  route.upstreams = {target("hq", api::Tier::kPrivate, {Level::kL3})};
  edge.gateway.pipeline().set_route(route);
  route.upstreams = {target("edge", api::Tier::kEdge, {Level::kL3})};
  route.local = true;
  hq.gateway.pipeline().set_route(route);
  const auto nobody = edge.infer();
  EXPECT_EQ(nobody.status, 503);
  EXPECT_EQ(hq.events.crossings.size(), 0u);
  hq.deploy("5", to_fake_model(make_dense_model({4, 3}, 1)));
  // The edge was told "full" a moment ago and lets hq be for some milliseconds.
  auto answer = edge.infer();
  while (answer.status == 503) answer = edge.infer();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(hq.events.crossings.size(), 0u);
  EXPECT_EQ(answer.headers.get("X-Neap-Served-By"), "hq-1/hq");
  EXPECT_EQ(answer.headers.get("X-Neap-Model-Version"), "5");
  const auto decoded = inference::decode_response(answer.body, {});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->outputs.at(0).bytes, floats(make_dense_model({4, 3}, 1).apply(kRow)));
}

}  // namespace
}  // namespace neap::gateway
