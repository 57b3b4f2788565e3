// A server on a memory store in a simulated machine, asked through HTTP and in process.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "neap/apiserver/server.h"
#include "neap/auth/node_authorizer.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"
#include "tests/gated_store.h"

namespace neap::apiserver {

inline Json json(std::string_view text) {
  auto parsed = parse_json(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Json();
}

struct Answer {
  int status = 0;
  Json body;
  io::Headers headers;
  std::string text;
  std::string_view reason() const { return get_string(body, "reason"); }
  std::string_view message() const { return get_string(body, "message"); }
};

class World {
 public:
  explicit World(ApiServer::Options options = {})
      : sim_(7),
        machine_(sim_.add_machine("hq")),
        store_(runtime().executor()),
        gate_(runtime().executor(), store_),
        key_(*crypto::PrivateKey::generate(crypto::KeyKind::kEd25519)),
        authenticator_(
            runtime().clock(), tokens_,
            {.signed_tokens = StandardAuthenticator::SignedTokens{key_.public_key(), "neap", "neap"}}) {
    tokens_.add("admin", {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
    tokens_.add("alice", {.user = "alice", .groups = {"team-a"}, .node = {}, .authenticated = true});
    tokens_.add("node", auth::identity_of_certificate("system:node:press-7", {"system:nodes"}));
    start(std::move(options));
  }
  ~World() { run(stop_all()); }

  io::Runtime& runtime() { return machine_.runtime(); }
  ApiServer& server() { return *server_; }
  store::Store& store() { return store_; }
  // Between the server and that.
  GatedStore& gate() { return gate_; }
  io::SimWorld& sim() { return sim_; }
  io::HttpClient& http() { return *http_; }
  std::vector<AuditRecord>& audit() { return audit_; }
  std::vector<Admission*>& admission() { return admission_; }

  void run(Task<void> task) {
    TaskGroup group(runtime().executor());
    bool done = false;
    group.spawn([](Task<void> inner, bool& flag) -> Task<void> {
      co_await std::move(inner);
      flag = true;
    }(std::move(task), done));
    sim_.run_for(1h, [&] { return done && group.running() == 0; });
    EXPECT_TRUE(done) << "the scenario did not end within an hour of simulated time";
    if (!done) group.abandon();
  }
  void settle(Duration time = 2s) { sim_.run_for(time); }

  // Starts a second life of the server on the same store.
  void restart(ApiServer::Options options = {}) {
    run(stop_all());
    start(std::move(options));
  }

  Answer call(std::string method, std::string target, std::string body = {}, std::string token = "admin",
              std::vector<std::pair<std::string, std::string>> headers = {}) {
    Answer out;
    run(exchange(std::move(method), std::move(target), std::move(body), std::move(token), std::move(headers),
                 out));
    return out;
  }
  Answer get(std::string target) { return call("GET", std::move(target)); }
  Answer post(std::string target, std::string body) {
    return call("POST", std::move(target), std::move(body));
  }
  Answer put(std::string target, std::string body) { return call("PUT", std::move(target), std::move(body)); }
  Answer remove(std::string target, std::string body = {}) {
    return call("DELETE", std::move(target), std::move(body));
  }
  Answer merge(std::string target, std::string body) {
    return call("PATCH", std::move(target), std::move(body), "admin",
                {{"Content-Type", "application/merge-patch+json"}});
  }
  Answer apply(std::string target, std::string body) {
    return call("PATCH", std::move(target), std::move(body), "admin",
                {{"Content-Type", "application/apply-patch+yaml"}});
  }

 private:
  Task<void> keep(AuditRecord record) {
    audit_.push_back(std::move(record));
    co_return;
  }
  void start(ApiServer::Options options) {
    options.token_issuer = TokenIssuer{key_, "neap", "neap"};
    authorizer_.emplace(nodes_, rbac_);
    server_ = std::make_unique<ApiServer>(
        ApiServer::Dependencies{.runtime = runtime(),
                                .store = gate_,
                                .kinds = api::KindTable::standard(),
                                .authenticator = authenticator_,
                                .authorizer = *authorizer_,
                                .admission = admission_,
                                .audit = [this](AuditRecord record) { return keep(std::move(record)); }},
        std::move(options));
    server_->keep_rbac(rbac_);
    run([](World& self) -> Task<void> {
      const auto started = co_await self.server_->start();
      EXPECT_TRUE(started) << started.error().to_string();
    }(*this));
    auto listener = runtime().network().listen({"hq", 0, {}});
    EXPECT_TRUE(listener);
    listening_ = std::make_unique<io::HttpServer>(runtime(), *std::move(listener), io::HttpServerOptions{},
                                                  server_->handler());
    listening_->start();
    http_ = std::make_unique<io::HttpClient>(runtime(), listening_->local(), io::HttpClientOptions{});
  }
  Task<void> stop_all() {
    http_->close_idle();
    co_await listening_->stop(10ms);
    co_await server_->stop();
  }
  Task<void> exchange(std::string method, std::string target, std::string body, std::string token,
                      std::vector<std::pair<std::string, std::string>> headers, Answer& out) {
    io::HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    if (!token.empty()) request.headers.set("Authorization", "Bearer " + token);
    for (auto& [name, value] : headers) request.headers.set(name, std::move(value));
    auto response = co_await http_->call({}, std::move(request));
    EXPECT_TRUE(response) << response.error().to_string();
    if (!response) co_return;
    out.status = response->status;
    out.headers = response->headers;
    out.text = response->body;
    if (auto parsed = parse_json(out.text)) out.body = *std::move(parsed);
  }

  io::SimWorld sim_;
  io::SimMachine& machine_;
  store::MemoryStore store_;
  GatedStore gate_;
  auth::BearerTokenTable tokens_;
  crypto::PrivateKey key_;
  StandardAuthenticator authenticator_;
  auth::RbacAuthorizer rbac_;
  auth::NodeAuthorizer nodes_;
  std::optional<auth::AuthorizerChain> authorizer_;
  std::vector<Admission*> admission_;
  std::vector<AuditRecord> audit_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<io::HttpServer> listening_;
  std::unique_ptr<io::HttpClient> http_;
};

}  // namespace neap::apiserver
