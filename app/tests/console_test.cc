#include "console.h"

#include <gtest/gtest.h>

#include "console_assets.h"
#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

using io::HttpRequest;
using io::HttpResponse;

HttpRequest request_to(std::string method, std::string target) {
  HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  return out;
}
HttpRequest with(HttpRequest request, std::string name, std::string value) {
  request.headers.set(name, std::move(value));
  return request;
}

// A server with a console on a simulated machine. "X-Test-User" stands for what other authenticators find.
class ConsoleTest : public ::testing::Test {
 protected:
  ConsoleTest() : machine_(world_.add_machine("hq")) { make({.public_url = "https://hq:8443"}); }
  void make(Console::Options options) {
    auto& runtime = machine_.runtime();
    console_.emplace(Console::Dependencies{runtime.clock(), runtime.random()}, std::move(options));
  }
  // The reply, after a whole exchange over the simulated network.
  HttpResponse call(HttpRequest request) {
    auto& runtime = machine_.runtime();
    auto listener = runtime.network().listen({"hq", 0, {}});
    EXPECT_TRUE(listener);
    auto& console = *console_;
    io::HttpServer server(runtime, std::move(*listener), {},
                          [&console](io::HttpExchange& x) { return serve(console, x); });
    server.start();
    HttpResponse reply;
    bool done = false;
    TaskGroup group(runtime.executor());
    group.spawn(
        [](io::Runtime& r, io::HttpServer& s, HttpRequest q, HttpResponse& out, bool& flag) -> Task<void> {
          io::HttpClient client(r, s.local(), {});
          auto got = co_await client.call({}, std::move(q));
          EXPECT_TRUE(got) << got.error().to_string();
          if (got) out = std::move(*got);
          client.close_idle();
          co_await s.stop(10ms);
          flag = true;
        }(runtime, server, std::move(request), reply, done));
    world_.run_for(1min, [&] { return done && group.running() == 0; });
    EXPECT_TRUE(done);
    return reply;
  }
  static Task<void> serve(Console& console, io::HttpExchange& x) {
    auth::Identity who{.user = "system:anonymous"};
    if (auto found = console.identify(x.request()))
      who = *found;
    else if (x.request().headers.has("Authorization"))
      who = {.user = "admin", .groups = {"system:masters"}, .authenticated = true};
    if (x.request().path == "/neap/v1/console-codes") {
      co_await console.serve_codes(x, who);
    } else if (x.request().path.starts_with("/console")) {
      co_await console.serve(x, who);
    } else {
      (void)co_await x.reply({.status = who.authenticated ? 200 : 401, .headers = {}, .body = who.user});
    }
  }
  // Path and query of a fresh login link.
  std::string login_target() {
    auto reply = call(with(request_to("POST", "/neap/v1/console-codes"), "Authorization", "Bearer t"));
    EXPECT_EQ(reply.status, 200);
    const auto body = parse_json(reply.body);
    const std::string url(get_string(*body, "url"));
    EXPECT_TRUE(url.starts_with("https://hq:8443/console/login?code=")) << url;
    return url.substr(std::string_view("https://hq:8443").size());
  }
  // "name=token" of a fresh session.
  std::string sign_in() {
    const auto reply = call(request_to("GET", login_target()));
    EXPECT_EQ(reply.status, 303);
    const std::string cookie(reply.headers.get("Set-Cookie"));
    return cookie.substr(0, cookie.find(';'));
  }
  std::string csrf_of(const std::string& cookie) {
    const auto reply = call(with(request_to("GET", "/console/session"), "Cookie", cookie));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return std::string(get_string(*parse_json(reply.body), "csrf"));
  }

  io::SimWorld world_{7};
  io::SimMachine& machine_;
  std::optional<Console> console_;
};

TEST_F(ConsoleTest, a_code_signs_in_once) {
  const auto target = login_target();
  const auto first = call(request_to("GET", target));
  EXPECT_EQ(first.status, 303);
  EXPECT_EQ(first.headers.get("Location"), "/console/");
  const auto again = call(request_to("GET", target));
  EXPECT_EQ(again.headers.get("Location"), "/console/?login=refused");
  EXPECT_FALSE(again.headers.has("Set-Cookie"));
}

TEST_F(ConsoleTest, the_cookie_is_kept_from_scripts_other_sites_and_plain_connections) {
  const auto reply = call(request_to("GET", login_target()));
  const std::string cookie(reply.headers.get("Set-Cookie"));
  EXPECT_TRUE(cookie.starts_with("__Host-neap-session-8443=")) << cookie;
  for (const auto* part : {"; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/", "; Max-Age=43200"})
    EXPECT_NE(cookie.find(part), std::string::npos) << part << " in " << cookie;
}

TEST_F(ConsoleTest, looking_at_a_link_does_not_use_it_up) {
  const auto target = login_target();
  EXPECT_EQ(call(request_to("HEAD", target)).status, 405);
  EXPECT_TRUE(call(request_to("GET", target)).headers.has("Set-Cookie"));
}

TEST_F(ConsoleTest, a_code_ends_after_its_lifetime) {
  const auto target = login_target();
  world_.run_for(10min);
  EXPECT_FALSE(call(request_to("GET", target)).headers.has("Set-Cookie"));
}

TEST_F(ConsoleTest, a_session_ends_after_its_lifetime) {
  const auto cookie = sign_in();
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", cookie)).body, "admin");
  world_.run_for(12h);
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", cookie)).status, 401);
}

TEST_F(ConsoleTest, reads_need_the_cookie_and_writes_the_csrf_token_too) {
  const auto cookie = sign_in();
  const auto csrf = csrf_of(cookie);
  const auto post = with(request_to("POST", "/apis"), "Cookie", cookie);
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", cookie)).status, 200);
  EXPECT_EQ(call(post).status, 401);
  EXPECT_EQ(call(with(post, "X-Neap-CSRF", "wrong")).status, 401);
  EXPECT_EQ(call(with(post, "X-Neap-CSRF", csrf)).status, 200);
}

TEST_F(ConsoleTest, one_sessions_csrf_token_does_not_fit_another) {
  const auto mine = sign_in();
  const auto other = csrf_of(sign_in());
  EXPECT_EQ(call(with(with(request_to("POST", "/apis"), "Cookie", mine), "X-Neap-CSRF", other)).status, 401);
}

TEST_F(ConsoleTest, other_pages_cannot_speak_with_the_session) {
  const auto cookie = sign_in();
  const auto get = with(request_to("GET", "/apis"), "Cookie", cookie);
  for (const auto* from : {"cross-site", "same-site", "SAME-ORIGIN"})
    EXPECT_EQ(call(with(get, "Sec-Fetch-Site", from)).status, 401) << from;
  for (const auto* from : {"same-origin", "none"})
    EXPECT_EQ(call(with(get, "Sec-Fetch-Site", from)).status, 200) << from;
  HttpRequest socket = get;
  socket.headers.set("Upgrade", "websocket");
  EXPECT_FALSE(console_->identify(socket));
}

TEST_F(ConsoleTest, a_request_with_a_token_of_its_own_does_not_borrow_the_session) {
  HttpRequest request = with(request_to("GET", "/apis"), "Cookie", sign_in());
  request.headers.set("Authorization", "Bearer wrong");
  EXPECT_FALSE(console_->identify(request));
}

TEST_F(ConsoleTest, a_session_cannot_mint_codes) {
  const auto cookie = sign_in();
  const auto post = with(with(request_to("POST", "/neap/v1/console-codes"), "Cookie", cookie), "X-Neap-CSRF",
                         csrf_of(cookie));
  EXPECT_EQ(call(post).status, 403);
}

TEST_F(ConsoleTest, strangers_and_nodes_cannot_mint_codes) {
  EXPECT_EQ(call(request_to("POST", "/neap/v1/console-codes")).status, 403);
  EXPECT_EQ(call(with(request_to("GET", "/neap/v1/console-codes"), "Authorization", "x")).status, 405);
}

TEST_F(ConsoleTest, signing_out_needs_the_token_and_ends_the_session) {
  const auto cookie = sign_in();
  const auto post = with(request_to("POST", "/console/logout"), "Cookie", cookie);
  EXPECT_EQ(call(post).status, 403);
  EXPECT_EQ(console_->open_sessions(), 1u);
  EXPECT_EQ(call(with(post, "X-Neap-CSRF", csrf_of(cookie))).status, 204);
  EXPECT_EQ(console_->open_sessions(), 0u);
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", cookie)).status, 401);
}

TEST_F(ConsoleTest, sessions_are_bounded_and_the_oldest_goes) {
  make({.public_url = "https://hq:8443", .sessions_max = 3});
  const auto oldest = sign_in();
  world_.run_for(1s);
  std::string newest;
  for (int i = 0; i < 3; ++i) newest = sign_in();
  EXPECT_EQ(console_->open_sessions(), 3u);
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", oldest)).status, 401);
  EXPECT_EQ(call(with(request_to("GET", "/apis"), "Cookie", newest)).status, 200);
}

TEST_F(ConsoleTest, hostile_cookies_and_codes_are_nobody) {
  (void)sign_in();
  for (const std::string& cookie :
       {std::string("__Host-neap-session-8443="),
        std::string("__Host-neap-session-8443=") + std::string(64, '0'), std::string(";;;=;=="),
        std::string("__Host-neap-session-8443"), std::string(60000, ';')}) {
    HttpRequest request = request_to("GET", "/apis");
    request.headers.set("Cookie", cookie);
    EXPECT_FALSE(console_->identify(request));
  }
  for (const auto* code : {"", "?code=", "?code=%00", "?code=abc", "?code=a&code=b"})
    EXPECT_FALSE(call(request_to("GET", std::string("/console/login") + code)).headers.has("Set-Cookie"))
        << code;
}

TEST_F(ConsoleTest, finds_its_cookie_among_others) {
  const auto cookie = sign_in();
  HttpRequest request = request_to("GET", "/apis");
  request.headers.set("Cookie", "a=b; " + cookie + "; c=d");
  EXPECT_TRUE(console_->identify(request));
}

TEST_F(ConsoleTest, serves_the_page_under_every_route_with_a_strict_policy) {
  for (const auto* target : {"/console/", "/console/work/default/job.v1", "/console/index.html"}) {
    const auto reply = call(request_to("GET", target));
    EXPECT_EQ(reply.status, 200) << target;
    EXPECT_EQ(reply.headers.get("Content-Type"), "text/html; charset=utf-8");
    EXPECT_EQ(reply.headers.get("Cache-Control"), "no-cache");
    EXPECT_NE(reply.headers.get("Content-Security-Policy").find("default-src 'none'"),
              std::string_view::npos);
    EXPECT_EQ(reply.headers.get("X-Content-Type-Options"), "nosniff");
    EXPECT_NE(reply.body.find("<title>Neap</title>"), std::string::npos);
    // The policy would stop it, and a build that brings one in should not pass.
    EXPECT_EQ(reply.body.find("<script>"), std::string::npos);
  }
  EXPECT_EQ(call(request_to("GET", "/console")).headers.get("Location"), "/console/");
  EXPECT_EQ(call(request_to("GET", "/console/assets/absent.js")).status, 404);
  EXPECT_EQ(call(request_to("PUT", "/console/")).status, 405);
}

TEST_F(ConsoleTest, an_unchanged_file_is_not_sent_again) {
  const auto first = call(request_to("GET", "/console/"));
  const std::string etag(first.headers.get("ETag"));
  const auto again = call(with(request_to("GET", "/console/"), "If-None-Match", etag));
  EXPECT_EQ(again.status, 304);
  EXPECT_TRUE(again.body.empty());
}

TEST_F(ConsoleTest, hashed_files_are_cached_for_ever_and_sent_compressed_where_wanted) {
  if (!Console::is_built()) GTEST_SKIP() << "built with NEAP_UI=OFF: there are no hashed files";
  int seen = 0;
  for (const auto& asset : console_assets()) {
    if (!asset.path.ends_with(".js")) continue;
    ++seen;
    const auto target = "/console/" + std::string(asset.path);
    const auto plain = call(request_to("GET", target));
    EXPECT_EQ(plain.body, asset.bytes);
    EXPECT_NE(plain.headers.get("Cache-Control").find("immutable"), std::string_view::npos);
    const auto small = call(with(request_to("GET", target), "Accept-Encoding", "br, gzip"));
    EXPECT_EQ(small.headers.get("Content-Encoding"), "gzip");
    EXPECT_LT(small.body.size(), plain.body.size());
    EXPECT_NE(small.headers.get("ETag"), plain.headers.get("ETag"));
    const auto refused = call(with(request_to("GET", target), "Accept-Encoding", "gzip;q=0"));
    EXPECT_FALSE(refused.headers.has("Content-Encoding"));
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace neap::app
