#include "console.h"

#include <algorithm>

#include "console_assets.h"
#include "neap/base/json.h"
#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

constexpr std::string_view kPrefix = "/console/";
constexpr std::size_t kSecretBytes = 32;

// Only this origin's files, nothing inline, nobody's frame: what the page may do even if a name in the
// API carried markup. Trusted Types close the remaining ways to turn text into elements.
constexpr std::string_view kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'";

std::string hash_of(std::string_view secret) { return crypto::sha256(secret).hex(); }

// The port is part of the name because cookies, unlike origins, do not tell ports apart: two servers on one
// host would sign each other's people out.
std::string cookie_name(std::string_view public_url, bool is_secure) {
  std::string port;
  const auto colon = public_url.rfind(':');
  if (colon != std::string_view::npos)
    for (const char c : public_url.substr(colon + 1)) {
      if (c < '0' || c > '9') break;
      port += c;
    }
  return fmt::format("{}neap-session{}{}", is_secure ? "__Host-" : "", port.empty() ? "" : "-", port);
}

// Calls `visit` with each "name=value" of the Cookie headers (RFC 6265, section 5.4).
template <class Visit>
void for_each_cookie(const io::HttpRequest& request, Visit visit) {
  for (const auto& [name, value] : request.headers.all()) {
    if (name.size() != 6 || !std::ranges::equal(name, std::string_view("cookie"), [](char a, char b) {
          return (a >= 'A' && a <= 'Z' ? char(a - 'A' + 'a') : a) == b;
        }))
      continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto end = std::min(rest.find(';'), rest.size());
      auto pair = rest.substr(0, end);
      while (pair.starts_with(' ')) pair.remove_prefix(1);
      if (const auto equals = pair.find('='); equals != std::string_view::npos)
        visit(pair.substr(0, equals), pair.substr(equals + 1));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
}

io::HttpResponse refuse(Code code, std::string reason, std::string message) {
  auto response = io::json_error(Error{code, std::move(reason), std::move(message), {}});
  response.headers.set("Cache-Control", "no-store");
  return response;
}
io::HttpResponse refuse_method(std::string allowed) {
  auto response = refuse(Code::kInvalidArgument, "console.method", "only " + allowed + " is answered here");
  response.status = 405;
  response.headers.set("Allow", std::move(allowed));
  return response;
}
io::HttpResponse redirect(int status, std::string location) {
  io::HttpResponse response{.status = status, .headers = {}, .body = {}};
  response.headers.set("Location", std::move(location));
  response.headers.set("Cache-Control", "no-store");
  return response;
}
io::HttpResponse reply_json(const Json& value) {
  io::HttpResponse response{.status = 200, .headers = {}, .body = to_text(value)};
  response.headers.set("Content-Type", "application/json");
  response.headers.set("Cache-Control", "no-store");
  return response;
}

// RFC 9110, section 12.5.3: "gzip" with a weight other than zero.
bool accepts_gzip(std::string_view header) {
  while (!header.empty()) {
    const auto end = std::min(header.find(','), header.size());
    auto item = header.substr(0, end);
    while (item.starts_with(' ')) item.remove_prefix(1);
    if (item.starts_with("gzip")) {
      const auto weight = item.find("q=");
      return weight == std::string_view::npos ||
             item.substr(weight + 2).find_first_of("123456789") != std::string_view::npos;
    }
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return false;
}

// Room for one more: first what has ended, then what would end first.
template <class Table>
void make_room(Table& table, std::size_t max, MonoTime now) {
  std::erase_if(table, [now](const auto& entry) { return entry.second.ends <= now; });
  while (!table.empty() && table.size() >= max)
    table.erase(std::ranges::min_element(table, {}, [](const auto& entry) { return entry.second.ends; }));
}

}  // namespace

std::string cookie_of(const io::HttpRequest& request, std::string_view wanted) {
  std::string out;
  for_each_cookie(request, [&](std::string_view name, std::string_view value) {
    if (name == wanted && out.empty()) out = value;
  });
  return out;
}

const ConsoleAsset* find_console_asset(std::string_view path) {
  const auto assets = console_assets();
  const auto at = std::ranges::lower_bound(assets, path, {}, &ConsoleAsset::path);
  return at != assets.end() && at->path == path ? &*at : nullptr;
}

Console::Console(Dependencies dependencies, Options options)
    : dependencies_(dependencies),
      options_(std::move(options)),
      is_secure_(options_.public_url.starts_with("https:")),
      cookie_name_(cookie_name(options_.public_url, is_secure_)) {}

void Console::secure_headers(io::Headers& headers) {
  headers.set("Content-Security-Policy", std::string(kContentSecurityPolicy));
  headers.set("X-Content-Type-Options", "nosniff");
  headers.set("X-Frame-Options", "DENY");
  headers.set("Referrer-Policy", "no-referrer");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  headers.set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
}

bool Console::is_built() { return console_build() == "full"; }

const Console::Session* Console::find_session(const io::HttpRequest& request) const {
  const Session* found = nullptr;
  for_each_cookie(request, [&](std::string_view name, std::string_view value) {
    if (found || name != cookie_name_ || value.size() != kSecretBytes * 2) return;
    const auto at = sessions_.find(hash_of(value));
    if (at != sessions_.end() && at->second.ends > dependencies_.clock.now()) found = &at->second;
  });
  return found;
}

bool Console::has_csrf(const io::HttpRequest& request, const Session& session) const {
  return crypto::constant_time_equal(request.headers.get("X-Neap-CSRF"), session.csrf);
}

std::optional<auth::Identity> Console::identify(const io::HttpRequest& request) const {
  if (request.headers.has("Authorization")) return std::nullopt;
  // SameSite=Strict lets through what another port of the same host asks for; browsers say which it is.
  const auto from = request.headers.get("Sec-Fetch-Site");
  if (!from.empty() && from != "same-origin" && from != "none") return std::nullopt;
  const auto* session = find_session(request);
  if (!session) return std::nullopt;
  // Browsers send cookies with WebSocket handshakes of any page and cannot add a header to them.
  const bool reads_only =
      (request.method == "GET" || request.method == "HEAD") && !request.headers.has("Upgrade");
  if (!reads_only && !has_csrf(request, *session)) return std::nullopt;
  return session->who;
}

std::string Console::mint_login_url(const auth::Identity& who) {
  const auto now = dependencies_.clock.now();
  make_room(codes_, options_.codes_max, now);
  const auto code = dependencies_.random.hex(kSecretBytes);
  codes_.emplace(hash_of(code), LoginCode{who, now + options_.code_lifetime});
  return fmt::format("{}/console/login?code={}", options_.public_url, code);
}

io::HttpResponse Console::login(const io::HttpRequest& request) {
  const auto now = dependencies_.clock.now();
  const auto at = codes_.find(hash_of(request.query_value("code")));
  if (at == codes_.end()) return redirect(303, "/console/?login=refused");
  auto code = std::move(at->second);
  codes_.erase(at);
  if (code.ends <= now) return redirect(303, "/console/?login=refused");
  return open_session(std::move(code.who));
}

io::HttpResponse Console::open_session(auth::Identity who) {
  const auto now = dependencies_.clock.now();
  make_room(sessions_, options_.sessions_max, now);
  const auto token = dependencies_.random.hex(kSecretBytes);
  sessions_.emplace(hash_of(token),
                    Session{.who = std::move(who),
                            .csrf = dependencies_.random.hex(kSecretBytes),
                            .ends = now + options_.session_lifetime,
                            .ends_at = dependencies_.clock.wall() + options_.session_lifetime});
  auto response = redirect(303, "/console/");
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.session_lifetime).count();
  response.headers.set("Set-Cookie", fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
                                                 cookie_name_, token, seconds, is_secure_ ? "; Secure" : ""));
  return response;
}

io::HttpResponse Console::describe_session(const io::HttpRequest& request) const {
  const auto* session = identify(request) ? find_session(request) : nullptr;
  if (!session) {
    Json body{{"error", "nobody is signed in here; open the link that `neap console` prints"},
              {"reason", "console.session.none"}};
    if (!options_.sign_in_path.empty()) body.get_object()["signIn"] = options_.sign_in_path;
    auto response = reply_json(body);
    response.status = 401;
    return response;
  }
  return reply_json(Json{
      {"user", session->who.user}, {"csrf", session->csrf}, {"expiresAt", format_rfc3339(session->ends_at)}});
}

io::HttpResponse Console::logout(const io::HttpRequest& request) {
  if (!identify(request))
    return refuse(Code::kPermissionDenied, "console.csrf",
                  "signing out needs the X-Neap-CSRF header of the session; reload the page and try again");
  const auto* session = find_session(request);
  std::erase_if(sessions_, [session](const auto& entry) { return &entry.second == session; });
  io::HttpResponse response{.status = 204, .headers = {}, .body = {}};
  response.headers.set("Set-Cookie", fmt::format("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}",
                                                 cookie_name_, is_secure_ ? "; Secure" : ""));
  response.headers.set("Cache-Control", "no-store");
  return response;
}

io::HttpResponse Console::asset(const io::HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") return refuse_method("GET, HEAD");
  if (!request.path.starts_with(kPrefix)) return redirect(308, std::string(kPrefix));
  const auto path = std::string_view(request.path).substr(kPrefix.size());
  const auto* found = find_console_asset(path);
  // Pages are routes of the one document; only what can be nothing but a file is missing.
  if (!found && !path.starts_with("assets/")) found = find_console_asset("index.html");
  if (!found)
    return refuse(Code::kNotFound, "console.asset.absent",
                  "this version of the console has no such file; reload the page");

  const bool is_gzip = !found->gzip.empty() && accepts_gzip(request.headers.get("Accept-Encoding"));
  std::string etag(found->etag);
  if (is_gzip) etag.insert(etag.size() - 1, "-gz");
  io::HttpResponse response;
  response.headers.set("ETag", etag);
  response.headers.set("Vary", "Accept-Encoding");
  response.headers.set("Cache-Control",
                       found->is_immutable ? "public, max-age=31536000, immutable" : "no-cache");
  if (request.headers.get("If-None-Match").find(etag) != std::string_view::npos) {
    response.status = 304;
    return response;
  }
  response.headers.set("Content-Type", std::string(found->content_type));
  if (is_gzip) response.headers.set("Content-Encoding", "gzip");
  response.body = std::string(is_gzip ? found->gzip : found->bytes);
  return response;
}

Task<void> Console::serve(io::HttpExchange& exchange, const auth::Identity&) {
  const auto& request = exchange.request();
  const bool is_read = request.method == "GET" || request.method == "HEAD";
  io::HttpResponse response;
  if (request.path == "/console/login") {
    // Not HEAD: programs that look at links before people do must not use the code up.
    response = request.method == "GET" ? login(request) : refuse_method("GET");
  } else if (request.path == "/console/session") {
    response = is_read ? describe_session(request) : refuse_method("GET, HEAD");
  } else if (request.path == "/console/logout") {
    response = request.method == "POST" ? logout(request) : refuse_method("POST");
  } else {
    response = asset(request);
  }
  secure_headers(response.headers);
  (void)co_await exchange.reply(std::move(response));
}

Task<void> Console::serve_codes(io::HttpExchange& exchange, const auth::Identity& who) {
  const auto& request = exchange.request();
  io::HttpResponse response;
  if (request.method != "POST") {
    response = refuse_method("POST");
  } else if (!who.authenticated || !who.node.empty()) {
    response = refuse(Code::kPermissionDenied, "console.codes.refused",
                      "only people may open the console; sign in as an administrator and try again");
  } else if (!request.headers.has("Authorization") && find_session(request)) {
    response = refuse(Code::kPermissionDenied, "console.codes.from_session",
                      "a console session cannot make new ones, or it would never end; run `neap console`");
  } else {
    const auto expires = dependencies_.clock.wall() + options_.code_lifetime;
    response = reply_json(Json{{"url", mint_login_url(who)}, {"expiresAt", format_rfc3339(expires)}});
  }
  secure_headers(response.headers);
  (void)co_await exchange.reply(std::move(response));
}

}  // namespace neap::app
