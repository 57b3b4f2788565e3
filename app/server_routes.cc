// What a server answers beside the API: registry, transfers, joins, agents' streams, bills, audit, sign-in.
#include <fmt/format.h>

#include <charconv>

#include "audit_events.h"
#include "neap/client/typed.h"
#include "plan_route.h"
#include "project_right.h"
#include "server_parts.h"
#include "usage_export.h"

namespace neap::app {

// The agent's waiting connection says where its node is reached.
Task<void> ServerProcess::Impl::serve_node(io::HttpExchange& exchange, const auth::Identity& who) {
  if (!who.node.empty()) co_await peers->note_node(who.node);
  co_await streams->serve(exchange, who);
}

Task<bool> ServerProcess::Impl::forward_stream(io::HttpExchange& exchange, const auth::Identity& who,
                                               const auth::Attributes& what) {
  // Forwarded once: where it is not here either, it is nowhere.
  if (ServerPeers::is_forwarded(exchange.request())) co_return false;
  const auto object = co_await admin_client->get(
      exchange.context(), client::TypedClient<api::Allocation>::path(what.namespace_, what.name));
  const auto allocation =
      object ? api::from_json<api::Allocation>(*object) : Result<api::Allocation>(fail(object.error()));
  const auto server = allocation ? peers->server_of(allocation->spec.node) : std::string();
  if (server.empty()) co_return false;
  co_await peers->forward(exchange, who, allocation->spec.node, server);
  co_return true;
}

// GET /neap/v1/ledgers/NAME?from=SEQUENCE -> {"entries": [...]}, for servers that were away.
Task<void> ServerProcess::Impl::serve_ledger(io::HttpExchange& exchange) {
  const auto name = exchange.request().path.substr(std::string_view("/neap/v1/ledgers/").size());
  std::uint64_t from = 0;
  const auto asked = exchange.request().query_value("from");
  std::from_chars(asked.data(), asked.data() + asked.size(), from);
  ledger::Ledger* const one = name == "audit"       ? audit.get()
                              : name == "usage"     ? usage.get()
                              : name == "decisions" ? decisions.get()
                                                    : nullptr;
  co_await reply_json(exchange, [one, from](Json) -> Task<Result<Json>> {
    if (!one) co_return fail(Code::kNotFound, "ledger.unknown", "the ledgers are audit, usage and decisions");
    NEAP_CO_TRY(auto entries, co_await one->read(from, ServerPeers::kLedgerPage));
    JsonArray bodies;
    for (auto& entry : entries) {
      if (entry.body.is_object() && !entry.body.get_object().contains("time"))
        entry.body.get_object()["time"] = format_rfc3339(entry.time, 3);
      bodies.push_back(std::move(entry.body));
    }
    co_return Json{{"entries", std::move(bodies)}};
  });
}

void ServerProcess::Impl::add_routes() {
  streams = std::make_unique<NodeStreams>(runtime, *admin_client);
  api->serve_logs(*streams);
  api->serve_sessions(*streams);
  using Who = const auth::Identity&;
  api->add_route({.prefix = "/v2", .authorize = false, .handler = [this](io::HttpExchange& e, Who who) {
                    return registry_route->handle(e, who);
                  }});
  api->add_route({.prefix = "/transfer/v1/", .authorize = true, .handler = [this](io::HttpExchange& e, Who) {
                    return receiver->handle(e);
                  }});
  api->add_route({.prefix = "/neap/v1/join-tokens",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who) { return join_desk->serve_tokens(e); }});
  api->add_route({.prefix = "/neap/v1/join", .authorize = false, .handler = [this](io::HttpExchange& e, Who) {
                    return join_desk->serve_join(e);
                  }});
  api->add_route(
      {.prefix = "/agent/v1/nodes/", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return NodeStreams::is_path(e.request().path) ? serve_node(e, who)
                                                       : join_desk->serve_renewal(e, who);
       }});
  if (fenced)
    api->forward_streams([this](io::HttpExchange& e, Who who, const auth::Attributes& what) {
      return forward_stream(e, who, what);
    });
  api->add_route({.prefix = "/neap/v1/console-codes",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who who) { return console->serve_codes(e, who); }});
  api->add_route({.prefix = "/console", .authorize = false, .handler = [this](io::HttpExchange& e, Who who) {
                    return console->serve(e, who);
                  }});
  api->add_route(
      {.prefix = "/neap/v1/cost", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string project(e.request().query_value("project"));
         auto right = std::make_shared<ProjectRight>(authorizer, who);
         return reply_json(e, [this, project, right](Json) -> Task<Result<Json>> {
           if (!project.empty()) NEAP_CO_TRY_VOID(right->check(project));
           co_return metering->report(loop->state(), project,
                                      [right](const std::string& p) { return right->may_read(p); });
         });
       }});
  api->add_route(
      {.prefix = "/neap/v1/plan", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return serve_plan(e, *loop, ProjectRight(authorizer, who));
       }});
  api->add_route(
      {.prefix = "/neap/v1/focus", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return serve_usage_export(e, *usage, loop->state(), options.site, ProjectRight(authorizer, who));
       }});
  api->add_route(
      {.prefix = "/neap/v1/audit", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string type(e.request().query_value("type"));
         const bool as_events = e.request().query_value("format") == "k8s";
         auto right = std::make_shared<ProjectRight>(authorizer, who);
         return reply_json(e, [this, type, as_events, right](Json) -> Task<Result<Json>> {
           NEAP_CO_TRY(auto answer, co_await border->list(type, 10'000, [right](const std::string& p) {
             return right->may_read(p);
           }));
           if (as_events) co_return kubernetes_audit_events(answer.at("entries").as_array());
           co_return answer;
         });
       }});
  api->add_route({.prefix = "/neap/v1/ledgers/",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who) { return serve_ledger(e); }});
  api->add_route(
      {.prefix = "/ledger/v1/nodes/", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string node = who.node;
         return reply_json(
             e, [this, node](Json body) { return border->take_shipment(node, std::move(body)); }, 8u << 20);
       }});
  const auto explain = [this](std::string plural) {
    return [this, plural](CallContext ctx, std::string ns, std::string name) -> Task<Result<Json>> {
      NEAP_CO_TRY(const auto object, co_await admin_client->get(ctx, {.group = "neap.dev",
                                                                      .version = "v1",
                                                                      .plural = plural,
                                                                      .namespace_ = ns,
                                                                      .name = name,
                                                                      .subresource = {}}));
      const auto* explanation = find_path(object, {"status", "explanation"});
      if (!explanation)
        co_return fail(Code::kNotFound, "explain.none",
                       fmt::format("no decision was made about {}/{} yet", plural, name));
      co_return *explanation;
    };
  };
  for (const auto* plural : {"trainingjobs", "inferenceservices"})
    api->add_subresource({.plural = plural, .subresource = "explain", .get = explain(plural)});
}

void ServerProcess::Impl::add_identity_routes() {
  using Who = const auth::Identity&;
  api->add_route({.prefix = "/neap/v1/oidc", .authorize = false, .handler = [this](io::HttpExchange& e, Who) {
                    return reply_json(e, [this](Json) -> Task<Result<Json>> {
                      if (providers) co_return providers->first().describe();
                      co_return fail(
                          Code::kNotFound, "oidc.none",
                          "this server has no identity provider; start it with --oidc-issuer-url and "
                          "--oidc-client-id (or --authentication-config), or use a kubeconfig with a token");
                    });
                  }});
  api->add_route({.prefix = "/neap/v1/secrets/rotate",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who who) {
                    const bool is_post = e.request().method == "POST";
                    return reply_json(e, [this, is_post, user = who.user](Json) -> Task<Result<Json>> {
                      if (!is_post)
                        co_return fail(Code::kInvalidArgument, "secrets.rotate.method",
                                       "keys are rotated by POST");
                      NEAP_CO_TRY(const auto done, co_await sealed->rotate());
                      NEAP_CO_TRY_VOID(co_await border->append(Json{
                          {"type", "secrets-key-rotation"}, {"user", user}, {"rewrapped", done.rewrapped}}));
                      co_return Json{{"secrets", done.objects}, {"rewrapped", done.rewrapped}};
                    });
                  }});
  if (!providers) return;
  oidc_console = std::make_unique<OidcConsole>(runtime, providers->first(), *console,
                                               OidcConsole::Options{.public_url = "https://" + address});
  api->add_route({.prefix = std::string(OidcConsole::kPath),
                  .authorize = false,
                  .handler = [this](io::HttpExchange& e, Who) { return oidc_console->serve(e); }});
}

}  // namespace neap::app
