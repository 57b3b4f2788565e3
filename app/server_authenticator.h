// ServerAuthenticator: who calls the server: who another server says, then console sessions first, then
// tokens of the identity providers, then what the API's own authenticator knows.
#pragma once

#include <optional>
#include <utility>

#include "console.h"
#include "neap/apiserver/server.h"
#include "neap/crypto/digest.h"
#include "oidc_providers.h"
#include "server_peers.h"

namespace neap::app {

class ServerAuthenticator final : public apiserver::Authenticator {
 public:
  ServerAuthenticator(const Clock& clock, const auth::BearerTokenTable& tokens)
      : clock_(clock), tokens_(tokens) {
    standard_.emplace(
        clock_, tokens_,
        apiserver::StandardAuthenticator::Options{.allow_anonymous = true, .signed_tokens = {}});
  }
  // From now on also tokens that this server issued.
  void use(apiserver::StandardAuthenticator::SignedTokens issued) {
    standard_.emplace(clock_, tokens_,
                      apiserver::StandardAuthenticator::Options{.allow_anonymous = true,
                                                                .signed_tokens = std::move(issued)});
  }
  void use(const Console* console) { console_ = console; }
  void use(const ServerPeers* peers) { peers_ = peers; }
  void use(const OidcProviders* providers) { providers_ = providers; }

  Task<void> prepare(const io::HttpRequest& request) const override {
    auto token = providers_ ? token_in(request) : std::nullopt;
    if (auto* judge = token ? providers_->find_issuer_of(*token) : nullptr)
      co_await judge->prepare({}, *std::move(token));
  }
  Result<auth::Identity> authenticate(const io::HttpRequest& request,
                                      const io::PeerCertificate* certificate) const override {
    if (peers_) {
      NEAP_TRY(auto forwarded, peers_->forwarded_by_peer(request));
      if (forwarded) return *std::move(forwarded);
    }
    if (console_ && !certificate)
      if (auto who = console_->identify(request)) return *std::move(who);
    const auto token = certificate ? std::nullopt : token_in(request);
    if (const auto* judge = providers_ && token ? providers_->find_issuer_of(*token) : nullptr)
      return judge->authenticate(*token);
    // Registry clients know basic authentication only: the password is the token.
    if (const auto basic = request.headers.get("Authorization"); basic.starts_with("Basic ")) {
      NEAP_TRY(const auto plain, crypto::from_base64(basic.substr(6)));
      auto as_bearer = request;
      as_bearer.headers.set("Authorization", "Bearer " + plain.substr(plain.find(':') + 1));
      return standard_->authenticate(as_bearer, certificate);
    }
    return standard_->authenticate(request, certificate);
  }

  Task<Result<apiserver::ReviewedToken>> review_token(CallContext ctx, std::string token,
                                                      std::vector<std::string> audiences) const override {
    if (auto* judge = providers_ ? providers_->find_issuer_of(token) : nullptr) {
      co_await judge->prepare(ctx, token);
      co_return standard_->for_this_server(judge->authenticate(token), audiences);
    }
    co_return co_await standard_->review_token(std::move(ctx), std::move(token), std::move(audiences));
  }

 private:
  static std::optional<std::string> token_in(const io::HttpRequest& request) {
    const auto header = request.headers.get("Authorization");
    if (header.starts_with("Bearer ")) return std::string(header.substr(7));
    if (!header.starts_with("Basic ")) return std::nullopt;
    const auto plain = crypto::from_base64(header.substr(6));
    if (!plain) return std::nullopt;
    return plain->substr(plain->find(':') + 1);
  }

  const Clock& clock_;
  const auth::BearerTokenTable& tokens_;
  std::optional<apiserver::StandardAuthenticator> standard_;
  const Console* console_ = nullptr;
  const ServerPeers* peers_ = nullptr;
  const OidcProviders* providers_ = nullptr;
};

}  // namespace neap::app
