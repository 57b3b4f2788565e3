#include "neap/io/http.h"

#include <gtest/gtest.h>

#include "tests/worlds.h"

namespace neap::io {
namespace {

HttpRequest request_to(std::string method, std::string target, std::string body = {}) {
  HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.body = std::move(body);
  return out;
}

// Handlers of the test server, by path.
Task<void> serve_test(HttpExchange& x) {
  const auto& path = x.request().path;
  if (path == "/echo") {
    auto body = co_await x.body().read_all(x.context(), 32u << 20);
    if (!body) co_return;
    HttpResponse response;
    response.headers.set("X-Method", x.request().method);
    response.headers.set("X-Query", std::string(x.request().query_value("q")));
    response.body = std::move(*body);
    (void)co_await x.reply(std::move(response));
  } else if (path == "/small") {
    auto body = co_await x.body().read_all(x.context(), 10);
    if (body) (void)co_await x.reply({.status = 200, .headers = {}, .body = *body});
  } else if (path == "/stream") {
    (void)co_await x.start({.status = 200, .headers = {}, .body = "first,"});
    for (int i = 0; i < 5; ++i) (void)co_await x.write("piece" + std::to_string(i) + ",");
    (void)co_await x.finish();
  } else if (path == "/unread") {
    (void)co_await x.reply({.status = 200, .headers = {}, .body = "not read"});
  } else if (path == "/half") {
    (void)co_await x.start({.status = 200, .headers = {}, .body = "half"});
  } else if (path == "/upgrade") {
    Headers headers;
    headers.set("Upgrade", "echo");
    auto stream = co_await x.upgrade(std::move(headers));
    if (!stream) co_return;
    for (;;) {
      std::string data;
      auto n = co_await (*stream)->read_some(x.context(), data, 1024);
      if (!n || *n == 0 || !co_await (*stream)->write_all(x.context(), data)) co_return;
    }
  } else if (path == "/404") {
    (void)co_await x.reply(json_error(Error{Code::kNotFound, "test.absent", "there is none", {}}));
  }
}

template <class World>
class Http : public ::testing::Test {
 public:
  // Runs `scenario` against a fresh server, then stops it.
  template <class F>
  void with_server(F scenario, HttpServerOptions options = {}) {
    auto listener = world.runtime().network().listen(world.any_endpoint());
    ASSERT_TRUE(listener) << listener.error().to_string();
    HttpServer server(world.runtime(), std::move(*listener), std::move(options), serve_test);
    server.start();
    world.run([](HttpServer& s, F f) -> Task<void> {
      co_await f(s);
      co_await s.stop(100ms);
    }(server, std::move(scenario)));
    EXPECT_EQ(server.open_connections(), 0u);
  }
  World world;
};
using Worlds = ::testing::Types<RealWorld, SimulatedWorld>;
TYPED_TEST_SUITE(Http, Worlds);

TYPED_TEST(Http, carries_requests_and_replies_over_one_kept_connection) {
  this->with_server([this](HttpServer& server) -> Task<void> {
    HttpClient client(this->world.runtime(), server.local(), {});
    for (const std::string& body : {std::string(), std::string("hello"), std::string(3u << 20, 'x')}) {
      auto reply = co_await client.call({}, request_to("POST", "/echo?q=a%20b+c", body));
      EXPECT_TRUE(reply) << reply.error().to_string();
      if (!reply) co_return;
      EXPECT_EQ(reply->status, 200);
      EXPECT_EQ(reply->body.size(), body.size());
      EXPECT_EQ(reply->body, body);
      EXPECT_EQ(reply->headers.get("x-query"), "a b c");
    }
    EXPECT_EQ(server.open_connections(), 1u);
    client.close_idle();
  });
}

TYPED_TEST(Http, streams_replies_and_uploads_in_chunks) {
  this->with_server([this](HttpServer& server) -> Task<void> {
    HttpClient client(this->world.runtime(), server.local(), {});
    auto reply = co_await client.call({}, request_to("GET", "/stream"));
    EXPECT_TRUE(reply && reply->body == "first,piece0,piece1,piece2,piece3,piece4,")
        << reply.error().to_string();
    for (const bool known : {false, true}) {
      int left = 10;
      auto up = co_await client.upload({}, request_to("PUT", "/echo"),
                                       known ? std::optional<std::uint64_t>(50'000) : std::nullopt,
                                       [&left]() -> Task<Result<std::string>> {
                                         if (left == 0) co_return std::string();
                                         --left;
                                         co_return std::string(5'000, static_cast<char>('a' + left));
                                       });
      EXPECT_TRUE(up && up->body.size() == 50'000);
    }
    auto cut = co_await client.call({}, request_to("GET", "/half"));
    EXPECT_FALSE(cut);
  });
}

TYPED_TEST(Http, answers_413_and_404_and_500_with_a_reason) {
  this->with_server([this](HttpServer& server) -> Task<void> {
    HttpClient client(this->world.runtime(), server.local(), {});
    auto large = co_await client.call({}, request_to("POST", "/small", "more than ten bytes"));
    EXPECT_TRUE(large && large->status == 413 &&
                large->body.find("http.body.too_large") != std::string::npos);
    auto absent = co_await client.call({}, request_to("GET", "/404"));
    EXPECT_TRUE(absent && absent->status == 404 && absent->body.find("test.absent") != std::string::npos);
    auto silent = co_await client.call({}, request_to("GET", "/nobody"));
    EXPECT_TRUE(silent && silent->status == 500);
    auto head = co_await client.call({}, request_to("HEAD", "/stream"));
    EXPECT_TRUE(head && head->body.empty());
    auto unread = co_await client.call({}, request_to("POST", "/unread", std::string(100'000, 'y')));
    EXPECT_TRUE(unread && unread->body == "not read");
    auto again = co_await client.call({}, request_to("POST", "/unread", std::string(2'000'000, 'y')));
    EXPECT_TRUE(again && again->body == "not read");
  });
}

TYPED_TEST(Http, upgrades_a_connection_to_a_raw_stream) {
  this->with_server([this](HttpServer& server) -> Task<void> {
    HttpClient client(this->world.runtime(), server.local(), {});
    auto request = request_to("GET", "/upgrade");
    request.headers.set("Upgrade", "echo");
    auto stream = co_await client.upgrade({}, request);
    EXPECT_TRUE(stream);
    if (!stream) co_return;
    EXPECT_TRUE(co_await (*stream)->write_all({}, "ping"));
    std::string got;
    while (got.size() < 4) {
      auto n = co_await (*stream)->read_some({}, got, 100);
      if (!n || *n == 0) break;
    }
    EXPECT_EQ(got, "ping");
    auto refused = co_await client.upgrade({}, request_to("GET", "/404"));
    EXPECT_TRUE(!refused && refused.error().code == Code::kNotFound);
  });
}

}  // namespace
}  // namespace neap::io
