#include "internal/protobuf_body.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "internal/protobuf_messages.h"
#include "neap/base/time.h"
#include "neap/base/utf8.h"
#include "neap/crypto/digest.h"

namespace neap::apiserver {
namespace {

constexpr int kDepthMax = 24;
constexpr std::string_view kMagic("k8s\0", 4);

using Type = ProtobufType;
using Row = ProtobufRow;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(
      Code::kInvalidArgument, "api.protobuf.syntax",
      fmt::format(
          "the protobuf body is not valid: {}; send JSON, or the message your client's version defines",
          what));
}

// One field of the wire format; `bytes` for length-delimited ones, `number` for varints and fixed ones.
struct Field {
  int id = 0;
  int wire = 0;
  std::uint64_t number = 0;
  std::string_view bytes;
};

class WireReader {
 public:
  explicit WireReader(std::string_view data) : data_(data) {}
  bool at_end() const { return data_.empty(); }
  Result<Field> next() {
    NEAP_TRY(const auto tag, varint());
    Field out{.id = int(tag >> 3), .wire = int(tag & 7), .number = 0, .bytes = {}};
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return malformed("a field number is out of range");
    switch (out.wire) {
      case 0: {
        NEAP_TRY(out.number, varint());
        return out;
      }
      case 1:
        return fixed(out, 8);
      case 5:
        return fixed(out, 4);
      case 2: {
        NEAP_TRY(const auto size, varint());
        if (size > data_.size()) return malformed("a field is longer than the body");
        out.bytes = data_.substr(0, size);
        data_.remove_prefix(size);
        return out;
      }
      default:
        return malformed("an unknown wire type");
    }
  }

 private:
  Result<Field> fixed(Field out, std::size_t size) {
    if (data_.size() < size) return malformed("a field is cut off");
    data_.remove_prefix(size);
    return out;
  }
  Result<std::uint64_t> varint() {
    std::uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (data_.empty()) return malformed("a number is cut off");
      const auto byte = std::uint8_t(data_.front());
      data_.remove_prefix(1);
      out |= std::uint64_t(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return out;
    }
    return malformed("a number has more than ten bytes");
  }
  std::string_view data_;
};

Result<Json> text_value(std::string_view bytes) {
  if (!is_utf8(bytes)) return malformed("a text is not UTF-8");
  return Json(bytes);
}

// Quantity{1: text}
Result<Json> quantity_value(std::string_view bytes) {
  WireReader reader(bytes);
  Json out = "0";
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    if (field.wire != 2 || field.id != 1) continue;
    NEAP_TRY(out, text_value(field.bytes));
  }
  return out;
}

// IntOrString{1: 0 number, 1 text; 2: number; 3: text}
Result<Json> int_or_text_value(std::string_view bytes) {
  WireReader reader(bytes);
  bool is_text = false;
  std::int64_t number = 0;
  Json text = "";
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    if (field.wire == 0 && field.id == 1) is_text = field.number == 1;
    if (field.wire == 0 && field.id == 2) number = std::int64_t(field.number);
    if (field.wire != 2 || field.id != 3) continue;
    NEAP_TRY(text, text_value(field.bytes));
  }
  return is_text ? text : Json(number);
}

Result<void> add_map_entry(std::string_view bytes, Type type, JsonObject& out) {
  WireReader reader(bytes);
  std::string key;
  Json value = "";
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    if (field.wire != 2) continue;
    if (field.id == 1) {
      if (!is_utf8(field.bytes)) return malformed("a key is not UTF-8");
      key = field.bytes;
    } else if (field.id == 2) {
      if (type == Type::kBytesMap) {
        value = crypto::to_base64(field.bytes);
      } else if (type == Type::kQuantityMap) {
        NEAP_TRY(value, quantity_value(field.bytes));
      } else {
        NEAP_TRY(value, text_value(field.bytes));
      }
    }
  }
  out[key] = std::move(value);
  return {};
}

// Timestamp{1: seconds, 2: nanos}; nothing for the zero time an unset field is sent as.
Result<Json> time_value(std::string_view bytes) {
  WireReader reader(bytes);
  std::int64_t seconds = 0, nanos = 0;
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    if (field.wire == 0 && field.id == 1) seconds = std::int64_t(field.number);
    if (field.wire == 0 && field.id == 2) nanos = std::int64_t(field.number);
  }
  if (bytes.empty() || seconds <= 0 || seconds > 4'102'444'800 || nanos < 0 || nanos > 999'999'999)
    return Json();
  return Json(format_rfc3339(WallTime(std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos)),
                             nanos ? 6 : 0));
}

Result<Json> decode_message(std::string_view bytes, const std::vector<Row>& rows, int depth);

// What a field that is no pointer holds when nobody set it.
bool is_zero(const Json& value) {
  return value.is_null() || (value.is_string() && value.get_string().empty()) ||
         (value.is_int64() && value.get_int64() == 0) || (value.is_bool() && !value.get_bool()) ||
         (value.is_object() && value.get_object().empty());
}

Result<Json> decode_value(const Field& field, const Row& row, int depth) {
  switch (row.type) {
    case Type::kText:
      return text_value(field.bytes);
    case Type::kBytes:
      return Json(crypto::to_base64(field.bytes));
    case Type::kInteger:
      return Json(std::int64_t(field.number));
    case Type::kBool:
      return Json(field.number != 0);
    case Type::kTime:
      return time_value(field.bytes);
    case Type::kQuantity:
      return quantity_value(field.bytes);
    case Type::kIntOrText:
      return int_or_text_value(field.bytes);
    default:
      return decode_message(field.bytes, protobuf_messages().at(row.message), depth + 1);
  }
}

Result<Json> decode_message(std::string_view bytes, const std::vector<Row>& rows, int depth) {
  if (depth > kDepthMax) return malformed("messages are nested too deeply");
  JsonObject out;
  WireReader reader(bytes);
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    for (const auto& row : rows) {
      if (row.number != field.id) continue;
      const bool wants_varint = row.type == Type::kInteger || row.type == Type::kBool;
      if (field.wire != (wants_varint ? 0 : 2))
        return malformed(fmt::format("{} has the wrong wire type", row.name));
      if (row.type == Type::kTextMap || row.type == Type::kBytesMap || row.type == Type::kQuantityMap) {
        NEAP_TRY_VOID(add_map_entry(field.bytes, row.type, sub_object(out, row.name)));
        continue;
      }
      NEAP_TRY(auto value, decode_value(field, row, depth));
      if ((row.flags & kInlined) != 0 && value.is_object()) {
        for (auto& member : value.get_object()) out[member.key()] = std::move(member.value());
      } else if ((row.flags & kRepeated) != 0) {
        auto& list = out[row.name];
        if (!list.is_array()) list.emplace_array();
        list.get_array().push_back(std::move(value));
      } else if ((row.flags & kPointer) != 0 ? !value.is_null() : !is_zero(value)) {
        out[row.name] = std::move(value);
      }
    }
  }
  return Json(std::move(out));
}

}  // namespace

bool is_protobuf_content(std::string_view content_type) {
  return content_type.starts_with("application/vnd.kubernetes.protobuf");
}

Result<Json> decode_protobuf_body(std::string_view body) {
  if (!body.starts_with(kMagic)) return malformed("the four bytes \"k8s\\0\" are missing at its start");
  body.remove_prefix(kMagic.size());
  // runtime.Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw}
  std::string api_version, kind;
  std::string_view raw;
  WireReader reader(body);
  while (!reader.at_end()) {
    NEAP_TRY(const auto field, reader.next());
    if (field.wire == 2 && field.id == 2) raw = field.bytes;
    if (field.wire != 2 || field.id != 1) continue;
    WireReader type(field.bytes);
    while (!type.at_end()) {
      NEAP_TRY(const auto member, type.next());
      if (member.wire == 2 && member.id == 1) api_version = member.bytes;
      if (member.wire == 2 && member.id == 2) kind = member.bytes;
    }
  }
  const auto name = kind == "DeleteOptions" ? kind : fmt::format("{} {}", api_version, kind);
  const auto rows = protobuf_messages().find(name);
  // Parts of messages have no blank in their name: only whole documents do.
  if (rows == protobuf_messages().end() || (name.find(' ') == std::string::npos && kind != "DeleteOptions"))
    return fail(Code::kUnimplemented, "api.protobuf.kind",
                fmt::format("protobuf bodies of kind {} ({}) are not taken here; send JSON, for example with "
                            "kubectl create -f",
                            kind.substr(0, 64), api_version.substr(0, 64)));
  NEAP_TRY(auto out, decode_message(raw, rows->second, 0));
  if (!is_utf8(api_version) || !is_utf8(kind)) return malformed("a text is not UTF-8");
  out.get_object()["apiVersion"] = api_version;
  out.get_object()["kind"] = kind;
  return out;
}

}  // namespace neap::apiserver
