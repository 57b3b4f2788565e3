#include "forwarded_claim.h"

#include <fmt/format.h>

#include "neap/base/json.h"
#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

constexpr std::string_view kPrefix = "neap forwarded request 1\n";

std::string signed_text(std::string_view claim) { return std::string(kPrefix) + std::string(claim); }

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Code::kUnauthenticated, "server.forwarded",
              fmt::format("this request claims to come from another server, and {}", why));
}

}  // namespace

std::string sign_forwarded(const crypto::PrivateKey& key, const ForwardedClaim& claim) {
  JsonArray groups;
  for (const auto& group : claim.who.groups) groups.emplace_back(group);
  const auto bound = claim.who.bound.value_or(auth::BoundObject{});
  const auto text = to_text(Json{{"user", claim.who.user},
                                 {"boundKind", bound.kind},
                                 {"boundName", bound.name},
                                 {"boundUid", bound.uid},
                                 {"uid", claim.who.uid},
                                 {"authenticated", claim.who.authenticated},
                                 {"groups", std::move(groups)},
                                 {"method", claim.method},
                                 {"target", claim.target},
                                 {"to", claim.to},
                                 {"life", claim.life},
                                 {"nonce", claim.nonce},
                                 {"at", format_rfc3339(claim.at, 3)}});
  return crypto::to_base64url(text) + "." + crypto::to_base64url(key.sign(signed_text(text)));
}

void ForwardedClaimDesk::forget_old(WallTime now) {
  while (!order_.empty() && order_.begin()->first < now) {
    seen_.erase(order_.begin()->second);
    order_.erase(order_.begin());
  }
}

Result<auth::Identity> ForwardedClaimDesk::take(std::string_view header, std::string_view method,
                                                std::string_view target, Own own, WallTime now) {
  const auto dot = header.find('.');
  if (dot == std::string_view::npos) return refuse("is not signed");
  const auto text = crypto::from_base64url(header.substr(0, dot));
  const auto signature = crypto::from_base64url(header.substr(dot + 1));
  if (!text || !signature || !key_.verify(signed_text(*text), *signature))
    return refuse("its signature is not one of this installation");
  NEAP_TRY(const auto claim, parse_json(*text));
  if (get_string(claim, "target") != target || get_string(claim, "method") != method)
    return refuse("was signed for another one");
  if (get_string(claim, "to").empty() || get_string(claim, "to") != own.address)
    return refuse(fmt::format("was signed for the server at {}, and this one is at {}",
                              get_string(claim, "to"), own.address));
  // The client may keep its credentials: nothing is wrong with them.
  if (own.life.empty() || get_string(claim, "life") != own.life)
    return fail(Code::kUnavailable, "server.forwarded.restarted",
                "this server started anew after another one had handed this request over; make the request "
                "anew");
  const auto at = parse_rfc3339(get_string(claim, "at"));
  if (!at) return refuse("does not say when it was signed");
  if (const auto apart = *at > now ? *at - now : now - *at; apart > kSkewMax)
    return fail(Code::kUnauthenticated, "server.forwarded.clock",
                fmt::format("another server handed this request over at {} of its clock, {} {} this server's "
                            "clock, and at most {} are taken; let both servers follow one time source "
                            "(chrony, systemd-timesyncd), then try again",
                            format_rfc3339(*at), format_duration(apart), *at > now ? "ahead of" : "behind",
                            format_duration(kSkewMax)));
  forget_old(now);
  if (seen_.size() >= kNoncesMax)
    return fail(Code::kResourceExhausted, "server.forwarded.busy",
                fmt::format("{} requests were handed over within {}; try again later", seen_.size(),
                            format_duration(2 * kSkewMax)));
  const auto [entry, is_new] = seen_.emplace(get_string(claim, "nonce"), *at + kSkewMax);
  if (!is_new || entry->first.empty())
    return fail(Code::kUnauthenticated, "server.forwarded.again",
                "another server's word for this request was used before; make the request anew");
  order_.emplace(entry->second, entry->first);
  auth::Identity who{.user = std::string(get_string(claim, "user")),
                     .groups = {},
                     .node = {},
                     .authenticated = get_bool(claim, "authenticated"),
                     .uid = std::string(get_string(claim, "uid"))};
  if (const auto kind = get_string(claim, "boundKind"); !kind.empty())
    who.bound = {.kind = std::string(kind),
                 .name = std::string(get_string(claim, "boundName")),
                 .uid = std::string(get_string(claim, "boundUid"))};
  if (const auto* groups = find_path(claim, {"groups"}); groups && groups->is_array())
    for (const auto& group : groups->get_array())
      if (group.is_string()) who.groups.emplace_back(group.get_string());
  return who;
}

}  // namespace neap::app
