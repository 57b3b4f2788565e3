#include "join_desk.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/api/resource.h"
#include "neap/crypto/x509.h"

namespace neap::app {
namespace {

constexpr std::string_view kTokenPrefix = "/join-tokens/";
constexpr Duration kTokenLifeMax = std::chrono::hours(24);
constexpr std::string_view kMappedPrefix = "::ffff:";  // an IPv4 peer on a socket of both families

bool is_address(std::string_view text) {
  return text.find(':') != std::string_view::npos ||
         (!text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos);
}
client::ResourcePath node_path(std::string name) {
  return {.group = std::string(api::kGroup),
          .version = std::string(api::kVersion),
          .plural = "nodes",
          .namespace_ = {},
          .name = std::move(name),
          .subresource = {}};
}
bool is_one_of(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

Task<Status> JoinDesk::restore() {
  NEAP_CO_TRY(const auto page, co_await store::list_all(deps_.store, {}, std::string(kTokenPrefix)));
  for (const auto& item : page.items) {
    NEAP_CO_TRY(const auto json, parse_json(item.value));
    NEAP_CO_TRY(auto record, auth::JoinTokenRecord::from_json(json));
    tokens_.add(std::move(record));
  }
  co_return ok();
}

Task<Status> JoinDesk::refresh(std::string token) {
  const auto parsed = auth::JoinToken::parse(token);
  if (!parsed) co_return ok();
  NEAP_CO_TRY(const auto stored, co_await deps_.store.get({}, std::string(kTokenPrefix) + parsed->id));
  tokens_.erase(parsed->id);
  if (!stored) co_return ok();
  NEAP_CO_TRY(const auto json, parse_json(stored->value));
  NEAP_CO_TRY(auto record, auth::JoinTokenRecord::from_json(json));
  tokens_.add(std::move(record));
  co_return ok();
}

Task<Result<std::size_t>> JoinDesk::end_all(std::string why) {
  std::vector<std::string> ids;
  for (const auto& [id, record] : tokens_.records()) ids.push_back(id);
  for (const auto& id : ids) {
    auto gone = co_await deps_.store.remove({}, std::string(kTokenPrefix) + id);
    if (!gone && gone.error().code != Code::kNotFound) co_return fail(std::move(gone).error());
    tokens_.erase(id);
  }
  if (!ids.empty())
    NEAP_CO_TRY_VOID(
        co_await deps_.record(Json{{"type", "join-tokens-ended"}, {"count", ids.size()}, {"reason", why}}));
  co_return ids.size();
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
  if (ttl <= Duration::zero() || ttl > kTokenLifeMax)
    co_return fail(
        Code::kInvalidArgument, "join.ttl",
        "\"ttl\" must be above 0 and at most 24h: a join token is used at once; make another when the "
        "machine is there");
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
  auto created =
      co_await deps_.client.create({}, node_path({}),
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

Task<void> JoinDesk::record_refusal(std::string type, std::string node, std::string peer_host, Error error) {
  if (!refusals_.take(deps_.runtime.executor().now())) co_return;
  Json entry{{"type", type},
             {"node", node.substr(0, 64)},
             {"peer", peer_host},
             {"reason", error.reason + ": " + error.message.substr(0, 500)}};
  if (const auto left_out = refusals_.take_left_out()) entry.as_object()["refusalsNotRecorded"] = left_out;
  (void)co_await deps_.record(std::move(entry));
}

Task<Result<std::string>> JoinDesk::issue(std::string type, std::string node, std::string request_pem,
                                          std::string peer_host) {
  // A short life must not lie mostly in the past: nodes renew at two thirds of it.
  const auto backdate = std::min<Duration>(5min, deps_.certificate_life / 10);
  NEAP_CO_TRY(auto pem, deps_.authority.issue_node(request_pem, node, addresses_for(peer_host),
                                                   deps_.runtime.clock().wall(),
                                                   {.node = deps_.certificate_life, .backdate = backdate}));
  NEAP_CO_TRY(const auto certificate, crypto::parse_certificate(pem));
  // Before it is handed out: a certificate nobody has on record must not exist.
  NEAP_CO_TRY_VOID(co_await deps_.record(Json{{"type", type},
                                              {"node", node},
                                              {"peer", peer_host},
                                              {"serial", certificate.serial},
                                              {"notAfter", format_rfc3339(certificate.validity.not_after)}}));
  co_return pem;
}

Task<void> JoinDesk::serve_renewal(io::HttpExchange& exchange, const auth::Identity& who) {
  const std::string host = exchange.peer().host, node = who.node, path = exchange.request().path;
  const bool is_own = !node.empty() && path == "/agent/v1/nodes/" + node + "/certificate";
  if (exchange.request().method != "POST" || !is_own) {
    Error error{.code = Code::kPermissionDenied,
                .reason = "join.renewal.own",
                .message =
                    "a node renews its own certificate only: POST /agent/v1/nodes/NAME/certificate "
                    "over the certificate of NAME"};
    co_await record_refusal("renewal-refusal", node.empty() ? who.user : node, host, error);
    (void)co_await exchange.reply(io::json_error(error));
    co_return;
  }
  co_await reply_json(
      exchange, [this, node, host](Json body) { return renew(node, std::move(body), host); }, 64u << 10);
}

Task<Result<Json>> JoinDesk::renew(std::string node, Json body, std::string peer_host) {
  auto answer = co_await try_renew(node, std::move(body), peer_host);
  if (!answer) co_await record_refusal("renewal-refusal", node, peer_host, answer.error());
  co_return answer;
}

Task<Result<Json>> JoinDesk::try_renew(std::string node, Json body, std::string peer_host) {
  auto known = co_await deps_.client.get({}, node_path(node));
  if (!known && known.error().code == Code::kNotFound)
    co_return fail(Code::kPermissionDenied, "join.renewal.unknown",
                   fmt::format("node \"{}\" was deleted here, so its certificate is not renewed; to take it "
                               "back make a token with `neap token create-join --node {}`",
                               node, node));
  if (!known) co_return fail(std::move(known).error());
  NEAP_CO_TRY(auto pem, co_await issue("certificate-renewal", node, std::string(get_string(body, "request")),
                                       peer_host));
  co_return Json{{"certificate", std::move(pem)}};
}

Task<Result<Json>> JoinDesk::join(Json body, std::string peer_host) {
  const std::string node(get_string(body, "node"));
  auto answer = co_await try_join(std::move(body), peer_host);
  if (!answer) co_await record_refusal("join-refusal", node, peer_host, answer.error());
  co_return answer;
}

// A certificate is the identity of a node that may be at work: only a token made for that node gives it
// again.
Task<Status> JoinDesk::check_name(auth::JoinClaim claim, auth::JoinTokenRecord record) {
  auto known = co_await deps_.client.get({}, node_path(claim.node));
  if (!known && known.error().code == Code::kNotFound) co_return ok();
  if (!known) co_return fail(std::move(known).error());
  const auto* spec = find_path(*known, {"spec"});
  const std::string site(spec ? get_string(*spec, "site") : "");
  if (site != claim.site)
    co_return fail(Code::kPermissionDenied, "join.site",
                   fmt::format("node \"{}\" is known here as one of site \"{}\"; join it there, take another "
                               "name, or delete that node first",
                               claim.node, site));
  if (record.node_pattern != claim.node)
    co_return fail(
        Code::kPermissionDenied, "join.taken",
        fmt::format("node \"{0}\" is known here already, and this token is for new nodes; to bring "
                    "it back make one with `neap token create-join --node {0} --site {1}`",
                    claim.node, site));
  co_return ok();
}

Task<Result<Json>> JoinDesk::try_join(Json body, std::string peer_host) {
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
  NEAP_CO_TRY_VOID(co_await refresh(token));
  NEAP_CO_TRY(const auto record, tokens_.check(token, claim, deps_.runtime.clock().wall()));
  if (!joining_.insert(claim.node).second)
    co_return fail(Code::kUnavailable, "join.twice",
                   fmt::format("node \"{}\" is joining just now; try again", claim.node));
  struct Joining {
    std::set<std::string>& names;
    const std::string& name;
    ~Joining() { names.erase(name); }
  } const joining{joining_, claim.node};
  NEAP_CO_TRY_VOID(co_await check_name(claim, record));
  auto spent = co_await deps_.store.remove({}, std::string(kTokenPrefix) + record.id);
  tokens_.erase(record.id);
  if (!spent)
    co_return fail(Code::kUnauthenticated, "auth.join.unknown",
                   "the join token is not valid; make a new one");
  NEAP_CO_TRY(const auto certificate,
              co_await issue("node-join", claim.node, std::string(get_string(body, "request")), peer_host));
  NEAP_CO_TRY_VOID(
      co_await create_node(claim.node, claim.site, std::string(api::enum_name(claim.capacity_type))));
  co_return Json{{"certificate", certificate},
                 {"ca", deps_.authority.certificate_pem()},
                 {"signingKey", deps_.signing_key_pem},
                 {"serverSite", deps_.site}};
}

}  // namespace neap::app
