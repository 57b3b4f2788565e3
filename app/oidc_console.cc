#include "oidc_console.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "neap/crypto/digest.h"
#include "neap/io/url.h"

namespace neap::app {
namespace {

constexpr std::string_view kCookie = "neap-sign-in";
constexpr std::size_t kSecretBytes = 32;

// Three values from one secret, none of which tells another.
std::string part_of(std::string_view secret, std::string_view purpose) {
  const auto mac = crypto::hmac_sha256(secret, purpose);
  return crypto::to_base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
}
io::HttpResponse refused() {
  io::HttpResponse out{.status = 303, .headers = {}, .body = {}};
  out.headers.set("Location", "/console/?login=refused");
  return out;
}

}  // namespace

Task<Result<io::HttpResponse>> OidcConsole::begin(CallContext ctx) {
  NEAP_CO_TRY(const auto document, co_await provider_.metadata(ctx));
  const auto now = runtime_.executor().now();
  std::erase_if(begun_, [now](const auto& entry) { return entry.second <= now; });
  if (begun_.size() >= options_.begun_max)
    begun_.erase(std::ranges::min_element(begun_, {}, [](const auto& entry) { return entry.second; }));
  const auto secret = runtime_.random().hex(kSecretBytes);
  begun_[crypto::sha256(secret).hex()] = now + options_.lifetime;
  // Offline access is for programs: this session ends with the console's.
  auto scopes = provider_.options().scopes;
  std::erase(scopes, "offline_access");
  io::HttpResponse out{.status = 303, .headers = {}, .body = {}};
  const std::string endpoint(get_string(document, "authorization_endpoint"));
  out.headers.set(
      "Location",
      endpoint + (endpoint.find('?') == std::string::npos ? "?" : "&") +
          io::form_encode(
              {{"response_type", "code"},
               {"client_id", provider_.options().claims.client_id},
               {"redirect_uri", redirect_url()},
               {"scope", fmt::format("{}", fmt::join(scopes, " "))},
               {"state", part_of(secret, "state")},
               {"nonce", part_of(secret, "nonce")},
               {"code_challenge", crypto::to_base64url(crypto::sha256(part_of(secret, "verifier")).view())},
               {"code_challenge_method", "S256"}}));
  // Lax: the provider sends the browser back from another site.
  out.headers.set("Set-Cookie",
                  fmt::format("{}={}; Path={}; Max-Age={}; HttpOnly; SameSite=Lax{}", kCookie, secret, kPath,
                              std::chrono::duration_cast<std::chrono::seconds>(options_.lifetime).count(),
                              options_.public_url.starts_with("https:") ? "; Secure" : ""));
  co_return out;
}

Task<Result<io::HttpResponse>> OidcConsole::finish(CallContext ctx, const io::HttpRequest& request) {
  const auto secret = cookie_of(request, kCookie);
  const auto at = begun_.find(crypto::sha256(secret).hex());
  if (at == begun_.end()) co_return refused();
  const bool is_late = at->second <= runtime_.executor().now();
  begun_.erase(at);
  if (is_late || !crypto::constant_time_equal(request.query_value("state"), part_of(secret, "state")) ||
      request.query_value("code").empty())
    co_return refused();
  NEAP_CO_TRY(const auto token,
              co_await provider_.exchange_code(ctx, std::string(request.query_value("code")),
                                               part_of(secret, "verifier"), redirect_url()));
  co_await provider_.prepare(ctx, token);
  NEAP_CO_TRY(auto who, provider_.authenticate(token, part_of(secret, "nonce")));
  auto out = console_.open_session(std::move(who));
  out.headers.add("Set-Cookie",
                  fmt::format("{}=; Path={}; Max-Age=0; HttpOnly; SameSite=Lax", kCookie, kPath));
  co_return out;
}

Task<void> OidcConsole::serve(io::HttpExchange& exchange) {
  const auto& request = exchange.request();
  Result<io::HttpResponse> reply =
      fail(Code::kNotFound, "console.oidc.path", "there is nothing at this path");
  if (request.method == "GET" && request.path == kPath) {
    reply = co_await begin(exchange.context());
  } else if (request.method == "GET" && request.path == std::string(kPath) + "/callback") {
    reply = co_await finish(exchange.context(), request);
  }
  auto response = reply ? *std::move(reply) : io::json_error(reply.error());
  response.headers.set("Cache-Control", "no-store");
  Console::secure_headers(response.headers);
  (void)co_await exchange.reply(std::move(response));
}

}  // namespace neap::app
