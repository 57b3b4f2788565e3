#include "neap/client/fake_resource_client.h"
#include "neap/client/http_client.h"
#include "neap/client/resource_client_conformance.h"
#include "neap/io/real_runtime.h"
#include "tests/sim_run.h"

namespace neap::client {
namespace {

class FakeWorld : public ClientWorld {
 public:
  ResourceClient& client() override { return client_; }
  void run(Task<void> task) override { sim_.run(std::move(task)); }

 private:
  SimRun sim_;
  FakeResourceClient client_{sim_.runtime()};
};

// HttpResourceClient -> HTTP -> the fake's handler, between two simulated machines.
class SimHttpWorld : public ClientWorld {
 public:
  SimHttpWorld()
      : server_machine_(sim_.world().add_machine("server")),
        fake_(server_machine_.runtime()),
        server_(server_machine_.runtime(),
                server_machine_.runtime().network().listen({"server", 8080, {}}).value(), {},
                fake_.handler()),
        client_(sim_.runtime(), {"server", 8080, {}}, {}, "secret") {
    server_.start();
  }
  ~SimHttpWorld() override { server_.abandon(); }
  ResourceClient& client() override { return client_; }
  void run(Task<void> task) override { sim_.run(std::move(task)); }

 private:
  SimRun sim_;
  io::SimMachine& server_machine_;
  FakeResourceClient fake_;
  io::HttpServer server_;
  HttpResourceClient client_;
};

// A server that is busy at first: it sends so many calls away with 429.
class BusyWorld {
 public:
  BusyWorld(int busy, std::string retry_after)
      : busy_(busy),
        retry_after_(std::move(retry_after)),
        server_machine_(sim_.world().add_machine("server")),
        fake_(server_machine_.runtime()),
        inner_(fake_.handler()),
        server_(server_machine_.runtime(),
                server_machine_.runtime().network().listen({"server", 8080, {}}).value(), {},
                [this](io::HttpExchange& x) { return answer(*this, x); }),
        client_(sim_.runtime(), {"server", 8080, {}}, {}, "secret") {
    server_.start();
  }
  ~BusyWorld() { server_.abandon(); }
  // The code of the answer to a list and how long it took; then the same of a watch.
  struct Answer {
    std::optional<Code> error;
    Duration took{};
  };
  Answer list() {
    Answer out;
    sim_.run([](BusyWorld& self, Answer& answer) -> Task<void> {
      const auto begin = self.sim_.runtime().executor().now();
      const auto got = co_await self.client_.list({}, kMaps, {});
      answer = {got ? std::optional<Code>() : got.error().code, self.sim_.runtime().executor().now() - begin};
    }(*this, out));
    return out;
  }
  Answer watch() {
    Answer out;
    sim_.run([](BusyWorld& self, Answer& answer) -> Task<void> {
      const auto all = co_await self.fake_.list({}, kMaps, {});
      EXPECT_TRUE(all);
      const std::string version(get_string(all->at("metadata"), "resourceVersion"));
      const auto begin = self.sim_.runtime().executor().now();
      const auto got = co_await self.client_.watch({}, kMaps, {}, version);
      answer = {got ? std::optional<Code>() : got.error().code, self.sim_.runtime().executor().now() - begin};
    }(*this, out));
    return out;
  }
  int calls() const { return calls_; }

 private:
  static inline const ResourcePath kMaps{
      .group = "", .version = "v1", .plural = "configmaps", .namespace_ = "a"};
  static Task<void> answer(BusyWorld& self, io::HttpExchange& x) {
    ++self.calls_;
    if (self.calls_ > self.busy_) {
      co_await self.inner_(x);
      co_return;
    }
    io::HttpResponse response;
    response.status = 429;
    if (!self.retry_after_.empty()) response.headers.set("Retry-After", self.retry_after_);
    co_await x.reply(std::move(response));
  }
  int busy_, calls_ = 0;
  std::string retry_after_;
  SimRun sim_;
  io::SimMachine& server_machine_;
  FakeResourceClient fake_;
  io::HttpHandler inner_;
  io::HttpServer server_;
  HttpResourceClient client_;
};

TEST(HttpResourceClient, a_busy_server_is_asked_again_when_it_said) {
  BusyWorld world(2, "3");
  const auto answer = world.list();
  EXPECT_EQ(answer.error, std::nullopt);
  EXPECT_EQ(world.calls(), 3);
  EXPECT_GE(answer.took, 6s) << "not before it said";
  BusyWorld watched(1, "2");
  const auto begun = watched.watch();
  EXPECT_EQ(begun.error, std::nullopt);
  EXPECT_GE(begun.took, 2s);
}

TEST(HttpResourceClient, a_server_that_stays_busy_or_says_nothing_ends_the_call) {
  BusyWorld always(1000, "1");
  EXPECT_EQ(always.list().error, Code::kResourceExhausted);
  EXPECT_EQ(always.calls(), 9) << "eight waits";
  for (const auto* said : {"", "soon", "-1", "3600", "99999999999999999999"}) {
    BusyWorld world(1, said);
    EXPECT_EQ(world.list().error, Code::kResourceExhausted) << said;
    EXPECT_EQ(world.calls(), 1) << said;
  }
}

// The same through the kernel.
class RealHttpWorld : public ClientWorld {
 public:
  RealHttpWorld()
      : runtime_(io::RealRuntime::create()),
        fake_(*runtime_),
        server_(*runtime_, runtime_->network().listen({"127.0.0.1", 0, {}}).value(), {}, fake_.handler()),
        client_(
            std::make_unique<HttpResourceClient>(*runtime_, server_.local(), io::HttpClientOptions{}, "")) {
    server_.start();
  }
  ResourceClient& client() override { return *client_; }
  void run(Task<void> task) override {
    runtime_->run_task([](RealHttpWorld& self, Task<void> inner) -> Task<void> {
      co_await std::move(inner);
      self.client_.reset();
      co_await self.server_.stop();
    }(*this, std::move(task)));
  }

 private:
  std::unique_ptr<io::RealRuntime> runtime_;
  FakeResourceClient fake_;
  io::HttpServer server_;
  std::unique_ptr<HttpResourceClient> client_;
};

template <class World>
ClientWorldFactory make() {
  return [] { return std::make_unique<World>(); };
}

INSTANTIATE_TEST_SUITE_P(Fake, ResourceClientConformance, testing::Values(make<FakeWorld>()));
INSTANTIATE_TEST_SUITE_P(SimulatedHttp, ResourceClientConformance, testing::Values(make<SimHttpWorld>()));
INSTANTIATE_TEST_SUITE_P(RealHttp, ResourceClientConformance, testing::Values(make<RealHttpWorld>()));

TEST(HttpResourceClient, encodes_every_part_of_a_path) {
  EXPECT_EQ(target_of({"", "v1", "configmaps", "team a", "x/../y", ""}),
            "/api/v1/namespaces/team%20a/configmaps/x%2F..%2Fy");
  EXPECT_EQ(target_of({"neap.dev", "v1", "trainingjobs", "a", "j", "status"}),
            "/apis/neap.dev/v1/namespaces/a/trainingjobs/j/status");
}

TEST(HttpResourceClient, sends_its_token_and_turns_hostile_replies_into_errors) {
  SimRun sim;
  auto& machine = sim.world().add_machine("server");
  std::string reply, authorization;
  int status = 200;
  io::HttpServer server(
      machine.runtime(), machine.runtime().network().listen({"server", 80, {}}).value(), {},
      [&](io::HttpExchange& x) -> Task<void> {
        return [](io::HttpExchange& exchange, std::string& seen, int code, std::string body) -> Task<void> {
          seen = exchange.request().headers.get("Authorization");
          (void)co_await exchange.reply({.status = code, .headers = {}, .body = std::move(body)});
        }(x, authorization, status, reply);
      });
  server.start();
  HttpResourceClient client(sim.runtime(), {"server", 80, {}}, {}, "secret", {.event_bytes_max = 1000});
  const auto get = [&] {
    std::optional<Result<Json>> out;
    sim.run([](HttpResourceClient& c, std::optional<Result<Json>>& result) -> Task<void> {
      result.emplace(co_await c.get({}, conformance::sites("a")));
    }(client, out));
    return out->error();
  };
  reply = "<html>";
  EXPECT_EQ(get().code, Code::kDataLoss);
  EXPECT_EQ(authorization, "Bearer secret");
  status = 503;
  EXPECT_EQ(get().code, Code::kUnavailable);
  status = 409;
  reply = R"({"kind":"Status","reason":"AlreadyExists","code":409,"message":"there"})";
  EXPECT_EQ(get().code, Code::kAlreadyExists);
  EXPECT_NE(get().to_string().find("GET /apis/neap.dev/v1/sites/a"), std::string::npos);

  const auto watch = [&] {
    std::optional<Error> out;
    sim.run([](HttpResourceClient& c, std::optional<Error>& error) -> Task<void> {
      auto stream = co_await c.watch({}, conformance::sites(), {}, "1");
      if (!stream) {
        error = stream.error();
        co_return;
      }
      auto event = co_await (*stream)->next({});
      if (!event) error = event.error();
    }(client, out));
    return out ? out->reason : "no error";
  };
  status = 200;
  reply = R"({"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410}})";
  EXPECT_EQ(watch(), "api.Expired");
  reply = R"({"type":"ADDED"})";
  EXPECT_EQ(watch(), "client.watch.format");
  reply = R"({"type":"NEW","object":{}})";
  EXPECT_EQ(watch(), "client.watch.format");
  reply = "{\"type\":\"ADDED\",\"object\":{\"x\":\"" + std::string(5000, 'x');
  EXPECT_EQ(watch(), "client.watch.event_too_large");
  reply = "\n\n";
  EXPECT_EQ(watch(), "no error");
  server.abandon();
}

}  // namespace
}  // namespace neap::client
