#include <algorithm>
#include <cstring>
#include <string>

#include "internal/anchor_scan.h"
#include "neap/dataguard/validators.h"

namespace neap::dataguard::internal {
namespace {

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> c{};
  for (int i = '0'; i <= '9'; ++i) c[static_cast<std::size_t>(i)] = kDigit | kHex | kMail | kHost;
  for (int i = 0; i < 26; ++i) {
    const std::uint8_t hex = i < 6 ? kHex : 0;
    c[static_cast<std::size_t>('a' + i)] = static_cast<std::uint8_t>(kAlpha | kMail | kHost | hex);
    c[static_cast<std::size_t>('A' + i)] = static_cast<std::uint8_t>(kAlpha | kMail | kHost | hex);
  }
  for (char j : {' ', '-', '.', '/', ')'}) c[static_cast<unsigned char>(j)] |= kJoiner;
  for (char m : {'.', '_', '%', '+', '-', '\''}) c[static_cast<unsigned char>(m)] |= kMail;
  for (char h : {'.', '-'}) c[static_cast<unsigned char>(h)] |= kHost;
  return c;
}

// Copies the digits of the first `count` groups; at most 32.
struct Digits {
  std::array<char, 40> bytes{};
  std::size_t size = 0;
  void add(std::string_view more) {
    const std::size_t n = std::min(more.size(), bytes.size() - size);
    std::memcpy(bytes.data() + size, more.data(), n);
    size += n;
  }
  std::string_view view() const { return {bytes.data(), size}; }
};

}  // namespace

constexpr std::array<std::uint8_t, 256> kByteClassTable = make_classes();
const std::array<std::uint8_t, 256> kByteClass = kByteClassTable;

bool AnchorScan::emit(EntityType type, std::size_t start, std::size_t end, float confidence) {
  out_.push_back({type, start, end - start, confidence});
  done_ = std::max(done_, end);
  return true;
}

void AnchorScan::on_digits(std::size_t start, std::size_t end) {
  if (start < done_) return;
  if (is_before(start, kAlpha)) {
    after_letter(start, end);
    return;
  }
  // A date, the most frequent group of digits in any log.
  if (end - start == 4 && at(end) == '-' && at(end + 3) == '-' && is(end + 1, kDigit) &&
      is(end + 5, kDigit) && !is(end + 6, kDigit))
    return;
  const unsigned char previous = before(start);
  if ((previous == 0xB7 || previous == ' ' || previous == '-') && plate(start)) return;
  if (is(end, kAlpha) && before_letter(start, end)) return;
  if (end - start >= 7 && word_ends(end) && single_run(start, end)) return;
  if (end - start <= 3 && at(end) == '.' && ip_address(start)) return;
  const Chain chain = chain_from(start, end);
  if (previous == '+' || (previous == '(' && start > 1 && before(start - 1) == '+')) {
    if (international_phone(start, chain)) return;
  }
  if (chain.count > 1) grouped(chain);
}

bool AnchorScan::single_run(std::size_t s, std::size_t e) {
  // The fraction of a number is no identifier, however many digits it has.
  if (before(s) == '.' && s >= 2 && is(s - 2, kDigit)) return false;
  const std::string_view d = t_.substr(s, e - s);
  switch (d.size()) {
    case 9:
      if (is_us_ssn(d)) {
        if (says_before(s, 40, {"ssn", "social", "ssns"})) return emit(EntityType::kUsSsn, s, e, 0.85F);
      }
      break;
    case 11:
      if (is_cn_mobile(d)) return emit(EntityType::kCnMobile, s, e, 0.9F);
      break;
    case 13:
      if (d.starts_with("86") && is_cn_mobile(d.substr(2))) return emit(EntityType::kCnMobile, s, e, 0.9F);
      break;
    case 15:
      if (d.starts_with("0086") && is_cn_mobile(d.substr(4))) return emit(EntityType::kCnMobile, s, e, 0.9F);
      if (is_cn_resident_id_15(d)) return emit(EntityType::kCnResidentId, s, e, 0.6F);
      break;
    case 18:
      if (is_plausible_cn_resident_id(d)) return emit(EntityType::kCnResidentId, s, e, 0.99F);
      if (is_cn_uscc(d)) return emit(EntityType::kCnUscc, s, e, 0.9F);
      break;
    default:
      break;
  }
  if (d.size() >= 12 && is_bank_card(d)) return emit(EntityType::kBankCard, s, e, 0.9F);
  // A checksum number behind one leading run sign, for example "1" of a list, is not looked for.
  if (d.size() <= 15 && phone_context(s, e)) return emit_phone(before(s) == '+' ? s - 1 : s, e, 0.7F);
  if (d.size() <= 10) return passport_or_license(s, e);
  return false;
}

bool AnchorScan::before_letter(std::size_t s, std::size_t e) {
  const unsigned char next = at(e);
  if (e - s == 17 && (next == 'X' || next == 'x') && word_ends(e + 1) &&
      is_plausible_cn_resident_id(t_.substr(s, 18)))
    return emit(EntityType::kCnResidentId, s, e + 1, 0.99F);
  if (e - s >= 8 && uscc(s)) return true;
  if (e - s == 2 || e - s == 1 || e - s == 4) {
    // "1101051949 ..." never, but a MAC or an IPv6 group: the colon anchor has those.
    return false;
  }
  return false;
}

bool AnchorScan::uscc(std::size_t s) {
  if (s + 18 > t_.size() || !word_starts(s) || !word_ends(s + 18)) return false;
  if (!is_cn_uscc(t_.substr(s, 18))) return false;
  return emit(EntityType::kCnUscc, s, s + 18, 0.97F);
}

bool AnchorScan::after_letter(std::size_t s, std::size_t e) {
  if (plate(s)) return true;
  std::size_t word = s;
  while (word > 0 && s - word < 8 && is_before(word, kAlpha)) --word;
  const std::size_t letters = s - word;
  if (letters > 3) return false;
  if (letters == 2 && word_starts(word) && iban(word)) return true;
  if (letters == 1 && e - s >= 7 && word_starts(word) && uscc(word)) return true;
  if (!word_starts(word)) return false;
  std::size_t token_end = e;
  while (token_end < t_.size() && token_end - word < 12 && is(token_end, kDigit | kAlpha)) ++token_end;
  return passport_or_license(word, token_end);
}

bool AnchorScan::iban(std::size_t s) {
  if (!is(s + 2, kDigit) || !is(s + 3, kDigit)) return false;
  Digits compact;
  std::size_t i = s;
  std::size_t last = s;
  std::size_t best = 0;
  while (i < t_.size() && compact.size < 34) {
    if (is(i, kDigit | kAlpha)) {
      compact.add(t_.substr(i, 1));
      last = ++i;
      if (compact.size >= 15 && word_ends(i) && is_iban(compact.view())) best = last;
    } else if ((at(i) == ' ' || at(i) == '-') && is(i + 1, kDigit | kAlpha)) {
      ++i;
    } else {
      break;
    }
  }
  return best != 0 && emit(EntityType::kIban, s, best, 0.98F);
}

bool AnchorScan::plate(std::size_t s) {
  // Back from the first digit: serial letters, perhaps a dot, the city letter, the province (three bytes).
  std::size_t i = s;
  std::size_t serial = 0;
  while (i > 0 && serial < 3 && before(i) >= 'A' && before(i) <= 'Z') {
    --i;
    ++serial;
  }
  std::size_t serial_start = i;
  if (i >= 2 && before(i) == 0xB7 && before(i - 1) == 0xC2) {
    i -= 2;
  } else if (i >= 1 && (before(i) == ' ' || before(i) == '-')) {
    i -= 1;
  } else if (serial >= 1) {
    serial_start = i + 1;
    ++i;
  } else {
    return false;
  }
  if (i == 0 || before(i) < 'A' || before(i) > 'Z' || i < 4 || before(i - 1) < 0x80) return false;
  static constexpr std::string_view kProvinces =
      "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼";
  const std::string_view province = t_.substr(i - 4, 3);
  const std::size_t known = kProvinces.find(province);
  if (known == std::string_view::npos || known % 3 != 0) return false;
  std::size_t end = serial_start;
  std::size_t digits = 0;
  while (end < t_.size() && end - serial_start < 7 && (is(end, kDigit) || (at(end) >= 'A' && at(end) <= 'Z')))
    digits += is(end++, kDigit) ? 1 : 0;
  const std::size_t length = end - serial_start;
  if ((length == 5 && digits >= 3) || (length == 6 && digits >= 4 && word_ends(end)))
    return emit(EntityType::kCnPlate, i - 4, end, 0.92F);
  if (length == 4 && digits >= 2) {
    for (std::string_view suffix : {"学", "警", "港", "澳", "挂"})
      if (t_.substr(end, 3) == suffix) return emit(EntityType::kCnPlate, i - 4, end + 3, 0.92F);
  }
  return false;
}

bool AnchorScan::passport_or_license(std::size_t s, std::size_t e) {
  const std::size_t length = e - s;
  if (length < 6 || length > 12 || !word_ends(e)) return false;
  if (says_before(s, 32, {"passport", "护照", "通行证"})) return emit(EntityType::kPassport, s, e, 0.8F);
  if (says_before(s, 32, {"license", "licence", "驾驶证", "驾照"}))
    return emit(EntityType::kDriverLicense, s, e, 0.8F);
  return false;
}

AnchorScan::Chain AnchorScan::chain_from(std::size_t start, std::size_t end) const {
  Chain chain;
  chain.groups[chain.count++] = {start, end, 0};
  while (chain.count < kGroupsMax) {
    std::size_t i = end;
    char joiner = static_cast<char>(at(i));
    if (!is(i, kJoiner)) break;
    ++i;
    if (joiner == ')' && (at(i) == ' ' || at(i) == '-' || at(i) == '.')) ++i;
    if (joiner == ' ' && at(i) == '(') {
      joiner = '(';
      ++i;
    }
    if (!is(i, kDigit)) break;
    const std::size_t group = i;
    while (is(i, kDigit)) ++i;
    if (i - group > 19) break;
    chain.groups[chain.count++] = {group, i, joiner};
    end = i;
  }
  return chain;
}

}  // namespace neap::dataguard::internal
