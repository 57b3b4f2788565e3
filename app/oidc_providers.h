// OidcProviders: all identity providers of a server. The issuer a token names chooses who judges it; the
// first provider is the one that `neap login` and the console sign people in with.
//
// Nobody is two people: two providers never give their users, or their groups, the same prefix, least of all
// none, unless there is but one provider.
// On the executor of the runtime.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "oidc_provider.h"

namespace neap::app {

class OidcProviders {
 public:
  // kInvalidArgument: one that cannot work (OidcProvider::check), the same issuer twice
  // ("oidc.providers.issuer"), the same prefix twice ("oidc.providers.prefix"), more than 16.
  static Status check(const std::vector<OidcProviderOptions>& all);
  // Keys are kept in `state_directory`, a file for each.
  OidcProviders(io::Runtime& runtime, std::vector<OidcProviderOptions> all,
                const std::string& state_directory, telemetry::Logger& log);
  void start();
  Task<void> stop();
  // Who judges `token`, by what it says of its issuer; null where that is none of them.
  OidcProvider* find_issuer_of(std::string_view token) const;
  OidcProvider& first() const { return *providers_.front(); }

 private:
  std::vector<std::unique_ptr<OidcProvider>> providers_;
};

// The providers of an AuthenticationConfiguration (apiserver.config.k8s.io, v1 or v1beta1) as a Kubernetes
// API server reads it, JSON or YAML, with what claims and prefixes can say; CEL in it is refused by name.
// `path` is for messages. kInvalidArgument "oidc.config".
Result<std::vector<OidcProviderOptions>> parse_authentication_config(std::string_view text,
                                                                     std::string_view path);

}  // namespace neap::app
