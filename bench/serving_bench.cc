// A served inference over loopback keep-alive against the bare ONNX Runtime call, in one run.
//
// One client thread with a blocking socket, one server thread. Each round asks every variant once, so that
// all see the same weather; printed are p50 and p99, the paired median difference to the bare call, and the
// ratio. "nothing" is the same HTTP server with an empty handler: what the wire and the kernel cost.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "bare_onnx.h"
#include "neap/gateway/gateway.h"
#include "neap/inference/linear_model.h"
#include "neap/inference/model_host.h"
#include "neap/inference/onnx_engine.h"
#include "neap/io/real_runtime.h"

namespace neap::bench {
namespace {

using BenchClock = std::chrono::steady_clock;

class NoGuard final : public gateway::RouteGuard {
 public:
  Result<std::unique_ptr<gateway::RoutePermit>> permit(const gateway::Crossing&) override {
    return fail(Code::kPermissionDenied, "bench.closed", "the bench sends nothing away");
  }
};
class NoUpstream final : public gateway::Upstream {
 public:
  Task<Result<io::HttpResponse>> send(CallContext, gateway::UpstreamTarget,
                                      std::unique_ptr<gateway::RoutePermit>, io::HttpRequest) override {
    co_return fail(Code::kUnavailable, "bench.closed", "the bench sends nothing away");
  }
};
class CountedEvents final : public gateway::GatewayEvents {
 public:
  void on_crossing(const gateway::CrossingRecord&) override {}
  void on_refusal(const gateway::RefusalRecord&) override {}
  void on_served(const gateway::ServedRecord&) override { ++served; }
  std::uint64_t served = 0;
};

// The whole server on a thread of its own.
class Server {
 public:
  explicit Server(const std::string& model) {
    gateway_.pipeline().set_route({.service = "bench", .model = "m"});
    runtime_->run_task(start(model));
    thread_ = std::thread([this] { runtime_->run(); });
  }
  ~Server() {
    runtime_->stop();
    thread_.join();
    runtime_->run_task(stop());
  }
  std::uint16_t port() const { return server_->local().port; }

 private:
  Task<void> start(std::string model) {
    const auto loaded =
        co_await host_.deploy({}, {.name = "m", .version = "1", .path = {}, .bytes = std::move(model)}, {});
    if (!loaded) {
      fmt::print(stderr, "{}\n", loaded.error().to_string());
      std::exit(1);
    }
    auto listener = runtime_->network().listen({.host = "127.0.0.1", .port = 0, .unix_path = {}});
    server_ =
        std::make_unique<io::HttpServer>(*runtime_, std::move(*listener), io::HttpServerOptions{},
                                         [this](io::HttpExchange& exchange) { return serve(exchange); });
    server_->start();
  }
  Task<void> serve(io::HttpExchange& exchange) {
    if (exchange.request().path != "/nothing") {
      co_await gateway_.serve(exchange);
      co_return;
    }
    (void)co_await exchange.body().read_all(exchange.context(), 1u << 20);
    (void)co_await exchange.reply({.status = 200, .headers = {}, .body = "{}"});
  }
  Task<void> stop() {
    co_await server_->stop();
    co_await gateway_.stop();
    co_await host_.stop();
  }

  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create({.worker_threads = 1});
  inference::OnnxEngine engine_{{.library_path = NEAP_ONNXRUNTIME_LIBRARY}};
  inference::ModelHost host_{{*runtime_, engine_}};
  NoGuard guard_;
  NoUpstream upstream_;
  CountedEvents events_;
  gateway::Gateway gateway_{{runtime_->executor(), host_, guard_, upstream_, events_},
                            {.pipeline = {.site = SiteName("bench"), .node = NodeName("bench")}}};
  std::unique_ptr<io::HttpServer> server_;
  std::thread thread_;
};

class BlockingClient {
 public:
  explicit BlockingClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) std::exit(1);
  }
  ~BlockingClient() { ::close(socket_); }

  // Sends one ready request and reads the whole reply; its length comes from Content-Length.
  void exchange(const std::string& request) {
    if (::send(socket_, request.data(), request.size(), 0) != static_cast<ssize_t>(request.size()))
      std::exit(1);
    std::size_t have = 0;
    std::size_t want = 0;
    while (want == 0 || have < want) {
      const ssize_t n = ::recv(socket_, buffer_ + have, sizeof(buffer_) - have, 0);
      if (n <= 0) std::exit(1);
      have += static_cast<std::size_t>(n);
      const std::string_view text(buffer_, have);
      const auto end = text.find("\r\n\r\n");
      if (want != 0 || end == std::string_view::npos) continue;
      if (!text.starts_with("HTTP/1.1 200")) {
        fmt::print(stderr, "{}\n", text);
        std::exit(1);
      }
      want = end + 4 + std::strtoull(text.data() + text.find("Content-Length:") + 15, nullptr, 10);
    }
  }

 private:
  int socket_;
  char buffer_[1 << 16];
};

std::string http_request(std::string_view target, const std::string& body, std::string_view headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", target,
                     body.size(), headers, body);
}

struct Series {
  std::string name;
  std::vector<double> us;
  double quantile(double q) const {
    std::vector<double> sorted = us;
    std::ranges::sort(sorted);
    return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
  }
};

double median_difference(const Series& a, const Series& b) {
  Series difference;
  for (std::size_t i = 0; i < a.us.size(); ++i) difference.us.push_back(a.us[i] - b.us[i]);
  return difference.quantile(0.5);
}

void run(const std::string& name, const std::vector<std::int64_t>& widths, int rounds) {
  const std::string model = inference::to_onnx(inference::make_dense_model(widths, 1));
  BareOnnx bare(NEAP_ONNXRUNTIME_LIBRARY, model, widths.front(), widths.back());
  Server server(model);
  BlockingClient client(server.port());

  inference::InferRequest request{.inputs = {{"x", inference::DataType::kFp32, {1, widths.front()}, {}}}};
  for (std::size_t i = 0; i < bare.input().size(); ++i)
    bare.input()[i] = static_cast<float>((i * 37) % 256) / 255.0F;
  request.inputs[0].bytes.assign(reinterpret_cast<const char*>(bare.input().data()),
                                 bare.input().size() * sizeof(float));
  // encode_request writes JSON data only where asked for binary = false.
  const auto json = inference::encode_request(request, false);
  const auto binary = inference::encode_request(request, true);
  const std::string target = "/v2/models/m/infer";
  const std::string json_text = http_request(target, json->body, "Content-Type: application/json\r\n");
  const std::string binary_text = http_request(
      target, binary->body, fmt::format("{}: {}\r\n", inference::kHeaderLengthName, *binary->json_length));
  const std::string nothing_text = http_request("/nothing", binary->body, "");

  std::vector<Series> series{
      {"bare ONNX Runtime", {}}, {"HTTP, nothing", {}}, {"served, binary", {}}, {"served, JSON", {}}};
  const auto timed = [&](Series& out, auto work) {
    const auto start = BenchClock::now();
    work();
    out.us.push_back(std::chrono::duration<double, std::micro>(BenchClock::now() - start).count());
  };
  for (int i = -rounds / 10; i < rounds; ++i) {
    if (i == 0) {
      for (Series& s : series) s.us.clear();
    }
    timed(series[0], [&] { bare.run(); });
    timed(series[1], [&] { client.exchange(nothing_text); });
    timed(series[2], [&] { client.exchange(binary_text); });
    timed(series[3], [&] { client.exchange(json_text); });
  }
  fmt::print("{} ({} -> {}, request {} B JSON, {} B binary, {} rounds)\n", name, widths.front(),
             widths.back(), json->body.size(), binary->body.size(), rounds);
  fmt::print("  {:<20} {:>9} {:>9} {:>9} {:>14} {:>14} {:>8}\n", "", "min us", "p50 us", "p99 us",
             "- bare p50", "- nothing p50", "ratio");
  for (const Series& s : series) {
    fmt::print("  {:<20} {:>9.1f} {:>9.1f} {:>9.1f} {:>14.1f} {:>14.1f} {:>8.2f}\n", s.name, s.quantile(0),
               s.quantile(0.5), s.quantile(0.99), median_difference(s, series[0]),
               median_difference(s, series[1]), s.quantile(0.5) / series[0].quantile(0.5));
  }
}

}  // namespace
}  // namespace neap::bench

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(std::atoi(argv[1]), 10) : 20'000;
  neap::bench::run("sensor", {16, 32, 4}, rounds);
  neap::bench::run("image", {784, 128, 10}, rounds);
  neap::bench::run("larger image", {3072, 1024, 100}, rounds / 4);
}
