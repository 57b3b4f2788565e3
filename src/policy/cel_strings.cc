// The strings extension; positions count code points.
#include <algorithm>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;

std::size_t width_at(std::string_view text, std::size_t at) {
  std::size_t width = 1;
  while (at + width < text.size() && (static_cast<unsigned char>(text[at + width]) & 0xC0) == 0x80) ++width;
  return width;
}
// Byte offset of the code point; text.size() one past the last; npos beyond.
std::size_t offset_of(std::string_view text, std::int64_t position) {
  std::size_t at = 0;
  if (position < 0) return std::string_view::npos;
  for (; position > 0 && at < text.size(); --position) at += width_at(text, at);
  return position == 0 ? at : std::string_view::npos;
}

bool is_space(std::uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}
std::uint32_t code_point(std::string_view bytes) {
  if (bytes.size() == 1) return static_cast<unsigned char>(bytes[0]);
  std::uint32_t c = static_cast<unsigned char>(bytes[0]) & (0x7F >> bytes.size());
  for (const char next : bytes.substr(1)) c = c << 6 | (static_cast<unsigned char>(next) & 0x3F);
  return c;
}

Fault give_text(Value& out, std::string_view text) { return give(out, Value::string(std::string(text))); }

Fault char_at(std::string_view text, const Value& position, Value& out) {
  if (!position.is(K::kInt)) return Fault::kNoOverload;
  const auto at = offset_of(text, position.as_int());
  if (at == std::string_view::npos) return Fault::kIndex;
  return give_text(out, at == text.size() ? "" : text.substr(at, width_at(text, at)));
}

Fault index_of(Function function, const Value* args, std::size_t count, std::uint64_t& steps_left,
               Value& out) {
  if (!args[1].is(K::kString) || (count == 3 && !args[2].is(K::kInt))) return Fault::kNoOverload;
  const auto text = args[0].as_text(), wanted = args[1].as_text();
  if (!spend(steps_left, text.size() / 16 * (1 + wanted.size() / 64))) return Fault::kBudget;
  const bool last = function == Function::kLastIndexOf;
  std::size_t from = last ? text.size() : 0;
  if (count == 3) {
    from = offset_of(text, args[2].as_int());
    if (from == std::string_view::npos) return Fault::kIndex;
  }
  const auto found = last ? text.rfind(wanted, from) : text.find(wanted, from);
  if (found == std::string_view::npos) return give(out, Value::integer(-1));
  return give(out, Value::integer(std::int64_t(count_code_points(text.substr(0, found)))));
}

Fault join(const Value& list, std::string_view separator, std::uint64_t& steps_left, Value& out) {
  std::string joined;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Value element = list.element(i);
    if (!element.is(K::kString)) return Fault::kNoOverload;
    if (!spend(steps_left, 1 + (element.as_text().size() + separator.size()) / 16)) return Fault::kBudget;
    if (i > 0) joined += separator;
    joined += element.as_text();
  }
  return give(out, Value::string(std::move(joined)));
}

Fault replace(const Value* args, std::size_t count, std::uint64_t& steps_left, Value& out) {
  if (!args[1].is(K::kString) || !args[2].is(K::kString) || (count == 4 && !args[3].is(K::kInt)))
    return Fault::kNoOverload;
  const auto text = args[0].as_text(), old = args[1].as_text(), fresh = args[2].as_text();
  std::int64_t left = count == 4 ? args[3].as_int() : -1;
  if (!spend(steps_left, text.size() / 16 * (1 + old.size() / 64))) return Fault::kBudget;
  std::string made;
  std::size_t at = 0;
  while (at <= text.size() && left != 0) {
    const auto found = text.find(old, at);
    if (found == std::string_view::npos) break;
    if (!spend(steps_left, 1 + (found - at + fresh.size()) / 16)) return Fault::kBudget;
    made += text.substr(at, found - at);
    made += fresh;
    at = found + old.size();
    --left;
    // An empty text stands before every code point and at the end.
    if (old.empty()) {
      if (at == text.size()) return give(out, Value::string(std::move(made)));
      const auto width = width_at(text, at);
      made += text.substr(at, width);
      at += width;
    }
  }
  made += text.substr(std::min(at, text.size()));
  return give(out, Value::string(std::move(made)));
}

Fault split(const Value* args, std::size_t count, std::uint64_t& steps_left, Value& out) {
  if (!args[1].is(K::kString) || (count == 3 && !args[2].is(K::kInt))) return Fault::kNoOverload;
  const auto text = args[0].as_text(), separator = args[1].as_text();
  const std::int64_t limit = count == 3 ? args[2].as_int() : -1;
  if (!spend(steps_left, text.size() / 16 * (1 + separator.size() / 64))) return Fault::kBudget;
  std::vector<Value> parts;
  std::size_t at = 0;
  while (limit != 0) {
    if (!spend(steps_left, 1)) return Fault::kBudget;
    std::size_t end = std::string_view::npos;
    if (limit < 0 || std::int64_t(parts.size()) + 1 < limit)
      end = separator.empty() ? at + (at < text.size() ? width_at(text, at) : 0) : text.find(separator, at);
    const bool is_last =
        end == std::string_view::npos || (separator.empty() && end >= text.size() && !text.empty());
    if (separator.empty() && text.empty()) break;
    parts.push_back(Value::string(std::string(text.substr(at, is_last ? end : end - at))));
    if (is_last) break;
    at = end + separator.size();
  }
  return give(out, Value::list(std::move(parts)));
}

Fault substring(const Value* args, std::size_t count, Value& out) {
  if (!args[1].is(K::kInt) || (count == 3 && !args[2].is(K::kInt))) return Fault::kNoOverload;
  const auto text = args[0].as_text();
  const auto from = offset_of(text, args[1].as_int());
  const auto to = count == 3 ? offset_of(text, args[2].as_int()) : text.size();
  if (from == std::string_view::npos || to == std::string_view::npos || to < from) return Fault::kIndex;
  return give_text(out, text.substr(from, to - from));
}

Fault trim(std::string_view text, Value& out) {
  std::size_t first = text.size(), end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto width = width_at(text, at);
    if (!is_space(code_point(text.substr(at, width)))) {
      first = std::min(first, at);
      end = at + width;
    }
    at += width;
  }
  return give_text(out, first >= end ? "" : text.substr(first, end - first));
}

Fault reverse(std::string_view text, Value& out) {
  std::string made;
  made.reserve(text.size());
  for (std::size_t end = text.size(); end > 0;) {
    std::size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    made += text.substr(at, end - at);
    end = at;
  }
  return give(out, Value::string(std::move(made)));
}

Fault change_case(Function function, std::string_view text, Value& out) {
  std::string made(text);
  for (char& c : made) {
    if (function == Function::kLowerAscii && c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
    if (function == Function::kUpperAscii && c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
  }
  return give(out, Value::string(std::move(made)));
}

Fault quote(std::string_view text, Value& out) {
  constexpr std::string_view kSpecial = "\a\b\f\n\r\t\v\\\"", kLetters = "abfnrtv\\\"";
  std::string made = "\"";
  for (const char c : text) {
    const auto at = kSpecial.find(c);
    if (at == std::string_view::npos) {
      made += c;
    } else {
      made += '\\';
      made += kLetters[at];
    }
  }
  return give(out, Value::string(made + "\""));
}

}  // namespace

Fault call_string(Function function, const Value* args, std::size_t count, std::uint64_t& steps_left,
                  Value& out) {
  if (function == Function::kJoin) {
    if (!args[0].is(K::kList) || (count == 2 && !args[1].is(K::kString))) return Fault::kNoOverload;
    return join(args[0], count == 2 ? args[1].as_text() : "", steps_left, out);
  }
  if (function == Function::kEncodeBase64)
    return args[0].is(K::kBytes) ? give(out, Value::string(encode_base64(args[0].as_text())))
                                 : Fault::kNoOverload;
  if (!args[0].is(K::kString)) return Fault::kNoOverload;
  const auto text = args[0].as_text();
  switch (function) {
    case Function::kCharAt:
      return char_at(text, args[1], out);
    case Function::kIndexOf:
    case Function::kLastIndexOf:
      return index_of(function, args, count, steps_left, out);
    case Function::kReplace:
      return replace(args, count, steps_left, out);
    case Function::kReverse:
      return reverse(text, out);
    case Function::kSplit:
      return split(args, count, steps_left, out);
    case Function::kSubstring:
      return substring(args, count, out);
    case Function::kTrim:
      return trim(text, out);
    case Function::kQuote:
      return quote(text, out);
    case Function::kDecodeBase64: {
      std::string bytes;
      return decode_base64(text, bytes) ? give(out, Value::bytes(std::move(bytes))) : Fault::kConversion;
    }
    default:
      return change_case(function, text, out);
  }
}

}  // namespace neap::policy
