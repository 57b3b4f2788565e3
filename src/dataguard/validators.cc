#include "neap/dataguard/validators.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace neap::dataguard {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

bool all_digits(std::string_view s) {
  for (char c : s)
    if (!is_digit(c)) return false;
  return true;
}

int number(std::string_view s) {
  int out = 0;
  for (char c : s) out = out * 10 + (c - '0');
  return out;
}

bool is_date(int year, int month, int day) {
  static constexpr std::array<int, 13> kDays{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1) return false;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= kDays[static_cast<std::size_t>(month)] + (month == 2 && leap ? 1 : 0);
}

// GB/T 2260 province-level codes, with 81-83 for residence permits and 91 for foreigners.
bool is_province(int code) {
  return (code >= 11 && code <= 15) || (code >= 21 && code <= 23) || (code >= 31 && code <= 37) ||
         (code >= 41 && code <= 46) || (code >= 50 && code <= 54) || (code >= 61 && code <= 65) ||
         code == 71 || (code >= 81 && code <= 83) || code == 91;
}

struct CountryLength {
  char code[3];
  std::uint8_t length;
};
// SWIFT IBAN registry, total lengths.
constexpr CountryLength kIbanLengths[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22},
    {"BH", 22}, {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24},
    {"DE", 22}, {"DJ", 27}, {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18},
    {"FK", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27},
    {"GT", 28}, {"HN", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26},
    {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32}, {"LI", 21}, {"LT", 20},
    {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MN", 20},
    {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
    {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24},
    {"SC", 31}, {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25},
    {"SV", 28}, {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20},
    {"YE", 30}};

std::size_t iban_length(char a, char b) {
  for (const auto& entry : kIbanLengths)
    if (entry.code[0] == a && entry.code[1] == b) return entry.length;
  return 0;
}

}  // namespace

bool is_luhn(std::string_view digits) {
  if (digits.empty()) return false;
  int sum = 0;
  bool doubled = false;
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (!is_digit(digits[i])) return false;
    int d = digits[i] - '0';
    if (doubled) d = d > 4 ? d * 2 - 9 : d * 2;
    sum += d;
    doubled = !doubled;
  }
  return sum % 10 == 0;
}

bool is_mod_11_2(std::string_view value) {
  if (value.size() < 2) return false;
  int check = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = upper(value[i]);
    const bool last = i + 1 == value.size();
    if (!is_digit(c) && !(last && c == 'X')) return false;
    const int v = c == 'X' ? 10 : c - '0';
    check = last ? (check + v) % 11 : ((check + v) * 2) % 11;
  }
  return check == 1;
}

bool is_mod_97_10(std::string_view value) {
  if (value.size() < 3) return false;
  int rest = 0;
  for (char raw : value) {
    const char c = upper(raw);
    if (is_digit(c)) {
      rest = (rest * 10 + (c - '0')) % 97;
    } else if (is_upper(c)) {
      rest = (rest * 100 + (c - 'A' + 10)) % 97;
    } else {
      return false;
    }
  }
  return rest == 1;
}

bool is_cn_resident_id(std::string_view v) {
  if (v.size() != 18 || !all_digits(v.substr(0, 17))) return false;
  return is_province(number(v.substr(0, 2))) &&
         is_date(number(v.substr(6, 4)), number(v.substr(10, 2)), number(v.substr(12, 2))) && is_mod_11_2(v);
}

bool is_plausible_cn_resident_id(std::string_view v) {
  if (v.size() != 18 || !((v[6] == '1' && v[7] == '9') || (v[6] == '2' && v[7] == '0'))) return false;
  return is_cn_resident_id(v);
}

bool is_cn_resident_id_15(std::string_view v) {
  if (v.size() != 15 || !all_digits(v)) return false;
  return is_province(number(v.substr(0, 2))) &&
         is_date(1900 + number(v.substr(6, 2)), number(v.substr(8, 2)), number(v.substr(10, 2)));
}

bool is_cn_uscc(std::string_view v) {
  static constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  static constexpr std::array<int, 17> kWeights{1,  3,  9,  27, 19, 26, 16, 17, 20,
                                                29, 25, 13, 8,  24, 10, 30, 28};
  if (v.size() != 18 || !all_digits(v.substr(2, 6))) return false;
  int sum = 0;
  for (std::size_t i = 0; i < 17; ++i) {
    const std::size_t at = kAlphabet.find(v[i]);
    if (at == std::string_view::npos) return false;
    sum += static_cast<int>(at) * kWeights[i];
  }
  return v[17] == kAlphabet[static_cast<std::size_t>((31 - sum % 31) % 31)];
}

bool is_cn_mobile(std::string_view d) {
  return d.size() == 11 && d[0] == '1' && d[1] >= '3' && d[1] <= '9' && all_digits(d);
}

bool is_bank_card(std::string_view d) {
  if (d.size() < 12 || d.size() > 19) return false;
  const char first = d[0];
  bool issued = false;
  switch (d.size()) {
    case 12:
      issued = first == '5' || first == '6';
      break;
    case 13:
      issued = first == '4' || first == '5' || first == '6';
      break;
    case 14:
      issued = first == '3' && (d[1] == '6' || d[1] == '8' || d[1] == '9' || d[1] == '0');
      break;
    case 15:
      issued = first == '1' || (first == '2' && (d[1] == '0' || d[1] == '1')) ||
               (first == '3' && (d[1] == '4' || d[1] == '7'));
      break;
    case 16:
      issued = (first >= '2' && first <= '6') || (first == '9' && d[1] == '5') || first == '8';
      break;
    default:
      issued = first == '4' || first == '5' || first == '6' || (first == '9' && d[1] == '5');
  }
  return issued && is_luhn(d);
}

bool is_iban(std::string_view v) {
  if (v.size() < 15 || v.size() > 34) return false;
  const char a = upper(v[0]);
  const char b = upper(v[1]);
  if (!is_digit(v[2]) || !is_digit(v[3]) || iban_length(a, b) != v.size()) return false;
  char rotated[34];
  std::memcpy(rotated, v.data() + 4, v.size() - 4);
  std::memcpy(rotated + v.size() - 4, v.data(), 4);
  return is_mod_97_10(std::string_view(rotated, v.size()));
}

bool is_us_ssn(std::string_view d) {
  if (d.size() != 9 || !all_digits(d)) return false;
  const int area = number(d.substr(0, 3));
  if (area == 0 || area == 666 || area >= 900) return false;
  if (d.substr(3, 2) == "00" || d.substr(5) == "0000") return false;
  return d != "078051120" && d != "457555462" && d != "219099999";
}

bool is_ipv4(std::string_view t) {
  int parts = 0;
  std::size_t i = 0;
  while (parts < 4) {
    std::size_t start = i;
    int value = 0;
    while (i < t.size() && is_digit(t[i]) && i - start < 4) value = value * 10 + (t[i++] - '0');
    const std::size_t len = i - start;
    if (len == 0 || len > 3 || value > 255 || (len > 1 && t[start] == '0')) return false;
    ++parts;
    if (parts < 4 && (i >= t.size() || t[i++] != '.')) return false;
  }
  return i == t.size();
}

bool is_ipv6(std::string_view t) {
  int groups = 0;
  bool compressed = false;
  std::size_t i = 0;
  if (t.size() < 2 || t.size() > 45) return false;
  if (t[0] == ':') {
    if (t[1] != ':') return false;
    compressed = true;
    i = 2;
  }
  while (i < t.size()) {
    const std::size_t start = i;
    while (i < t.size() && (is_digit(t[i]) || (upper(t[i]) >= 'A' && upper(t[i]) <= 'F'))) ++i;
    if (i < t.size() && t[i] == '.') {
      if (!is_ipv4(t.substr(start))) return false;
      groups += 2;
      i = t.size();
      break;
    }
    if (i == start || i - start > 4) return false;
    ++groups;
    if (i == t.size()) break;
    if (t[i] != ':') return false;
    ++i;
    if (i == t.size()) return false;
    if (t[i] == ':') {
      if (compressed) return false;
      compressed = true;
      ++i;
    }
  }
  return compressed ? groups <= 7 : groups == 8;
}

}  // namespace neap::dataguard
