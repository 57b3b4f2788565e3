#include "join_desk.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/client/fake_resource_client.h"
#include "neap/crypto/x509.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

// A join desk on 10.0.0.1, whose server certificate is for that address and for "hq.example".
class JoinDeskTest : public ::testing::Test {
 protected:
  JoinDeskTest()
      : server_(world_.add_machine("10.0.0.1")),
        authority_(auth::CertificateAuthority::create("test", server_.runtime().clock().wall(), 24h).value()),
        store_(server_.runtime().executor()),
        client_(server_.runtime()),
        desk_({.runtime = server_.runtime(),
               .store = store_,
               .authority = authority_,
               .client = client_,
               .signing_key_pem = "key",
               .site = "hq",
               .server_names = {"10.0.0.1", "hq.example"}}) {}
  io::HttpResponse post(io::SimMachine& from, std::string path, Json body) {
    auto listener = server_.runtime().network().listen({"10.0.0.1", 0, {}});
    io::HttpServer http(server_.runtime(), std::move(*listener), {}, [this](io::HttpExchange& x) {
      return x.request().path == "/neap/v1/join" ? desk_.serve_join(x) : desk_.serve_tokens(x);
    });
    http.start();
    io::HttpResponse reply;
    TaskGroup group(from.runtime().executor());
    group.spawn([](io::Runtime& r, io::HttpServer& s, std::string target, Json json,
                   io::HttpResponse& out) -> Task<void> {
      io::HttpClient client(r, s.local(), {});
      io::HttpRequest request{.method = "POST"};
      request.target = std::move(target);
      request.body = to_text(json);
      if (auto got = co_await client.call({}, std::move(request))) out = *std::move(got);
      client.close_idle();
      co_await s.stop(10ms);
    }(from.runtime(), http, std::move(path), std::move(body), reply));
    world_.run_for(1min, [&] { return group.running() == 0; });
    return reply;
  }
  io::HttpResponse join(io::SimMachine& from, std::string node) {
    const auto token = post(server_, "/neap/v1/join-tokens", Json{{"site", "factory-01"}});
    const auto request = crypto::make_key_and_csr(auth::node_subject(node)).value();
    return post(from, "/neap/v1/join",
                Json{{"token", get_string(parse_json(token.body).value(), "token")},
                     {"node", node},
                     {"site", "factory-01"},
                     {"address", "10.0.0.1"},
                     {"request", request.request_pem}});
  }
  static crypto::Certificate certificate_in(const io::HttpResponse& reply) {
    return crypto::parse_certificate(get_string(parse_json(reply.body).value(), "certificate")).value();
  }

  io::SimWorld world_{11};
  io::SimMachine& server_;
  auth::CertificateAuthority authority_;
  store::MemoryStore store_;
  client::FakeResourceClient client_;
  JoinDesk desk_;
};

TEST_F(JoinDeskTest, a_certificate_is_for_the_address_the_request_came_from_whatever_the_node_says) {
  const auto reply = join(world_.add_machine("10.0.0.7"), "edge-1");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const auto certificate = certificate_in(reply);
  EXPECT_EQ(certificate.ip_addresses, std::vector<std::string>{"10.0.0.7"});
  EXPECT_EQ(certificate.dns_names, std::vector<std::string>{"edge-1"});
}

TEST_F(JoinDeskTest, a_node_beside_the_server_gets_no_certificate_for_the_servers_address) {
  const auto reply = join(server_, "edge-1");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(certificate_in(reply).ip_addresses.empty());
}

TEST_F(JoinDeskTest, a_node_cannot_take_a_name_of_the_server) {
  const auto reply = join(world_.add_machine("10.0.0.7"), "hq.example");
  EXPECT_EQ(reply.status, 403) << reply.body;
}

}  // namespace
}  // namespace neap::app
