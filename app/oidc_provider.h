// OidcProvider: an OpenID Connect provider as this server sees it: its documents, its keys, its tokens.
//
//  1. Keys are asked for again when a token names one that is not known, at most once in `refresh_min`, and
//     otherwise every `refresh`: strangers with invented key names make no traffic.
//  2. While the provider is away the last keys go on judging, after a restart too: they are public and lie in
//     `cache_path`.
//  3. Nothing a token says is believed before its signature was verified; what it says first only chooses who
//     judges it.
// On the executor of the runtime; not thread-safe. OpenID Connect Discovery 1.0, RFC 6749, RFC 7636.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "neap/auth/oidc.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/io/runtime.h"
#include "neap/telemetry/log.h"

namespace neap::app {

struct OidcProviderOptions {
  auth::OidcOptions claims;
  std::string ca_pem;         // who signed the provider's certificate; empty: the system's roots
  std::string client_secret;  // of a confidential client; empty: PKCE alone proves who asks
  std::vector<std::string> scopes{"openid", "offline_access"};
  std::string cache_path;  // file of the last keys; empty: none
  Duration refresh = std::chrono::hours(1);
  Duration refresh_min = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(5);  // of one question to the provider
};

class OidcProvider {
 public:
  // kInvalidArgument where the options cannot work; asks nobody.
  static Status check(const OidcProviderOptions& options) { return auth::check_options(options.claims); }
  OidcProvider(io::Runtime& runtime, OidcProviderOptions options, telemetry::Logger& log);
  // Reads the cached keys and begins to keep them fresh. A provider that is away delays nothing.
  void start();
  Task<void> stop();

  const OidcProviderOptions& options() const { return options_; }
  // Whether `token` says it is from this provider.
  bool is_issuer_of(std::string_view token) const;
  // Fetches newer keys where `token` needs them; returns when there is nothing more to wait for.
  Task<void> prepare(CallContext ctx, std::string token);
  Result<auth::Identity> authenticate(std::string_view token, std::string_view nonce = {}) const;

  // --- for signing people in
  // authorization_endpoint, token_endpoint, device_authorization_endpoint, ...: the discovery document.
  Task<Result<Json>> metadata(CallContext ctx);
  // The ID token for an authorization code (RFC 6749, section 4.1.3, with RFC 7636).
  Task<Result<std::string>> exchange_code(CallContext ctx, std::string code, std::string verifier,
                                          std::string redirect_url);
  // What a command line needs to sign somebody in: issuer, client, scopes, roots.
  Json describe() const;

 private:
  Task<Result<Json>> fetch_json(CallContext ctx, std::string url);
  Task<Status> refresh(CallContext ctx);
  Task<void> keep_fresh();
  bool is_due() const;

  io::Runtime& runtime_;
  OidcProviderOptions options_;
  telemetry::Logger& log_;
  std::optional<auth::JsonWebKeySet> keys_;
  std::optional<Json> metadata_;
  std::optional<MonoTime> asked_at_;
  bool is_asking_ = false;
  Notifier asked_;
  TaskGroup tasks_;
};

}  // namespace neap::app
