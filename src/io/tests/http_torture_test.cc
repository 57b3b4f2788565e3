// What the HTTP server makes of input that no honest client sends.
#include <gtest/gtest.h>

#include "neap/io/http.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

// Simulated, so that timeouts cost nothing and every run is the same.
class HttpTorture : public ::testing::Test {
 protected:
  HttpTorture() {
    options.limits.header_bytes_max = 4096;
    options.limits.header_count_max = 20;
    options.limits.connections_max = 3;
  }
  static Task<void> serve(HttpExchange& x) {
    auto body = co_await x.body().read_all(x.context(), 1000);
    if (!body) co_return;
    (void)co_await x.reply({.status = 200,
                            .headers = {},
                            .body = fmt::format("{} {} [{}]", x.request().method, x.request().path, *body)});
  }
  // Sends the pieces, a simulated second apart, and returns all that comes back until the server closes,
  // or until it has been quiet for `patience`.
  std::string send(std::vector<std::string> pieces, Duration patience = 3s) {
    auto& runtime = world.runtime();
    HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options, serve);
    server.start();
    std::string got;
    world.run([](Runtime& r, HttpServer& s, std::vector<std::string> parts, Duration quiet,
                 std::string& out) -> Task<void> {
      {
        auto stream = co_await r.network().connect({}, s.local());
        for (const auto& part : parts) {
          if (!co_await (*stream)->write_all({}, part)) break;
          (void)co_await sleep_for(r.executor(), {}, 1s);
        }
        for (;;) {
          auto n = co_await (*stream)->read_some(CallContext{}.with_deadline(r.executor().now() + quiet), out,
                                                 10'000);
          if (!n || *n == 0) break;
        }
      }
      co_await s.stop(10s);
    }(runtime, server, std::move(pieces), patience, got));
    EXPECT_EQ(server.open_connections(), 0u);
    return got;
  }
  static int status_of(const std::string& reply) {
    return reply.starts_with("HTTP/1.1 ") ? std::atoi(reply.c_str() + 9) : 0;
  }
  SimulatedWorld world;
  HttpServerOptions options;
};

constexpr std::string_view kHost = "Host: a\r\n";

TEST_F(HttpTorture, every_bad_request_gets_its_status_and_no_second_answer) {
  struct Case {
    const char* what;
    std::string request;
    int status;
    const char* reason;
  };
  const std::string h(kHost);
  const Case cases[] = {
      {"no HTTP", "hello world\r\n\r\n", 400, "http.malformed"},
      {"NUL in an unfinished head", std::string("GET / \0", 7), 400, "http.malformed"},
      {"bad version", "GET / HTTP/9.9\r\n" + h + "\r\n", 400, "http.malformed"},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400, "http.host.missing"},
      {"two hosts", "GET / HTTP/1.1\r\n" + h + h + "\r\n", 400, "http.host.missing"},
      {"space before colon", "GET / HTTP/1.1\r\n" + h + "A : b\r\n\r\n", 400, "http.malformed"},
      {"folded line", "GET / HTTP/1.1\r\n" + h + "A: b\r\n c\r\n\r\n", 400, "http.header.folded"},
      {"control character in value", "GET / HTTP/1.1\r\n" + h + "A: b\x01\r\n\r\n", 400, "http.malformed"},
      {"bare LF", "GET / HTTP/1.1\n" + h + "\r\n\r\n", 400, "http.malformed"},
      {"both lengths",
       "POST / HTTP/1.1\r\n" + h + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
       "http.length.ambiguous"},
      {"both lengths, other order",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400,
       "http.length.ambiguous"},
      {"two lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400,
       "http.length.ambiguous"},
      {"same length twice", "POST / HTTP/1.1\r\n" + h + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
       400, "http.length.ambiguous"},
      {"list of lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 5, 5\r\n\r\nhello", 400,
       "http.length.invalid"},
      {"signed length", "POST / HTTP/1.1\r\n" + h + "Content-Length: +5\r\n\r\nhello", 400,
       "http.length.invalid"},
      {"negative length", "POST / HTTP/1.1\r\n" + h + "Content-Length: -5\r\n\r\nhello", 400,
       "http.length.invalid"},
      {"overflowing length", "POST / HTTP/1.1\r\n" + h + "Content-Length: 99999999999999999999\r\n\r\n", 400,
       "http.length.invalid"},
      {"unknown encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip\r\n\r\n", 400,
       "http.encoding.unsupported"},
      {"encoding list", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400,
       "http.encoding.unsupported"},
      {"hidden encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400,
       "http.encoding.unsupported"},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
       "http.encoding.unsupported"},
      {"bad chunk size",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", 400,
       "http.chunk.malformed"},
      {"chunk longer than it says",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", 400,
       "http.chunk.malformed"},
      {"huge chunk size",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi", 400,
       "http.chunk.malformed"},
      {"endless chunk line",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(40'000, 'x'), 400,
       "http.chunk.malformed"},
      {"body over the handler's limit", "POST / HTTP/1.1\r\n" + h + "Content-Length: 1001\r\n\r\n", 413,
       "http.body.too_large"},
      {"chunked body over the limit",
       "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'x') +
           "\r\n0\r\n\r\n",
       413, "http.body.too_large"},
      {"long target", "GET /" + std::string(5000, 'x') + " HTTP/1.1\r\n" + h + "\r\n", 414,
       "http.target.too_long"},
      {"large head", "GET / HTTP/1.1\r\n" + h + "A: " + std::string(5000, 'x') + "\r\n\r\n", 431,
       "http.headers.too_large"},
      {"many fields",
       "GET / HTTP/1.1\r\n" + h +
           [] {
             std::string s;
             for (int i = 0; i < 30; ++i) s += "A: b\r\n";
             return s;
           }() +
           "\r\n",
       431, "http.headers.too_many"},
      {"dot-dot", "GET /a/../b HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"encoded dot-dot", "GET /a/%2e%2E/b HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"encoded slash and dot-dot", "GET /a%2f..%2fb HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"double slash", "GET //a HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"encoded double slash", "GET /a/%2Fb HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"encoded NUL", "GET /a%00b HTTP/1.1\r\n" + h + "\r\n", 400, "url.nul"},
      {"encoded line break", "GET /a%0d%0ab HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"backslash", "GET /a%5c..%5cb HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"broken escape", "GET /a%2 HTTP/1.1\r\n" + h + "\r\n", 400, "url.escape"},
      {"NUL in the query", "GET /a?b=%00 HTTP/1.1\r\n" + h + "\r\n", 400, "url.nul"},
      {"fragment", "GET /a#b HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"authority form", "CONNECT a:80 HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
      {"no slash", "GET a HTTP/1.1\r\n" + h + "\r\n", 400, "http.target.invalid"},
  };
  for (const auto& c : cases) {
    // A smuggled second request behind the bad one must never be answered.
    const bool whole = std::string_view(c.request).ends_with("\r\n\r\n") && c.status != 413;
    const std::string smuggled = whole ? "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" : "";
    const auto reply = send({c.request + smuggled});
    EXPECT_EQ(status_of(reply), c.status) << c.what << ": " << reply;
    EXPECT_NE(reply.find(c.reason), std::string::npos) << c.what << ": " << reply;
    EXPECT_EQ(reply.find("/smuggled"), std::string::npos) << c.what << ": " << reply;
  }
}

TEST_F(HttpTorture, pipelined_requests_are_answered_in_order_however_they_are_cut) {
  const std::string text =
      "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
      "\r\nPOST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nT: 1\r\n\r\n"
      "GET http://a/three?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  std::vector<std::vector<std::string>> cuts{{text}};
  for (const std::size_t at : {1, 20, 55, 60, 120, 140, 143, 150, 160})
    cuts.push_back({text.substr(0, at), text.substr(at)});
  std::vector<std::string> bytes;
  for (const char c : text.substr(0, 100)) bytes.emplace_back(1, c);
  bytes.push_back(text.substr(100));
  options.limits.header_timeout = 200s;
  cuts.push_back(bytes);
  for (const auto& pieces : cuts) {
    const auto reply = send(pieces);
    const auto one = reply.find("POST /one [abc]"), two = reply.find("POST /two [def]"),
               three = reply.find("GET /three []");
    EXPECT_NE(three, std::string::npos) << reply;
    EXPECT_TRUE(one < two && two < three) << reply;
    EXPECT_NE(reply.find("Connection: close"), std::string::npos);
  }
}

// Found by the fuzzer: Beast's own decoder failed an assertion when resumed inside the last chunk.
TEST_F(HttpTorture, a_last_chunk_may_arrive_byte_by_byte) {
  std::vector<std::string> pieces{"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"};
  for (const char c : std::string_view("3\r\nabc\r\n0\r\nT: 1\r\n\r\n")) pieces.emplace_back(1, c);
  EXPECT_NE(send(pieces).find("POST /x [abc]"), std::string::npos);
}

TEST_F(HttpTorture, a_slow_head_gets_408_and_a_silent_connection_is_closed) {
  std::vector<std::string> drops;
  for (int i = 0; i < 30; ++i) drops.emplace_back("A");
  drops.insert(drops.begin(), "GET / HTTP/1.1\r\n");
  EXPECT_EQ(status_of(send(drops)), 408);
  EXPECT_EQ(send({}, 60s), "");
  const auto start = world.runtime().executor().now();
  EXPECT_EQ(status_of(send({"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, 1000s)), 200);
  EXPECT_LT(world.runtime().executor().now() - start, 150s);  // the idle timeout ended it
}

TEST_F(HttpTorture, a_body_that_stops_coming_gets_408_and_a_cut_one_frees_the_connection) {
  EXPECT_EQ(status_of(send({"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"}, 1000s)), 408);
  EXPECT_EQ(send({"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"}, 1ms), "");
}

TEST_F(HttpTorture, a_body_is_invited_only_when_the_handler_wants_it) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
  const auto wanted = send({head + "3\r\n\r\n", "abc"});
  EXPECT_TRUE(wanted.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")) << wanted;
  const auto refused = send({head + "3000\r\n\r\n"});
  EXPECT_EQ(status_of(refused), 413) << refused;
  EXPECT_NE(refused.find("Connection: close"), std::string::npos);
}

TEST_F(HttpTorture, http_1_0_is_closed_unless_it_asks_otherwise) {
  EXPECT_NE(send({"GET /a HTTP/1.0\r\n\r\n"}, 60s).find("Connection: close"), std::string::npos);
  EXPECT_NE(send({"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"}).find("Connection: keep-alive"),
            std::string::npos);
}

TEST_F(HttpTorture, connections_above_the_limit_are_told_so) {
  auto& runtime = world.runtime();
  HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options, serve);
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    std::vector<std::unique_ptr<Stream>> open;
    for (int i = 0; i < 4; ++i) open.push_back(std::move(*co_await r.network().connect({}, s.local())));
    std::string out;
    (void)co_await open[3]->read_some({}, out, 1000);
    EXPECT_EQ(status_of(out), 503) << out;
    EXPECT_NE(out.find("http.connections.too_many"), std::string::npos);
    co_await s.stop(1s);
  }(runtime, server));
}

// One request on an open connection: its status, 0 when the connection has ended.
Task<int> ask(Runtime& runtime, Stream& stream) {
  std::string out;
  if (!co_await stream.write_all({}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")) co_return 0;
  (void)co_await stream.read_some(CallContext{}.with_deadline(runtime.executor().now() + 1s), out, 1000);
  co_return out.starts_with("HTTP/1.1 ") ? std::atoi(out.c_str() + 9) : 0;
}

TEST_F(HttpTorture, a_full_server_gives_the_place_of_a_connection_that_rests) {
  auto& runtime = world.runtime();
  HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options, serve);
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    std::vector<std::unique_ptr<Stream>> open;
    for (int i = 0; i < 20; ++i) {
      open.push_back(std::move(*co_await r.network().connect({}, s.local())));
      EXPECT_EQ(co_await ask(r, *open.back()), 200) << "the newest always has a place";
      (void)co_await sleep_for(r.executor(), {}, 10ms);
      EXPECT_EQ(s.open_connections(), std::min<std::size_t>(open.size(), 3));
    }
    int alive = 0;
    for (auto& one : open) alive += co_await ask(r, *one) == 200 ? 1 : 0;
    EXPECT_EQ(alive, 3) << "and no more end than have to";
    co_await s.stop(1s);
  }(runtime, server));
  EXPECT_EQ(server.open_connections(), 0u);
}

TEST_F(HttpTorture, a_request_at_work_never_loses_its_place) {
  auto& runtime = world.runtime();
  HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options,
                    [&](HttpExchange& x) -> Task<void> {
                      if (x.request().path == "/slow") (void)co_await sleep_for(runtime.executor(), {}, 60s);
                      co_await serve(x);
                    });
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    std::vector<std::unique_ptr<Stream>> slow, fast;
    for (int i = 0; i < 2; ++i) {
      slow.push_back(std::move(*co_await r.network().connect({}, s.local())));
      (void)co_await slow.back()->write_all({}, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for (int i = 0; i < 10; ++i) {
      fast.push_back(std::move(*co_await r.network().connect({}, s.local())));
      EXPECT_EQ(co_await ask(r, *fast.back()), 200);
    }
    for (auto& one : slow) {
      std::string out;
      (void)co_await one->read_some({}, out, 1000);
      EXPECT_EQ(status_of(out), 200) << out;
    }
    co_await s.stop(1s);
  }(runtime, server));
}

TEST_F(HttpTorture, a_handler_learns_that_its_peer_has_gone) {
  auto& runtime = world.runtime();
  bool told = false;
  HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options,
                    [&](HttpExchange& x) -> Task<void> {
                      auto status = co_await sleep_for(runtime.executor(), x.context(), 1h);
                      told = !status && status.error().code == Code::kCancelled;
                    });
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    {
      auto stream = co_await r.network().connect({}, s.local());
      (void)co_await (*stream)->write_all({}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      (void)co_await sleep_for(r.executor(), {}, 2s);
    }
    (void)co_await sleep_for(r.executor(), {}, 2s);
    EXPECT_EQ(s.open_connections(), 0u);
    co_await s.stop(1s);
  }(runtime, server));
  EXPECT_TRUE(told);
}

TEST_F(HttpTorture, a_reply_cannot_be_split_by_a_header_value) {
  auto& runtime = world.runtime();
  HttpServer server(runtime, std::move(*runtime.network().listen(world.any_endpoint())), options,
                    [](HttpExchange& x) -> Task<void> {
                      HttpResponse response;
                      response.headers.set("X", "a\r\nSet-Cookie: evil");
                      auto status = co_await x.reply(response);
                      EXPECT_FALSE(status);
                    });
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    HttpClient client(r, s.local(), {});
    HttpRequest request;
    request.method = "GET";
    request.target = "/";
    auto reply = co_await client.call({}, request);
    EXPECT_TRUE(reply && reply->status == 500 && !reply->headers.has("Set-Cookie"));
    request.target = "/ HTTP/1.1\r\nX: y";
    EXPECT_FALSE(co_await client.call({}, request));
    request.target = "/";
    request.headers.set("A", "b\r\nC: d");
    EXPECT_FALSE(co_await client.call({}, request));
    co_await s.stop(1s);
  }(runtime, server));
}

}  // namespace
}  // namespace neap::io
