#include "oidc_provider.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/crypto/digest.h"
#include "neap/io/http.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

constexpr auto kIssuer = "http://localhost:3000";

// A provider beside the server on one machine; its key can be changed and it can be away.
class OidcProviderTest : public testing::Test {
 protected:
  OidcProviderTest() : machine_(world_.add_machine("localhost")), log_(sink_, machine_.runtime().clock()) {
    options_.claims = {.issuer_url = kIssuer, .client_id = "neap", .username_prefix = "-"};
    options_.cache_path = "/oidc-keys.json";
    open_door();
  }
  ~OidcProviderTest() override { close_door(); }
  io::Runtime& runtime() { return machine_.runtime(); }
  void run(Task<void> task) {
    TaskGroup group(runtime().executor());
    group.spawn(std::move(task));
    world_.run_for(1min, [&] { return group.running() == 0; });
  }
  void open_door() {
    http_.emplace(runtime(), *runtime().network().listen({"localhost", 3000, {}}), io::HttpServerOptions{},
                  [this](io::HttpExchange& x) { return answer(x); });
    http_->start();
  }
  void close_door() {
    if (!http_) return;
    run(http_->stop(10ms));
    http_.reset();
  }
  Task<void> answer(io::HttpExchange& exchange) {
    ++asked_;
    Json body{{"issuer", issuer_}, {"jwks_uri", std::string(kIssuer) + "/keys"}};
    if (exchange.request().path == "/keys") {
      const auto der = key_.public_key().to_der();
      const auto point = der.substr(der.size() - 64);
      body = Json{{"keys",
                   {{{"kty", "EC"},
                     {"crv", "P-256"},
                     {"kid", key_.key_id()},
                     {"x", crypto::to_base64url(point.substr(0, 32))},
                     {"y", crypto::to_base64url(point.substr(32))}}}}};
    }
    (void)co_await exchange.reply({.status = 200, .headers = {}, .body = to_text(body)});
  }
  std::string token() {
    const auto now =
        std::chrono::duration_cast<std::chrono::seconds>(runtime().clock().wall().time_since_epoch()).count();
    auto text =
        crypto::to_base64url(to_text(Json{{"alg", "ES256"}, {"kid", key_.key_id()}})) + "." +
        crypto::to_base64url(to_text(
            Json{{"iss", kIssuer}, {"sub", "alice"}, {"aud", "neap"}, {"iat", now}, {"exp", now + 36'000}}));
    return text + "." + crypto::to_base64url(key_.sign(text, crypto::SignatureForm::kRaw));
  }
  std::string reason(OidcProvider& provider) {
    std::string out;
    run([](OidcProvider& p, std::string t, std::string& result) -> Task<void> {
      co_await p.prepare({}, t);
      const auto who = p.authenticate(t);
      result = who ? "ok" : who.error().reason;
    }(provider, token(), out));
    return out;
  }
  void change_key() { key_ = crypto::PrivateKey::generate(crypto::KeyKind::kEcdsaP256).value(); }

  io::SimWorld world_{5};
  io::SimMachine& machine_;
  telemetry::StderrSink sink_{telemetry::LogFormat::kKeyValue};
  telemetry::Logger log_;
  OidcProviderOptions options_;
  std::string issuer_ = kIssuer;
  crypto::PrivateKey key_ = crypto::PrivateKey::generate(crypto::KeyKind::kEcdsaP256).value();
  int asked_ = 0;
  std::optional<io::HttpServer> http_;
};

TEST_F(OidcProviderTest, a_new_key_is_fetched_when_a_token_names_it_and_strangers_make_no_traffic) {
  OidcProvider provider(runtime(), options_, log_);
  provider.start();
  world_.run_for(1s);
  EXPECT_EQ(reason(provider), "ok");
  EXPECT_EQ(asked_, 2) << "the discovery document and the keys, once";
  world_.run_for(20s);
  change_key();
  EXPECT_EQ(reason(provider), "ok");
  EXPECT_EQ(asked_, 4);
  for (int i = 0; i < 20; ++i) {
    const auto real = key_;
    change_key();
    EXPECT_EQ(reason(provider), "auth.jwt.key");
    key_ = real;
  }
  EXPECT_EQ(asked_, 4) << "within ten seconds nobody is asked again";
  run(provider.stop());
}

TEST_F(OidcProviderTest, the_last_keys_go_on_judging_while_the_provider_is_away_even_after_a_restart) {
  {
    OidcProvider provider(runtime(), options_, log_);
    provider.start();
    world_.run_for(1s);
    close_door();
    world_.run_for(3h);
    EXPECT_EQ(reason(provider), "ok");
    run(provider.stop());
  }
  OidcProvider again(runtime(), options_, log_);
  again.start();
  EXPECT_EQ(reason(again), "ok");
  run(again.stop());
  options_.cache_path.clear();
  OidcProvider empty(runtime(), options_, log_);
  empty.start();
  EXPECT_EQ(reason(empty), "auth.oidc.provider");
  open_door();
  world_.run_for(30s);
  EXPECT_EQ(reason(empty), "ok") << "it is asked again until it answers";
  run(empty.stop());
}

TEST_F(OidcProviderTest, a_document_that_names_another_issuer_is_not_believed) {
  issuer_ = "http://localhost:3000/other";
  OidcProvider provider(runtime(), options_, log_);
  provider.start();
  world_.run_for(1s);
  EXPECT_EQ(reason(provider), "auth.oidc.provider");
  run(provider.stop());
}

}  // namespace
}  // namespace neap::app
