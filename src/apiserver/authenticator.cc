#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

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

Task<Result<ReviewedToken>> Authenticator::review_token(CallContext, std::string,
                                                        std::vector<std::string>) const {
  co_return fail(Code::kUnimplemented, "auth.review.tokens", "this server takes no tokens");
}

Result<ReviewedToken> StandardAuthenticator::for_this_server(
    Result<auth::Identity> who, const std::vector<std::string>& audiences) const {
  if (!who) return fail(std::move(who).error());
  const auto own = options_.signed_tokens ? options_.signed_tokens->audience : std::string();
  if (audiences.empty()) return ReviewedToken{*std::move(who), own.empty() ? audiences : std::vector{own}};
  if (std::ranges::find(audiences, own) == audiences.end())
    return fail(
        Code::kUnauthenticated, "auth.jwt.audience",
        fmt::format("the token is meant for \"{}\" only, not for {}", own, fmt::join(audiences, ", ")));
  return ReviewedToken{*std::move(who), {own}};
}

Task<Result<ReviewedToken>> StandardAuthenticator::review_token(CallContext, std::string token,
                                                                std::vector<std::string> audiences) const {
  if (token.find("-----BEGIN ") != std::string::npos)
    co_return fail(Code::kUnauthenticated, "auth.review.certificate",
                   "a certificate is no token: it says something only of whoever holds its key, which a TLS "
                   "handshake shows");
  auto known = tokens_.find(token);
  const bool is_signed = options_.signed_tokens && token.find('.') != token.rfind('.');
  if (known || !is_signed) co_return for_this_server(std::move(known), audiences);
  const auto& issued = *options_.signed_tokens;
  if (audiences.empty()) audiences.push_back(issued.audience);
  ReviewedToken out;
  Error last;
  for (auto& audience : audiences) {
    auto who = auth::verify_token(issued.key, issued.issuer, audience, token, clock_.wall());
    if (!who) {
      last = std::move(who).error();
      continue;
    }
    out.who = *std::move(who);
    out.audiences.push_back(std::move(audience));
  }
  if (out.audiences.empty()) co_return fail(std::move(last));
  co_return out;
}

}  // namespace neap::apiserver
