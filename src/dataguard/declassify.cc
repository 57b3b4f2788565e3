#include "neap/dataguard/declassify.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "neap/base/json.h"

namespace neap::dataguard {
namespace {

const ScanOptions kWithNames{.names = true};

bool equal_fold(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    const auto fold = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    return fold(x) == fold(y);
  });
}

bool listed(const std::vector<std::string>& fields, std::string_view key) {
  return std::ranges::any_of(fields, [&](const std::string& field) { return equal_fold(field, key); });
}

}  // namespace

Result<Declassifier> Declassifier::create(DeclassificationRule rule) {
  if (rule.name != kMaskIdentifiersV1)
    return fail(
        Code::kInvalidArgument, "dataguard.declassify.rule",
        fmt::format("no declassification is called \"{}\"; there is {}", rule.name, kMaskIdentifiersV1));
  if (rule.source_level == Level::kL1)
    return fail(Code::kInvalidArgument, "dataguard.declassify.rule",
                "an L1 source has no derivative that may leave; classify its records one by one instead");
  return Declassifier(std::move(rule));
}

void Declassifier::count(const std::vector<Finding>& found) {
  for (const Finding& f : found) ++report_.by_type[std::string(entity_name(f.type))];
}

// True when `replacement` must stand for `text`. A text that cannot be made clean becomes one token.
namespace {

constexpr std::size_t kNameBytesMax = 128;

// Bytes of the UTF-8 character at `at`; 1 for what is none.
std::size_t character_bytes(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(at < text.size() ? text[at] : 0);
  const std::size_t wanted = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(wanted, text.size() - std::min(at, text.size()));
}
bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

bool Declassifier::mask_text(std::string_view key, std::string_view text, std::string& replacement,
                             std::uint64_t& masked) {
  // The key is the label of its value: "phone": "5550132" is found only when both are read together.
  labelled_.assign(key);
  labelled_ += key.empty() ? "" : ": ";
  const std::size_t label = labelled_.size();
  labelled_ += text;
  const std::vector<Finding> found = scan(labelled_, kWithNames);
  if (found.empty()) {
    replacement.assign(text);
    const auto names = mask_known_names(replacement);
    masked += names;
    return names > 0;
  }
  count(found);
  masked += found.size();
  const auto result = mask(labelled_, found, rule_.masking, kWithNames);
  const bool intact = result && std::string_view(result->text).substr(0, label) ==
                                    std::string_view(labelled_).substr(0, label);
  replacement = intact ? result->text.substr(label) : std::string("<MASKED>");
  masked += mask_known_names(replacement);
  return true;
}

void Declassifier::collect_names(const Json& value) {
  if (const auto* array = value.if_array()) {
    for (const Json& element : *array) collect_names(element);
    return;
  }
  const auto* object = value.if_object();
  if (!object) return;
  for (const auto& member : *object) {
    if (!member.value().is_string() ||
        !listed(rule_.name_fields, {member.key().data(), member.key().size()})) {
      collect_names(member.value());
      continue;
    }
    const auto& held = member.value().get_string();
    const std::string_view name(held.data(), held.size());
    const std::size_t first = character_bytes(name, 0);
    // One character, or a short single word, is as often an ordinary word as a name.
    const bool telling = first > 1 ? name.size() > first : name.size() >= 5;
    if (name.empty() || name.size() > kNameBytesMax || !telling || !known_names_.emplace(name).second)
      continue;
    name_lengths_.insert(name.size());
    name_beginnings_.emplace(name.substr(0, first));
  }
}

void Declassifier::learn_names(std::string_view line) {
  const auto parsed = parse_json(line, {.bytes_max = rule_.record_bytes_max, .depth_max = 32});
  if (parsed) collect_names(*parsed);
}

// Replaces known names; those of Latin letters only as whole words. Longest first at each position.
std::uint64_t Declassifier::mask_known_names(std::string& text) {
  if (known_names_.empty()) return 0;
  std::uint64_t masked = 0;
  std::string out;
  std::size_t kept = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t step = character_bytes(text, at);
    const bool word_start = step > 1 || at == 0 || !is_word_byte(text[at - 1]);
    if (!word_start || !name_beginnings_.contains(text.substr(at, step))) {
      at += step;
      continue;
    }
    std::size_t length = 0;
    for (auto it = name_lengths_.rbegin(); it != name_lengths_.rend() && length == 0; ++it) {
      if (at + *it > text.size() || !known_names_.contains(text.substr(at, *it))) continue;
      const bool ends_word = step > 1 || at + *it == text.size() || !is_word_byte(text[at + *it]);
      if (ends_word) length = *it;
    }
    if (length == 0) {
      at += step;
      continue;
    }
    out.append(text, kept, at - kept);
    out += dataguard::mask_value(EntityType::kPersonName, std::string_view(text).substr(at, length),
                                 rule_.masking);
    at += length;
    kept = at;
    ++masked;
    ++report_.by_type[std::string(entity_name(EntityType::kPersonName))];
  }
  if (masked == 0) return 0;
  out.append(text, kept);
  text = std::move(out);
  return masked;
}

bool Declassifier::mask_value_in(std::string_view key, Json& value, std::uint64_t& masked) {
  std::string replacement;
  switch (value.kind()) {
    case boost::json::kind::string: {
      const auto& s = value.get_string();
      if (mask_text(key, {s.data(), s.size()}, replacement, masked)) value = replacement;
      return true;
    }
    case boost::json::kind::int64:
    case boost::json::kind::uint64: {
      char digits[24];
      const auto end = value.is_int64()
                           ? std::to_chars(digits, digits + sizeof digits, value.get_int64()).ptr
                           : std::to_chars(digits, digits + sizeof digits, value.get_uint64()).ptr;
      if (end - digits >= 7 &&
          mask_text(key, {digits, static_cast<std::size_t>(end - digits)}, replacement, masked))
        value = replacement;
      return true;
    }
    case boost::json::kind::array:
      for (Json& element : value.get_array())
        if (!mask_value_in(key, element, masked)) return false;
      return true;
    case boost::json::kind::object: {
      JsonObject& object = value.get_object();
      for (const std::string& field : rule_.drop_fields) object.erase(field);
      std::vector<std::pair<std::string, std::string>> renamed;
      for (auto& member : object) {
        const std::string_view name(member.key().data(), member.key().size());
        const bool rename = mask_text({}, name, replacement, masked);
        if (rename) renamed.emplace_back(name, replacement);
        Json& held = member.value();
        if (held.is_string() && !held.get_string().empty() && listed(rule_.name_fields, name)) {
          const auto& s = held.get_string();
          held = dataguard::mask_value(EntityType::kPersonName, {s.data(), s.size()}, rule_.masking);
          ++report_.by_type[std::string(entity_name(EntityType::kPersonName))];
          ++masked;
        } else if (!mask_value_in(rename ? std::string_view{} : name, held, masked)) {
          return false;
        }
      }
      // Two keys that mask to the same text would lose one value: such a record is refused.
      for (auto& [from, to] : renamed) {
        if (object.contains(to)) return false;
        Json moved = std::move(object.at(from));
        object.erase(from);
        object.emplace(to, std::move(moved));
      }
      return true;
    }
    default:
      return true;
  }
}

void Declassifier::take_line(std::string_view line, std::string& out) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty()) return;
  ++report_.records;
  auto parsed = parse_json(line, {.bytes_max = rule_.record_bytes_max, .depth_max = 32});
  if (!parsed || !parsed->is_object()) {
    ++report_.records_refused;
    return;
  }
  Level level = rule_.source_level;
  if (const Json* own = find_path(*parsed, {rule_.level_field})) {
    // A level that cannot be read is the strictest one.
    const auto read = own->is_string() ? parse_level({own->get_string().data(), own->get_string().size()})
                                       : Result<Level>(Level::kL1);
    level = strictest(level, read ? *read : Level::kL1);
  }
  if (level == Level::kL1) {
    ++report_.records_kept_home;
    return;
  }
  std::uint64_t masked = 0;
  if (!mask_value_in({}, *parsed, masked)) {
    ++report_.records_refused;
    return;
  }
  // What each member hid must not be readable in the line either: checksums and fixed grammars, once more.
  const std::string text = to_text(*parsed);
  if (!scan(text, {.min_confidence = 0.9F}).empty()) {
    ++report_.records_refused;
    return;
  }
  ++report_.records_written;
  report_.records_masked += masked != 0 ? 1 : 0;
  report_.identifiers_masked += masked;
  report_.bytes_out += text.size() + 1;
  out += text;
  out += '\n';
}

void Declassifier::feed(std::string_view chunk, std::string& out) {
  report_.bytes_in += chunk.size();
  while (!chunk.empty()) {
    const std::size_t end = chunk.find('\n');
    const std::string_view piece = chunk.substr(0, end);
    if (!skipping_ && partial_.size() + piece.size() > rule_.record_bytes_max) {
      skipping_ = true;
      partial_.clear();
      ++report_.records;
      ++report_.records_refused;
    }
    if (end == std::string_view::npos) {
      if (!skipping_) partial_ += piece;
      return;
    }
    if (!skipping_) {
      if (partial_.empty()) {
        take_line(piece, out);
      } else {
        partial_ += piece;
        take_line(partial_, out);
      }
    }
    partial_.clear();
    skipping_ = false;
    chunk.remove_prefix(end + 1);
  }
}

Classification Declassifier::finish(std::string& out) {
  if (!skipping_ && !partial_.empty()) take_line(partial_, out);
  partial_.clear();
  skipping_ = false;
  return {.level = Level::kL3, .strict = rule_.strict, .declassified_by = rule_.name};
}

Result<Derivative> declassify(std::string_view records, const DeclassificationRule& rule) {
  NEAP_TRY(Declassifier declassifier, Declassifier::create(rule));
  for (std::size_t at = 0; at < records.size();) {
    const auto end = std::min(records.find('\n', at), records.size());
    declassifier.learn_names(records.substr(at, end - at));
    at = end + 1;
  }
  Derivative out;
  declassifier.feed(records, out.records);
  out.classification = declassifier.finish(out.records);
  out.report = declassifier.report();
  return out;
}

}  // namespace neap::dataguard
