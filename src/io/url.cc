#include "neap/io/url.h"

#include <fmt/format.h>

namespace neap::io {
namespace {

constexpr std::size_t kUrlBytesMax = 8192;

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "url.syntax",
              fmt::format("\"{}\" is no address that can be asked: {}", text.substr(0, 200), why));
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  Url out;
  if (text.size() > kUrlBytesMax) return bad(text, "it is too long");
  for (const char c : text)
    if (c <= ' ' || c == 0x7f || c == '\\') return bad(text, "it has a character that must be escaped");
  out.is_tls = text.starts_with("https://");
  if (!out.is_tls && !text.starts_with("http://")) return bad(text, "it must begin with https:// or http://");
  auto rest = text.substr(out.is_tls ? 8 : 7);
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  const auto authority = rest.substr(0, end);
  rest.remove_prefix(end);
  if (rest.find('#') != rest.npos) return bad(text, "a fragment (#) means nothing to a server");
  if (authority.empty() || authority.find('@') != authority.npos)
    return bad(text, "it names no host, or a user");
  const auto colon = authority.rfind(':');
  const bool has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  auto endpoint = Endpoint::parse(has_port ? std::string(authority)
                                           : fmt::format("{}:{}", authority, out.is_tls ? 443 : 80));
  if (!endpoint) return bad(text, endpoint.error().message);
  out.endpoint = *std::move(endpoint);
  out.target = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return out;
}

std::string form_encode(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    if (!out.empty()) out += '&';
    out += url_encode(name) + '=' + url_encode(value);
  }
  return out;
}

Task<Result<HttpResponse>> fetch(Runtime& runtime, CallContext ctx, std::string url, HttpRequest request,
                                 std::string roots_pem, std::uint64_t body_bytes_max) {
  NEAP_CO_TRY(auto at, Url::parse(url));
  HttpClientOptions options;
  options.limits.body_bytes_max = body_bytes_max;
  if (at.is_tls) {
    TlsClientOptions security;
    security.roots_pem = std::move(roots_pem);
    security.server_name = at.endpoint.host;
    NEAP_CO_TRY(options.tls, make_tls_client_context(security));
  }
  HttpClient client(runtime, at.endpoint, std::move(options));
  request.target = std::move(at.target);
  auto reply = co_await client.call(std::move(ctx), std::move(request));
  client.close_idle();
  if (!reply) co_return fail(std::move(reply).error(), "asking " + url.substr(0, url.find('?')));
  co_return reply;
}

}  // namespace neap::io
