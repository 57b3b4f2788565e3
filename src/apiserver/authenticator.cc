#include <fmt/format.h>

#include "neap/apiserver/server.h"

namespace neap::apiserver {

Result<auth::Identity> StandardAuthenticator::authenticate(const io::HttpRequest& request,
                                                           const io::PeerCertificate* certificate) const {
  if (certificate) {
    // Checked at the handshake; the connection may have outlived it.
    if (certificate->not_after != WallTime{} && clock_.wall() >= certificate->not_after)
      return fail(Code::kUnauthenticated, "auth.certificate.ended",
                  fmt::format("the client certificate of {} ended at {}; connect with a renewed one (a node "
                              "that has none joins again: `neap token create-join`, then `neap agent "
                              "--token-file`)",
                              certificate->common_name, format_rfc3339(certificate->not_after)));
    return auth::identity_of_certificate(certificate->common_name, certificate->organizations);
  }
  const auto header = request.headers.get("Authorization");
  if (header.empty()) {
    if (options_.allow_anonymous) return auth::anonymous();
    return fail(Code::kUnauthenticated, "auth.credentials.missing",
                "the request carries neither a client certificate nor a bearer token; add one");
  }
  constexpr std::string_view kScheme = "Bearer ";
  if (!header.starts_with(kScheme))
    return fail(Code::kUnauthenticated, "auth.credentials.scheme",
                "only bearer tokens are taken in Authorization");
  const auto token = header.substr(kScheme.size());
  auto who = tokens_.find(token);
  // Three parts with dots between them are a signed token; nothing else is.
  if (!who && options_.signed_tokens && token.find('.') != token.rfind('.'))
    return auth::verify_token(options_.signed_tokens->key, options_.signed_tokens->issuer,
                              options_.signed_tokens->audience, token, clock_.wall());
  return who;
}

}  // namespace neap::apiserver
