#include "neap/client/kubeconfig.h"

#include <fmt/format.h>

#include "neap/api/codec.h"

namespace neap::client {
namespace {

// RFC 4648; here because client may not include crypto.
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Result<std::string> from_base64(std::string_view text, std::string_view field) {
  std::string out;
  std::uint32_t group = 0;
  std::size_t count = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    const auto value = kAlphabet.find(c);
    if (c == '=') ++padding;
    if ((c == '=' ? padding > 2 : padding > 0 || value == std::string_view::npos))
      return fail(Code::kInvalidArgument, "kubeconfig.base64", fmt::format("{} is not base64", field));
    group = group << 6 | std::uint32_t(c == '=' ? 0 : value);
    if (++count % 4 != 0) continue;
    for (std::size_t k = 0; k < 3 - padding; ++k) out += char(group >> (16 - 8 * k) & 0xff);
    group = 0;
  }
  if (count % 4 != 0)
    return fail(Code::kInvalidArgument, "kubeconfig.base64",
                fmt::format("{} is not base64: its length is wrong", field));
  return out;
}

boost::json::string text(std::string_view value) { return boost::json::string(value); }

// The `part` ("cluster", "user", "context") of the entry called `name`.
Result<const Json*> entry_of(const Json& config, std::string_view list, std::string_view part,
                             std::string_view name) {
  const Json* entries = find_path(config, {list});
  if (entries && entries->is_array())
    for (const auto& entry : entries->get_array())
      if (get_string(entry, "name") == name)
        if (const Json* found = find_path(entry, {part})) return found;
  return fail(Code::kNotFound, "kubeconfig.entry",
              fmt::format("the kubeconfig has no {} called \"{}\"", part, name));
}

// Embedded base64 under `field`-data, or the file that `field` names.
Result<std::string> embedded_or_file(const Json& part, const std::string& field, io::FileSystem* files,
                                     const std::string& directory) {
  if (const auto data = get_string(part, field + "-data"); !data.empty())
    return from_base64(data, field + "-data");
  const auto path = get_string(part, field);
  if (path.empty()) return std::string();
  if (!files)
    return fail(Code::kInvalidArgument, "kubeconfig.file",
                fmt::format("{} names the file \"{}\"; embed it as {}-data", field, path, field));
  const bool absolute = path.front() == '/' || directory.empty();
  return files->read_file(absolute ? std::string(path) : fmt::format("{}/{}", directory, path), 1u << 20);
}

// {"exec": {"args": ["credential", "--file", FILE]}} is our own way in.
std::string login_file_of(const Json& user) {
  const auto* args = find_path(user, {"exec", "args"});
  if (!args || !args->is_array() || args->get_array().size() != 3) return {};
  std::vector<std::string_view> words;
  for (const auto& word : args->get_array())
    words.push_back(word.is_string() ? std::string_view(word.get_string()) : "");
  return words[0] == "credential" && words[1] == "--file" ? std::string(words[2]) : std::string();
}

}  // namespace

std::string to_kubeconfig(const ClusterAccess& access) {
  JsonObject cluster, user, context;
  cluster["server"] = text(access.server);
  if (!access.roots_pem.empty()) cluster["certificate-authority-data"] = text(to_base64(access.roots_pem));
  if (!access.tls_server_name.empty()) cluster["tls-server-name"] = text(access.tls_server_name);
  if (access.insecure_skip_verify) cluster["insecure-skip-tls-verify"] = true;
  if (!access.token.empty()) user["token"] = text(access.token);
  if (!access.certificate_pem.empty())
    user["client-certificate-data"] = text(to_base64(access.certificate_pem));
  if (!access.private_key_pem.empty()) user["client-key-data"] = text(to_base64(access.private_key_pem));
  context["cluster"] = text(access.name);
  context["user"] = text(access.name);
  context["namespace"] = text(access.namespace_);
  const auto named = [&](std::string_view part, JsonObject value) {
    JsonObject entry;
    entry["name"] = text(access.name);
    entry[part] = std::move(value);
    JsonArray list;
    list.push_back(std::move(entry));
    return list;
  };
  JsonObject out;
  out["apiVersion"] = "v1";
  out["kind"] = "Config";
  out["clusters"] = named("cluster", std::move(cluster));
  out["users"] = named("user", std::move(user));
  out["contexts"] = named("context", std::move(context));
  out["current-context"] = text(access.name);
  return api::to_yaml(Json(std::move(out)));
}

Result<ClusterAccess> parse_kubeconfig(std::string_view source, std::string_view context_name,
                                       io::FileSystem* files, const std::string& directory) {
  NEAP_TRY(const auto documents, api::parse_yaml(source, {.bytes_max = 1u << 20, .documents_max = 1}));
  if (documents.empty() || !documents[0].is_object())
    return fail(Code::kInvalidArgument, "kubeconfig.format", "the kubeconfig is empty or not a mapping");
  const Json& config = documents[0];
  const std::string chosen(context_name.empty() ? get_string(config, "current-context") : context_name);
  if (chosen.empty())
    return fail(Code::kInvalidArgument, "kubeconfig.context",
                "the kubeconfig has no current-context; name one");
  ClusterAccess out;
  out.name = chosen;
  NEAP_TRY(const Json* context, entry_of(config, "contexts", "context", chosen));
  if (const auto ns = get_string(*context, "namespace"); !ns.empty()) out.namespace_ = ns;
  NEAP_TRY(const Json* cluster, entry_of(config, "clusters", "cluster", get_string(*context, "cluster")));
  out.cluster = get_string(*context, "cluster");
  out.server = get_string(*cluster, "server");
  if (out.server.empty())
    return fail(Code::kInvalidArgument, "kubeconfig.server", "the cluster of the kubeconfig has no server");
  out.tls_server_name = get_string(*cluster, "tls-server-name");
  out.insecure_skip_verify = get_bool(*cluster, "insecure-skip-tls-verify");
  NEAP_TRY(out.roots_pem, embedded_or_file(*cluster, "certificate-authority", files, directory));
  if (get_string(*context, "user").empty()) return out;
  NEAP_TRY(const Json* user, entry_of(config, "users", "user", get_string(*context, "user")));
  out.login_file = login_file_of(*user);
  for (const auto plugin : {"exec", "auth-provider"})
    if (out.login_file.empty() && find_path(*user, {plugin}))
      return fail(Code::kUnimplemented, "kubeconfig.plugin",
                  fmt::format("the user of the kubeconfig logs in through {}, which neap does not run; use a "
                              "token or a client certificate",
                              plugin));
  out.token = get_string(*user, "token");
  if (const auto path = get_string(*user, "tokenFile"); out.token.empty() && !path.empty()) {
    if (!files)
      return fail(Code::kInvalidArgument, "kubeconfig.file", "tokenFile names a file; embed the token");
    NEAP_TRY(out.token, files->read_file(path.front() == '/' || directory.empty()
                                             ? std::string(path)
                                             : fmt::format("{}/{}", directory, path),
                                         1u << 20));
    while (!out.token.empty() && (out.token.back() == '\n' || out.token.back() == ' ')) out.token.pop_back();
  }
  NEAP_TRY(out.certificate_pem, embedded_or_file(*user, "client-certificate", files, directory));
  NEAP_TRY(out.private_key_pem, embedded_or_file(*user, "client-key", files, directory));
  return out;
}

Result<ClusterAccess> load_kubeconfig(io::FileSystem& files, const std::string& path,
                                      std::string_view context) {
  NEAP_TRY(const auto source, files.read_file(path, 1u << 20));
  const auto slash = path.rfind('/');
  auto out = parse_kubeconfig(source, context, &files,
                              slash == std::string::npos ? std::string() : path.substr(0, slash));
  if (!out) return fail(std::move(out).error(), fmt::format("reading the kubeconfig {}", path));
  return out;
}
Status save_kubeconfig(io::FileSystem& files, const std::string& path, const ClusterAccess& access) {
  return files.write_file_atomic(path, to_kubeconfig(access), 0600);
}

Result<std::unique_ptr<HttpResourceClient>> connect(io::Runtime& runtime, const ClusterAccess& access,
                                                    HttpResourceClientOptions options) {
  std::string_view rest = access.server;
  const bool tls = rest.starts_with("https://");
  if (!tls && !rest.starts_with("http://"))
    return fail(Code::kInvalidArgument, "client.server",
                fmt::format("the server \"{}\" must begin with https:// or http://", access.server));
  rest.remove_prefix(tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find('/') != std::string_view::npos)
    return fail(Code::kInvalidArgument, "client.server",
                fmt::format("the server \"{}\" must have no path", access.server));
  const auto colon = rest.rfind(':');
  const bool has_port = colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos;
  NEAP_TRY(auto endpoint,
           io::Endpoint::parse(has_port ? std::string(rest) : fmt::format("{}:{}", rest, tls ? 443 : 80)));
  io::HttpClientOptions http;
  if (tls) {
    io::TlsClientOptions security;
    security.roots_pem = access.roots_pem;
    security.certificate_pem = access.certificate_pem;
    security.private_key_pem = access.private_key_pem;
    security.server_name = access.tls_server_name.empty() ? endpoint.host : access.tls_server_name;
    security.insecure_skip_verify = access.insecure_skip_verify;
    NEAP_TRY(http.tls, io::make_tls_client_context(security));
  }
  return std::make_unique<HttpResourceClient>(runtime, std::move(endpoint), std::move(http), access.token,
                                              std::move(options));
}

}  // namespace neap::client
