#include "registry_route.h"

#include <fmt/format.h>

#include "counting_exchange.h"

namespace neap::app {
namespace {

io::HttpResponse oci_error(int status, std::string_view code, std::string_view message) {
  io::HttpResponse out;
  out.status = status;
  out.headers.set("Content-Type", "application/json");
  out.body = to_text(Json{{"errors", {{{"code", code}, {"message", message}}}}});
  return out;
}

// What a path under /v2/ names; empty parts where it names none. `digest` is empty for a tag and a list.
struct RegistryPath {
  std::string repository, digest;
};
// Read from the end, as the registry reads it: a repository's own name may have such words in it.
RegistryPath split(std::string_view path) {
  if (!path.starts_with("/v2/")) return {};
  path.remove_prefix(4);
  const auto last = path.rfind('/');
  if (last == std::string_view::npos) return {};
  const auto reference = path.substr(last + 1);
  auto head = path.substr(0, last);
  if (head.ends_with("/blobs/uploads")) head.remove_suffix(std::string_view("/uploads").size());
  for (const std::string_view word : {"/blobs", "/manifests", "/referrers", "/tags"})
    if (head.ends_with(word))
      return {.repository = std::string(head.substr(0, head.size() - word.size())),
              .digest = reference.starts_with("sha256:") ? std::string(reference) : std::string()};
  return {};
}

auth::Attributes models_of(std::string_view repository, std::string verb, std::string path) {
  return {.verb = std::move(verb),
          .group = std::string(api::kGroup),
          .version = std::string(api::kVersion),
          .resource = "models",
          .subresource = {},
          .namespace_ = std::string(repository.substr(0, repository.find('/'))),
          .name = {},
          .path = std::move(path),
          .is_resource = true};
}

}  // namespace

Task<void> RegistryRoute::handle(io::HttpExchange& exchange, const auth::Identity& who) {
  const auto& request = exchange.request();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!who.node.empty()) {
    if (!reads) {
      (void)co_await exchange.reply(oci_error(
          403, "DENIED", "nodes pull from the registry; what they make goes through the transfer endpoint"));
      co_return;
    }
    co_await serve_node(exchange, who.node);
    co_return;
  }
  if (!who.authenticated) {
    auto refusal =
        oci_error(401, "UNAUTHORIZED",
                  "the registry needs a bearer token, or basic authentication with the token as password");
    refusal.headers.set("WWW-Authenticate", "Basic realm=\"neap\"");
    (void)co_await exchange.reply(std::move(refusal));
    co_return;
  }
  const auto parts = split(request.path);
  const auto what = models_of(parts.repository, reads ? "get" : "create", request.path);
  if (request.path != "/v2/" && request.path != "/v2" && !authorizer_.authorize(who, what).allowed) {
    (void)co_await exchange.reply(
        oci_error(403, "DENIED",
                  fmt::format("{} may not {} models in project {}", who.user, what.verb, what.namespace_)));
    co_return;
  }
  CountingExchange counted(exchange);
  co_await registry_.handle(counted);
  if (counted.status() == 201)
    co_await describe_push(request, parts.repository.empty() ? request.path.substr(4) : parts.repository,
                           who.user);
}

bool RegistryRoute::may_pull(const auth::Identity& who, const std::string& repository) const {
  return authorizer_.authorize(who, models_of(repository, "get", "/v2/" + repository)).allowed;
}

// Who pushes says what it is (X-Neap-Data-Level), on record; what nobody describes counts as L2.
Task<void> RegistryRoute::describe_push(const io::HttpRequest& request, std::string repository,
                                        std::string user) {
  const auto digest = request.query_value("digest");
  // What is mounted was described by whoever brought it.
  if (digest.empty() || request.has_query("mount")) co_return;
  BlobFacts facts;
  (void)api::parse_enum(request.headers.get("X-Neap-Data-Level"), facts.level);
  facts.project = repository.substr(0, repository.find('/'));
  facts.owner = "user/" + user;
  (void)co_await border_.describe_push(std::string(digest), facts);
}

// Manifests by tag, lists of tags and referrers say what a repository holds: they need the same permit as
// its blobs.
Task<void> RegistryRoute::serve_node(io::HttpExchange& exchange, std::string node) {
  const auto& request = exchange.request();
  if (request.path == "/v2" || request.path == "/v2/") {
    co_await registry_.handle(exchange);
    co_return;
  }
  const auto parts = split(request.path);
  if (parts.repository.empty()) {
    (void)co_await exchange.reply(
        oci_error(403, "DENIED", "nodes read single repositories; ask for one by name"));
    co_return;
  }
  auto permit = co_await border_.permit_download(parts.digest, node, parts.repository);
  if (!permit) {
    (void)co_await exchange.reply(oci_error(403, "DENIED", permit.error().message));
    co_return;
  }
  CountingExchange counted(exchange);
  co_await registry_.handle(counted);
  if (counted.status() >= 200 && counted.status() < 300)
    (void)co_await border_.record_download(*std::move(permit), parts.digest, parts.repository, node,
                                           counted.bytes_sent());
}

}  // namespace neap::app
