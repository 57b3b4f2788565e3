#include "oidc_provider.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "neap/crypto/digest.h"
#include "neap/io/url.h"

namespace neap::app {
namespace {

constexpr std::uint64_t kDocumentBytesMax = 1u << 20;
constexpr std::string_view kDiscovery = "/.well-known/openid-configuration";

Result<Json> json_of(const io::HttpResponse& reply, std::string_view url) {
  if (reply.status != 200)
    return fail(Code::kUnavailable, "oidc.provider.status",
                fmt::format("the identity provider answered {} with {}: {}", url, reply.status,
                            reply.body.substr(0, 300)));
  auto json = parse_json(reply.body, {.bytes_max = kDocumentBytesMax, .depth_max = 16});
  if (!json || !json->is_object())
    return fail(Code::kUnavailable, "oidc.provider.document",
                fmt::format("what the identity provider has at {} is no JSON object", url));
  return json;
}

}  // namespace

OidcProvider::OidcProvider(io::Runtime& runtime, OidcProviderOptions options, telemetry::Logger& log)
    : runtime_(runtime),
      options_(std::move(options)),
      log_(log),
      asked_(runtime.executor()),
      tasks_(runtime.executor()) {}

void OidcProvider::start() {
  auto& files = runtime_.files();
  if (!options_.cache_path.empty() && files.exists(options_.cache_path)) {
    const auto text = files.read_file(options_.cache_path, kDocumentBytesMax);
    const auto json = text ? parse_json(*text) : Result<Json>(fail(text.error()));
    // Keys of another provider judge nothing here.
    if (json && get_string(*json, "issuer") == options_.claims.issuer_url)
      if (auto keys = auth::JsonWebKeySet::parse(*json)) keys_ = *std::move(keys);
  }
  tasks_.spawn(keep_fresh());
}
Task<void> OidcProvider::stop() { return tasks_.stop(); }

Task<void> OidcProvider::keep_fresh() {
  for (;;) {
    if (const auto done = co_await refresh(tasks_.context()); !done)
      log_.warning(keys_ ? "the identity provider cannot be asked; its last keys go on judging"
                         : "the identity provider cannot be asked; nobody can sign in through it yet",
                   {telemetry::Field(done.error())});
    if (!co_await sleep_for(runtime_.executor(), tasks_.context(),
                            keys_ ? options_.refresh : options_.refresh_min))
      co_return;
  }
}

Task<Result<Json>> OidcProvider::fetch_json(CallContext ctx, std::string url) {
  io::HttpRequest request;
  request.method = "GET";
  request.headers.set("Accept", "application/json");
  const auto bounded = ctx.with_deadline(runtime_.executor().now() + options_.timeout);
  NEAP_CO_TRY(const auto reply, co_await io::fetch(runtime_, bounded, url, std::move(request),
                                                   options_.ca_pem, kDocumentBytesMax));
  co_return json_of(reply, url);
}

Task<Result<Json>> OidcProvider::metadata(CallContext ctx) {
  if (metadata_) co_return *metadata_;
  auto base = options_.claims.issuer_url;
  while (base.ends_with('/')) base.pop_back();
  NEAP_CO_TRY(auto document, co_await fetch_json(ctx, base + std::string(kDiscovery)));
  // OpenID Connect Discovery 1.0, section 4.3: else another's document could stand in for this one.
  if (get_string(document, "issuer") != options_.claims.issuer_url)
    co_return fail(
        Code::kUnavailable, "oidc.provider.issuer",
        fmt::format("the provider calls itself \"{}\", not \"{}\"; give --oidc-issuer-url to the letter",
                    get_string(document, "issuer").substr(0, 200), options_.claims.issuer_url));
  metadata_ = document;
  co_return document;
}

Task<Status> OidcProvider::refresh(CallContext ctx) {
  is_asking_ = true;
  asked_at_ = runtime_.executor().now();
  struct Ended {
    OidcProvider& self;
    ~Ended() {
      self.is_asking_ = false;
      self.asked_.notify_all();
    }
  } const ended{*this};
  // Where the keys are may change, too.
  metadata_.reset();
  NEAP_CO_TRY(const auto document, co_await metadata(ctx));
  NEAP_CO_TRY(auto published, co_await fetch_json(ctx, std::string(get_string(document, "jwks_uri"))));
  NEAP_CO_TRY(auto keys, auth::JsonWebKeySet::parse(published));
  keys_ = std::move(keys);
  published.get_object()["issuer"] = options_.claims.issuer_url;
  if (!options_.cache_path.empty())
    if (const auto kept = runtime_.files().write_file_atomic(options_.cache_path, to_text(published)); !kept)
      log_.warning("the provider's keys were not kept for the next start", {telemetry::Field(kept.error())});
  co_return ok();
}

bool OidcProvider::is_due() const {
  return !asked_at_ || runtime_.executor().now() - *asked_at_ >= options_.refresh_min;
}

bool OidcProvider::is_issuer_of(std::string_view token) const {
  const auto head = auth::read_token_head(token);
  return head && head->issuer == options_.claims.issuer_url;
}

Task<void> OidcProvider::prepare(CallContext ctx, std::string token) {
  const auto head = auth::read_token_head(token);
  if (!head || head->issuer != options_.claims.issuer_url) co_return;
  if (keys_ && (head->key_id.empty() || keys_->has(head->key_id))) co_return;
  if (is_asking_) {
    (void)co_await asked_.wait(ctx.with_deadline(runtime_.executor().now() + options_.timeout),
                               asked_.generation());
    co_return;
  }
  if (!is_due()) co_return;
  // For all who wait, so not with the context of the first.
  if (const auto done = co_await refresh(tasks_.context()); !done)
    log_.warning("a token names a key that is not known, and the identity provider cannot be asked",
                 {telemetry::Field(done.error())});
}

Result<auth::Identity> OidcProvider::authenticate(std::string_view token, std::string_view nonce) const {
  if (!keys_)
    return fail(
        Code::kUnauthenticated, "auth.oidc.provider",
        fmt::format("the keys of {} are not known yet, because it cannot be asked; try again, and look "
                    "at the server's log",
                    options_.claims.issuer_url));
  return auth::verify_id_token(options_.claims, *keys_, token, runtime_.clock().wall(), nonce);
}

Task<Result<std::string>> OidcProvider::exchange_code(CallContext ctx, std::string code, std::string verifier,
                                                      std::string redirect_url) {
  NEAP_CO_TRY(const auto document, co_await metadata(ctx));
  std::vector<std::pair<std::string, std::string>> form{{"grant_type", "authorization_code"},
                                                        {"code", std::move(code)},
                                                        {"redirect_uri", std::move(redirect_url)},
                                                        {"code_verifier", std::move(verifier)}};
  io::HttpRequest request;
  request.method = "POST";
  request.headers.set("Content-Type", "application/x-www-form-urlencoded");
  request.headers.set("Accept", "application/json");
  const auto& client = options_.claims.client_id;
  if (options_.client_secret.empty())
    form.emplace_back("client_id", client);
  else  // RFC 6749, section 2.3.1
    request.headers.set("Authorization",
                        "Basic " + crypto::to_base64(fmt::format("{}:{}", io::url_encode(client),
                                                                 io::url_encode(options_.client_secret))));
  request.body = io::form_encode(form);
  const std::string url(get_string(document, "token_endpoint"));
  const auto bounded = ctx.with_deadline(runtime_.executor().now() + options_.timeout);
  NEAP_CO_TRY(const auto reply, co_await io::fetch(runtime_, bounded, url, std::move(request),
                                                   options_.ca_pem, kDocumentBytesMax));
  NEAP_CO_TRY(const auto answer, json_of(reply, url));
  const std::string token(get_string(answer, "id_token"));
  if (token.empty())
    co_return fail(Code::kUnavailable, "oidc.provider.token",
                   "the provider sent no ID token; allow the scope openid for this client");
  co_return token;
}

Json OidcProvider::describe() const {
  return Json{{"issuerUrl", options_.claims.issuer_url},
              {"clientId", options_.claims.client_id},
              {"scope", fmt::format("{}", fmt::join(options_.scopes, " "))},
              {"certificateAuthority", options_.ca_pem}};
}

}  // namespace neap::app
