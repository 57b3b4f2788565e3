// HTTP on loopback against a bare echo over the same streams: what the protocol costs.
// Prints ratios measured in one run; the absolute figures only explain them.
#include <algorithm>
#include <cstdio>

#include "neap/base/task_group.h"
#include "neap/io/http.h"
#include "neap/io/real_runtime.h"

namespace neap::io {
namespace {

constexpr int kRequests = 40'000;
constexpr int kWarmUp = 2'000;

struct Figures {
  double rate = 0;
  double p50_us = 0;
  double p99_us = 0;
};

Figures figures_of(std::vector<double> each_us, double total_s) {
  std::sort(each_us.begin(), each_us.end());
  return {.rate = double(each_us.size()) / total_s,
          .p50_us = each_us[each_us.size() / 2],
          .p99_us = each_us[each_us.size() * 99 / 100]};
}

double micros(Duration d) { return double(d.count()) / 1000; }

Task<void> echo_once(std::unique_ptr<Stream> stream) {
  std::string data;
  for (;;) {
    data.clear();
    auto n = co_await stream->read_some({}, data, 64u << 10);
    if (!n || *n == 0 || !co_await stream->write_all({}, data)) co_return;
  }
}

// One connection, one message at a time.
Task<Figures> measure_echo(Runtime& runtime, std::size_t bytes) {
  auto listener = runtime.network().listen({"127.0.0.1", 0, {}});
  auto client = co_await runtime.network().connect({}, (*listener)->local());
  auto server = co_await (*listener)->accept({});
  TaskGroup group(runtime.executor());
  group.spawn(echo_once(std::move(*server)));
  const std::string message(bytes, 'm');
  std::vector<double> each;
  std::string got;
  MonoTime start{};
  for (int i = 0; i < kRequests + kWarmUp; ++i) {
    const auto before = runtime.executor().now();
    if (i == kWarmUp) start = before;
    (void)co_await (*client)->write_all({}, message);
    for (got.clear(); got.size() < bytes;) (void)co_await (*client)->read_some({}, got, 64u << 10);
    if (i >= kWarmUp) each.push_back(micros(runtime.executor().now() - before));
  }
  const double total = to_seconds(runtime.executor().now() - start);
  (*client)->close();
  co_await group.stop();
  co_return figures_of(std::move(each), total);
}

Task<void> echo_body(HttpExchange& exchange) {
  auto body = co_await exchange.body().read_all({}, 1u << 20);
  HttpResponse response;
  if (body) response.body = std::move(*body);
  (void)co_await exchange.reply(std::move(response));
}

Task<void> call_many(HttpClient& client, Executor& executor, std::size_t bytes, int count,
                     std::vector<double>& each) {
  for (int i = 0; i < count; ++i) {
    HttpRequest request;
    request.method = "POST";
    request.target = "/v2/models/m/infer";
    request.headers.set("Content-Type", "application/json");
    request.body = std::string(bytes, 'm');
    const auto before = executor.now();
    auto reply = co_await client.call({}, std::move(request));
    if (!reply || reply->body.size() != bytes) std::abort();
    each.push_back(micros(executor.now() - before));
  }
}

Task<Figures> measure_http(Runtime& runtime, std::size_t bytes, int clients) {
  HttpServer server(runtime, std::move(*runtime.network().listen({"127.0.0.1", 0, {}})), {}, echo_body);
  server.start();
  HttpClient client(runtime, server.local(), {});
  std::vector<double> warm, each;
  co_await call_many(client, runtime.executor(), bytes, kWarmUp, warm);
  TaskGroup group(runtime.executor());
  const auto start = runtime.executor().now();
  for (int i = 0; i < clients; ++i)
    group.spawn(call_many(client, runtime.executor(), bytes, kRequests / clients, each));
  while (group.running() > 0) (void)co_await sleep_for(runtime.executor(), {}, 200us);
  const double total = to_seconds(runtime.executor().now() - start);
  co_await group.stop();
  client.close_idle();
  co_await server.stop(100ms);
  co_return figures_of(std::move(each), total);
}

}  // namespace
}  // namespace neap::io

int main() {
  using namespace neap::io;
  auto runtime = RealRuntime::create();
  std::printf("%7s %22s %30s %30s %12s %12s\n", "bytes", "echo 1/s (p50)", "http 1/s (p50, p99)",
              "http x32 1/s (p50, p99)", "rate ratio", "p50 ratio");
  for (const std::size_t bytes : {64u, 1024u, 16'384u}) {
    const auto echo = runtime->run_task(measure_echo(*runtime, bytes));
    const auto http = runtime->run_task(measure_http(*runtime, bytes, 1));
    const auto many = runtime->run_task(measure_http(*runtime, bytes, 32));
    std::printf("%7zu %12.0f (%5.1fus) %10.0f (%6.1f, %6.1fus) %10.0f (%6.1f, %6.1fus) %12.2f %12.2f\n",
                bytes, echo.rate, echo.p50_us, http.rate, http.p50_us, http.p99_us, many.rate, many.p50_us,
                many.p99_us, http.rate / echo.rate, http.p50_us / echo.p50_us);
  }
}
