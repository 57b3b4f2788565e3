#include "oidc_providers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "neap/api/codec.h"
#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

constexpr std::size_t kProvidersMax = 16;
constexpr std::size_t kConfigBytesMax = 1u << 20;

// What stands before the names of its users; as auth::verify_id_token makes it.
std::string user_prefix_of(const auth::OidcOptions& options) {
  const auto out =
      options.username_prefix.value_or(options.username_claim == "email" ? "" : options.issuer_url + "#");
  return out == "-" ? std::string() : out;
}

Status check_pair(const auth::OidcOptions& one, const auth::OidcOptions& other) {
  if (one.issuer_url == other.issuer_url)
    return fail(
        Code::kInvalidArgument, "oidc.providers.issuer",
        fmt::format("the identity provider {} is named twice; a token of it has one judge", one.issuer_url));
  const auto refuse = [&](std::string_view what, std::string_view prefix) {
    return fail(
        Code::kInvalidArgument, "oidc.providers.prefix",
        fmt::format("{} of {} and of {} have the same prefix \"{}\": the same name would be the same person, "
                    "whoever of the two says it; give each provider a prefix of its own",
                    what, one.issuer_url, other.issuer_url, prefix));
  };
  if (const auto prefix = user_prefix_of(one); prefix == user_prefix_of(other))
    return refuse("users", prefix);
  const bool have_groups = !one.groups_claim.empty() && !other.groups_claim.empty();
  if (have_groups && one.groups_prefix == other.groups_prefix) return refuse("groups", one.groups_prefix);
  return ok();
}

// What begins with a provider's own prefix may begin with the longer one of another, too: that one's it is.
void reserve_prefixes(std::vector<OidcProviderOptions>& all) {
  const auto reserve = [](std::string_view own, std::string_view other, std::vector<std::string>& out) {
    if (other.size() > own.size() && other.starts_with(own)) out.emplace_back(other);
  };
  for (auto& one : all)
    for (const auto& other : all) {
      auto& claims = one.claims;
      reserve(user_prefix_of(claims), user_prefix_of(other.claims), claims.foreign_user_prefixes);
      if (!other.claims.groups_claim.empty())
        reserve(claims.groups_prefix, other.claims.groups_prefix, claims.foreign_group_prefixes);
    }
}

class ConfigReader {
 public:
  explicit ConfigReader(std::string_view path) : path_(path) {}
  Result<std::vector<OidcProviderOptions>> read(const Json& document) const;

 private:
  std::unexpected<Error> refuse(std::string_view where, std::string_view what) const {
    return fail(Code::kInvalidArgument, "oidc.config", fmt::format("{}: {}: {}", path_, where, what));
  }
  Status check_members(const Json& object, std::string_view where,
                       std::initializer_list<std::string_view> known) const;
  Result<OidcProviderOptions> provider(const Json& jwt, const std::string& where) const;
  Status issuer(const Json& jwt, const std::string& where, OidcProviderOptions& out) const;
  Status mappings(const Json& jwt, const std::string& where, auth::OidcOptions& out) const;
  Status rules(const Json& jwt, const std::string& where, auth::OidcOptions& out) const;
  std::string_view path_;
};

Status ConfigReader::check_members(const Json& object, std::string_view where,
                                   std::initializer_list<std::string_view> known) const {
  if (!object.is_object()) return refuse(where, "must be an object");
  for (const auto& member : object.get_object()) {
    if (std::ranges::find(known, std::string_view(member.key())) != known.end()) continue;
    return refuse(fmt::format("{}.{}", where, std::string_view(member.key()).substr(0, 64)),
                  "is not known here; claims, prefixes and required values are (no CEL expressions)");
  }
  return ok();
}

Status ConfigReader::issuer(const Json& jwt, const std::string& where, OidcProviderOptions& out) const {
  const auto* issuer = find_path(jwt, {"issuer"});
  if (!issuer) return refuse(where, "issuer is required");
  NEAP_TRY_VOID(check_members(*issuer, where + ".issuer",
                              {"url", "audiences", "audienceMatchPolicy", "certificateAuthority"}));
  out.claims.issuer_url = get_string(*issuer, "url");
  out.ca_pem = get_string(*issuer, "certificateAuthority");
  const auto* audiences = find_path(*issuer, {"audiences"});
  if (!audiences || !audiences->is_array() || audiences->get_array().size() != 1 ||
      !audiences->get_array().front().is_string())
    return refuse(where + ".issuer.audiences",
                  "must have one entry: what this installation is to the provider");
  out.claims.client_id = std::string_view(audiences->get_array().front().get_string());
  return ok();
}

Status ConfigReader::mappings(const Json& jwt, const std::string& where, auth::OidcOptions& out) const {
  const auto* mappings = find_path(jwt, {"claimMappings"});
  if (!mappings) return refuse(where, "claimMappings is required, with username");
  NEAP_TRY_VOID(check_members(*mappings, where + ".claimMappings", {"username", "groups"}));
  const auto* username = find_path(*mappings, {"username"});
  if (!username) return refuse(where + ".claimMappings", "username is required");
  NEAP_TRY_VOID(check_members(*username, where + ".claimMappings.username", {"claim", "prefix"}));
  out.username_claim = get_string(*username, "claim");
  const auto* prefix = find_path(*username, {"prefix"});
  // As in Kubernetes, "" is an answer and silence is none.
  if (!prefix || !prefix->is_string())
    return refuse(where + ".claimMappings.username.prefix", "is required; \"\" for none");
  out.username_prefix = std::string(std::string_view(prefix->get_string()));
  const auto* groups = find_path(*mappings, {"groups"});
  if (!groups) return ok();
  NEAP_TRY_VOID(check_members(*groups, where + ".claimMappings.groups", {"claim", "prefix"}));
  out.groups_claim = get_string(*groups, "claim");
  prefix = find_path(*groups, {"prefix"});
  if (!out.groups_claim.empty() && (!prefix || !prefix->is_string()))
    return refuse(where + ".claimMappings.groups.prefix", "is required; \"\" for none");
  out.groups_prefix = get_string(*groups, "prefix");
  return ok();
}

Status ConfigReader::rules(const Json& jwt, const std::string& where, auth::OidcOptions& out) const {
  const auto* rules = find_path(jwt, {"claimValidationRules"});
  if (!rules) return ok();
  if (!rules->is_array()) return refuse(where + ".claimValidationRules", "must be an array");
  for (const auto& rule : rules->get_array()) {
    NEAP_TRY_VOID(check_members(rule, where + ".claimValidationRules[]", {"claim", "requiredValue"}));
    const auto* value = find_path(rule, {"requiredValue"});
    // A number here would be compared as no text at all, which every token without the claim has, too.
    if (get_string(rule, "claim").empty() || !value || !value->is_string())
      return refuse(where + ".claimValidationRules[]", "claim and requiredValue must be text, in quotes");
    out.required_claims.emplace_back(get_string(rule, "claim"), get_string(rule, "requiredValue"));
  }
  return ok();
}

Result<OidcProviderOptions> ConfigReader::provider(const Json& jwt, const std::string& where) const {
  NEAP_TRY_VOID(check_members(jwt, where, {"issuer", "claimMappings", "claimValidationRules"}));
  OidcProviderOptions out;
  NEAP_TRY_VOID(issuer(jwt, where, out));
  NEAP_TRY_VOID(mappings(jwt, where, out.claims));
  NEAP_TRY_VOID(rules(jwt, where, out.claims));
  return out;
}

Result<std::vector<OidcProviderOptions>> ConfigReader::read(const Json& document) const {
  NEAP_TRY_VOID(check_members(document, "the document", {"apiVersion", "kind", "jwt"}));
  constexpr std::array<std::string_view, 2> kVersions{"apiserver.config.k8s.io/v1",
                                                      "apiserver.config.k8s.io/v1beta1"};
  if (get_string(document, "kind") != "AuthenticationConfiguration" ||
      std::ranges::find(kVersions, get_string(document, "apiVersion")) == kVersions.end())
    return refuse("the document", fmt::format("must be an AuthenticationConfiguration of {}", kVersions[0]));
  const auto* list = find_path(document, {"jwt"});
  if (!list || !list->is_array() || list->get_array().empty())
    return refuse("jwt", "must name at least one identity provider");
  std::vector<OidcProviderOptions> out;
  for (const auto& one : list->get_array()) {
    NEAP_TRY(auto read, provider(one, fmt::format("jwt[{}]", out.size())));
    out.push_back(std::move(read));
  }
  return out;
}

}  // namespace

Status OidcProviders::check(const std::vector<OidcProviderOptions>& all) {
  if (all.size() > kProvidersMax)
    return fail(Code::kInvalidArgument, "oidc.providers.count",
                fmt::format("{} identity providers are named; at most {} can be", all.size(), kProvidersMax));
  for (std::size_t i = 0; i < all.size(); ++i) {
    NEAP_TRY_VOID(OidcProvider::check(all[i]));
    for (std::size_t j = 0; j < i; ++j) NEAP_TRY_VOID(check_pair(all[j].claims, all[i].claims));
  }
  return ok();
}

OidcProviders::OidcProviders(io::Runtime& runtime, std::vector<OidcProviderOptions> all,
                             const std::string& state_directory, telemetry::Logger& log) {
  reserve_prefixes(all);
  for (auto& options : all) {
    // The first one's file has been there since there was only one.
    options.cache_path = providers_.empty()
                             ? state_directory + "/oidc-keys.json"
                             : fmt::format("{}/oidc-keys-{}.json", state_directory,
                                           crypto::sha256(options.claims.issuer_url).hex().substr(0, 16));
    providers_.push_back(std::make_unique<OidcProvider>(runtime, std::move(options), log));
  }
}

void OidcProviders::start() {
  for (const auto& one : providers_) one->start();
}
Task<void> OidcProviders::stop() {
  for (const auto& one : providers_) co_await one->stop();
}

OidcProvider* OidcProviders::find_issuer_of(std::string_view token) const {
  for (const auto& one : providers_)
    if (one->is_issuer_of(token)) return one.get();
  return nullptr;
}

Result<std::vector<OidcProviderOptions>> parse_authentication_config(std::string_view text,
                                                                     std::string_view path) {
  auto documents = api::parse_yaml(text, {.bytes_max = kConfigBytesMax});
  if (!documents)
    return fail(Code::kInvalidArgument, "oidc.config",
                fmt::format("{}: {}", path, documents.error().message));
  if (documents->size() != 1)
    return fail(Code::kInvalidArgument, "oidc.config",
                fmt::format("{} must hold exactly one document", path));
  return ConfigReader(path).read(documents->front());
}

}  // namespace neap::app
