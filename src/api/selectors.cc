#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "neap/api/codec.h"

namespace neap::api {
namespace {

constexpr std::size_t kSelectorBytesMax = 16u << 10;

std::unexpected<Error> bad(std::string_view what, std::string_view text, std::size_t at,
                           std::string_view why) {
  return fail(Code::kInvalidArgument, "api.selector",
              fmt::format("the {} selector \"{}\" is not valid at position {}: {}", what, text.substr(0, 200),
                          at + 1, why));
}

// In full and in base 10, a sign allowed.
std::optional<std::int64_t> integer_of(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Scans a label selector left to right.
class LabelScanner {
 public:
  explicit LabelScanner(std::string_view text) : text_(text) {}
  std::size_t at() const { return at_; }
  bool done() {
    skip_blanks();
    return at_ == text_.size();
  }
  bool take(std::string_view token) {
    skip_blanks();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  // A name, a value or a keyword; may be empty.
  std::string word() {
    skip_blanks();
    const std::size_t first = at_;
    while (at_ < text_.size() && text_.substr(at_, 1).find_first_of(" \t,=!()<>") == std::string_view::npos)
      ++at_;
    return std::string(text_.substr(first, at_ - first));
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  if (text.size() > kSelectorBytesMax)
    return fail(Code::kInvalidArgument, "api.selector",
                fmt::format("a selector may have {} bytes, this one has {}", kSelectorBytesMax, text.size()));
  LabelScanner scan(text);
  while (!scan.done()) {
    Term term;
    const bool negated = scan.take("!");
    term.key = scan.word();
    if (term.key.empty()) return bad("label", text, scan.at(), "a label name is expected");
    if (negated) {
      term.op = Term::Op::kAbsent;
    } else if (scan.take("!=")) {
      term.op = Term::Op::kNotIn;
      term.values.push_back(scan.word());
    } else if (scan.take("==") || scan.take("=")) {
      term.op = Term::Op::kIn;
      term.values.push_back(scan.word());
    } else if (const bool is_greater = scan.take(">"); is_greater || scan.take("<")) {
      term.op = is_greater ? Term::Op::kGreater : Term::Op::kLess;
      const auto bound = integer_of(scan.word());
      if (!bound) return bad("label", text, scan.at(), "an integer of 64 bits is expected");
      term.bound = *bound;
    } else if (const auto keyword = scan.word(); !keyword.empty()) {
      if (keyword != "in" && keyword != "notin")
        return bad("label", text, scan.at(),
                   fmt::format("\"{}\" is not one of =, ==, !=, >, <, in, notin", keyword));
      term.op = keyword == "in" ? Term::Op::kIn : Term::Op::kNotIn;
      if (!scan.take("(")) return bad("label", text, scan.at(), "'(' is expected");
      do term.values.push_back(scan.word());
      while (scan.take(","));
      if (!scan.take(")")) return bad("label", text, scan.at(), "')' is expected");
    }
    out.terms_.push_back(std::move(term));
    if (scan.done()) break;
    if (!scan.take(",")) return bad("label", text, scan.at(), "',' is expected");
    if (scan.done()) return bad("label", text, scan.at(), "a label name is expected");
  }
  return out;
}

bool LabelSelector::matches(const Json& object) const {
  const Json* labels = find_path(object, {"metadata", "labels"});
  return std::ranges::all_of(terms_, [&](const Term& term) {
    const Json* found = labels ? find_path(*labels, {term.key}) : nullptr;
    const bool present = found && found->is_string();
    const auto text = present ? std::string_view(found->get_string()) : std::string_view();
    const bool listed = present && std::ranges::find(term.values, text) != term.values.end();
    switch (term.op) {
      case Term::Op::kIn:
        return listed;
      case Term::Op::kNotIn:
        return !listed;  // an absent label is not in the set, as in Kubernetes
      case Term::Op::kExists:
        return present;
      case Term::Op::kAbsent:
        return !present;
      case Term::Op::kGreater:
      case Term::Op::kLess: {
        const auto value = present ? integer_of(text) : std::nullopt;
        return value && (term.op == Term::Op::kGreater ? *value > term.bound : *value < term.bound);
      }
    }
    return false;
  });
}

std::string field_text(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (!path.empty()) {
    const auto dot = path.find('.');
    at = find_path(*at, {path.substr(0, dot)});
    if (!at) return {};
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
  }
  if (at->is_string()) return std::string(at->get_string());
  if (at->is_null() || at->is_object() || at->is_array()) return {};
  return to_text(*at);
}

Result<FieldSelector> FieldSelector::parse(std::string_view text, const std::vector<std::string>& allowed) {
  FieldSelector out;
  if (text.size() > kSelectorBytesMax)
    return fail(Code::kInvalidArgument, "api.selector",
                fmt::format("a selector may have {} bytes, this one has {}", kSelectorBytesMax, text.size()));
  std::size_t at = 0;
  while (at < text.size()) {
    Term term;
    const std::size_t first = at;
    while (at < text.size() && text[at] != '=' && text[at] != '!' && text[at] != ',') ++at;
    term.path = std::string(text.substr(first, at - first));
    if (text.substr(at).starts_with("!=")) {
      term.negated = true;
      at += 2;
    } else if (text.substr(at).starts_with("==")) {
      at += 2;
    } else if (text.substr(at).starts_with("=")) {
      at += 1;
    } else {
      return bad("field", text, at, "=, == or != is expected");
    }
    for (; at < text.size() && text[at] != ','; ++at) {
      if (text[at] == '\\') {
        ++at;
        if (at == text.size() || (text[at] != '\\' && text[at] != ',' && text[at] != '='))
          return bad("field", text, at, "after a backslash comes a backslash, ',' or '='");
      }
      term.value += text[at];
    }
    if (at < text.size()) ++at;
    const bool known = term.path == "metadata.name" || term.path == "metadata.namespace" ||
                       std::ranges::find(allowed, term.path) != allowed.end();
    if (!known)
      return fail(Code::kInvalidArgument, "api.selector.field",
                  fmt::format("field label not supported: \"{}\"; use metadata.name, metadata.namespace{}{}",
                              term.path, allowed.empty() ? "" : ", ", fmt::join(allowed, ", ")));
    out.terms_.push_back(std::move(term));
  }
  return out;
}

bool FieldSelector::matches(const Json& object) const {
  return std::ranges::all_of(terms_, [&](const Term& term) {
    return (field_text(object, term.path) == term.value) != term.negated;
  });
}

std::optional<std::string> FieldSelector::required_value(std::string_view path) const {
  for (const auto& term : terms_)
    if (!term.negated && term.path == path) return term.value;
  return std::nullopt;
}

}  // namespace neap::api
