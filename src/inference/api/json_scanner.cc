#include "internal/json_scanner.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cstring>

namespace neap::inference {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// Clinger's fast path: a mantissa below 2^53 times or over a power of ten up to 10^22 is one correctly
// rounded operation (W. Clinger, How to read floating point numbers accurately, 1990).
bool exact_product(std::uint64_t mantissa, int exponent, double& out) {
  if (mantissa >= (1ull << 53) || exponent < -22 || exponent > 22) return false;
  const auto value = static_cast<double>(mantissa);
  out = exponent < 0 ? value / kPowersOfTen[-exponent] : value * kPowersOfTen[exponent];
  return true;
}

struct Decimal {
  std::uint64_t mantissa = 0;
  int exponent = 0;
  bool negative = false;
  bool fits = true;  // all digits are in the mantissa
};

// Grammar of RFC 8259 section 6; nullptr when the text does not start with a number.
const char* scan_decimal(const char* p, const char* end, Decimal& out) {
  if (p != end && *p == '-') {
    out.negative = true;
    ++p;
  }
  if (p == end || !is_digit(*p)) return nullptr;
  int digits = 0;
  if (*p == '0') {
    ++p;
    if (p != end && is_digit(*p)) return nullptr;
  } else {
    for (; p != end && is_digit(*p); ++p) {
      out.mantissa = out.mantissa * 10 + static_cast<std::uint64_t>(*p - '0');
      ++digits;
    }
  }
  if (p != end && *p == '.') {
    const char* first = ++p;
    for (; p != end && is_digit(*p); ++p) {
      out.mantissa = out.mantissa * 10 + static_cast<std::uint64_t>(*p - '0');
      if (out.mantissa != 0) ++digits;
    }
    if (p == first) return nullptr;
    // A fraction this long cannot take the fast path anyway.
    out.exponent = p - first > 1000 ? -1000 : -static_cast<int>(p - first);
  }
  if (p != end && (*p == 'e' || *p == 'E')) {
    ++p;
    bool minus = false;
    if (p != end && (*p == '+' || *p == '-')) minus = *p++ == '-';
    if (p == end || !is_digit(*p)) return nullptr;
    int exponent = 0;
    for (; p != end && is_digit(*p); ++p)
      exponent = exponent < 100'000 ? exponent * 10 + (*p - '0') : exponent;
    out.exponent += minus ? -exponent : exponent;
  }
  out.fits = digits <= 19;
  return p;
}

std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = byte(i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(i + 1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return length;
}

void append_utf8(std::string& out, std::uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0 | (point >> 6));
    out += static_cast<char>(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0 | (point >> 12));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (point & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (point >> 18));
    out += static_cast<char>(0x80 | ((point >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (point & 0x3f));
  }
}

bool read_hex4(const char*& p, const char* end, std::uint32_t& out) {
  if (end - p < 4) return false;
  const auto [stop, error] = std::from_chars(p, p + 4, out, 16);
  if (error != std::errc{} || stop != p + 4) return false;
  p = stop;
  return true;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    }
  }
  out.append(text, plain);
  out += '"';
}

std::unexpected<Error> JsonScanner::error(std::string_view what) const {
  return fail(Code::kInvalidArgument, "inference.json.syntax",
              fmt::format("the request is not the JSON it should be: {} at byte {}", what, offset()));
}

Status JsonScanner::expect(char c) {
  if (consume(c)) return ok();
  return error(fmt::format("'{}' is expected", c));
}

Status JsonScanner::append_escape(std::string& out) {
  if (at_ == end_) return error("a string does not end");
  const char kind = *at_++;
  switch (kind) {
    case '"':
      out += '"';
      return ok();
    case '\\':
      out += '\\';
      return ok();
    case '/':
      out += '/';
      return ok();
    case 'b':
      out += '\b';
      return ok();
    case 'f':
      out += '\f';
      return ok();
    case 'n':
      out += '\n';
      return ok();
    case 'r':
      out += '\r';
      return ok();
    case 't':
      out += '\t';
      return ok();
    case 'u':
      break;
    default:
      return error("an unknown escape in a string");
  }
  std::uint32_t point = 0;
  if (!read_hex4(at_, end_, point)) return error("a broken \\u escape");
  if (point >= 0xdc00 && point < 0xe000) return error("a lone surrogate in a string");
  if (point >= 0xd800 && point < 0xdc00) {
    std::uint32_t low = 0;
    if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return error("a lone surrogate in a string");
    at_ += 2;
    if (!read_hex4(at_, end_, low) || low < 0xdc00 || low >= 0xe000)
      return error("a lone surrogate in a string");
    point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
  }
  append_utf8(out, point);
  return ok();
}

Result<std::string> JsonScanner::string(std::size_t bytes_max) {
  NEAP_TRY_VOID(expect('"'));
  std::string out;
  for (;;) {
    const char* plain = at_;
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
    out.append(plain, at_);
    if (out.size() > bytes_max) {
      return fail(Code::kResourceExhausted, "inference.json.string_too_long",
                  fmt::format("a string of the request is longer than {} bytes", bytes_max));
    }
    if (at_ == end_) return error("a string does not end");
    if (*at_ == '"') break;
    if (*at_ != '\\') return error("a control character in a string");
    ++at_;
    NEAP_TRY_VOID(append_escape(out));
  }
  ++at_;
  if (!is_utf8(out)) return error("a string is not valid UTF-8");
  return out;
}

Result<std::int64_t> JsonScanner::integer() {
  std::int64_t out = 0;
  skip_space();
  if (!read(out)) return error("a 64-bit integer is expected");
  return out;
}

Result<bool> JsonScanner::boolean() {
  NEAP_TRY(auto text, value_text());
  if (text == "true") return true;
  if (text == "false") return false;
  return error("true or false is expected");
}

bool JsonScanner::scan_number(const char*& end_of_number, bool& integral) const {
  Decimal decimal;
  const char* stop = scan_decimal(at_, end_, decimal);
  if (stop == nullptr) return false;
  integral = std::string_view(at_, stop).find_first_of(".eE") == std::string_view::npos;
  end_of_number = stop;
  return true;
}

Status JsonScanner::skip_string() {
  // at_ stands behind the opening quote.
  while (at_ != end_ && *at_ != '"') {
    if (static_cast<unsigned char>(*at_) < 0x20) return error("a control character in a string");
    if (*at_ == '\\' && ++at_ == end_) break;
    ++at_;
  }
  if (at_ == end_) return error("a string does not end");
  ++at_;
  return ok();
}

Status JsonScanner::skip_value(std::size_t depth) {
  if (depth > depth_max_) {
    return fail(Code::kInvalidArgument, "inference.json.too_deep",
                fmt::format("the request nests deeper than {} levels", depth_max_));
  }
  const char c = peek();
  if (c == '"') {
    ++at_;
    return skip_string();
  }
  if (c == '{' || c == '[') {
    const char close = c == '{' ? '}' : ']';
    ++at_;
    if (consume(close)) return ok();
    do {
      if (c == '{') {
        NEAP_TRY_VOID(expect('"'));
        NEAP_TRY_VOID(skip_string());
        NEAP_TRY_VOID(expect(':'));
      }
      NEAP_TRY_VOID(skip_value(depth + 1));
    } while (consume(','));
    return expect(close);
  }
  for (std::string_view word : {"true", "false", "null"}) {
    if (remaining() >= word.size() && std::memcmp(at_, word.data(), word.size()) == 0) {
      at_ += word.size();
      return ok();
    }
  }
  bool integral = false;
  if (!scan_number(at_, integral)) return error("a value is expected");
  return ok();
}

Result<std::string_view> JsonScanner::value_text() {
  skip_space();
  const char* first = at_;
  NEAP_TRY_VOID(skip_value(1));
  return std::string_view(first, at_);
}

bool JsonScanner::read(double& out) {
  Decimal decimal;
  const char* stop = scan_decimal(at_, end_, decimal);
  if (stop == nullptr) return false;
  if (decimal.fits && exact_product(decimal.mantissa, decimal.exponent, out)) {
    if (decimal.negative) out = -out;
  } else if (std::from_chars(at_, stop, out).ec != std::errc{}) {
    // Out of range: from_chars leaves the value alone for underflow too, which is no error in JSON.
    if (decimal.exponent > 0 || decimal.mantissa == 0) return false;
    out = decimal.negative ? -0.0 : 0.0;
  }
  at_ = stop;
  return true;
}

bool JsonScanner::read(float& out) {
  Decimal decimal;
  const char* stop = scan_decimal(at_, end_, decimal);
  if (stop == nullptr) return false;
  double wide = 0;
  if (decimal.fits && exact_product(decimal.mantissa, decimal.exponent, wide)) {
    // Rounding twice errs only where the double stands exactly between two floats; denormals and
    // overflow take the slow road as well.
    const auto bits = std::bit_cast<std::uint64_t>(wide);
    const bool halfway = (bits & 0x1fff'ffff) == 0x1000'0000;
    if (!halfway && (wide == 0 || (wide >= 1.2e-38 && wide <= 3.4e38))) {
      out = static_cast<float>(decimal.negative ? -wide : wide);
      at_ = stop;
      return true;
    }
  }
  if (std::from_chars(at_, stop, out).ec != std::errc{}) {
    if (!read(wide) || wide > 1e-30 || wide < -1e-30) return false;
    out = decimal.negative ? -0.0f : 0.0f;
    return true;
  }
  at_ = stop;
  return true;
}

bool JsonScanner::read(std::int64_t& out) {
  const char* stop = nullptr;
  bool integral = false;
  if (!scan_number(stop, integral) || !integral) return false;
  if (std::from_chars(at_, stop, out).ec != std::errc{}) return false;
  at_ = stop;
  return true;
}

bool JsonScanner::read(std::uint64_t& out) {
  const char* stop = nullptr;
  bool integral = false;
  if (!scan_number(stop, integral) || !integral || *at_ == '-') return false;
  if (std::from_chars(at_, stop, out).ec != std::errc{}) return false;
  at_ = stop;
  return true;
}

}  // namespace neap::inference
