#include "internal/session.h"

#include <fmt/format.h>

#include "internal/login.h"
#include "internal/output.h"
#include "neap/api/codec.h"

namespace neap::cli {
namespace {

constexpr std::uint64_t kReplyBytesMax = 1u << 30;  // a model layer that `model pull` fetches
constexpr std::int64_t kPageItems = 500;

std::string_view variable(const CliContext& context, const std::string& name) {
  const auto it = context.environment.find(name);
  return it == context.environment.end() ? std::string_view{} : std::string_view(it->second);
}

}  // namespace

Result<std::string> Session::find_kubeconfig() const {
  if (!globals_.kubeconfig.empty()) return globals_.kubeconfig;
  for (const auto* name : {"NEAP_KUBECONFIG", "KUBECONFIG"}) {
    // kubectl merges the files of this list; the first that exists is enough here.
    std::string_view list = variable(io_, name);
    const bool is_set = !list.empty();
    std::string first(list.substr(0, list.find(':')));
    while (!list.empty()) {
      const auto end = list.find(':');
      const std::string path(list.substr(0, end));
      list = end == std::string_view::npos ? std::string_view{} : list.substr(end + 1);
      if (!path.empty() && io_.runtime.files().exists(path)) return path;
    }
    if (is_set)
      return fail(
          Code::kNotFound, "cli.kubeconfig.absent",
          fmt::format("{} names {}, which does not exist; name a file that does with --kubeconfig FILE", name,
                      first));
  }
  if (const auto home = variable(io_, "HOME"); !home.empty()) {
    auto path = fmt::format("{}/.kube/config", home);
    if (io_.runtime.files().exists(path)) return path;
  }
  return fail(Code::kNotFound, "cli.kubeconfig.absent",
              "no kubeconfig: neither --kubeconfig nor NEAP_KUBECONFIG or KUBECONFIG names one and "
              "~/.kube/config does not exist; run `neap up`, or name the file of a running server");
}

Result<std::string> Session::kubeconfig_to_write() const {
  if (!globals_.kubeconfig.empty()) return globals_.kubeconfig;
  for (const auto* name : {"NEAP_KUBECONFIG", "KUBECONFIG"})
    if (const auto list = variable(io_, name); !list.empty())
      return std::string(list.substr(0, list.find(':')));
  if (const auto home = variable(io_, "HOME"); !home.empty()) return fmt::format("{}/.kube/config", home);
  return fail(Code::kNotFound, "cli.kubeconfig.absent",
              "there is no place for a kubeconfig: HOME is not set; name a file with --kubeconfig FILE");
}

Task<Status> Session::renew_login() {
  if (access_.login_file.empty()) co_return ok();
  NEAP_CO_TRY(const auto login, co_await fresh_login(runtime(), call(), access_.login_file));
  client_->set_token(login.id_token);
  co_return ok();
}

Status Session::open() {
  NEAP_TRY(path_, find_kubeconfig());
  auto loaded = client::load_kubeconfig(runtime().files(), path_, globals_.context);
  if (!loaded && loaded.error().code == Code::kNotFound && !runtime().files().exists(path_))
    return fail(Code::kNotFound, "cli.kubeconfig.absent",
                fmt::format("the kubeconfig {} does not exist; name one with --kubeconfig FILE", path_));
  if (!loaded) return std::unexpected(std::move(loaded).error());
  access_ = *std::move(loaded);
  if (is_namespace_given()) access_.namespace_ = globals_.namespace_;
  if (access_.namespace_.empty()) access_.namespace_ = "default";
  client::HttpResourceClientOptions options;
  options.reply_bytes_max = kReplyBytesMax;
  options.user_agent = "neap-cli";
  options.on_warning = [this](std::string text) { warn("warning: " + text + "\n"); };
  using client::connect;
  NEAP_TRY(client_, connect(runtime(), access_, std::move(options)));
  return ok();
}

void Session::report(const Error& error) {
  Error shown = error;
  // "GET /apis/..." says nothing that the command line did not; a path of our own does.
  std::erase_if(shown.context, [](const std::string& line) {
    return line.find(" /api") != std::string::npos || line.starts_with("connecting to");
  });
  if (error.code == Code::kUnavailable && !access_.server.empty()) shown.context.push_back(access_.server);
  warn(error_line(shown, path_));
}

Error error_of_reply(const io::HttpResponse& reply) {
  const auto body = parse_json(reply.body);
  if (body && get_string(*body, "kind") == "Status") return api::error_of_status(*body, reply.status);
  Error out{code_of_http_status(reply.status), "http.status", "", {}};
  if (body) {
    out.message = get_string(*body, "error");
    if (const auto reason = get_string(*body, "reason"); !reason.empty()) out.reason = reason;
    // The OCI distribution specification's error body.
    if (const auto* errors = find_path(*body, {"errors"});
        errors && errors->is_array() && !errors->get_array().empty())
      out.message = get_string(errors->get_array().front(), "message");
    if (out.message.empty()) out.message = get_string(*body, "message");
  }
  if (out.message.empty())
    out.message = fmt::format("the server answered with HTTP status {} and no explanation", reply.status);
  return out;
}

Task<Result<std::string>> Session::fetch_body(io::HttpRequest request) {
  const auto what = request.method + " " + request.target.substr(0, request.target.find('?'));
  auto reply = co_await client_->raw(call(), std::move(request));
  if (!reply) co_return fail(std::move(reply).error(), what);
  if (reply->status >= 400) co_return fail(error_of_reply(*reply), what);
  co_return std::move(reply->body);
}

Task<Result<std::string>> Session::fetch_text(std::string target) {
  io::HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  co_return co_await fetch_body(std::move(request));
}

Task<Result<Json>> Session::fetch(std::string method, std::string target, Json body) {
  io::HttpRequest request;
  const auto what = method + " " + target.substr(0, target.find('?'));
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers.set("Accept", "application/json");
  if (!body.is_null()) {
    request.headers.set("Content-Type", "application/json");
    request.body = to_text(body);
  }
  NEAP_CO_TRY(const auto text, co_await fetch_body(std::move(request)));
  auto json = parse_json(text, {.bytes_max = 64u << 20});
  if (!json)
    co_return fail(
        Code::kDataLoss, "cli.reply",
        fmt::format("the answer to {} is not JSON; does the kubeconfig name a Neap server?", what));
  co_return *std::move(json);
}

Result<const api::KindEntry*> get_kind(std::string_view word) {
  const auto* kind = api::KindTable::standard().find_by_alias(word);
  if (kind) return kind;
  // Events, Leases: capitals and "kind.version.group" are already understood above.
  return fail(Code::kInvalidArgument, "cli.kind.unknown",
              fmt::format("there is no kind \"{}\"; `neap explain` lists the kinds", word));
}

Result<Target> parse_target(std::string_view word) {
  const auto slash = word.find('/');
  if (slash == std::string_view::npos || slash + 1 == word.size() ||
      word.find('/', slash + 1) != std::string_view::npos)
    return fail(Code::kInvalidArgument, "cli.target",
                fmt::format("\"{}\" is not KIND/NAME; write for example trainingjob/surface", word));
  NEAP_TRY(const auto* kind, get_kind(word.substr(0, slash)));
  return Target{kind, std::string(word.substr(slash + 1))};
}

Result<std::vector<Target>> parse_targets(const std::vector<std::string>& words) {
  std::vector<Target> out;
  if (words.empty())
    return fail(Code::kInvalidArgument, "cli.target",
                "no kind was named; write KIND, KIND NAME or KIND/NAME");
  if (words.front().find('/') != std::string::npos) {
    for (const auto& word : words) {
      NEAP_TRY(auto target, parse_target(word));
      out.push_back(std::move(target));
    }
    return out;
  }
  std::string_view kinds = words.front();
  while (true) {
    const auto comma = kinds.find(',');
    NEAP_TRY(const auto* kind, get_kind(kinds.substr(0, comma)));
    if (words.size() == 1) out.push_back({kind, {}});
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (words[i].empty() || words[i].find('/') != std::string::npos)
        return fail(Code::kInvalidArgument, "cli.target",
                    fmt::format("\"{}\" is not a name; write KIND NAME, or KIND/NAME for each", words[i]));
      out.push_back({kind, words[i]});
    }
    if (comma == std::string_view::npos) return out;
    kinds.remove_prefix(comma + 1);
  }
}

client::ResourcePath path_of(const api::KindEntry& kind, std::string_view ns, std::string name,
                             std::string subresource) {
  return {kind.group,      kind.version,
          kind.plural,     kind.namespaced ? std::string(ns) : std::string(),
          std::move(name), std::move(subresource)};
}

std::string short_name(const api::KindEntry& kind, std::string_view name) {
  const bool is_ours = kind.group.empty() || kind.group == "neap.dev";
  return is_ours ? fmt::format("{}/{}", kind.singular, name)
                 : fmt::format("{}.{}/{}", kind.singular, kind.group, name);
}

Task<Result<Json>> fetch_list(Session& session, client::ResourcePath path, client::ListOptions options) {
  options.limit = kPageItems;
  Json whole;
  for (;;) {
    NEAP_CO_TRY(Json page, co_await session.client().list(session.call(), path, options));
    auto* items = page.is_object() ? page.get_object().if_contains("items") : nullptr;
    if (!items || !items->is_array())
      co_return fail(Code::kDataLoss, "cli.reply", "the server's list has no items; is it a Neap server?");
    const auto* metadata = find_path(page, {"metadata"});
    options.continue_token = metadata ? get_string(*metadata, "continue") : std::string_view{};
    if (whole.is_null()) {
      whole = std::move(page);
    } else {
      auto& all = whole.get_object()["items"].get_array();
      for (auto& item : items->get_array()) all.push_back(std::move(item));
    }
    if (options.continue_token.empty()) co_return whole;
  }
}

}  // namespace neap::cli
