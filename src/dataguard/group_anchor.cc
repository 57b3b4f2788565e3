#include <algorithm>
#include <cstring>

#include "internal/anchor_scan.h"
#include "neap/dataguard/validators.h"

namespace neap::dataguard::internal {
namespace {

// Lengths of the first groups, for comparing shapes.
template <class Chain, std::size_t N>
bool has_shape(const Chain& chain, const std::size_t (&shape)[N]) {
  if (chain.count < N) return false;
  for (std::size_t i = 0; i < N; ++i)
    if (chain.groups[i].size() != shape[i]) return false;
  return true;
}

template <class Chain>
bool same_joiner(const Chain& chain, std::size_t count) {
  for (std::size_t i = 2; i < count; ++i)
    if (chain.groups[i].joiner != chain.groups[1].joiner) return false;
  return true;
}

struct Joined {
  char bytes[24];
  std::size_t size = 0;
  bool add(std::string_view more) {
    if (size + more.size() > sizeof bytes) return false;
    std::memcpy(bytes + size, more.data(), more.size());
    size += more.size();
    return true;
  }
  std::string_view view() const { return {bytes, size}; }
};

}  // namespace

bool AnchorScan::grouped(const Chain& chain) {
  const std::size_t first = chain.groups[0].size();
  if (first == 6 && resident_id(chain)) return true;
  if (first >= 4 && first <= 6 && card(chain)) return true;
  if (social_security(chain)) return true;
  if (national_phone(chain)) return true;
  return worded_phone(chain);
}

bool AnchorScan::ip_address(std::size_t s) {
  if (before(s) == '.' && s >= 2 && is(s - 2, kDigit)) return false;
  std::size_t e = s;
  int dots = 0;
  while (e < t_.size() && (is(e, kDigit) || (at(e) == '.' && is(e + 1, kDigit) && dots < 3))) {
    if (at(e) == '.') ++dots;
    if (++e - s > 15) return false;
  }
  if (dots != 3 || !is_ipv4(t_.substr(s, e - s)) || !word_ends(e)) return false;
  if (at(e) == '/' && is(e + 1, kDigit)) {
    std::size_t p = e + 1;
    int prefix = 0;
    while (is(p, kDigit) && p - e < 4) prefix = prefix * 10 + (t_[p++] - '0');
    if (prefix <= 32 && p - e <= 3 && word_ends(p)) e = p;
  }
  return emit(EntityType::kIpAddress, s, e, 0.95F);
}

bool AnchorScan::resident_id(const Chain& chain) {
  for (std::size_t count = 2; count <= std::min<std::size_t>(chain.count, 5); ++count) {
    const std::size_t start = chain.groups[0].start;
    const std::size_t end = chain.groups[count - 1].end;
    Joined id;
    for (std::size_t i = 0; i < count; ++i)
      if (!id.add(t_.substr(chain.groups[i].start, chain.groups[i].size()))) return false;
    const bool x = id.size == 17 && (at(end) == 'X' || at(end) == 'x');
    if (x) id.add("X");
    if (id.size == 18 && word_ends(end + (x ? 1 : 0)) && is_plausible_cn_resident_id(id.view()))
      return emit(EntityType::kCnResidentId, start, end + (x ? 1 : 0), 0.98F);
  }
  return false;
}

bool AnchorScan::card(const Chain& chain) {
  const char joiner = chain.groups[1].joiner;
  if (joiner != ' ' && joiner != '-') return false;
  Joined number;
  number.add(t_.substr(chain.groups[0].start, chain.groups[0].size()));
  std::size_t best = 0;
  for (std::size_t i = 1; i < chain.count; ++i) {
    const Group& g = chain.groups[i];
    if (g.joiner != joiner || g.size() < 2 || number.size + g.size() > 19) break;
    number.add(t_.substr(g.start, g.size()));
    if (g.size() >= 3 && number.size >= 13 && word_ends(g.end) && is_bank_card(number.view())) best = g.end;
  }
  return best != 0 && emit(EntityType::kBankCard, chain.groups[0].start, best, 0.9F);
}

bool AnchorScan::social_security(const Chain& chain) {
  const auto& g = chain.groups;
  Joined number;
  if (has_shape(chain, {3, 2, 4}) && same_joiner(chain, 3) && std::strchr("-. ", g[1].joiner) != nullptr) {
    if (before(g[0].start) == '-' || !word_ends(g[2].end)) return false;
    for (int i = 0; i < 3; ++i)
      number.add(t_.substr(g[static_cast<std::size_t>(i)].start, g[static_cast<std::size_t>(i)].size()));
    if (!is_us_ssn(number.view())) return false;
    return emit(EntityType::kUsSsn, g[0].start, g[2].end, g[1].joiner == '-' ? 0.85F : 0.7F);
  }
  if ((has_shape(chain, {3, 6}) || has_shape(chain, {5, 4})) && g[1].joiner == '-' && word_ends(g[1].end)) {
    number.add(t_.substr(g[0].start, g[0].size()));
    number.add(t_.substr(g[1].start, g[1].size()));
    if (!is_us_ssn(number.view())) return false;
    const bool said = says_before(g[0].start, 40, {"ssn", "social"});
    return emit(EntityType::kUsSsn, g[0].start, g[1].end, said ? 0.85F : 0.4F);
  }
  return false;
}

// "x1234" behind a number belongs to it.
bool AnchorScan::emit_phone(std::size_t start, std::size_t end, float confidence) {
  if ((at(end) == 'x' || at(end) == 'X') && is(end + 1, kDigit)) {
    std::size_t i = end + 1;
    while (is(i, kDigit) && i - end <= 6) ++i;
    if (word_ends(i)) end = i;
  }
  if (before(start) == '(' && start > 0) --start;
  if (before(start) == '+') --start;
  return emit(EntityType::kPhone, start, end, confidence);
}

bool AnchorScan::national_phone(const Chain& chain) {
  const auto& g = chain.groups;
  const bool glued = is(g[0].start, kDigit) && before(g[0].start) == '-';
  std::size_t i = 0;
  if (chain.count >= 4 && g[0].size() == 1 && t_[g[0].start] == '1') i = 1;
  if (chain.count >= i + 3 && g[i].size() == 3 && g[i + 1].size() == 3 && g[i + 2].size() == 4) {
    const bool plan = t_[g[i].start] >= '2' && t_[g[i + 1].start] >= '2';
    const std::size_t end = g[i + 2].end;
    const bool extension = at(end) == 'x' || at(end) == 'X';
    const bool parens = before(g[i].start) == '(' && g[i + 1].joiner == ')';
    if ((word_ends(end) || extension) && (plan || parens || extension) && !glued &&
        (parens || g[i + 1].joiner == g[i + 2].joiner))
      return emit_phone(g[0].start, end, parens ? 0.8F : 0.75F);
  }
  if (has_shape(chain, {3, 4, 4}) && same_joiner(chain, 3) && word_ends(g[2].end)) {
    Joined number;
    for (std::size_t k = 0; k < 3; ++k) number.add(t_.substr(g[k].start, g[k].size()));
    if (is_cn_mobile(number.view())) return emit(EntityType::kCnMobile, g[0].start, g[2].end, 0.88F);
    if (t_[g[0].start] == '0' && g[1].joiner == '-') return emit_phone(g[0].start, g[2].end, 0.65F);
  }
  if (has_shape(chain, {2, 3, 4, 4}) && t_.substr(g[0].start, 2) == "86") {
    Joined number;
    for (std::size_t k = 1; k < 4; ++k) number.add(t_.substr(g[k].start, g[k].size()));
    if (is_cn_mobile(number.view()) && word_ends(g[3].end))
      return emit(EntityType::kCnMobile, g[0].start, g[3].end, 0.88F);
  }
  if (chain.count >= 2 && (g[0].size() == 3 || g[0].size() == 4) && t_[g[0].start] == '0' &&
      (g[1].size() == 7 || g[1].size() == 8) && (g[1].joiner == '-' || g[1].joiner == ')') &&
      word_ends(g[1].end) && !glued)
    return emit_phone(g[0].start, g[1].end, 0.7F);
  return false;
}

bool AnchorScan::worded_phone(const Chain& chain) {
  const auto& g = chain.groups;
  std::size_t total = 0;
  std::size_t count = 0;
  while (count < chain.count && total + g[count].size() <= 15 && g[count].joiner != '/')
    total += g[count++].size();
  if (total < 6 || count < 2) return false;
  if ((has_shape(chain, {4, 2, 2}) || has_shape(chain, {2, 2, 4})) && g[1].joiner == g[2].joiner &&
      g[1].joiner != ' ')
    return false;
  const std::size_t end = g[count - 1].end;
  if (before(g[0].start) == '-' || before(g[0].start) == '.' || before(g[0].start) == '/') return false;
  if (!word_ends(end) && at(end) != 'x') return false;
  return phone_context(g[0].start, end) && emit_phone(g[0].start, end, 0.65F);
}

bool AnchorScan::international_phone(std::size_t start, const Chain& chain) {
  std::size_t total = 0;
  std::size_t end = 0;
  for (std::size_t i = 0; i < chain.count; ++i) {
    if (total + chain.groups[i].size() > 15 || chain.groups[i].joiner == '/') break;
    total += chain.groups[i].size();
    end = chain.groups[i].end;
  }
  if (total < 8 || at(start) == '0' || (!word_ends(end) && at(end) != 'x')) return false;
  std::string_view digits = t_.substr(start, end - start);
  if (digits.starts_with("86") && total == 13) {
    Joined number;
    for (std::size_t i = 0; i < chain.count && number.size < 13; ++i)
      number.add(t_.substr(chain.groups[i].start, chain.groups[i].size()));
    if (is_cn_mobile(number.view().substr(2))) return emit(EntityType::kCnMobile, start - 1, end, 0.9F);
  }
  return emit_phone(start, end, 0.85F);
}

bool AnchorScan::phone_context(std::size_t start, std::size_t end) {
  std::size_t s = start;
  while (s > 0 && start - s < 3 &&
         (before(s) == '(' || before(s) == '+' || before(s) == ' ' || before(s) == ':'))
    --s;
  if (s == 0 && !is(end, kJoiner)) return false;
  return phone_word_before(start) ||
         says_after(end, {"fax", "office", "mobile", "mob", "cell", "home", "phone"});
}

// says_before() for the one list that is asked often: words are cut first and compared by first letter.
bool AnchorScan::phone_word_before(std::size_t offset) {
  static constexpr std::string_view kWords[] = {
      "answering", "call",   "calling", "cell",   "cellphone", "contact", "dial",      "fax",
      "hotline",   "mobile", "phone",   "phones", "reach",     "tel",     "telephone", "whatsapp"};
  static constexpr std::uint32_t kFirst = [] {
    std::uint32_t mask = 0;
    for (std::string_view word : kWords) mask |= 1U << (word[0] - 'a');
    return mask;
  }();
  const std::size_t reach = offset > 28 ? offset - 28 : 0;
  // Digits come in order, so every byte is looked at once.
  const std::size_t from = std::max(reach, words_seen_to_);
  words_seen_to_ = std::max(words_seen_to_, offset);
  for (std::size_t i = from; i < offset;) {
    if ((kByteClass[at(i)] & kAlpha) == 0) {
      if (at(i) >= 0x80) foreign_end_ = i + 1;
      ++i;
      continue;
    }
    const std::size_t word = i;
    while (i < offset && (kByteClass[at(i)] & kAlpha)) ++i;
    const unsigned first = (at(word) | 0x20U) - 'a';
    if (i - word < 3 || (kFirst >> first & 1U) == 0 || (word == from && is_before(word, kAlpha))) continue;
    for (std::string_view known : kWords) {
      if (known.size() != i - word) continue;
      std::size_t k = 0;
      while (k < known.size() && (at(word + k) | 0x20U) == static_cast<unsigned char>(known[k])) ++k;
      if (k == known.size()) phone_word_end_ = i;
    }
  }
  if (phone_word_end_ > reach) return true;
  return foreign_end_ > reach && says_before(offset, 28, {"电话", "手机", "热线", "传真", "联系方式"});
}

bool AnchorScan::says_after(std::size_t offset, std::initializer_list<std::string_view> words) const {
  std::size_t i = offset;
  if (at(i) == 'x') {
    ++i;
    while (is(i, kDigit)) ++i;
  }
  while (i < offset + 10 && (at(i) == ' ' || at(i) == '-' || at(i) == ',')) ++i;
  if (!is(i, kAlpha)) return false;
  for (std::string_view word : words) {
    if ((at(i) | 0x20U) != static_cast<unsigned char>(word[0])) continue;
    std::size_t k = 0;
    while (k < word.size() && (at(i + k) | 0x20) == static_cast<unsigned char>(word[k])) ++k;
    if (k == word.size() && word_ends(i + k)) return true;
  }
  return false;
}

bool AnchorScan::says_before(std::size_t offset, std::size_t reach,
                             std::initializer_list<std::string_view> words) const {
  const std::size_t from = offset > reach ? offset - reach : 0;
  char folded[64];
  const std::size_t n = std::min(offset - from, sizeof folded);
  for (std::size_t i = 0; i < n; ++i) {
    const char c = t_[from + i];
    folded[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  const std::string_view window(folded, n);
  for (std::string_view word : words) {
    for (std::size_t hit = window.find(word); hit != std::string_view::npos;
         hit = window.find(word, hit + 1)) {
      if (static_cast<unsigned char>(word[0]) >= 0x80) return true;
      const bool left = hit == 0 ? word_starts(from)
                                 : (kByteClass[static_cast<unsigned char>(window[hit - 1])] & kAlpha) == 0;
      const std::size_t after = hit + word.size();
      const bool right = after >= n || (kByteClass[static_cast<unsigned char>(window[after])] & kAlpha) == 0;
      if (left && right) return true;
    }
  }
  return false;
}

}  // namespace neap::dataguard::internal
