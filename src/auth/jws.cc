#include "internal/jws.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/crypto/digest.h"

namespace neap::auth {

std::unexpected<Error> refuse_token(std::string_view word, std::string message) {
  return fail(Code::kUnauthenticated, fmt::format("auth.jwt.{}", word), std::move(message));
}

Result<Jws> split_jws(std::string_view token, std::size_t bytes_max) {
  const auto first = token.find('.');
  const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (token.size() > bytes_max || second == std::string_view::npos ||
      token.find('.', second + 1) != std::string_view::npos)
    return refuse_token("syntax", "the token is not three base64url parts; ask for a new one");
  const auto header = crypto::from_base64url(token.substr(0, first));
  const auto body = crypto::from_base64url(token.substr(first + 1, second - first - 1));
  auto signature = crypto::from_base64url(token.substr(second + 1));
  if (!header || !body || !signature)
    return refuse_token("syntax", "a part of the token is not base64url; ask for a new one");
  auto header_json = parse_json(*header, {.bytes_max = bytes_max, .depth_max = 8});
  auto body_json = parse_json(*body, {.bytes_max = bytes_max, .depth_max = 16});
  if (!header_json || !body_json || !header_json->is_object() || !body_json->is_object())
    return refuse_token("syntax", "a part of the token is not a JSON object; ask for a new one");
  Jws out;
  out.header = *std::move(header_json);
  out.body = *std::move(body_json);
  out.signature = *std::move(signature);
  out.covered = token.substr(0, second);
  return out;
}

WallTime numeric_date(const Json& body, std::string_view claim, WallTime absent) {
  const auto* value = find_path(body, {claim});
  if (!value || !value->is_number()) return absent;
  // Seconds beyond the range of the clock are as good as its ends.
  constexpr double kLimit = 9e9;
  const double seconds = value->to_number<double>();
  return WallTime(std::chrono::seconds(std::int64_t(std::clamp(seconds, -kLimit, kLimit))));
}

}  // namespace neap::auth
