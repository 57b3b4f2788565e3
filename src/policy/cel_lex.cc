#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "internal/lexer.h"
#include "internal/node.h"

namespace neap::policy {

std::string point_at(std::string_view text, std::size_t position, std::string_view what) {
  constexpr std::size_t kShownBefore = 60, kShownMax = 120;
  position = std::min(position, text.size());
  const auto is_inside = [&](std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  const auto line = std::size_t(std::count(text.begin(), text.begin() + std::ptrdiff_t(position), '\n')) + 1;
  const std::size_t start = line == 1 ? 0 : text.rfind('\n', position - 1) + 1;
  const std::size_t end = std::min(text.find('\n', start), text.size());
  // Long lines are shown around the place only, cut between characters.
  std::size_t from = std::max(start, position > kShownBefore ? position - kShownBefore : 0);
  while (is_inside(from) && from < position) ++from;
  std::size_t to = std::min(end, from + kShownMax);
  while (is_inside(to)) --to;
  return fmt::format("line {}, column {}: {}\n  {}\n  {}^", line,
                     count_code_points(text.substr(start, position - start)) + 1, what,
                     text.substr(from, to - from),
                     std::string(count_code_points(text.substr(from, position - from)), ' '));
}

std::optional<Place> find_place(std::string_view error_message) {
  constexpr std::string_view kLine = "line ", kColumn = ", column ";
  const auto line_at = error_message.find(kLine), column_at = error_message.find(kColumn);
  if (line_at == std::string_view::npos || column_at == std::string_view::npos || column_at < line_at)
    return {};
  Place out;
  const auto read = [&](std::size_t at, std::uint64_t& into) {
    return std::from_chars(error_message.data() + at, error_message.data() + error_message.size(), into).ec ==
           std::errc();
  };
  if (!read(line_at + kLine.size(), out.line) || !read(column_at + kColumn.size(), out.column)) return {};
  return out;
}

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> run() {
    for (;;) {
      skip_blank();
      Token token;
      token.position = at_;
      if (at_ >= text_.size()) {
        tokens_.push_back(token);
        return std::move(tokens_);
      }
      const char c = text_[at_];
      Status status;
      if (const auto prefix = string_prefix(); prefix != std::string_view::npos) {
        status = read_string(token, prefix);
      } else if (is_digit(c) || (c == '.' && is_digit(peek(1)) && !follows_operand())) {
        status = read_number(token);
      } else if (is_letter(c)) {
        read_name(token);
      } else if (c == '`') {
        status = read_quoted_name(token);
      } else {
        status = read_punct(token);
      }
      NEAP_TRY_VOID(std::move(status));
      tokens_.push_back(std::move(token));
    }
  }

 private:
  char peek(std::size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  Status refuse(std::size_t position, std::string_view what) const {
    return fail(Code::kInvalidArgument, "cel.syntax", point_at(text_, position, what));
  }
  // `a.5` must stay a select that the parser refuses, not a number after a name.
  bool follows_operand() const {
    if (tokens_.empty()) return false;
    const auto& last = tokens_.back();
    return last.kind != TokenKind::kPunct || last.text == ")" || last.text == "]";
  }

  void skip_blank() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
        ++at_;
      } else if (c == '/' && peek(1) == '/') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }

  // Length of the r/b prefix before a quote; npos where no string begins here.
  std::size_t string_prefix() const {
    std::size_t n = 0;
    while (n < 2 && (peek(n) == 'r' || peek(n) == 'R' || peek(n) == 'b' || peek(n) == 'B')) ++n;
    if (n == 2 && std::tolower(peek(0)) == std::tolower(peek(1))) return std::string_view::npos;
    return peek(n) == '"' || peek(n) == '\'' ? n : std::string_view::npos;
  }

  Status read_string(Token& token, std::size_t prefix) {
    bool raw = false, bytes = false;
    for (std::size_t i = 0; i < prefix; ++i) {
      const char c = char(std::tolower(text_[at_ + i]));
      raw |= c == 'r';
      bytes |= c == 'b';
    }
    at_ += prefix;
    const char quote = text_[at_];
    const bool triple = peek(1) == quote && peek(2) == quote;
    at_ += triple ? 3 : 1;
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) return refuse(token.position, "this string never ends; add the closing quote");
      const char c = text_[at_];
      if (c == quote && (!triple || (peek(1) == quote && peek(2) == quote))) {
        at_ += triple ? 3 : 1;
        break;
      }
      if ((c == '\n' || c == '\r') && !triple)
        return refuse(at_, "a line break inside a string; use \\n or three quotes");
      if (c == '\\' && !raw) {
        NEAP_TRY_VOID(read_escape(out, bytes));
      } else {
        out += c;
        ++at_;
      }
    }
    if (!bytes && !is_utf8(out))
      return refuse(token.position, "this string is not valid UTF-8; use b'...' for bytes");
    token.kind = TokenKind::kLiteral;
    token.value = bytes ? Value::bytes(std::move(out)) : Value::string(std::move(out));
    return ok();
  }

  Status read_escape(std::string& out, bool bytes) {
    const std::size_t start = at_;
    const char c = peek(1);
    at_ += 2;
    constexpr std::string_view kPlain = "abfnrtv\\?\"'`";
    constexpr std::string_view kMeans = "\a\b\f\n\r\t\v\\?\"'`";
    if (const auto found = kPlain.find(c); c != '\0' && found != std::string_view::npos) {
      out += kMeans[found];
      return ok();
    }
    std::uint32_t code = 0;
    const int digits = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0;
    if (digits == 0 || (bytes && (c == 'u' || c == 'U')))
      return refuse(start, "unknown escape; write \\\\ for a backslash, or r'...' for a raw string");
    if (digits == 3) --at_;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = at_ < text_.size() ? hex_digit(text_[at_]) : -1;
      if (digit < 0 || (digits == 3 && digit > 7)) return refuse(start, "this escape has too few digits");
      code = code * (digits == 3 ? 8 : 16) + std::uint32_t(digit);
    }
    if (bytes) {
      out += char(code);
      return ok();
    }
    return append_utf8(out, code) ? ok() : refuse(start, "this escape names no Unicode character");
  }

  Status read_number(Token& token) {
    const std::size_t start = at_;
    if (text_[at_] == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      at_ += 2;
      std::uint64_t value = 0;
      std::size_t digits = 0;
      for (; hex_digit(peek(0)) >= 0; ++at_, ++digits) {
        if (value >> 60) return refuse(start, "this number does not fit 64 bits");
        value = value * 16 + std::uint64_t(hex_digit(text_[at_]));
      }
      if (digits == 0) return refuse(start, "0x needs hexadecimal digits");
      return finish_integer(token, value);
    }
    while (is_digit(peek(0))) ++at_;
    bool real = false;
    if (peek(0) == '.' && is_digit(peek(1))) {
      real = true;
      ++at_;
      while (is_digit(peek(0))) ++at_;
    }
    if (peek(0) == 'e' || peek(0) == 'E') {
      const std::size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
      if (is_digit(peek(sign))) {
        real = true;
        at_ += sign;
        while (is_digit(peek(0))) ++at_;
      }
    }
    if (is_letter(peek(0)) && !(!real && (peek(0) == 'u' || peek(0) == 'U') && !is_letter(peek(1))))
      return read_duration(token, start);
    if (real) {
      const std::string spelled(text_.substr(start, at_ - start));
      token.kind = TokenKind::kLiteral;
      token.value = Value::real(std::strtod(spelled.c_str(), nullptr));
      return ok();
    }
    std::uint64_t value = 0;
    for (std::size_t i = start; i < at_; ++i)
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, std::uint64_t(text_[i] - '0'), &value))
        return refuse(start, "this number does not fit 64 bits");
    return finish_integer(token, value);
  }

  Status finish_integer(Token& token, std::uint64_t value) {
    token.value = Value::unsigned_integer(value);
    token.kind = TokenKind::kIntMagnitude;
    if (peek(0) == 'u' || peek(0) == 'U') {
      ++at_;
      token.kind = TokenKind::kLiteral;
    }
    if (is_letter(peek(0)) || is_digit(peek(0)))
      return refuse(at_, "a number runs into a name; put a space or an operator between them");
    return ok();
  }

  Status read_duration(Token& token, std::size_t start) {
    while (is_letter(peek(0)) || is_digit(peek(0)) || (peek(0) == '.' && is_digit(peek(1)))) ++at_;
    TimeSpan span;
    if (!parse_cel_duration(text_.substr(start, at_ - start), span))
      return refuse(start, "not a number and not a duration; units are ns, us, ms, s, m, h (20ms, 1h30m)");
    token.kind = TokenKind::kLiteral;
    token.value = Value::duration(span);
    return ok();
  }

  void read_name(Token& token) {
    while (is_letter(peek(0)) || is_digit(peek(0))) ++at_;
    token.text = text_.substr(token.position, at_ - token.position);
    token.kind = TokenKind::kName;
    struct Word {
      std::string_view spelled, means;
    };
    for (const auto& word : std::array<Word, 4>{{{"AND", "&&"}, {"OR", "||"}, {"NOT", "NOT"}, {"in", "in"}}})
      if (token.text == word.spelled) {
        token.kind = TokenKind::kPunct;
        token.text = word.means;
      }
    const bool is_literal = token.text == "true" || token.text == "false" || token.text == "null";
    if (!is_literal) return;
    token.kind = TokenKind::kLiteral;
    if (token.text != "null") token.value = Value::boolean(token.text == "true");
  }

  Status read_quoted_name(Token& token) {
    const auto end = text_.find('`', at_ + 1);
    if (end == std::string_view::npos)
      return refuse(at_, "this quoted field name never ends; add a closing `");
    token.kind = TokenKind::kQuotedName;
    token.text = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return ok();
  }

  Status read_punct(Token& token) {
    token.kind = TokenKind::kPunct;
    for (const std::string_view two : {"&&", "||", "==", "!=", "<=", ">="})
      if (text_.substr(at_).starts_with(two)) {
        token.text = two;
        at_ += 2;
        return ok();
      }
    constexpr std::string_view kOne = "()[]{}.,:?!<>+-*/%";
    if (kOne.find(text_[at_]) == std::string_view::npos) {
      if (text_[at_] == '=') return refuse(at_, "a single '='; compare with '=='");
      if (text_[at_] == '&' || text_[at_] == '|') return refuse(at_, "write && and || (or AND and OR)");
      return refuse(at_, "this character begins nothing in an expression; remove it");
    }
    token.text = text_.substr(at_, 1);
    ++at_;
    return ok();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view text) { return Lexer(text).run(); }

}  // namespace neap::policy
