#include "internal/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "neap/api/yaml_lines.h"
#include "neap/finops/price_book.h"

namespace neap::simulation {
namespace {

std::optional<std::string> scalar_text(const Json& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_int64()) return fmt::format("{}", value.get_int64());
  if (value.is_uint64()) return fmt::format("{}", value.get_uint64());
  if (value.is_double()) return fmt::format("{}", value.get_double());
  if (value.is_bool()) return std::string(value.get_bool() ? "true" : "false");
  return std::nullopt;
}

// What a message may repeat of a text somebody else wrote.
std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 60)) out += std::uint8_t(c) < 0x20 || c == 0x7f ? '?' : c;
  return fmt::format("\"{}\"{}", out, text.size() > 60 ? "..." : "");
}

}  // namespace

void Problems::add(std::string_view path, std::string_view what) {
  if (first_) return;
  const auto line = api::find_yaml_line(text_, document_, path);
  first_ = Error{.code = Code::kInvalidArgument,
                 .reason = "simulation.scenario",
                 .message = line > 0 ? fmt::format("{}:{}: {}: {}", file_, line, path, what)
                                     : fmt::format("{}: {}: {}", file_, path, what),
                 .context = {}};
}
Status Problems::status() const {
  if (first_) return fail(*first_);
  return ok();
}

Fields::Fields(const Json* value, std::string path, Problems& problems)
    : path_(std::move(path)), problems_(&problems) {
  if (!value || value->is_null()) return;
  object_ = value->if_object();
  if (!object_) problems_->add(path_, "is not a mapping; write its members indented below it");
}

const Json* Fields::take(std::string_view key) {
  taken_.emplace(key);
  const auto* value = object_ ? object_->if_contains(key) : nullptr;
  return value && !value->is_null() ? value : nullptr;
}

std::optional<std::string> Fields::scalar(std::string_view key) {
  const auto* value = take(key);
  if (!value) return std::nullopt;
  auto out = scalar_text(*value);
  if (!out) refuse(key, "is a list or mapping where one value is expected");
  return out;
}

std::string Fields::text(std::string_view key, std::string_view otherwise, std::size_t length_max) {
  auto value = scalar(key);
  if (!value) return std::string(otherwise);
  if (value->size() > length_max)
    refuse(key, fmt::format("has {} bytes; at most {} are allowed, shorten it", value->size(), length_max));
  return *std::move(value);
}

std::string Fields::required_text(std::string_view key) {
  auto out = text(key);
  if (out.empty()) refuse(key, "is missing or empty; write it");
  return out;
}

std::size_t Fields::choice(std::string_view key, const std::vector<std::string_view>& words) {
  const auto value = scalar(key);
  if (!value) return 0;
  const auto found = std::ranges::find(words, *value);
  if (found != words.end()) return std::size_t(found - words.begin());
  refuse(key, fmt::format("is {}; write one of {}", quoted(*value), fmt::join(words, ", ")));
  return 0;
}

std::int64_t Fields::integer(std::string_view key, std::int64_t otherwise, std::int64_t least,
                             std::int64_t most) {
  const auto* value = take(key);
  if (!value) return otherwise;
  if (value->is_int64() && value->get_int64() >= least && value->get_int64() <= most)
    return value->get_int64();
  refuse(key, fmt::format("is {}; write a whole number from {} to {}", quoted(to_text(*value)), least, most));
  return otherwise;
}

double Fields::number(std::string_view key, double otherwise, double least, double most) {
  const auto* value = take(key);
  if (!value) return otherwise;
  if (value->is_number()) {
    const auto out = value->to_number<double>();
    if (std::isfinite(out) && out >= least && out <= most) return out;
  }
  refuse(key, fmt::format("is {}; write a number from {} to {}", quoted(to_text(*value)), least, most));
  return otherwise;
}

bool Fields::flag(std::string_view key, bool otherwise) {
  const auto* value = take(key);
  if (!value) return otherwise;
  if (value->is_bool()) return value->get_bool();
  refuse(key, fmt::format("is {}; write true or false", quoted(to_text(*value))));
  return otherwise;
}

template <typename T>
T Fields::parsed(std::string_view key, T otherwise, Result<T> (*parse)(std::string_view)) {
  const auto value = scalar(key);
  if (!value) return otherwise;
  auto out = parse(*value);
  if (out) return *out;
  refuse(key, out.error().message);
  return otherwise;
}

std::int64_t Fields::milliseconds(std::string_view key, std::int64_t otherwise) {
  constexpr std::int64_t kYears = 20LL * 366 * 24 * 3'600'000;
  const auto out = parsed<Duration>(key, std::chrono::milliseconds(otherwise), parse_duration);
  const auto value = std::chrono::duration_cast<std::chrono::milliseconds>(out).count();
  if (value <= kYears) return value;
  refuse(key, "is longer than 20 years; write less");
  return otherwise;
}
Bytes Fields::bytes(std::string_view key, Bytes otherwise) {
  return parsed<Bytes>(key, otherwise, parse_bytes);
}
MilliCores Fields::cores(std::string_view key, MilliCores otherwise) {
  return parsed<MilliCores>(key, otherwise, parse_cores);
}
MilliAccelerators Fields::accelerators(std::string_view key) {
  return parsed<MilliAccelerators>(key, {}, parse_accelerators);
}
MoneyMicros Fields::money(std::string_view key, MoneyMicros otherwise) {
  return parsed<MoneyMicros>(key, otherwise, finops::parse_money);
}
std::optional<WallTime> Fields::time(std::string_view key) {
  const auto value = scalar(key);
  if (!value) return std::nullopt;
  const auto out = parse_rfc3339(*value);
  if (out) return *out;
  refuse(key, out.error().message);
  return std::nullopt;
}

std::vector<std::string> Fields::texts(std::string_view key, std::size_t count_max) {
  const auto* value = take(key);
  std::vector<std::string> out;
  if (!value) return out;
  if (!value->is_array() || value->get_array().size() > count_max) {
    refuse(key, fmt::format("is not a list of at most {} words", count_max));
    return out;
  }
  for (std::size_t i = 0; i < value->get_array().size(); ++i) {
    auto word = scalar_text(value->get_array()[i]);
    if (!word) {
      problems_->add(fmt::format("{}[{}]", path_of(key), i), "is not a word");
      return out;
    }
    out.push_back(*std::move(word));
  }
  return out;
}

Fields Fields::object(std::string_view key) { return Fields(take(key), path_of(key), *problems_); }

std::vector<Fields> Fields::objects(std::string_view key, std::size_t count_max) {
  const auto* value = take(key);
  std::vector<Fields> out;
  if (!value) return out;
  if (!value->is_array() || value->get_array().size() > count_max) {
    refuse(key, fmt::format("is not a list of at most {} mappings; begin each with a dash", count_max));
    return out;
  }
  for (std::size_t i = 0; i < value->get_array().size(); ++i)
    out.emplace_back(&value->get_array()[i], fmt::format("{}[{}]", path_of(key), i), *problems_);
  return out;
}

std::vector<std::pair<std::string, std::string>> Fields::entries(std::string_view key,
                                                                 std::size_t count_max) {
  const auto* value = take(key);
  std::vector<std::pair<std::string, std::string>> out;
  if (!value) return out;
  if (!value->is_object() || value->get_object().size() > count_max) {
    refuse(key, fmt::format("is not a mapping of at most {} members", count_max));
    return out;
  }
  for (const auto& member : value->get_object()) {
    auto word = scalar_text(member.value());
    if (!word) {
      refuse(key, fmt::format("has no single value for {}", quoted(member.key())));
      return out;
    }
    out.emplace_back(std::string(member.key()), *std::move(word));
  }
  return out;
}

void Fields::finish() {
  if (!object_) return;
  for (const auto& member : *object_)
    if (!taken_.contains(std::string_view(member.key())))
      problems_->add(path_of(member.key()),
                     fmt::format("is not known here; known are {}", fmt::join(taken_, ", ")));
}

}  // namespace neap::simulation
