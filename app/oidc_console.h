// OidcConsole: signs people in to the console through the identity provider (authorization code with PKCE).
//
//  1. A sign-in that was begun ends in the browser that began it: a cookie of its own, HttpOnly and
//     SameSite=Lax, holds the secret that `state`, `nonce` and the PKCE verifier are made of.
//  2. It works once and for `lifetime`; those that were begun are bounded in number, the oldest goes first.
// The session it ends in is the console's, with the same cookie and the same CSRF rule. Tokens of the
// provider never reach the browser.
#pragma once

#include <map>
#include <string>

#include "console.h"
#include "oidc_provider.h"

namespace neap::app {

class OidcConsole {
 public:
  struct Options {
    std::string public_url;
    Duration lifetime = std::chrono::minutes(10);
    std::size_t begun_max = 256;
  };
  static constexpr std::string_view kPath = "/console/oidc";  // and /console/oidc/callback
  OidcConsole(io::Runtime& runtime, OidcProvider& provider, Console& console, Options options)
      : runtime_(runtime), provider_(provider), console_(console), options_(std::move(options)) {}
  Task<void> serve(io::HttpExchange& exchange);

 private:
  Task<Result<io::HttpResponse>> begin(CallContext ctx);
  Task<Result<io::HttpResponse>> finish(CallContext ctx, const io::HttpRequest& request);
  std::string redirect_url() const { return options_.public_url + std::string(kPath) + "/callback"; }

  io::Runtime& runtime_;
  OidcProvider& provider_;
  Console& console_;
  Options options_;
  std::map<std::string, MonoTime> begun_;  // SHA-256 of the secret: until when
};

}  // namespace neap::app
