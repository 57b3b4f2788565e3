#include "neap/auth/tokens.h"

#include <fmt/format.h>

#include "neap/crypto/digest.h"

namespace neap::auth {
namespace {

constexpr std::string_view kJoinPrefix = "neap1";
constexpr std::size_t kTokenBytesMax = 512;

bool is_hex(std::string_view text, std::size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const auto at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// '*' matches any run. Linear in practice: one restart point is enough for star-only patterns.
bool matches_pattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, restart = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      restart = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++restart;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

std::string make_bearer_token() { return "neapt." + crypto::to_base64url(crypto::random_bytes(32)); }
std::string token_hash(std::string_view token) { return crypto::sha256(token).hex(); }

void BearerTokenTable::add_hash(std::string hash, Identity identity) {
  identity.authenticated = true;
  if (!is_member(identity, kAuthenticatedGroup)) identity.groups.emplace_back(kAuthenticatedGroup);
  by_hash_.insert_or_assign(std::move(hash), std::move(identity));
}

bool BearerTokenTable::remove_hash(std::string_view hash) {
  const auto at = by_hash_.find(hash);
  if (at == by_hash_.end()) return false;
  by_hash_.erase(at);
  return true;
}

Status BearerTokenTable::load(std::string_view text) {
  std::vector<std::pair<std::string, Identity>> loaded;
  std::size_t line_number = 0;
  for (const auto raw : split(text, '\n')) {
    ++line_number;
    const auto line = trim(raw.substr(0, raw.find('#')));
    if (line.empty()) continue;
    const auto parts = split(line, ',');
    if (parts.size() < 2 || parts.size() > 3 || !is_hex(trim(parts[0]), 64) || trim(parts[1]).empty())
      return fail(
          Code::kInvalidArgument, "auth.token_file.syntax",
          fmt::format(
              "line {} of the token file is not HASH,USER,GROUP;GROUP with a 64-digit hash; correct it",
              line_number));
    Identity who{.user = std::string(trim(parts[1])), .groups = {}, .node = {}, .authenticated = true};
    if (parts.size() == 3)
      for (const auto group : split(parts[2], ';'))
        if (!trim(group).empty()) who.groups.emplace_back(trim(group));
    loaded.emplace_back(trim(parts[0]), std::move(who));
  }
  for (auto& [hash, who] : loaded) add_hash(std::move(hash), std::move(who));
  return ok();
}

std::string BearerTokenTable::to_file_text() const {
  std::string out;
  for (const auto& [hash, who] : by_hash_) {
    std::string groups;
    for (const auto& group : who.groups)
      if (group != kAuthenticatedGroup) groups += (groups.empty() ? "" : ";") + group;
    out += fmt::format("{},{},{}\n", hash, who.user, groups);
  }
  return out;
}

// The look-up is by hash: how long it takes tells about the hash of a guess, which says nothing of any token.
Result<Identity> BearerTokenTable::find(std::string_view token) const {
  if (token.size() <= kTokenBytesMax)
    if (const auto at = by_hash_.find(token_hash(token)); at != by_hash_.end()) return at->second;
  return fail(Code::kUnauthenticated, "auth.token.unknown",
              "the bearer token is not known here; ask for a new one");
}

Json JoinTokenRecord::to_json() const {
  return JsonObject{{"id", id},
                    {"secretHash", secret_hash},
                    {"site", site},
                    {"nodePattern", node_pattern},
                    {"capacityType", api::enum_name(capacity_type)},
                    {"expiresAt", format_rfc3339(expires_at)}};
}

Result<JoinTokenRecord> JoinTokenRecord::from_json(const Json& value) {
  JoinTokenRecord out;
  out.id = get_string(value, "id");
  out.secret_hash = get_string(value, "secretHash");
  out.site = get_string(value, "site");
  out.node_pattern = get_string(value, "nodePattern", "*");
  NEAP_TRY(out.expires_at, parse_rfc3339(get_string(value, "expiresAt")));
  if (!is_hex(out.id, 12) || !is_hex(out.secret_hash, 64) || out.site.empty() ||
      !api::parse_enum(get_string(value, "capacityType"), out.capacity_type))
    return fail(
        Code::kInvalidArgument, "auth.join.record",
        "the stored join token has a malformed id, secretHash, site or capacityType; make a new token");
  return out;
}

Result<JoinToken> JoinToken::parse(std::string_view text) {
  const auto parts = text.size() <= kTokenBytesMax ? split(text, '.') : std::vector<std::string_view>{};
  if (parts.size() != 4 || parts[0] != kJoinPrefix || !is_hex(parts[1], 12) || parts[2].size() != 43 ||
      !crypto::from_base64url(parts[2]) || !is_hex(parts[3], 64))
    return fail(
        Code::kInvalidArgument, "auth.join.syntax",
        "a join token looks like neap1.<id>.<secret>.<fingerprint of the authority>; copy the whole of it");
  return JoinToken{std::string(parts[1]), std::string(parts[2]), std::string(parts[3])};
}

std::string JoinToken::to_string() const {
  return fmt::format("{}.{}.{}.{}", kJoinPrefix, id, secret, ca_sha256);
}

MintedJoinToken mint_join_token(std::string site, std::string node_pattern, api::CapacityType capacity_type,
                                WallTime expires_at, std::string ca_sha256) {
  MintedJoinToken out;
  out.token.id = crypto::to_hex(crypto::random_bytes(6));
  out.token.secret = crypto::to_base64url(crypto::random_bytes(32));
  out.token.ca_sha256 = std::move(ca_sha256);
  out.record = {out.token.id,    token_hash(out.token.secret),
                std::move(site), std::move(node_pattern),
                capacity_type,   expires_at};
  return out;
}

void JoinTokenTable::add(JoinTokenRecord record) {
  auto id = record.id;
  by_id_.insert_or_assign(std::move(id), std::move(record));
}
bool JoinTokenTable::erase(std::string_view id) {
  const auto at = by_id_.find(id);
  if (at == by_id_.end()) return false;
  by_id_.erase(at);
  return true;
}

Result<JoinTokenRecord> JoinTokenTable::check(std::string_view token, const JoinClaim& claim,
                                              WallTime now) const {
  NEAP_TRY(const auto parsed, JoinToken::parse(token));
  const auto at = by_id_.find(parsed.id);
  const auto presented = token_hash(parsed.secret);
  // An unknown id costs the same comparison as a wrong secret.
  const std::string nothing(64, '0');
  const bool same =
      crypto::constant_time_equal(at == by_id_.end() ? nothing : at->second.secret_hash, presented);
  if (at == by_id_.end() || !same)
    return fail(Code::kUnauthenticated, "auth.join.unknown",
                "the join token is wrong or was used before; ask for a new one (tokens work once)");
  const auto& record = at->second;
  if (now >= record.expires_at)
    return fail(
        Code::kUnauthenticated, "auth.join.expired",
        fmt::format("the join token expired at {}; ask for a new one", format_rfc3339(record.expires_at)));
  if (claim.site != record.site || !matches_pattern(record.node_pattern, claim.node) ||
      claim.capacity_type != record.capacity_type)
    return fail(
        Code::kPermissionDenied, "auth.join.scope",
        fmt::format(
            "the join token is for nodes like \"{}\" of site \"{}\" with capacity type {}, not for node "
            "\"{}\" of site \"{}\" with {}; ask for one that fits",
            record.node_pattern, record.site, api::enum_name(record.capacity_type), claim.node, claim.site,
            api::enum_name(claim.capacity_type)));
  return record;
}

Result<JoinTokenRecord> JoinTokenTable::redeem(std::string_view token, const JoinClaim& claim, WallTime now) {
  auto record = check(token, claim, now);
  if (record) erase(record->id);
  return record;
}

std::size_t JoinTokenTable::erase_expired(WallTime now) {
  return std::erase_if(by_id_, [now](const auto& entry) { return entry.second.expires_at <= now; });
}

}  // namespace neap::auth
