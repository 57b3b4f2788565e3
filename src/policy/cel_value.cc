#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "internal/node.h"
#include "neap/policy/cel.h"

namespace neap::policy {

Value Value::boolean(bool v) {
  Value out;
  out.kind_ = Kind::kBool;
  out.u_.boolean = v;
  return out;
}
Value Value::integer(std::int64_t v) {
  Value out;
  out.kind_ = Kind::kInt;
  out.u_.integer = v;
  return out;
}
Value Value::unsigned_integer(std::uint64_t v) {
  Value out;
  out.kind_ = Kind::kUint;
  out.u_.natural = v;
  return out;
}
Value Value::real(double v) {
  Value out;
  out.kind_ = Kind::kDouble;
  out.u_.real = v;
  return out;
}
Value Value::borrowed_string(std::string_view v) {
  Value out;
  out.kind_ = Kind::kString;
  out.u_.text = {v.data(), v.size()};
  return out;
}
Value Value::string(std::string v) {
  auto held = std::make_shared<const std::string>(std::move(v));
  Value out = borrowed_string(*held);
  out.rep_ = Rep::kOwned;
  out.owner_ = std::move(held);
  return out;
}
Value Value::bytes(std::string v) {
  Value out = string(std::move(v));
  out.kind_ = Kind::kBytes;
  return out;
}
Value Value::duration(TimeSpan v) {
  Value out;
  out.kind_ = Kind::kDuration;
  out.u_.time = v;
  return out;
}
Value Value::duration(Duration v) { return duration(normalized(v.count())); }
Value Value::timestamp(TimeSpan since_epoch) {
  Value out = duration(since_epoch);
  out.kind_ = Kind::kTimestamp;
  return out;
}
Value Value::timestamp(WallTime v) {
  // Timestamps keep nanos in 0..999,999,999, so negative remainders borrow a second.
  TimeSpan span = normalized(v.time_since_epoch().count());
  if (span.nanos < 0) span = {span.seconds - 1, span.nanos + 1'000'000'000};
  return timestamp(span);
}
Value Value::list(std::vector<Value> v) {
  auto held = std::make_shared<const std::vector<Value>>(std::move(v));
  Value out;
  out.kind_ = Kind::kList;
  out.rep_ = Rep::kOwned;
  out.u_.list = held.get();
  out.owner_ = std::move(held);
  return out;
}
Value Value::map(MapEntries v) {
  auto held = std::make_shared<const MapEntries>(std::move(v));
  Value out;
  out.kind_ = Kind::kMap;
  out.rep_ = Rep::kOwned;
  out.u_.entries = held.get();
  out.owner_ = std::move(held);
  return out;
}
Value Value::type(Kind v) {
  Value out;
  out.kind_ = Kind::kType;
  out.u_.type = v;
  return out;
}
Value Value::optional(Value v) {
  Value out = list({std::move(v)});
  out.kind_ = Kind::kOptional;
  return out;
}
Value Value::none() {
  Value out = list({});
  out.kind_ = Kind::kOptional;
  return out;
}
Value Value::quantity(__int128 nanos) {
  Value out;
  out.kind_ = Kind::kQuantity;
  out.u_.quantity = {std::int64_t(nanos >> 64), std::uint64_t(nanos)};
  return out;
}
Value Value::borrowed(const ObjectView& v) {
  Value out;
  out.kind_ = Kind::kMap;
  out.rep_ = Rep::kView;
  out.u_.view = &v;
  return out;
}
Value Value::borrowed(const Json& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return {};
    case boost::json::kind::bool_:
      return boolean(v.get_bool());
    case boost::json::kind::int64:
      return integer(v.get_int64());
    case boost::json::kind::uint64:
      return v.get_uint64() <= std::uint64_t(std::numeric_limits<std::int64_t>::max())
                 ? integer(std::int64_t(v.get_uint64()))
                 : unsigned_integer(v.get_uint64());
    case boost::json::kind::double_:
      return real(v.get_double());
    case boost::json::kind::string:
      return borrowed_string({v.get_string().data(), v.get_string().size()});
    case boost::json::kind::array:
    case boost::json::kind::object:
      break;
  }
  Value out;
  out.kind_ = v.is_array() ? Kind::kList : Kind::kMap;
  out.rep_ = Rep::kJson;
  out.u_.json = &v;
  return out;
}

Duration Value::as_duration() const {
  const __int128 nanos = total_nanos(u_.time);
  if (nanos > std::numeric_limits<std::int64_t>::max()) return Duration::max();
  if (nanos < std::numeric_limits<std::int64_t>::min()) return Duration::min();
  return Duration(std::int64_t(nanos));
}

std::size_t Value::size() const {
  if (kind_ == Kind::kList) return rep_ == Rep::kJson ? u_.json->get_array().size() : u_.list->size();
  if (kind_ == Kind::kOptional) return u_.list->size();
  if (kind_ != Kind::kMap || rep_ == Rep::kView) return 0;
  return rep_ == Rep::kJson ? u_.json->get_object().size() : u_.entries->size();
}
Value Value::element(std::size_t index) const {
  return rep_ == Rep::kJson ? borrowed(u_.json->get_array()[index]) : (*u_.list)[index];
}
std::pair<Value, Value> Value::entry(std::size_t index) const {
  if (rep_ != Rep::kJson) return (*u_.entries)[index];
  const auto& member = *(u_.json->get_object().begin() + std::ptrdiff_t(index));
  return {borrowed_string({member.key().data(), member.key().size()}), borrowed(member.value())};
}
bool Value::find_member(std::string_view key, Value& out) const {
  switch (rep_) {
    case Rep::kView:
      return u_.view->find(key, out);
    case Rep::kJson:
      if (const auto* found = u_.json->get_object().if_contains(key)) {
        out = borrowed(*found);
        return true;
      }
      return false;
    default:
      for (const auto& [k, v] : *u_.entries)
        if (k.is(Kind::kString) && k.as_text() == key) {
          out = v;
          return true;
        }
      return false;
  }
}
bool Value::find(const Value& key, Value& out) const {
  if (key.is(Kind::kString)) return find_member(key.as_text(), out);
  if (rep_ != Rep::kOwned) return false;
  for (const auto& [k, v] : *u_.entries)
    if (equal_values(k, key)) {
      out = v;
      return true;
    }
  return false;
}

Value Value::owned() const {
  std::uint64_t elements_left = 1'000'000;
  return owned_within(elements_left);
}

// Sub-lists may be shared, so a value's printed size can be exponential in the size that built it.
Value Value::owned_within(std::uint64_t& elements_left) const {
  if (elements_left == 0) return {};
  --elements_left;
  switch (kind_) {
    case Kind::kString:
      return owner_ ? *this : string(std::string(as_text()));
    case Kind::kBytes:
      return owner_ ? *this : bytes(std::string(as_text()));
    case Kind::kList: {
      std::vector<Value> elements;
      for (std::size_t i = 0; i < size() && elements_left > 0; ++i)
        elements.push_back(element(i).owned_within(elements_left));
      return list(std::move(elements));
    }
    case Kind::kOptional:
      return size() == 0 ? none() : optional(optional_value().owned_within(elements_left));
    case Kind::kMap: {
      MapEntries entries;
      for (std::size_t i = 0; i < size() && elements_left > 0; ++i) {
        auto [k, v] = entry(i);
        entries.emplace_back(k.owned_within(elements_left), v.owned_within(elements_left));
      }
      return map(std::move(entries));
    }
    default:
      return *this;
  }
}

Json Value::to_json() const {
  switch (kind_) {
    case Kind::kNull:
      return nullptr;
    case Kind::kBool:
      return u_.boolean;
    case Kind::kInt:
      return u_.integer;
    case Kind::kUint:
      return u_.natural;
    case Kind::kDouble:
      if (std::isfinite(u_.real)) return u_.real;
      return Json(boost::json::string(to_text()));
    case Kind::kBytes:
      return Json(boost::json::string(encode_base64(as_text())));
    case Kind::kOptional:
      return size() == 0 ? Json(nullptr) : optional_value().to_json();
    case Kind::kString:
      return Json(boost::json::string(as_text()));
    case Kind::kList: {
      JsonArray out;
      for (std::size_t i = 0; i < size(); ++i) out.push_back(element(i).to_json());
      return out;
    }
    case Kind::kMap: {
      JsonObject out;
      for (std::size_t i = 0; i < size(); ++i) {
        const auto [k, v] = entry(i);
        out[k.is(Kind::kString) ? std::string(k.as_text()) : k.to_text()] = v.to_json();
      }
      return out;
    }
    default:
      return Json(boost::json::string(to_text()));
  }
}

std::string Value::to_text() const {
  switch (kind_) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return u_.boolean ? "true" : "false";
    case Kind::kInt:
      return fmt::format("{}", u_.integer);
    case Kind::kUint:
      return fmt::format("{}u", u_.natural);
    case Kind::kDouble:
      return format_double(u_.real);
    case Kind::kQuantity:
      return format_quantity(as_quantity());
    case Kind::kOptional:
      return size() == 0 ? "optional.none()" : fmt::format("optional.of({})", optional_value().to_text());
    case Kind::kString:
    case Kind::kBytes:
      return std::string(as_text());
    case Kind::kDuration:
      return format_cel_duration(u_.time);
    case Kind::kTimestamp:
      return format_cel_timestamp(u_.time);
    case Kind::kType:
      return std::string(kind_name(u_.type));
    case Kind::kList:
    case Kind::kMap:
      return neap::to_text(to_json());
  }
  return {};
}

std::string_view kind_name(Value::Kind kind) {
  using K = Value::Kind;
  switch (kind) {
    case K::kNull:
      return "null_type";
    case K::kBool:
      return "bool";
    case K::kInt:
      return "int";
    case K::kUint:
      return "uint";
    case K::kDouble:
      return "double";
    case K::kString:
      return "string";
    case K::kBytes:
      return "bytes";
    case K::kDuration:
      return "google.protobuf.Duration";
    case K::kTimestamp:
      return "google.protobuf.Timestamp";
    case K::kList:
      return "list";
    case K::kMap:
      return "map";
    case K::kType:
      return "type";
    case K::kOptional:
      return "optional_type";
    case K::kQuantity:
      return "quantity";
  }
  return "unknown";
}

Activation::Activation(const Json& object) : object_(&object) {
  if (!object.is_object()) return;
  for (const auto& member : object.get_object())
    has_dotted_names_ = has_dotted_names_ || member.key().find('.') != std::string_view::npos;
}

Activation& Activation::bind(std::string_view name, Value value) {
  has_dotted_names_ = has_dotted_names_ || name.find('.') != std::string_view::npos;
  for (auto& [bound, held] : bound_)
    if (bound == name) {
      held = std::move(value);
      return *this;
    }
  bound_.emplace_back(name, std::move(value));
  return *this;
}

bool Activation::find(std::string_view name, Value& out) const {
  for (const auto& [bound, held] : bound_)
    if (bound == name) {
      out = held.view();
      return true;
    }
  if (object_ && object_->is_object())
    if (const auto* found = object_->get_object().if_contains(name)) {
      out = Value::borrowed(*found);
      return true;
    }
  return false;
}

namespace {

bool is_number(Value::Kind kind) {
  return kind == Value::Kind::kInt || kind == Value::Kind::kUint || kind == Value::Kind::kDouble;
}
int sign_of(auto a, auto b) { return a < b ? -1 : (b < a ? 1 : 0); }

// As the conformance tests have it: the integer is rounded to a double first.
int compare_int_double(__int128 a, double b) { return std::isnan(b) ? 2 : sign_of(double(a), b); }
int compare_numbers(const Value& a, const Value& b) {
  using K = Value::Kind;
  if (a.is(K::kInt) && b.is(K::kInt)) return sign_of(a.as_int(), b.as_int());
  if (a.is(K::kDouble) && b.is(K::kDouble)) {
    if (std::isnan(a.as_double()) || std::isnan(b.as_double())) return 2;
    return sign_of(a.as_double(), b.as_double());
  }
  const auto whole = [](const Value& v) {
    return v.is(K::kInt) ? __int128(v.as_int()) : __int128(v.as_uint());
  };
  if (b.is(K::kDouble)) return compare_int_double(whole(a), b.as_double());
  if (a.is(K::kDouble)) {
    const int flipped = compare_int_double(whole(b), a.as_double());
    return flipped == 2 ? 2 : -flipped;
  }
  return sign_of(whole(a), whole(b));
}

}  // namespace

int compare_values(const Value& a, const Value& b) {
  if (is_number(a.kind()) && is_number(b.kind())) return compare_numbers(a, b);
  if (a.kind() != b.kind()) return 3;
  switch (a.kind()) {
    case Value::Kind::kBool:
      return sign_of(a.as_bool(), b.as_bool());
    case Value::Kind::kString:
    case Value::Kind::kBytes:
      return sign_of(a.as_text(), b.as_text());
    case Value::Kind::kDuration:
    case Value::Kind::kTimestamp:
      return sign_of(a.as_time(), b.as_time());
    case Value::Kind::kQuantity:
      return sign_of(a.as_quantity(), b.as_quantity());
    default:
      return 3;
  }
}

bool equal_values(const Value& a, const Value& b, std::uint64_t& steps_left) {
  if (steps_left == 0) return false;
  --steps_left;
  if (is_number(a.kind()) && is_number(b.kind())) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Value::Kind::kString:
    case Value::Kind::kBytes:
      return a.as_text() == b.as_text();
    case Value::Kind::kNull:
      return true;
    case Value::Kind::kType:
      return a.as_type() == b.as_type();
    case Value::Kind::kList:
      if (a.size() != b.size()) return false;
      for (std::size_t i = 0; i < a.size(); ++i)
        if (!equal_values(a.element(i), b.element(i), steps_left)) return false;
      return true;
    case Value::Kind::kOptional:
      if (a.size() != b.size()) return false;
      return a.size() == 0 || equal_values(a.optional_value(), b.optional_value(), steps_left);
    case Value::Kind::kMap:
      if (a.size() != b.size()) return false;
      for (std::size_t i = 0; i < a.size(); ++i) {
        const auto [key, held] = a.entry(i);
        Value other;
        if (!b.find(key, other) || !equal_values(held, other, steps_left)) return false;
      }
      return true;
    default:
      return compare_values(a, b) == 0;
  }
}

bool equal_values(const Value& a, const Value& b) {
  std::uint64_t steps = 1'000'000;
  return equal_values(a, b, steps);
}

}  // namespace neap::policy
