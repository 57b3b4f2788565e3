#include "neap/io/tls.h"

#include <gtest/gtest.h>

#include "neap/io/http.h"
#include "tests/test_certificates.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

// Made once: key generation is the slow part.
struct Pki {
  TestIdentity authority = make_test_authority("neap test authority");
  TestIdentity stranger_authority = make_test_authority("another authority");
  TestIdentity server = make_test_leaf(authority, "server", {}, "DNS:hq,IP:127.0.0.1");
  TestIdentity node = make_test_leaf(authority, "system:node:edge-1", "system:nodes", {});
  TestIdentity stranger = make_test_leaf(stranger_authority, "system:node:edge-1", "system:nodes", {});
};
const Pki& pki() {
  static const Pki instance;
  return instance;
}

TlsServerOptions server_options(bool require) {
  return {.certificate_pem = pki().server.certificate_pem + pki().authority.certificate_pem,
          .private_key_pem = pki().server.private_key_pem,
          .client_roots_pem = pki().authority.certificate_pem,
          .require_client_certificate = require};
}
TlsClientOptions client_options(const TestIdentity* identity, std::string server_name = "127.0.0.1") {
  TlsClientOptions out;
  out.roots_pem = pki().authority.certificate_pem;
  if (identity) {
    out.certificate_pem = identity->certificate_pem;
    out.private_key_pem = identity->private_key_pem;
  }
  out.server_name = std::move(server_name);
  return out;
}

template <class World>
class Tls : public ::testing::Test {
 public:
  World world;
  // Fetches "/" from a server that answers with the peer's name; the transport's error otherwise.
  Result<std::string> fetch(const TlsServerOptions& server, const TlsClientOptions& client,
                            std::size_t body = 0) {
    auto server_context = make_tls_server_context(server);
    auto client_context = make_tls_client_context(client);
    if (!server_context) return fail(server_context.error());
    if (!client_context) return fail(client_context.error());
    auto listener = world.runtime().network().listen(world.any_endpoint());
    HttpServerOptions options;
    options.tls = *server_context;
    HttpServer http(world.runtime(), std::move(*listener), std::move(options),
                    [](HttpExchange& x) -> Task<void> {
                      auto text = co_await x.body().read_all({}, 8u << 20);
                      const auto* peer = x.peer_certificate();
                      HttpResponse response;
                      response.body = peer ? peer->common_name + "|" +
                                                 fmt::format("{}", fmt::join(peer->organizations, ",")) +
                                                 "|" + peer->sha256
                                           : "nobody";
                      if (text && !text->empty()) response.body = *text;
                      (void)co_await x.reply(std::move(response));
                    });
    http.start();
    Result<std::string> out = fail(Error{});
    world.run([](Tls& self, HttpServer& s, std::shared_ptr<TlsClientContext> tls, std::size_t n,
                 Result<std::string>& result) -> Task<void> {
      {
        HttpClientOptions client_options;
        client_options.tls = tls;
        HttpClient http_client(self.world.runtime(), s.local(), client_options);
        HttpRequest request;
        request.method = "POST";
        request.target = "/";
        request.body = std::string(n, 'b');
        auto reply = co_await http_client.call({}, std::move(request));
        if (reply)
          result = reply->body;
        else
          result = fail(reply.error());
      }
      co_await s.stop(100ms);
    }(*this, http, *client_context, body, out));
    return out;
  }
};
using Worlds = ::testing::Types<RealWorld, SimulatedWorld>;
TYPED_TEST_SUITE(Tls, Worlds);

TYPED_TEST(Tls, both_sides_know_each_other_after_the_handshake) {
  auto got = this->fetch(server_options(true), client_options(&pki().node));
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(*got, "system:node:edge-1|system:nodes|" + test_sha256(pki().node.certificate_pem));
  EXPECT_EQ(this->fetch(server_options(false), client_options(nullptr, "hq")).value(), "nobody");
}

TYPED_TEST(Tls, large_bodies_travel_both_ways) {
  EXPECT_EQ(this->fetch(server_options(false), client_options(nullptr), 5u << 20).value().size(), 5u << 20);
}

TYPED_TEST(Tls, a_client_without_a_certificate_of_ours_is_refused) {
  EXPECT_EQ(this->fetch(server_options(true), client_options(nullptr)).error().code, Code::kUnauthenticated);
  EXPECT_EQ(this->fetch(server_options(true), client_options(&pki().stranger)).error().code,
            Code::kUnauthenticated);
  EXPECT_EQ(this->fetch(server_options(false), client_options(&pki().stranger)).error().code,
            Code::kUnauthenticated);
}

TYPED_TEST(Tls, a_server_with_the_wrong_name_or_root_is_refused) {
  EXPECT_EQ(this->fetch(server_options(false), client_options(nullptr, "other.name")).error().code,
            Code::kUnauthenticated);
  EXPECT_EQ(this->fetch(server_options(false), client_options(nullptr, "127.0.0.2")).error().code,
            Code::kUnauthenticated);
  auto wrong_root = client_options(nullptr);
  wrong_root.roots_pem = pki().stranger_authority.certificate_pem;
  EXPECT_EQ(this->fetch(server_options(false), wrong_root).error().code, Code::kUnauthenticated);
  wrong_root.insecure_skip_verify = true;
  EXPECT_TRUE(this->fetch(server_options(false), wrong_root));
}

TYPED_TEST(Tls, a_pinned_root_replaces_roots_and_narrows_them) {
  auto pinned = client_options(nullptr);
  pinned.roots_pem.clear();
  pinned.pinned_root_sha256 = test_sha256(pki().authority.certificate_pem);
  EXPECT_TRUE(this->fetch(server_options(false), pinned));
  auto wrong_name = pinned;
  wrong_name.server_name = "other.name";
  EXPECT_EQ(this->fetch(server_options(false), wrong_name).error().code, Code::kUnauthenticated);
  pinned.pinned_root_sha256 = test_sha256(pki().stranger_authority.certificate_pem);
  EXPECT_EQ(this->fetch(server_options(false), pinned).error().code, Code::kUnauthenticated);
  pinned.roots_pem = pki().authority.certificate_pem;
  EXPECT_EQ(this->fetch(server_options(false), pinned).error().code, Code::kUnauthenticated);
}

// A server that says who asked, and one keep-alive client of it.
struct Conversation {
  std::shared_ptr<TlsServerContext> server_tls = make_tls_server_context(server_options(true)).value();
  std::shared_ptr<TlsClientContext> client_tls = make_tls_client_context(client_options(&pki().node)).value();
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<HttpClient> client;
  explicit Conversation(Runtime& runtime, Endpoint at) {
    HttpServerOptions options;
    options.tls = server_tls;
    auto listener = runtime.network().listen(at);
    server = std::make_unique<HttpServer>(runtime, std::move(*listener), options,
                                          [](HttpExchange& x) -> Task<void> {
                                            HttpResponse response;
                                            response.body = x.peer_certificate()->serial;
                                            (void)co_await x.reply(std::move(response));
                                          });
    server->start();
    HttpClientOptions client_side;
    client_side.tls = client_tls;
    client = std::make_unique<HttpClient>(runtime, server->local(), client_side);
  }
  Task<std::string> ask() {
    HttpRequest request;
    request.method = "GET";
    request.target = "/";
    auto reply = co_await client->call({}, std::move(request));
    co_return reply ? reply->body : reply.error().to_string();
  }
};

TYPED_TEST(Tls, a_replaced_certificate_is_shown_by_new_connections_and_ends_no_old_one) {
  Conversation talk(this->world.runtime(), this->world.any_endpoint());
  const auto renewed = make_test_leaf(pki().authority, "system:node:edge-1", "system:nodes", {});
  const auto server_renewed = make_test_leaf(pki().authority, "server", {}, "IP:127.0.0.1");
  std::vector<std::string> serials;
  std::size_t connections = 0;
  this->world.run([](Conversation& t, const TestIdentity& client, const TestIdentity& server,
                     std::vector<std::string>& out, std::size_t& open) -> Task<void> {
    out.push_back(co_await t.ask());
    HttpRequest request;
    request.method = "GET";
    request.target = "/";
    auto standing = co_await t.client->open({}, std::move(request));  // its body is not read yet
    EXPECT_TRUE(replace_identity(*t.server_tls, server.certificate_pem, server.private_key_pem));
    EXPECT_TRUE(replace_identity(*t.client_tls, client.certificate_pem, client.private_key_pem));
    out.push_back((co_await (*standing)->body().read_all({}, 1000)).value());
    out.push_back(co_await t.ask());
    out.push_back(co_await t.ask());
    open = t.server->open_connections();
    t.client->close_idle();
    co_await t.server->stop(100ms);
  }(talk, renewed, server_renewed, serials, connections));
  ASSERT_EQ(serials.size(), 4u);
  EXPECT_EQ(serials[0], serials[1]);
  EXPECT_NE(serials[2], serials[1]);
  EXPECT_EQ(serials[3], serials[2]);
  EXPECT_LE(connections, 2u);  // one of each certificate at most
}

// More than may shake hands at once, and none of them says a word.
TEST(TlsServer, peers_that_never_shake_hands_hold_up_nobody_for_long) {
  SimulatedWorld world;
  HttpServerOptions options;
  options.tls = make_tls_server_context(server_options(false)).value();
  HttpServer server(world.runtime(), std::move(*world.runtime().network().listen(world.any_endpoint())),
                    options, [](HttpExchange& x) -> Task<void> { (void)co_await x.reply({}); });
  server.start();
  world.run([](Runtime& r, HttpServer& s) -> Task<void> {
    std::vector<std::unique_ptr<Stream>> mute;
    for (int i = 0; i < 600; ++i) mute.push_back(std::move(*co_await r.network().connect({}, s.local())));
    HttpClientOptions client_side;
    client_side.tls = make_tls_client_context(client_options(nullptr, "hq")).value();
    HttpClient client(r, s.local(), client_side);
    HttpRequest request;
    request.method = "GET";
    request.target = "/";
    const auto began = r.executor().now();
    const auto reply = co_await client.call({}, request);
    EXPECT_TRUE(reply && reply->status == 200);
    EXPECT_LT(r.executor().now() - began, 2s);
    EXPECT_GT(s.open_connections(), 256u) << "they were accepted, and are given up later";
    (void)co_await sleep_for(r.executor(), {}, 30s);
    EXPECT_LE(s.open_connections(), 1u);
    client.close_idle();
    co_await s.stop(1s);
  }(world.runtime(), server));
}

TEST(TlsContext, a_replacement_that_does_not_fit_changes_nothing) {
  auto tls = make_tls_client_context(client_options(&pki().node)).value();
  EXPECT_FALSE(replace_identity(*tls, pki().node.certificate_pem, pki().server.private_key_pem));
  EXPECT_EQ(identity_generation(*tls), 0u);
  EXPECT_TRUE(replace_identity(*tls, pki().node.certificate_pem, pki().node.private_key_pem));
  EXPECT_EQ(identity_generation(*tls), 1u);
}

TEST(TlsContext, names_the_pem_that_is_wrong) {
  auto options = server_options(false);
  options.private_key_pem = pki().node.private_key_pem;
  EXPECT_NE(make_tls_server_context(options).error().message.find("private key"), std::string::npos);
  options.certificate_pem = "junk";
  EXPECT_NE(make_tls_server_context(options).error().message.find("certificate"), std::string::npos);
  EXPECT_EQ(make_tls_client_context({.server_name = {}}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(make_tls_client_context({.server_name = "x", .pinned_root_sha256 = "12"}).error().code,
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace neap::io
