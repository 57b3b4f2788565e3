// `neap login`, `neap credential`, `neap whoami`.
#include <openssl/evp.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "internal/commands.h"
#include "internal/login.h"
#include "internal/output.h"
#include "neap/api/codec.h"
#include "neap/base/sync.h"
#include "neap/io/url.h"

namespace neap::cli {
namespace {

constexpr Duration kSignInTimeout = 10min;
constexpr Duration kPollMin = 1s;

// What the server and its provider's own document say.
struct Provider {
  std::string issuer, client_id, scope, roots_pem;
  Json document;
};

std::string base64url_sha256(std::string_view text) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), hash, &size, EVP_sha256(), nullptr);
  std::string out(64, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), hash, int(size));
  out.resize(std::size_t(n));
  std::ranges::replace(out, '+', '-');
  std::ranges::replace(out, '/', '_');
  while (out.ends_with('=')) out.pop_back();
  return out;
}

using Form = std::vector<std::pair<std::string, std::string>>;

Task<Result<std::pair<int, Json>>> post_form(Session& session, const Provider& provider,
                                             std::string_view endpoint, Form form) {
  const std::string url(get_string(provider.document, endpoint));
  if (url.empty())
    co_return fail(Code::kUnimplemented, "login.endpoint",
                   fmt::format("{} has no {}; sign in the other way, with or without --device",
                               provider.issuer, endpoint));
  io::HttpRequest request;
  request.method = "POST";
  request.headers.set("Content-Type", "application/x-www-form-urlencoded");
  request.headers.set("Accept", "application/json");
  request.body = io::form_encode(form);
  NEAP_CO_TRY(const auto reply, co_await io::fetch(session.runtime(), session.call(), url, std::move(request),
                                                   provider.roots_pem));
  auto json = parse_json(reply.body);
  if (!json || !json->is_object()) json = Json(JsonObject());
  co_return std::pair(reply.status, *std::move(json));
}

std::unexpected<Error> refused(const Provider& provider, const Json& answer) {
  const auto word = get_string(answer, "error"), text = get_string(answer, "error_description");
  return fail(Code::kUnauthenticated, "login.refused",
              fmt::format("{} refused: {}{}{}", provider.issuer, word.empty() ? "no reason given" : word,
                          text.empty() ? "" : ", ", printable(text)));
}

Task<Result<Provider>> find_provider(Session& session, client::HttpResourceClient& server) {
  io::HttpRequest request;
  request.method = "GET";
  request.target = "/neap/v1/oidc";
  NEAP_CO_TRY(const auto reply, co_await server.raw(session.call(), std::move(request)));
  if (reply.status >= 400) co_return fail(error_of_reply(reply));
  NEAP_CO_TRY(const auto said, parse_json(reply.body));
  Provider out{.issuer = std::string(get_string(said, "issuerUrl")),
               .client_id = std::string(get_string(said, "clientId")),
               .scope = std::string(get_string(said, "scope", "openid")),
               .roots_pem = std::string(get_string(said, "certificateAuthority")),
               .document = {}};
  auto base = out.issuer;
  while (base.ends_with('/')) base.pop_back();
  io::HttpRequest ask;
  ask.method = "GET";
  NEAP_CO_TRY(const auto found,
              co_await io::fetch(session.runtime(), session.call(),
                                 base + "/.well-known/openid-configuration", std::move(ask), out.roots_pem));
  auto document = parse_json(found.body);
  if (found.status != 200 || !document || !document->is_object() ||
      get_string(*document, "issuer") != out.issuer)
    co_return fail(Code::kUnavailable, "login.provider",
                   fmt::format("{} has no document that describes it (HTTP {}); ask whoever runs it",
                               out.issuer, found.status));
  out.document = *std::move(document);
  co_return out;
}

// What came back to the loopback address: a code, or the provider's refusal.
struct Returned {
  std::string code, error;
};

// Waits for the browser on a port of this machine (RFC 8252, section 7.3).
Task<Result<Json>> sign_in_by_loopback(Session& session, const Provider& provider, std::string listen_at) {
  auto& runtime = session.runtime();
  NEAP_CO_TRY(const auto endpoint, io::Endpoint::parse(listen_at));
  NEAP_CO_TRY(auto listener, runtime.network().listen(endpoint));
  const auto redirect = fmt::format("http://{}/callback", listener->local().to_string());
  const auto state = runtime.random().hex(16), nonce = runtime.random().hex(16),
             verifier = runtime.random().hex(32);
  std::optional<Returned> returned;
  Notifier came(runtime.executor());
  io::HttpServer http(runtime, std::move(listener), {}, [&](io::HttpExchange& exchange) -> Task<void> {
    const auto& request = exchange.request();
    io::HttpResponse response{.status = 404, .headers = {}, .body = "There is nothing here.\n"};
    response.headers.set("Content-Type", "text/plain; charset=utf-8");
    if (request.path == "/callback" && request.query_value("state") == state && !returned) {
      returned =
          Returned{std::string(request.query_value("code")), std::string(request.query_value("error"))};
      response.status = 200;
      response.body = returned->code.empty() ? "The provider refused. Look at the terminal.\n"
                                             : "Signed in. This window can be closed.\n";
    }
    (void)co_await exchange.reply(std::move(response));
    came.notify_all();
  });
  http.start();
  std::string authorize(get_string(provider.document, "authorization_endpoint"));
  Form query{{"response_type", "code"},
             {"client_id", provider.client_id},
             {"redirect_uri", redirect},
             {"scope", provider.scope},
             {"state", state},
             {"nonce", nonce},
             {"code_challenge", base64url_sha256(verifier)},
             {"code_challenge_method", "S256"}};
  // OpenID Connect Core 1.0, section 11: without it offline_access is ignored.
  if (provider.scope.find("offline_access") != std::string::npos) query.emplace_back("prompt", "consent");
  authorize += (authorize.find('?') == std::string::npos ? "?" : "&") + io::form_encode(query);
  session.warn(fmt::format("Open this address in a browser on this machine:\n\n  {}\n\n", authorize));
  const auto ctx = session.call().with_deadline(runtime.executor().now() + kSignInTimeout);
  Status waited = ok();
  while (!returned && waited) waited = co_await came.wait(ctx, came.generation());
  co_await http.stop(1s);
  if (!returned)
    co_return fail(
        Code::kDeadlineExceeded, "login.timeout",
        "nobody signed in within ten minutes; run `neap login` again, or with --device on a machine "
        "without a browser");
  if (returned->code.empty()) co_return refused(provider, Json{{"error", returned->error}});
  NEAP_CO_TRY(auto answer, co_await post_form(session, provider, "token_endpoint",
                                              {{"grant_type", "authorization_code"},
                                               {"code", returned->code},
                                               {"redirect_uri", redirect},
                                               {"client_id", provider.client_id},
                                               {"code_verifier", verifier}}));
  if (answer.first != 200) co_return refused(provider, answer.second);
  NEAP_CO_TRY(const auto claims, claims_of(get_string(answer.second, "id_token")));
  if (get_string(claims, "nonce") != nonce)
    co_return fail(Code::kUnauthenticated, "login.nonce",
                   "the provider's token answers another sign-in than this one; run `neap login` again");
  co_return std::move(answer.second);
}

// For machines without a browser (RFC 8628).
Task<Result<Json>> sign_in_by_device(Session& session, const Provider& provider) {
  auto& runtime = session.runtime();
  NEAP_CO_TRY(const auto begun,
              co_await post_form(session, provider, "device_authorization_endpoint",
                                 {{"client_id", provider.client_id}, {"scope", provider.scope}}));
  if (begun.first != 200) co_return refused(provider, begun.second);
  session.warn(fmt::format("Open {} in a browser anywhere and type this code:\n\n  {}\n\n",
                           printable(get_string(begun.second, "verification_uri")),
                           printable(get_string(begun.second, "user_code"))));
  Duration interval =
      std::chrono::seconds(std::clamp<std::int64_t>(get_int(begun.second, "interval", 5), 0, 60));
  interval = std::max<Duration>(interval, kPollMin);
  const auto life =
      std::chrono::seconds(std::clamp<std::int64_t>(get_int(begun.second, "expires_in", 600), 1, 3600));
  const auto end = runtime.executor().now() + life;
  while (runtime.executor().now() < end) {
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime.executor(), session.call(), interval));
    NEAP_CO_TRY(auto answer,
                co_await post_form(session, provider, "token_endpoint",
                                   {{"grant_type", "urn:ietf:params:oauth:grant-type:device_code"},
                                    {"device_code", std::string(get_string(begun.second, "device_code"))},
                                    {"client_id", provider.client_id}}));
    if (answer.first == 200) co_return std::move(answer.second);
    const auto word = get_string(answer.second, "error");
    if (word == "slow_down")
      interval += 5s;
    else if (word != "authorization_pending")
      co_return refused(provider, answer.second);
  }
  co_return fail(Code::kDeadlineExceeded, "login.timeout",
                 "the code has expired unused; run `neap login` again");
}

// Replaces the entry of that name in a kubeconfig's list, or adds it.
void put_entry(JsonObject& config, std::string_view list, std::string_view part, const std::string& name,
               Json value) {
  auto& entries = config[list];
  if (!entries.is_array()) entries = JsonArray();
  JsonObject entry;
  entry["name"] = name;
  entry[part] = std::move(value);
  for (auto& one : entries.get_array())
    if (get_string(one, "name") == name) {
      one = std::move(entry);
      return;
    }
  entries.get_array().push_back(std::move(entry));
}

struct Place {
  std::string kubeconfig, cluster, server, roots_pem, namespace_;
  bool is_new_cluster = false;
};

Status write_kubeconfig(Session& session, const Place& place, const std::string& context,
                        const std::string& login_file) {
  auto& files = session.runtime().files();
  Json config = JsonObject{{"apiVersion", "v1"}, {"kind", "Config"}};
  if (files.exists(place.kubeconfig)) {
    NEAP_TRY(const auto text, files.read_file(place.kubeconfig, 1u << 20));
    NEAP_TRY(auto documents, api::parse_yaml(text, {.bytes_max = 1u << 20, .documents_max = 1}));
    if (!documents.empty() && documents[0].is_object()) config = std::move(documents[0]);
  }
  auto& members = config.get_object();
  if (place.is_new_cluster) {
    // The roots lie beside it, so that they can be replaced by hand.
    const auto roots = login_file + ".ca.pem";
    JsonObject cluster{{"server", place.server}};
    if (!place.roots_pem.empty()) {
      NEAP_TRY_VOID(files.write_file_atomic(roots, place.roots_pem));
      cluster["certificate-authority"] = roots;
    }
    put_entry(members, "clusters", "cluster", place.cluster, std::move(cluster));
  }
  const auto& program = session.io().program;
  put_entry(members, "users", "user", context,
            JsonObject{{"exec", JsonObject{{"apiVersion", "client.authentication.k8s.io/v1beta1"},
                                           {"command", program.empty() ? "neap" : program},
                                           {"args", JsonArray{"credential", "--file", login_file}}}}});
  put_entry(members, "contexts", "context", context,
            JsonObject{{"cluster", place.cluster}, {"user", context}, {"namespace", place.namespace_}});
  members["current-context"] = context;
  return files.write_file_atomic(place.kubeconfig, api::to_yaml(config), 0600);
}

Result<Place> find_place(Session& session, const LoginOptions& options) {
  Place out;
  NEAP_TRY(out.kubeconfig, session.kubeconfig_to_write());
  if (!options.server.empty()) {
    out.server = options.server;
    out.cluster = "neap";
    out.namespace_ = "default";
    out.is_new_cluster = true;
    if (!options.certificate_authority.empty()) {
      NEAP_TRY(out.roots_pem, session.runtime().files().read_file(options.certificate_authority, 1u << 20));
    }
    return out;
  }
  NEAP_TRY(const auto access,
           client::load_kubeconfig(session.runtime().files(), out.kubeconfig, session.context()));
  out.server = access.server;
  out.cluster = access.cluster;
  out.namespace_ = access.namespace_;
  return out;
}

}  // namespace

Task<Result<int>> run_login(Session& session, LoginOptions options) {
  auto& files = session.runtime().files();
  NEAP_CO_TRY(const auto place, find_place(session, options));
  client::ClusterAccess access;
  if (place.is_new_cluster) {
    access.server = place.server;
    access.roots_pem = place.roots_pem;
  } else {
    NEAP_CO_TRY(access, client::load_kubeconfig(files, place.kubeconfig, session.context()));
  }
  // Nobody yet: what an older sign-in left must not stand in the way of a new one.
  access.token.clear();
  access.certificate_pem.clear();
  access.private_key_pem.clear();
  using client::connect;
  NEAP_CO_TRY(const auto server, connect(session.runtime(), access, {}));
  NEAP_CO_TRY(const auto provider, co_await find_provider(session, *server));
  auto answer = options.device ? co_await sign_in_by_device(session, provider)
                               : co_await sign_in_by_loopback(session, provider, options.listen);
  if (!answer) co_return fail(std::move(answer).error());
  const std::string token(get_string(*answer, "id_token"));
  NEAP_CO_TRY(const auto claims, claims_of(token));
  KeptLogin login{.issuer = provider.issuer,
                  .client_id = provider.client_id,
                  .roots_pem = provider.roots_pem,
                  .token_endpoint = std::string(get_string(provider.document, "token_endpoint")),
                  .id_token = token,
                  .refresh_token = std::string(get_string(*answer, "refresh_token")),
                  .expires_at = WallTime(std::chrono::seconds(get_int(claims, "exp")))};
  const auto context = "login-" + place.cluster;
  const auto slash = place.kubeconfig.rfind('/');
  const auto folder = slash == std::string::npos ? std::string(".") : place.kubeconfig.substr(0, slash);
  NEAP_CO_TRY_VOID(files.make_directories(folder));
  const auto login_file = fmt::format("{}/{}.json", folder, context);
  NEAP_CO_TRY_VOID(login.save(files, login_file));
  // What the server makes of the token, before anything points to it.
  server->set_token(token);
  auto who = co_await server->create(
      session.call(),
      {.group = "authentication.k8s.io",
       .version = "v1",
       .plural = "selfsubjectreviews",
       .namespace_ = {},
       .name = {},
       .subresource = {}},
      Json{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "SelfSubjectReview"}}, {});
  if (!who) co_return fail(std::move(who).error(), "asking the server who this is");
  NEAP_CO_TRY_VOID(write_kubeconfig(session, place, context, login_file));
  const auto* info = find_path(*who, {"status", "userInfo"});
  session.print(fmt::format("signed in as {}; context {} of {}\n",
                            info ? printable(get_string(*info, "username")) : "?", context,
                            place.kubeconfig));
  co_return 0;
}

Task<Result<int>> run_credential(Session& session, CredentialOptions options) {
  NEAP_CO_TRY(const auto login, co_await fresh_login(session.runtime(), session.call(), options.file));
  session.print(to_text(Json{{"apiVersion", "client.authentication.k8s.io/v1beta1"},
                             {"kind", "ExecCredential"},
                             {"status",
                              {{"token", login.id_token},
                               {"expirationTimestamp", format_rfc3339(login.expires_at)}}}}) +
                "\n");
  co_return 0;
}

Task<Result<int>> run_whoami(Session& session, PlainOptions options) {
  NEAP_CO_TRY(const auto review,
              co_await session.client().create(
                  session.call(),
                  {.group = "authentication.k8s.io",
                   .version = "v1",
                   .plural = "selfsubjectreviews",
                   .namespace_ = {},
                   .name = {},
                   .subresource = {}},
                  Json{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "SelfSubjectReview"}}, {}));
  const auto* info = find_path(review, {"status", "userInfo"});
  if (!info) co_return fail(Code::kDataLoss, "cli.reply", "the server does not say who this is");
  if (!options.output.empty()) {
    session.print(structured_text(*info, options.output));
    co_return 0;
  }
  std::vector<std::string> groups;
  if (const auto* list = find_path(*info, {"groups"}); list && list->is_array())
    for (const auto& group : list->get_array())
      if (group.is_string()) groups.push_back(printable(std::string_view(group.get_string())));
  session.print(fmt::format("user    {}\ngroups  {}\n", printable(get_string(*info, "username")),
                            fmt::join(groups, ", ")));
  co_return 0;
}

Task<Result<int>> run_rotate_secrets(Session& session, PlainOptions options) {
  NEAP_CO_TRY(const auto done, co_await session.fetch("POST", "/neap/v1/secrets/rotate", JsonObject()));
  session.print(options.output.empty() ? fmt::format("a new key seals secrets; {} of {} were rewrapped\n",
                                                     get_int(done, "rewrapped"), get_int(done, "secrets"))
                                       : structured_text(done, options.output));
  co_return 0;
}

}  // namespace neap::cli
