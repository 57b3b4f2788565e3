// A whole node in one process: engine, host, gateway, HTTP server on loopback and a client of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "neap/gateway/gateway.h"
#include "neap/inference/fake_engine.h"
#include "neap/inference/model_host.h"
#include "neap/io/real_runtime.h"

namespace neap::gateway {

inline std::string floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}
inline const std::vector<float> kRow{1, 2, 3, 4};
inline const std::string kBody =
    R"({"id":"7","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]})";

class TablePermit final : public RoutePermit {
 public:
  std::string_view rule() const override { return "table"; }
};

// Lets through what `allows` says.
class TableGuard final : public RouteGuard {
 public:
  Result<std::unique_ptr<RoutePermit>> permit(const Crossing& crossing) override {
    ++asked;
    if (allows(crossing)) return std::make_unique<TablePermit>();
    return fail(Code::kPermissionDenied, "dataguard.export.denied", "the policy table says no");
  }
  std::function<bool(const Crossing&)> allows = [](const Crossing&) { return true; };
  int asked = 0;
};

class ScriptedUpstream final : public Upstream {
 public:
  Task<Result<io::HttpResponse>> send(CallContext, UpstreamTarget target, std::unique_ptr<RoutePermit> permit,
                                      io::HttpRequest request) override {
    EXPECT_NE(permit, nullptr);
    sent.emplace_back(target.site.str(), std::move(request));
    co_return answer(target.site.str());
  }
  std::function<Result<io::HttpResponse>(const std::string& site)> answer = [](const std::string& site) {
    io::HttpResponse response{.status = 200, .headers = {}, .body = "{\"from\":\"" + site + "\"}"};
    response.headers.set("Content-Type", "application/json");
    response.headers.set(kVersionHeader, "u1");
    return response;
  };
  std::vector<std::pair<std::string, io::HttpRequest>> sent;
};

class RecordedEvents final : public GatewayEvents {
 public:
  void on_crossing(const CrossingRecord& record) override { crossings.push_back(record); }
  void on_refusal(const RefusalRecord& record) override { refusals.push_back(record); }
  void on_served(const ServedRecord& record) override { served.push_back(record); }
  std::vector<CrossingRecord> crossings;
  std::vector<RefusalRecord> refusals;
  std::vector<ServedRecord> served;
};

// One node. `runtime` and `engine` are shared with others in the same test.
class Node {
 public:
  Node(io::RealRuntime& its_runtime, inference::Engine& engine, Upstream& its_upstream,
       const std::string& name, inference::ModelHostOptions host_options = {.inline_below = Duration(0)},
       std::uint64_t body_bytes_in_flight_max = 512u << 20)
      : runtime(its_runtime),
        host({runtime, engine}, host_options),
        gateway({runtime.executor(), host, guard, its_upstream, events},
                {.pipeline = {.site = SiteName(name + "-site"), .node = NodeName(name)},
                 .body_bytes_in_flight_max = body_bytes_in_flight_max}) {
    auto listener = runtime.network().listen({.host = "127.0.0.1", .port = 0, .unix_path = {}});
    server = std::make_unique<io::HttpServer>(runtime, std::move(*listener), io::HttpServerOptions{},
                                              gateway.handler());
    server->start();
    client = std::make_unique<io::HttpClient>(runtime, server->local(), io::HttpClientOptions{});
  }
  ~Node() {
    client.reset();
    runtime.run_task([](Node& node) -> Task<void> {
      co_await node.server->stop();
      co_await node.gateway.stop();
      co_await node.host.stop();
    }(*this));
  }

  void deploy(const std::string& version, std::string bytes, inference::ModelOptions options = {}) {
    const Status status = runtime.run_task(
        host.deploy({}, {.name = "m", .version = version, .path = {}, .bytes = std::move(bytes)}, options));
    ASSERT_TRUE(status) << status.error().to_string();
  }
  Task<io::HttpResponse> call(io::HttpRequest request) {
    auto answer = co_await client->call({}, std::move(request));
    if (!answer) ADD_FAILURE() << answer.error().to_string();
    co_return answer ? *std::move(answer) : io::HttpResponse{.status = 0, .headers = {}, .body = {}};
  }
  io::HttpResponse ask(std::string method, std::string target, std::string body = {},
                       std::vector<std::pair<std::string, std::string>> headers = {}) {
    io::HttpRequest request{.method = std::move(method)};
    request.target = std::move(target);
    request.body = std::move(body);
    for (auto& [name, value] : headers) request.headers.set(name, std::move(value));
    return runtime.run_task(call(std::move(request)));
  }
  io::HttpResponse infer(std::string body = kBody,
                         std::vector<std::pair<std::string, std::string>> headers = {}) {
    return ask("POST", "/v2/models/m/infer", std::move(body), std::move(headers));
  }
  static io::HttpRequest infer_request() {
    io::HttpRequest request{.method = "POST"};
    request.target = "/v2/models/m/infer";
    request.body = kBody;
    return request;
  }

  io::RealRuntime& runtime;
  inference::ModelHost host;
  TableGuard guard;
  RecordedEvents events;
  Gateway gateway;
  std::unique_ptr<io::HttpServer> server;
  std::unique_ptr<io::HttpClient> client;
};

inline Task<void> until(Executor& executor, std::function<bool()> done) {
  while (!done()) (void)co_await sleep_for(executor, {}, 1ms);
}

}  // namespace neap::gateway
