#include "internal/service_account.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "internal/object_text.h"
#include "neap/auth/tokens.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";
constexpr std::int64_t kSecondsMin = 600;  // as Kubernetes demands
constexpr std::int64_t kSecondsDefault = 3600;
constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};
constexpr Duration kTokenLookupMax = 10s;  // an election in etcd takes a few
constexpr std::size_t kAudiencesMax = 16;  // of a TokenReview: each is a signature to verify

Outcome<std::string> audience_of(const TokenIssuer& issuer, const Json& spec) {
  const auto* audiences = find_path(spec, {"audiences"});
  if (!audiences || !audiences->is_array() || audiences->get_array().empty()) return issuer.audience;
  const auto& list = audiences->get_array();
  if (list.size() > 1 || !list.front().is_string())
    return bad_request("auth.token.audiences", "spec.audiences: a token has one audience here; ask for one");
  return std::string(std::string_view(list.front().get_string()));
}

// What a token may be bound to, and where that is kept.
struct BoundKind {
  std::string_view kind, api_version;  // as asked for
  std::string_view stored, group, plural;
};
constexpr std::array kBoundKinds{
    BoundKind{"Pod", "v1", "Allocation", "neap.dev", "allocations"},
    BoundKind{"Allocation", "neap.dev/v1", "Allocation", "neap.dev", "allocations"},
    BoundKind{"Secret", "v1", "Secret", "", "secrets"},
};

std::string_view ended_phase(const Json& object) {
  const auto* status = find_path(object, {"status"});
  const auto phase = status ? get_string(*status, "phase") : std::string_view();
  return phase == "Succeeded" || phase == "Failed" || phase == "Released" ? phase : std::string_view();
}

std::unexpected<Error> bound_refused(const auth::BoundObject& bound, std::string_view why) {
  return fail(
      Code::kUnauthenticated, "auth.token.bound",
      fmt::format("the token was made for {} {}, which {}; ask for a new one", bound.kind, bound.name, why));
}

}  // namespace

std::optional<AccountName> account_of(std::string_view user) {
  if (!user.starts_with(kAccountPrefix)) return {};
  user.remove_prefix(kAccountPrefix.size());
  const auto colon = user.find(':');
  if (colon == std::string_view::npos) return {};
  return AccountName{user.substr(0, colon), user.substr(colon + 1)};
}

std::vector<std::string> groups_of_account(std::string_view ns) {
  return {"system:serviceaccounts", fmt::format("system:serviceaccounts:{}", ns),
          std::string(auth::kAuthenticatedGroup)};
}

Outcome<Json> issue_token(const TokenIssuer& issuer, const Json& account, const Json& asked,
                          std::optional<auth::BoundObject> bound, WallTime now) {
  const Json nothing = JsonObject();
  const auto* given = asked.is_object() ? find_path(asked, {"spec"}) : nullptr;
  const auto& spec = given && given->is_object() ? *given : nothing;
  NEAP_TRY(const auto audience, audience_of(issuer, spec));
  const auto* wanted = find_path(spec, {"expirationSeconds"});
  auto seconds = wanted && wanted->is_int64() ? wanted->get_int64() : kSecondsDefault;
  if (seconds < kSecondsMin)
    return bad_request(
        "auth.token.lifetime",
        fmt::format("spec.expirationSeconds: must be at least {}, is {}", kSecondsMin, seconds));
  seconds = std::min<std::int64_t>(
      seconds, std::chrono::duration_cast<std::chrono::seconds>(issuer.lifetime_max).count());
  const auto ns = meta_string(account, "namespace");
  const auto name = meta_string(account, "name");
  const auto expires = now + std::chrono::seconds(seconds);
  Json bound_ref;
  if (const auto* asked_for = bound ? find_path(spec, {"boundObjectRef"}) : nullptr) {
    bound_ref = *asked_for;
    bound_ref.get_object()["uid"] = bound->uid;
  }
  const auto token = auth::sign_token(issuer.key, issuer.issuer,
                                      {.subject = fmt::format("{}{}:{}", kAccountPrefix, ns, name),
                                       .groups = groups_of_account(ns),
                                       .audience = audience,
                                       .issued_at = now,
                                       .expires_at = expires,
                                       .uid = std::string(meta_string(account, "uid")),
                                       .bound = std::move(bound)});
  return Json(JsonObject{
      {"kind", "TokenRequest"},
      {"apiVersion", "authentication.k8s.io/v1"},
      {"metadata", JsonObject{{"name", name}, {"namespace", ns}, {"creationTimestamp", format_rfc3339(now)}}},
      {"spec", JsonObject{{"audiences", JsonArray{boost::json::string(audience)}},
                          {"expirationSeconds", seconds},
                          {"boundObjectRef", std::move(bound_ref)}}},
      {"status", JsonObject{{"token", token}, {"expirationTimestamp", format_rfc3339(expires)}}}});
}

Task<Result<std::optional<Json>>> Rest::token_object(CallContext ctx, std::string group, std::string plural,
                                                     std::string ns, std::string name) {
  const auto* kind = deps_.kinds.find(group, "v1", plural);
  if (!kind) co_return std::optional<Json>();
  NEAP_CO_TRY(const auto found, co_await deps_.store.get(ctx, object_key(*kind, ns, name)));
  if (!found) co_return std::optional<Json>();
  NEAP_CO_TRY(auto object, parse_json(found->value, kStoredLimits));
  co_return std::optional<Json>(std::move(object));
}

// What spec.boundObjectRef names, once it is known to be there.
Task<Outcome<std::optional<auth::BoundObject>>> Rest::bound_object(const Request& request) {
  const auto* ref = request.body.is_object() ? find_path(request.body, {"spec", "boundObjectRef"}) : nullptr;
  if (!ref || ref->is_null()) co_return std::nullopt;
  const auto kind = get_string(*ref, "kind"), version = get_string(*ref, "apiVersion");
  const auto name = get_string(*ref, "name"), uid = get_string(*ref, "uid");
  const auto known = std::ranges::find_if(kBoundKinds, [&](const BoundKind& one) {
    return one.kind == kind && (version.empty() || one.api_version == version);
  });
  if (known == kBoundKinds.end() || name.empty() || name.size() > 253 || name.find('/') != name.npos)
    co_return bad_request(
        "auth.token.bound",
        "spec.boundObjectRef: a token can be bound to a Pod (v1), an Allocation (neap.dev/v1) or "
        "a Secret (v1) of its project, by name");
  NEAP_CO_TRY(const auto found,
              co_await token_object(request.ctx, std::string(known->group), std::string(known->plural),
                                    request.what.namespace_, std::string(name)));
  if (!found) co_return not_found(*deps_.kinds.find(known->group, "v1", known->plural), name);
  auth::BoundObject out{std::string(known->stored), std::string(name),
                        std::string(meta_string(*found, "uid"))};
  if (!uid.empty() && uid != out.uid)
    co_return fail(
        Code::kAborted, "auth.token.bound",
        fmt::format("the UID in the bound object reference ({}) does not match the UID in record; the "
                    "object was made anew",
                    uid.substr(0, 64)));
  if (const auto phase = ended_phase(*found); !phase.empty())
    co_return bad_request("auth.token.bound",
                          fmt::format("spec.boundObjectRef: {} {} has ended ({}); a token for it "
                                      "would have ended, too",
                                      kind, name, phase));
  co_return out;
}

Task<Outcome<Reply>> Rest::create_token(const Request& request) {
  if (!deps_.token_issuer)
    co_return fail(Code::kUnimplemented, "auth.token.no_issuer",
                   "this server has no key to sign tokens with");
  const auto& what = request.what;
  NEAP_CO_TRY(const auto account,
              co_await token_object(request.ctx, "", "serviceaccounts", what.namespace_, what.name));
  if (!account) co_return not_found(*request.kind, what.name);
  NEAP_CO_TRY(auto bound, co_await bound_object(request));
  NEAP_CO_TRY(auto answer, issue_token(*deps_.token_issuer, *account, request.body, std::move(bound),
                                       deps_.runtime.clock().wall()));
  co_return Reply{.status = 201, .body = std::move(answer), .text = {}, .warnings = {}};
}

Task<Status> Rest::check_token_objects(CallContext ctx, const auth::Identity& who) {
  if (who.uid.empty()) co_return ok();
  auto found =
      co_await find_token_objects(ctx.with_deadline(deps_.runtime.clock().now() + kTokenLookupMax), who);
  if (found) co_return ok();
  const auto code = found.error().code;
  if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) co_return found;
  co_return fail(
      Code::kUnavailable, std::string(kTokenUnchecked),
      fmt::format("whether the token of {} is still good cannot be found out now, because the store "
                  "does not answer ({}); try again in a few seconds",
                  who.user, found.error().message));
}

Task<Status> Rest::find_token_objects(CallContext ctx, const auth::Identity& who) {
  const auto name = account_of(who.user);
  if (!name || who.uid.empty()) co_return ok();
  const std::string ns(name->ns);
  NEAP_CO_TRY(const auto account,
              co_await token_object(ctx, "", "serviceaccounts", ns, std::string(name->name)));
  if (!account || meta_string(*account, "uid") != who.uid)
    co_return fail(Code::kUnauthenticated, "auth.token.account",
                   "the ServiceAccount of this token is gone; ask for a token of one that is there");
  if (!who.bound) co_return ok();
  const auto& bound = *who.bound;
  const auto known = std::ranges::find(kBoundKinds, bound.kind, &BoundKind::stored);
  if (known == kBoundKinds.end()) co_return bound_refused(bound, "is of a kind this server does not know");
  NEAP_CO_TRY(const auto object, co_await token_object(ctx, std::string(known->group),
                                                       std::string(known->plural), ns, bound.name));
  if (!object || meta_string(*object, "uid") != bound.uid) co_return bound_refused(bound, "is gone");
  if (!ended_phase(*object).empty()) co_return bound_refused(bound, "has ended");
  co_return ok();
}

// authentication.k8s.io/v1: whose a token is that another service was shown. The token itself is not sent
// back.
Task<Outcome<Reply>> Rest::review_token(const Request& request) {
  const Json nothing = JsonObject();
  const auto* given = request.body.is_object() ? find_path(request.body, {"spec"}) : nullptr;
  const auto& spec = given && given->is_object() ? *given : nothing;
  const std::string token(get_string(spec, "token"));
  if (token.empty())
    co_return bad_request("auth.review.token", "spec.token is required: the token to look at");
  std::vector<std::string> audiences;
  if (const auto* list = find_path(spec, {"audiences"}); list && list->is_array())
    for (const auto& one : list->get_array())
      if (one.is_string()) audiences.emplace_back(std::string_view(one.get_string()));
  if (audiences.size() > kAudiencesMax)
    co_return bad_request("auth.review.audiences",
                          fmt::format("spec.audiences: at most {} can be asked about", kAudiencesMax));
  auto reviewed = co_await deps_.authenticator.review_token(request.ctx, token, audiences);
  if (reviewed)
    if (auto valid = co_await check_token_objects(request.ctx, reviewed->who); !valid)
      reviewed = fail(std::move(valid).error());
  // What could not be found out is no answer.
  if (!reviewed && reviewed.error().code != Code::kUnauthenticated)
    co_return std::unexpected(reviewed.error());
  const auto words = [](const std::vector<std::string>& list) {
    JsonArray out;
    for (const auto& word : list) out.emplace_back(word);
    return out;
  };
  JsonObject status{{"authenticated", reviewed.has_value()}};
  if (reviewed) {
    status["user"] = user_info(reviewed->who);
    status["audiences"] = words(reviewed->audiences);
  } else {
    status["error"] = reviewed.error().message;
  }
  JsonObject out{
      {"kind", "TokenReview"}, {"apiVersion", "authentication.k8s.io/v1"}, {"metadata", JsonObject()}};
  out["spec"] = JsonObject{{"audiences", words(audiences)}};
  out["status"] = std::move(status);
  co_return Reply{.status = 201, .body = std::move(out), .text = {}, .warnings = {}};
}

}  // namespace neap::apiserver
