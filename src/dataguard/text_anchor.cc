#include <algorithm>

#include "internal/anchor_scan.h"
#include "neap/dataguard/validators.h"

namespace neap::dataguard::internal {

void AnchorScan::on_at(std::size_t at_sign) {
  // RFC 5321 limits: 64 bytes before the sign, 255 behind it.
  std::size_t s = at_sign;
  while (s > 0 && at_sign - s < 64 && is_before(s, kMail)) --s;
  while (s < at_sign && (at(s) == '.' || at(s) == '\'' || at(s) == '-')) ++s;
  if (s == at_sign || before(at_sign) == '.') return;
  std::size_t e = at_sign + 1;
  while (e < t_.size() && e - at_sign <= 255 && is(e, kHost)) ++e;
  while (e > at_sign + 1 && (before(e) == '.' || before(e) == '-')) --e;
  const std::string_view host = t_.substr(at_sign + 1, e - at_sign - 1);
  const std::size_t dot = host.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || host.size() - dot < 3 ||
      host.find("..") != std::string_view::npos)
    return;
  const std::string_view top = host.substr(dot + 1);
  if (!top.starts_with("xn--") && std::ranges::any_of(top, [](char c) {
        return (kByteClass[static_cast<unsigned char>(c)] & kAlpha) == 0;
      }))
    return;
  emit(EntityType::kEmail, s, e, 0.95F);
}

void AnchorScan::on_colon(std::size_t colon) {
  if (colon < colon_done_) return;
  const bool double_colon = at(colon + 1) == ':';
  if (!double_colon && !(is_before(colon, kHex) && is(colon + 1, kHex))) return;
  std::size_t s = colon;
  while (s > 0 && colon - s < 40 && (is_before(s, kHex) || before(s) == ':')) --s;
  std::size_t e = colon;
  while (e < t_.size() && e - s <= 46 && (is(e, kHex) || at(e) == ':' || at(e) == '.')) ++e;
  while (e > s && before(e) == '.') --e;
  colon_done_ = e;
  if (!word_starts(s) || before(s) == '_' || !word_ends(e) || at(e) == '_' || e - s < 2) return;
  const std::string_view token = t_.substr(s, e - s);
  if (token.size() == 17 && std::ranges::count(token, ':') == 5) {
    for (std::size_t i = 0; i < 17; ++i)
      if (i % 3 == 2 ? token[i] != ':' : (kByteClass[static_cast<unsigned char>(token[i])] & kHex) == 0)
        return;
    emit(EntityType::kMacAddress, s, e, 0.9F);
    return;
  }
  if (token.size() < 2 || !is_ipv6(token)) return;
  if (token == "::" && (before(s) > ' ' && before(s) != '=' && at(e) != '/')) return;
  if (at(e) == '%') {
    std::size_t zone = e + 1;
    while (is(zone, kDigit | kAlpha)) ++zone;
    if (zone > e + 1) e = zone;
  } else if (at(e) == '/' && is(e + 1, kDigit)) {
    std::size_t p = e + 1;
    int prefix = 0;
    while (is(p, kDigit) && p - e < 5) prefix = prefix * 10 + (t_[p++] - '0');
    if (prefix <= 128 && p - e <= 4 && word_ends(p)) e = p;
  }
  emit(EntityType::kIpAddress, s, e, token.size() > 4 ? 0.96F : 0.7F);
}

}  // namespace neap::dataguard::internal
