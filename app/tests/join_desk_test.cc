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
               .server_names = {"10.0.0.1", "hq.example"},
               .record = [this](Json entry) { return record(std::move(entry)); },
               .certificate_life = 10min}) {}
  Task<Status> record(Json entry) {
    recorded_.push_back(std::move(entry));
    co_return ok();
  }
  io::HttpResponse post(io::SimMachine& from, std::string path, Json body) {
    auto listener = server_.runtime().network().listen({"10.0.0.1", 0, {}});
    io::HttpServer http(server_.runtime(), std::move(*listener), {}, [this](io::HttpExchange& x) {
      if (x.request().path.starts_with("/agent/")) return desk_.serve_renewal(x, caller_);
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
  io::HttpResponse join(io::SimMachine& from, std::string node, std::string for_node = "*",
                        std::string site = "factory-01") {
    const auto token =
        post(server_, "/neap/v1/join-tokens", Json{{"site", site}, {"node", std::move(for_node)}});
    const auto request = crypto::make_key_and_csr(auth::node_subject(node)).value();
    return post(from, "/neap/v1/join",
                Json{{"token", get_string(parse_json(token.body).value(), "token")},
                     {"node", node},
                     {"site", site},
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
  auth::Identity caller_;  // who a renewal's certificate says it is
  std::vector<Json> recorded_;

  io::HttpResponse renew(io::SimMachine& from, std::string node) {
    const auto request = crypto::make_key_and_csr(auth::node_subject(node)).value();
    return post(from, "/agent/v1/nodes/" + node + "/certificate", Json{{"request", request.request_pem}});
  }
  std::string newest(std::string_view field) const {
    return recorded_.empty() ? "" : std::string(get_string(recorded_.back(), field));
  }
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

TEST_F(JoinDeskTest, a_token_for_new_nodes_does_not_give_the_identity_of_a_known_one) {
  auto& machine = world_.add_machine("10.0.0.7");
  ASSERT_EQ(join(machine, "edge-1").status, 200);
  const auto reply = join(world_.add_machine("10.0.0.9"), "edge-1");
  EXPECT_EQ(reply.status, 403) << reply.body;
  EXPECT_NE(reply.body.find("neap token create-join --node edge-1"), std::string::npos) << reply.body;
  EXPECT_EQ(join(machine, "edge-1", "edge-1", "hq").status, 403) << "it belongs to another site";
  EXPECT_EQ(join(machine, "edge-1", "edge-1").status, 200) << "made for it, by name";
}

TEST_F(JoinDeskTest, a_node_renews_its_own_certificate_and_no_other) {
  auto& machine = world_.add_machine("10.0.0.7");
  const auto joined = certificate_in(join(machine, "edge-1"));
  EXPECT_EQ(newest("type"), "node-join");
  caller_.node = "edge-1";
  world_.run_for(8min);
  const auto reply = renew(machine, "edge-1");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const auto renewed = certificate_in(reply);
  EXPECT_GT(renewed.validity.not_after, joined.validity.not_after + 7min);
  EXPECT_EQ(renewed.ip_addresses, joined.ip_addresses);
  EXPECT_EQ(newest("type"), "certificate-renewal");
  EXPECT_EQ(newest("serial"), renewed.serial);
  EXPECT_EQ(newest("peer"), "10.0.0.7");
  EXPECT_EQ(renew(machine, "edge-2").status, 403);
  EXPECT_EQ(newest("type"), "renewal-refusal");
  EXPECT_EQ(newest("node"), "edge-1");
  caller_ = {
      .user = "admin", .groups = {std::string(auth::kMastersGroup)}, .node = {}, .authenticated = true};
  EXPECT_EQ(renew(machine, "edge-1").status, 403);
}

TEST_F(JoinDeskTest, a_request_for_another_subject_renews_nothing) {
  auto& machine = world_.add_machine("10.0.0.7");
  ASSERT_EQ(join(machine, "edge-1").status, 200);
  caller_.node = "edge-1";
  const auto request = crypto::make_key_and_csr(auth::node_subject("edge-2")).value();
  const auto reply =
      post(machine, "/agent/v1/nodes/edge-1/certificate", Json{{"request", request.request_pem}});
  EXPECT_EQ(reply.status, 403) << reply.body;
}

TEST_F(JoinDeskTest, a_node_whose_object_was_deleted_is_told_how_to_come_back) {
  auto& machine = world_.add_machine("10.0.0.7");
  ASSERT_EQ(join(machine, "edge-1").status, 200);
  caller_.node = "edge-9";  // has a certificate, but no Node
  const auto reply = renew(machine, "edge-9");
  EXPECT_EQ(reply.status, 403) << reply.body;
  EXPECT_NE(reply.body.find("neap token create-join --node edge-9"), std::string::npos) << reply.body;
}

TEST_F(JoinDeskTest, a_refused_join_is_on_record_with_reason_and_peer_and_without_the_token) {
  auto& machine = world_.add_machine("10.0.0.9");
  const auto minted = post(server_, "/neap/v1/join-tokens", Json{{"site", "factory-01"}});
  const std::string token(get_string(parse_json(minted.body).value(), "token"));
  const auto request = crypto::make_key_and_csr(auth::node_subject("edge-1")).value();
  EXPECT_EQ(post(machine, "/neap/v1/join",
                 Json{{"token", token}, {"node", "edge-1"}, {"site", "hq"}, {"request", request.request_pem}})
                .status,
            403);
  ASSERT_EQ(newest("type"), "join-refusal");
  EXPECT_EQ(newest("peer"), "10.0.0.9");
  EXPECT_TRUE(newest("reason").starts_with("auth.join.scope"));
  const auto secret = auth::JoinToken::parse(token).value().secret;
  for (const auto& entry : recorded_) EXPECT_EQ(to_text(entry).find(secret), std::string::npos);
}

TEST_F(JoinDeskTest, refusals_beyond_a_bound_are_counted_instead_of_recorded) {
  auto& machine = world_.add_machine("10.0.0.9");
  for (int i = 0; i < 70; ++i) (void)post(machine, "/neap/v1/join", Json{{"token", "x"}, {"node", "edge-1"}});
  EXPECT_EQ(recorded_.size(), 60u);
  world_.run_for(2min);
  (void)post(machine, "/neap/v1/join", Json{{"token", "x"}, {"node", "edge-1"}});
  ASSERT_EQ(recorded_.size(), 61u);
  EXPECT_EQ(get_int(recorded_.back(), "refusalsNotRecorded"), 10);
}

TEST_F(JoinDeskTest, after_a_restore_no_token_of_before_is_good) {
  const auto token = post(server_, "/neap/v1/join-tokens", Json{{"site", "factory-01"}, {"node", "*"}});
  std::optional<Result<std::size_t>> ended;
  TaskGroup group(server_.runtime().executor());
  group.spawn([](JoinDesk& desk, std::optional<Result<std::size_t>>& out) -> Task<void> {
    out = co_await desk.end_all("restored");
  }(desk_, ended));
  world_.run_for(1min, [&] { return group.running() == 0; });
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ(**ended, 1u);
  EXPECT_EQ(get_string(recorded_.back(), "type"), "join-tokens-ended");
  const auto request = crypto::make_key_and_csr(auth::node_subject("edge-1")).value();
  const auto refused = post(server_, "/neap/v1/join",
                            Json{{"token", get_string(parse_json(token.body).value(), "token")},
                                 {"node", "edge-1"},
                                 {"site", "factory-01"},
                                 {"request", request.request_pem}});
  EXPECT_EQ(get_string(parse_json(refused.body).value(), "reason"), "auth.join.unknown") << refused.body;
  EXPECT_EQ(join(server_, "edge-1").status, 200) << "new ones are";
}

TEST_F(JoinDeskTest, a_token_lives_a_day_at_most) {
  for (const auto* ttl : {"0s", "25h", "8760h"})
    EXPECT_EQ(post(server_, "/neap/v1/join-tokens", Json{{"site", "a"}, {"ttl", ttl}}).status, 400) << ttl;
  EXPECT_EQ(post(server_, "/neap/v1/join-tokens", Json{{"site", "a"}, {"ttl", "24h"}}).status, 200);
}

}  // namespace
}  // namespace neap::app
