#include <fmt/format.h>

#include <cmath>

#include "internal/yaml_scalar.h"
#include "neap/api/codec.h"

namespace neap::api {
namespace {

std::string_view text_of(const boost::json::string& s) { return {s.data(), s.size()}; }

// Code points that YAML forbids raw or takes for line breaks, and that JSON's escapes leave as they are.
std::string quote(std::string_view text) {
  const std::string json = boost::json::serialize(boost::json::string_view(text.data(), text.size()));
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const auto at = [&](std::size_t k) {
      return i + k < json.size() ? static_cast<unsigned char>(json[i + k]) : 0u;
    };
    if (at(0) == 0x7f) {
      out += "\\u007f";
    } else if (at(0) == 0xc2 && at(1) >= 0x80 && at(1) <= 0x9f) {
      out += fmt::format("\\u{:04x}", at(1));
      i += 1;
    } else if (at(0) == 0xe2 && at(1) == 0x80 && (at(2) == 0xa8 || at(2) == 0xa9)) {
      out += fmt::format("\\u{:04x}", 0x2000 + (at(2) & 0x3f));
      i += 2;
    } else if (at(0) == 0xef && at(1) == 0xbb && at(2) == 0xbf) {
      out += "\\ufeff";
      i += 2;
    } else if (at(0) == 0xef && at(1) == 0xbf && (at(2) == 0xbe || at(2) == 0xbf)) {
      out += fmt::format("\\u{:04x}", 0xffc0 + (at(2) & 0x3f));
      i += 2;
    } else {
      out += json[i];
    }
  }
  return out;
}

// Only texts of harmless characters go plain: anything else is quoted, which is always right.
bool may_be_plain(std::string_view text) {
  if (text.empty() || text.size() > 200) return false;
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/';
  };
  if (!word(text.front()) && text.front() != '.') return false;
  if (text.starts_with("...")) return false;  // the end of a document, where a line begins with it
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool last = i + 1 == text.size();
    if (word(c) || c == '.' || c == '-' || c == '+' || c == '=' || c == '(' || c == ')' || c == ';' ||
        c == '@' || c == '$')
      continue;
    if (c == ',' && !last) continue;
    if (c == ' ' && !last && text[i + 1] != '#') continue;
    if (c == ':' && !last && text[i + 1] != ' ') continue;
    return false;
  }
  const auto meaning = internal::resolve_yaml_scalar(text);
  return meaning && meaning->is_string();
}

// Several lines of printable ASCII, no trailing blanks that an editor would lose, no leading blank that
// would need an indentation mark.
bool may_be_block(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == ' ' || text.front() == '\n') return false;
  if (text.ends_with("\n\n")) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c != '\n' && (c < 0x20 || c > 0x7e)) return false;
    if (c == '\n' && i > 0 && text[i - 1] == ' ') return false;
  }
  return text.back() != ' ';
}

class Emitter {
 public:
  std::string take() { return std::move(out_); }

  void document(const Json& value) {
    if (is_block(value)) {
      block(value, 0, false);
    } else {
      scalar(value, 0);
      out_ += '\n';
    }
  }

 private:
  static bool is_block(const Json& value) {
    return (value.is_object() && !value.get_object().empty()) ||
           (value.is_array() && !value.get_array().empty());
  }
  void pad(int depth) { out_.append(std::size_t(depth) * 2, ' '); }

  // `inside_item`: the first member follows "- " on the same line.
  void block(const Json& value, int depth, bool inside_item) {
    bool first = inside_item;
    if (value.is_object()) {
      for (const auto& member : value.get_object()) {
        if (!first) pad(depth);
        first = false;
        const std::string_view key(member.key().data(), member.key().size());
        // A key of more than 1024 characters needs its own line (YAML 1.1, 9.1.3: simple keys).
        if (key.size() > 150) {
          out_ += "? " + quote(key) + '\n';
          pad(depth);
        } else {
          out_ += may_be_plain(key) ? std::string(key) : quote(key);
        }
        out_ += ':';
        child(member.value(), member.value().is_array() ? depth : depth + 1, depth);
      }
    } else {
      for (const auto& element : value.get_array()) {
        if (!first) pad(depth);
        first = false;
        out_ += "- ";
        if (is_block(element)) {
          block(element, depth + 1, true);
        } else {
          scalar(element, depth);
          out_ += '\n';
        }
      }
    }
  }
  void child(const Json& value, int block_depth, int depth) {
    if (is_block(value)) {
      out_ += '\n';
      block(value, block_depth, false);
    } else {
      out_ += ' ';
      scalar(value, depth);
      out_ += '\n';
    }
  }
  void scalar(const Json& value, int depth) {
    switch (value.kind()) {
      case boost::json::kind::null:
        out_ += "null";
        return;
      case boost::json::kind::object:
        out_ += "{}";
        return;
      case boost::json::kind::array:
        out_ += "[]";
        return;
      case boost::json::kind::string:
        return string(text_of(value.get_string()), depth);
      case boost::json::kind::double_: {
        const std::string text = fmt::format("{}", value.get_double());
        out_ += text;
        if (text.find_first_of(".en") == std::string::npos) out_ += ".0";  // stays a floating-point number
        return;
      }
      default:
        out_ += to_text(value);
    }
  }
  void string(std::string_view text, int depth) {
    if (may_be_plain(text)) {
      out_ += text;
    } else if (may_be_block(text)) {
      const bool newline = text.back() == '\n';
      out_ += newline ? "|" : "|-";
      if (newline) text.remove_suffix(1);
      while (true) {
        const auto end = text.find('\n');
        const auto line = text.substr(0, end);
        out_ += '\n';
        if (!line.empty()) {
          pad(depth + 1);
          out_ += line;
        }
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
      }
    } else {
      out_ += quote(text);
    }
  }

  std::string out_;
};

}  // namespace

std::string to_yaml(const Json& value) {
  Emitter emitter;
  emitter.document(value);
  return emitter.take();
}

}  // namespace neap::api
