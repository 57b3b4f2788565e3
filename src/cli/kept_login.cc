#include <openssl/evp.h>

#include <fmt/format.h>

#include <algorithm>

#include "internal/login.h"
#include "neap/io/url.h"

namespace neap::cli {
namespace {

constexpr std::uint64_t kFileBytesMax = 256u << 10;
constexpr Duration kSpare = 1min;

}  // namespace

Result<Json> claims_of(std::string_view token) {
  const auto wrong = [] {
    return fail(Code::kUnavailable, "login.token",
                "the identity provider sent something that is no ID token");
  };
  const auto first = token.find('.'), second = token.find('.', first == token.npos ? first : first + 1);
  if (second == token.npos) return wrong();
  std::string text(token.substr(first + 1, second - first - 1));
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  std::size_t padding = 0;
  while (text.size() % 4 != 0 && padding < 3) text += '=', ++padding;
  std::string bytes(text.size(), '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), int(text.size()));
  if (size < 0 || std::size_t(size) < padding) return wrong();
  bytes.resize(std::size_t(size) - padding);
  auto json = parse_json(bytes);
  if (!json || !json->is_object()) return wrong();
  return json;
}

Result<KeptLogin> KeptLogin::load(io::FileSystem& files, const std::string& path) {
  const auto text = files.read_file(path, kFileBytesMax);
  const auto json = text ? parse_json(*text) : Result<Json>(fail(text.error()));
  if (!json || !json->is_object())
    return fail(Code::kUnauthenticated, "login.ended",
                fmt::format("what a sign-in left in {} cannot be read ({}); run `neap login`", path,
                            json ? "no JSON object" : json.error().message));
  KeptLogin out;
  out.issuer = get_string(*json, "issuer");
  out.client_id = get_string(*json, "clientId");
  out.roots_pem = get_string(*json, "certificateAuthority");
  out.token_endpoint = get_string(*json, "tokenEndpoint");
  out.id_token = get_string(*json, "idToken");
  out.refresh_token = get_string(*json, "refreshToken");
  if (const auto at = parse_rfc3339(get_string(*json, "expiresAt"))) out.expires_at = *at;
  return out;
}

Status KeptLogin::save(io::FileSystem& files, const std::string& path) const {
  return files.write_file_atomic(path,
                                 to_pretty_text(Json{{"issuer", issuer},
                                                     {"clientId", client_id},
                                                     {"certificateAuthority", roots_pem},
                                                     {"tokenEndpoint", token_endpoint},
                                                     {"idToken", id_token},
                                                     {"refreshToken", refresh_token},
                                                     {"expiresAt", format_rfc3339(expires_at)}}) +
                                     "\n",
                                 0600);
}

Task<Result<KeptLogin>> fresh_login(io::Runtime& runtime, CallContext ctx, std::string path) {
  NEAP_CO_TRY(auto login, KeptLogin::load(runtime.files(), path));
  const auto now = runtime.clock().wall();
  if (login.expires_at > now + kSpare) co_return login;
  const auto ended = [&login](std::string_view why) {
    return fail(Code::kUnauthenticated, "login.ended",
                fmt::format("the sign-in at {} has ended ({}); run `neap login`", login.issuer, why));
  };
  if (login.refresh_token.empty()) co_return ended("the provider gave nothing to renew it with");
  io::HttpRequest request;
  request.method = "POST";
  request.headers.set("Content-Type", "application/x-www-form-urlencoded");
  request.headers.set("Accept", "application/json");
  request.body = io::form_encode({{"grant_type", "refresh_token"},
                                  {"refresh_token", login.refresh_token},
                                  {"client_id", login.client_id}});
  NEAP_CO_TRY(const auto reply,
              co_await io::fetch(runtime, ctx, login.token_endpoint, std::move(request), login.roots_pem));
  const auto answer = parse_json(reply.body);
  const std::string token(answer && answer->is_object() ? get_string(*answer, "id_token")
                                                        : std::string_view());
  if (reply.status != 200 || token.empty()) {
    // Refresh tokens are often good once: another command may have been faster.
    NEAP_CO_TRY(auto again, KeptLogin::load(runtime.files(), path));
    if (again.expires_at > now + kSpare) co_return again;
    const bool speaks = answer && answer->is_object();
    co_return ended(reply.status == 200 ? std::string_view("it renews no ID token")
                    : speaks            ? get_string(*answer, "error")
                                        : std::string_view("it answers with an error"));
  }
  NEAP_CO_TRY(const auto claims, claims_of(token));
  login.id_token = token;
  login.expires_at = WallTime(std::chrono::seconds(get_int(claims, "exp")));
  if (const auto next = get_string(*answer, "refresh_token"); !next.empty()) login.refresh_token = next;
  NEAP_CO_TRY_VOID(login.save(runtime.files(), path));
  co_return login;
}

}  // namespace neap::cli
