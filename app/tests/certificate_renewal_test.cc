#include "certificate_renewal.h"

#include <gtest/gtest.h>

#include "join_desk.h"
#include "neap/client/fake_resource_client.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

class Quiet final : public telemetry::LogSink {
 public:
  void write(const telemetry::Record&) override {}
};

constexpr Duration kLife = std::chrono::hours(24 * 30);

TEST(RenewalTime, is_at_two_thirds_of_the_life_or_a_little_earlier) {
  const WallTime start{std::chrono::hours(1000)};
  const crypto::Validity validity{start, start + 30h};
  EXPECT_EQ(renewal_time(validity, 0), start + 20h);
  EXPECT_EQ(renewal_time(validity, 0.5), start + 18h + 30min);
}

// One node with a certificate of 30 days, and the server's desk, which can be away. Plain HTTP: who asks is
// settled by TLS, which has its own tests.
class RenewalTest : public ::testing::Test {
 protected:
  RenewalTest()
      : server_(world_.add_machine("10.0.0.1")),
        node_(world_.add_machine("10.0.0.7")),
        authority_(auth::CertificateAuthority::create("test", server_.runtime().clock().wall(), kLife * 100)
                       .value()),
        store_(server_.runtime().executor()),
        client_(server_.runtime()),
        desk_({.runtime = server_.runtime(),
               .store = store_,
               .authority = authority_,
               .client = client_,
               .signing_key_pem = "key",
               .site = "hq",
               .server_names = {},
               .record = [](Json) -> Task<Status> { co_return ok(); },
               .certificate_life = kLife}),
        log_(sink_, node_.runtime().clock()) {
    who_.node = "edge-1";
    auto listener = server_.runtime().network().listen({"10.0.0.1", 0, {}});
    http_ = std::make_unique<io::HttpServer>(server_.runtime(), std::move(*listener), io::HttpServerOptions{},
                                             [this](io::HttpExchange& x) { return serve(x); });
    http_->start();
    api_ = std::make_unique<io::HttpClient>(node_.runtime(), http_->local(), io::HttpClientOptions{});
    const auto made = crypto::make_key_and_csr(auth::node_subject("edge-1")).value();
    AgentIdentity identity;
    identity.private_key_pem = made.private_key_pem;
    identity.ca_pem = authority_.certificate_pem();
    identity.certificate_pem =
        authority_.issue_node(made.request_pem, "edge-1", {}, wall(), {.node = kLife}).value();
    credentials_.emplace(identity);
    EXPECT_TRUE(node_.runtime().files().make_directories("/identity", 0700));
    renewal_ = std::make_unique<CertificateRenewal>(
        CertificateRenewal::Dependencies{.runtime = node_.runtime(),
                                         .server = *api_,
                                         .credentials = *credentials_,
                                         .log = log_,
                                         .notice =
                                             [this](std::string reason, std::string message) {
                                               reason_ = std::move(reason);
                                               message_ = std::move(message);
                                             }},
        "/identity", "edge-1");
    knows_node(true);
    renewal_->start();
  }
  ~RenewalTest() override {
    bool done = false;
    TaskGroup group(node_.runtime().executor());
    group.spawn([](RenewalTest& self, bool& out) -> Task<void> {
      co_await self.renewal_->stop();
      self.api_->close_idle();
      co_await self.http_->stop(1ms);
      out = true;
    }(*this, done));
    world_.run_for(1min, [&] { return done; });
  }
  void knows_node(bool known) {
    TaskGroup group(server_.runtime().executor());
    group.spawn([](client::FakeResourceClient& c, bool is_known) -> Task<void> {
      const client::ResourcePath path{"neap.dev", "v1", "nodes", "", is_known ? "" : "edge-1", ""};
      if (is_known)
        (void)co_await c.create({}, path,
                                JsonObject{{"apiVersion", "neap.dev/v1"},
                                           {"kind", "Node"},
                                           {"metadata", JsonObject{{"name", "edge-1"}}},
                                           {"spec", JsonObject{{"site", "plant"}}}},
                                {});
      else
        (void)co_await c.remove({}, path, {});
    }(client_, known));
    world_.run_for(1s, [&] { return group.running() == 0; });
  }
  Task<void> serve(io::HttpExchange& exchange) {
    ++asked_;
    if (is_away_) {
      io::HttpResponse response;
      response.status = 503;
      (void)co_await exchange.reply(std::move(response));
      co_return;
    }
    co_await desk_.serve_renewal(exchange, who_);
  }
  WallTime wall() { return node_.runtime().clock().wall(); }
  crypto::Certificate shown() {
    return crypto::parse_certificate(credentials_->identity().certificate_pem).value();
  }
  crypto::Certificate stored() {
    return crypto::parse_certificate(node_.runtime().files().read_file("/identity/cert.pem").value()).value();
  }

  io::SimWorld world_{23};
  io::SimMachine &server_, &node_;
  auth::CertificateAuthority authority_;
  store::MemoryStore store_;
  client::FakeResourceClient client_;
  JoinDesk desk_;
  auth::Identity who_;
  Quiet sink_;
  telemetry::Logger log_;
  std::unique_ptr<io::HttpServer> http_;
  std::unique_ptr<io::HttpClient> api_;
  std::optional<NodeCredentials> credentials_;
  std::unique_ptr<CertificateRenewal> renewal_;
  bool is_away_ = false;
  int asked_ = 0;
  std::string reason_, message_;
};

TEST_F(RenewalTest, half_a_year_passes_with_the_same_key_and_never_an_ended_certificate) {
  const auto key = shown().public_key_pem;
  std::string last = shown().serial;
  int renewals = 0;
  for (int day = 0; day < 180; ++day) {
    world_.run_for(24h);
    const auto now = shown();
    ASSERT_GT(now.validity.not_after, wall());
    EXPECT_EQ(now.public_key_pem, key);
    if (now.serial != last) {
      ++renewals;
      EXPECT_EQ(stored().serial, now.serial);
    }
    last = now.serial;
  }
  EXPECT_GE(renewals, 180 / 20);
  EXPECT_LE(renewals, 180 / 16);
  EXPECT_EQ(message_, "");
}

TEST_F(RenewalTest, a_server_that_is_away_is_asked_again_and_the_node_says_so_near_the_end) {
  is_away_ = true;
  world_.run_for(24h * 22);
  EXPECT_GT(asked_, 2);
  EXPECT_EQ(message_, "");  // there is time
  world_.run_for(24h * 5);
  EXPECT_EQ(reason_, "NotRenewed");
  EXPECT_LT(asked_, 24 * 30);
  is_away_ = false;
  world_.run_for(24h);
  EXPECT_EQ(message_, "");
  EXPECT_GT(shown().validity.not_after, wall() + 24h * 28);
}

TEST_F(RenewalTest, a_refusal_is_said_at_once_and_the_end_says_how_to_join_again) {
  knows_node(false);
  world_.run_for(24h * 21);
  EXPECT_EQ(reason_, "Refused");
  world_.run_for(24h * 10);
  EXPECT_EQ(reason_, "Ended");
  EXPECT_NE(message_.find("neap token create-join --node edge-1"), std::string::npos) << message_;
}

}  // namespace
}  // namespace neap::app
