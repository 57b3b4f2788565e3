#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "internal/bounds.h"
#include "internal/instantiate.h"
#include "internal/json_visitor.h"

namespace neap::api::internal {
namespace {

std::string_view text_of(const Json& value) { return {value.get_string().data(), value.get_string().size()}; }

template <class T>
bool store(Result<T> result, T& out, ReadPosition& at) {
  if (!result) return at.refuse(result.error());
  out = *result;
  return true;
}

}  // namespace

std::string write_time(WallTime time) {
  const auto rest = time.time_since_epoch() % std::chrono::seconds(1);
  const int digits = rest.count() == 0 ? 0 : rest % std::chrono::milliseconds(1) == Duration{0} ? 3 : 6;
  return format_rfc3339(time, digits);
}

std::string found_kind(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case boost::json::kind::object:
      return "an object";
    case boost::json::kind::array:
      return "a list";
    case boost::json::kind::string: {
      const auto text = text_of(value);
      if (text.size() <= 64) return fmt::format("\"{}\"", text);
      // Cut at a character, not inside one.
      std::size_t end = 61;
      while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
      return fmt::format("\"{}...\"", text.substr(0, end));
    }
    default:
      return to_text(value);
  }
}

std::string ReadPosition::path() const {
  std::string out;
  for (const auto& step : steps_) {
    if (!step.name.empty()) {
      if (!out.empty()) out += '.';
      out += step.name;
    } else {
      out += fmt::format("[{}]", step.index);
    }
  }
  return out.empty() ? "object" : out;
}
bool ReadPosition::refuse(std::string_view must, const Json& value) {
  if (!error_)
    error_ = Error{Code::kInvalidArgument,
                   "api.field.type",
                   fmt::format("{}: must be {}, is {}", path(), must, found_kind(value)),
                   {}};
  return false;
}
bool ReadPosition::refuse(const Error& why) {
  if (!error_) error_ = Error{why.code, why.reason, fmt::format("{}: {}", path(), why.message), why.context};
  return false;
}

bool read_scalar(const Json& value, std::string& out, ReadPosition& at) {
  if (!value.is_string()) return at.refuse("a string", value);
  out = text_of(value);
  return true;
}
bool read_scalar(const Json& value, bool& out, ReadPosition& at) {
  if (!value.is_bool()) return at.refuse("true or false", value);
  out = value.get_bool();
  return true;
}
bool read_scalar(const Json& value, std::int64_t& out, ReadPosition& at) {
  if (const auto* i = value.if_int64()) {
    out = *i;
    return true;
  }
  // 3.0 is an integer in JSON; beyond 2^53 a double no longer says which one.
  if (const auto* d = value.if_double(); d && std::trunc(*d) == *d && std::fabs(*d) <= 9007199254740992.0) {
    out = std::int64_t(*d);
    return true;
  }
  return at.refuse("an integer of 64 bits", value);
}
bool read_scalar(const Json& value, double& out, ReadPosition& at) {
  if (!value.is_number()) return at.refuse("a number", value);
  out = value.to_number<double>();
  return true;
}

Result<std::int64_t> quantity_of(const Json& value, std::int64_t scale) {
  if (value.is_string()) return parse_quantity(text_of(value), scale);
  if (value.is_number())
    return parse_quantity(value.is_double() ? fmt::format("{}", value.get_double()) : to_text(value), scale);
  return fail(Code::kInvalidArgument, "quantity.format",
              fmt::format("must be a quantity like 500m, 2 or 4Gi, is {}", found_kind(value)));
}
namespace {
template <class Q>
bool read_quantity(const Json& value, std::int64_t scale, std::int64_t most, Q& out, ReadPosition& at) {
  if (!store(quantity_of(value, scale), out.value, at)) return false;
  out.value = std::min(out.value, most);
  return true;
}
}  // namespace
bool read_scalar(const Json& value, Bytes& out, ReadPosition& at) {
  return read_quantity(value, 1, kBytesMax, out, at);
}
bool read_scalar(const Json& value, MilliCores& out, ReadPosition& at) {
  return read_quantity(value, 1000, kMilliMax, out, at);
}
bool read_scalar(const Json& value, MilliAccelerators& out, ReadPosition& at) {
  return read_quantity(value, 1000, kMilliMax, out, at);
}
bool read_scalar(const Json& value, MoneyMicros& out, ReadPosition& at) {
  return read_scalar(value, out.value, at);
}
bool read_scalar(const Json& value, Duration& out, ReadPosition& at) {
  if (!value.is_string()) return at.refuse("a duration like 20ms or 5m", value);
  if (!store(parse_duration(text_of(value)), out, at)) return false;
  out = std::min(out, kDurationMax);
  return true;
}
bool read_scalar(const Json& value, WallTime& out, ReadPosition& at) {
  if (!value.is_string()) return at.refuse("a time like 2026-11-22T08:00:00Z", value);
  auto read = parse_rfc3339(text_of(value));
  if (!read && read.error().reason == "time.range") {
    out = text_of(value) < "2" ? kTimeMin : kTimeMax;
    return true;
  }
  if (!store(std::move(read), out, at)) return false;
  out = std::clamp(out, kTimeMin, kTimeMax);
  return true;
}

JsonObject resource_head(std::string_view kind, const ObjectMeta& metadata) {
  JsonObject out;
  out["apiVersion"] = fmt::format("{}/{}", kGroup, kVersion);
  out["kind"] = kind;
  out["metadata"] = write_object(metadata);
  return out;
}
bool read_resource_head(std::string_view kind, const JsonObject& in, ObjectMeta& metadata, ReadPosition& at) {
  if (const Json* found = in.if_contains("kind"); found && *found != boost::json::string(kind)) {
    at.enter("kind");
    return at.refuse(fmt::format("\"{}\"", kind), *found);
  }
  return read_part(in, "metadata", metadata, at);
}

}  // namespace neap::api::internal
