#include "join_desk.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/api/resource.h"

namespace neap::app {
namespace {

// Until agents renew their certificates by themselves a node joins again after this.
constexpr Duration kNodeCertificateLife = std::chrono::hours(24 * 30);
constexpr std::string_view kTokenPrefix = "/join-tokens/";
constexpr std::string_view kMappedPrefix = "::ffff:";  // an IPv4 peer on a socket of both families

bool is_address(std::string_view text) {
  return text.find(':') != std::string_view::npos ||
         (!text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos);
}
bool is_one_of(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Task<void> reply_json(io::HttpExchange& exchange, std::function<Task<Result<Json>>(Json)> act,
                      std::uint64_t body_bytes_max) {
  Result<Json> result = Json(JsonObject{});
  auto text = co_await exchange.body().read_all(exchange.context(), body_bytes_max);
  if (!text)
    result = fail(std::move(text).error());
  else if (!text->empty())
    result = parse_json(*text);
  if (result) result = co_await act(*std::move(result));
  io::HttpResponse response;
  if (result) {
    response.headers.set("Content-Type", "application/json");
    response.body = to_text(*result);
  } else {
    response = io::json_error(result.error());
  }
  (void)co_await exchange.reply(std::move(response));
}

Task<Status> JoinDesk::restore() {
  NEAP_CO_TRY(const auto page, co_await store::list_all(deps_.store, {}, std::string(kTokenPrefix)));
  for (const auto& item : page.items) {
    NEAP_CO_TRY(const auto json, parse_json(item.value));
    NEAP_CO_TRY(auto record, auth::JoinTokenRecord::from_json(json));
    tokens_.add(std::move(record));
  }
  co_return ok();
}

Task<void> JoinDesk::serve_tokens(io::HttpExchange& exchange) {
  co_await reply_json(exchange, [this](Json body) { return mint(std::move(body)); });
}
Task<void> JoinDesk::serve_join(io::HttpExchange& exchange) {
  const std::string host = exchange.peer().host;
  co_await reply_json(exchange, [this, host](Json body) { return join(std::move(body), host); }, 64u << 10);
}

Task<Result<Json>> JoinDesk::mint(Json body) {
  const std::string site(get_string(body, "site")), node(get_string(body, "node", "*"));
  if (site.empty())
    co_return fail(Code::kInvalidArgument, "join.site",
                   "\"site\" is missing; name the site the node will belong to");
  NEAP_CO_TRY(const auto ttl, parse_duration(get_string(body, "ttl", "1h")));
  api::CapacityType type = api::CapacityType::kOwned;
  if (!api::parse_enum(get_string(body, "capacityType", "owned"), type))
    co_return fail(Code::kInvalidArgument, "join.capacity_type",
                   "\"capacityType\" must be owned, reserved, on-demand or spot");
  const auto expires = deps_.runtime.clock().wall() + ttl;
  auto minted = auth::mint_join_token(site, node, type, expires, deps_.authority.sha256());
  auto saved = co_await deps_.store.put({}, std::string(kTokenPrefix) + minted.record.id,
                                        to_text(minted.record.to_json()));
  if (!saved) co_return fail(std::move(saved).error());
  tokens_.add(minted.record);
  co_return Json{{"token", minted.token.to_string()}, {"expiresAt", format_rfc3339(expires)}};
}

Task<Status> JoinDesk::create_node(std::string node, std::string site, std::string capacity_type) {
  client::ResourcePath path{.group = std::string(api::kGroup),
                            .version = std::string(api::kVersion),
                            .plural = "nodes",
                            .namespace_ = {},
                            .name = {},
                            .subresource = {}};
  auto created =
      co_await deps_.client.create({}, path,
                                   Json{{"apiVersion", "neap.dev/v1"},
                                        {"kind", "Node"},
                                        {"metadata", {{"name", node}}},
                                        {"spec", {{"site", site}, {"capacityType", capacity_type}}}},
                                   {});
  if (!created && created.error().code != Code::kAlreadyExists && created.error().code != Code::kAborted)
    co_return fail(std::move(created).error(), "creating node " + node);
  co_return ok();
}

std::vector<std::string> JoinDesk::addresses_for(const std::string& peer_host) const {
  std::string address = peer_host;
  if (address.starts_with(kMappedPrefix)) address.erase(0, kMappedPrefix.size());
  const bool is_loopback = address == "::1" || address.starts_with("127.");
  if (!is_address(address) || (!is_loopback && is_one_of(deps_.server_names, address))) return {};
  return {address};
}

Task<Result<Json>> JoinDesk::join(Json body, std::string peer_host) {
  auth::JoinClaim claim{.site = std::string(get_string(body, "site")),
                        .node = std::string(get_string(body, "node"))};
  if (!api::parse_enum(get_string(body, "capacityType", "owned"), claim.capacity_type) ||
      !auth::is_node_name(claim.node))
    co_return fail(Code::kInvalidArgument, "join.claim",
                   "\"node\" must be a host name and \"capacityType\" a known word");
  if (is_one_of(deps_.server_names, claim.node))
    co_return fail(Code::kPermissionDenied, "join.name",
                   fmt::format("\"{}\" is a name of the server itself; give the node another", claim.node));
  const std::string token(get_string(body, "token"));
  NEAP_CO_TRY(const auto record, tokens_.check(token, claim, deps_.runtime.clock().wall()));
  auto spent = co_await deps_.store.remove({}, std::string(kTokenPrefix) + record.id);
  tokens_.erase(record.id);
  if (!spent)
    co_return fail(Code::kUnauthenticated, "auth.join.unknown",
                   "the join token is not valid; make a new one");
  NEAP_CO_TRY(const auto certificate,
              deps_.authority.issue_node(get_string(body, "request"), claim.node, addresses_for(peer_host),
                                         deps_.runtime.clock().wall(), {.node = kNodeCertificateLife}));
  NEAP_CO_TRY_VOID(
      co_await create_node(claim.node, claim.site, std::string(api::enum_name(claim.capacity_type))));
  co_return Json{{"certificate", certificate},
                 {"ca", deps_.authority.certificate_pem()},
                 {"signingKey", deps_.signing_key_pem},
                 {"serverSite", deps_.site}};
}

}  // namespace neap::app
