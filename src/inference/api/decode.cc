#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstring>
#include <limits>

#include "internal/json_scanner.h"
#include "neap/inference/api/codec.h"

namespace neap::inference {

namespace {

std::unexpected<Error> invalid(std::string reason, std::string message) {
  return fail(Code::kInvalidArgument, std::move(reason), std::move(message));
}

// A tensor as its JSON object has it; data is parsed once type and shape are known.
struct RawTensor {
  Tensor tensor;
  bool has_type = false;
  bool has_shape = false;
  std::string_view data;
  bool has_data = false;
  std::optional<std::uint64_t> binary_size;
};

// Fills one tensor from its JSON array, flat or nested as the shape is.
template <class Element>
class ArrayReader {
 public:
  ArrayReader(JsonScanner& in, const Tensor& tensor, std::uint64_t total, std::string& out)
      : in_(in), tensor_(tensor), total_(total), out_(out) {}

  Status read() {
    NEAP_TRY_VOID(array(1));
    if (seen_ != total_) return mismatch();
    return ok();
  }

 private:
  std::unexpected<Error> mismatch() const {
    return invalid("inference.tensor.elements",
                   fmt::format("tensor \"{}\": its data does not have the {} elements of its "
                               "shape, flat or nested as the shape says",
                               tensor_.name, total_));
  }
  std::unexpected<Error> bad_element() const {
    return invalid("inference.tensor.element",
                   fmt::format("tensor \"{}\": element {} is no {} value (NaN and infinity need binary data)",
                               tensor_.name, seen_, datatype_name(tensor_.type)));
  }

  Status array(std::size_t depth) {
    if (!in_.consume('[')) return mismatch();
    if (in_.consume(']')) return total_ == 0 ? ok() : Status(mismatch());
    if (in_.peek() == '[') {
      if (depth >= tensor_.shape.size()) return mismatch();
      std::int64_t rows = 0;
      do {
        NEAP_TRY_VOID(array(depth + 1));
        ++rows;
      } while (in_.consume(','));
      if (rows != tensor_.shape[depth - 1]) return mismatch();
      return in_.consume(']') ? ok() : Status(mismatch());
    }
    const std::uint64_t before = seen_;
    NEAP_TRY_VOID(leaves());
    const bool flat = depth == 1 && seen_ == total_;
    const bool row = depth == tensor_.shape.size() &&
                     seen_ - before == static_cast<std::uint64_t>(tensor_.shape[depth - 1]);
    return flat || row ? ok() : Status(mismatch());
  }

  Status leaves() {
    do {
      if (seen_ == total_) return mismatch();
      NEAP_TRY_VOID(leaf());
      ++seen_;
    } while (in_.consume(','));
    return in_.consume(']') ? ok() : Status(bad_element());
  }

  Status leaf() {
    in_.skip_space();
    if constexpr (std::same_as<Element, std::string>) {
      auto text = in_.string(std::numeric_limits<std::uint32_t>::max());
      if (!text) return fail(std::move(text).error(), fmt::format("reading tensor \"{}\"", tensor_.name));
      const auto length = static_cast<std::uint32_t>(text->size());
      out_.append(reinterpret_cast<const char*>(&length), sizeof(length));
      out_ += *text;
    } else if constexpr (std::same_as<Element, bool>) {
      std::uint64_t number = 2;
      if (in_.peek() == 't' || in_.peek() == 'f') {
        auto flag = in_.boolean();
        if (flag) number = *flag ? 1 : 0;
      } else if (!in_.read(number)) {
        return bad_element();
      }
      if (number > 1) return bad_element();
      out_ += static_cast<char>(number);
    } else {
      Element value{};
      if constexpr (std::floating_point<Element>) {
        if (!in_.read(value)) return bad_element();
      } else {
        std::conditional_t<std::is_signed_v<Element>, std::int64_t, std::uint64_t> wide{};
        if (!in_.read(wide) || !std::in_range<Element>(wide)) return bad_element();
        value = static_cast<Element>(wide);
      }
      std::memcpy(out_.data() + seen_ * sizeof(Element), &value, sizeof(Element));
    }
    return ok();
  }

  JsonScanner& in_;
  const Tensor& tensor_;
  std::uint64_t total_;
  std::string& out_;
  std::uint64_t seen_ = 0;
};

template <class Element>
Status read_array(JsonScanner& in, Tensor& tensor, std::uint64_t total) {
  if constexpr (std::is_arithmetic_v<Element> && !std::same_as<Element, bool>) {
    tensor.bytes.resize(total * sizeof(Element));
  }
  return ArrayReader<Element>(in, tensor, total, tensor.bytes).read();
}

Status read_typed_array(JsonScanner& in, Tensor& tensor, std::uint64_t total) {
  switch (tensor.type) {
    case DataType::kBool:
      return read_array<bool>(in, tensor, total);
    case DataType::kUint8:
      return read_array<std::uint8_t>(in, tensor, total);
    case DataType::kUint16:
      return read_array<std::uint16_t>(in, tensor, total);
    case DataType::kUint32:
      return read_array<std::uint32_t>(in, tensor, total);
    case DataType::kUint64:
      return read_array<std::uint64_t>(in, tensor, total);
    case DataType::kInt8:
      return read_array<std::int8_t>(in, tensor, total);
    case DataType::kInt16:
      return read_array<std::int16_t>(in, tensor, total);
    case DataType::kInt32:
      return read_array<std::int32_t>(in, tensor, total);
    case DataType::kInt64:
      return read_array<std::int64_t>(in, tensor, total);
    case DataType::kFp32:
      return read_array<float>(in, tensor, total);
    case DataType::kFp64:
      return read_array<double>(in, tensor, total);
    case DataType::kBytes:
      return read_array<std::string>(in, tensor, total);
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return invalid("inference.tensor.no_json_form",
                 fmt::format("tensor \"{}\": {} has no JSON form; send it as binary data", tensor.name,
                             datatype_name(tensor.type)));
}

// Reads one message: what request and response have in common.
class MessageReader {
 public:
  MessageReader(std::string_view json, std::string_view binary, const CodecLimits& limits)
      : in_(json, limits.depth_max), binary_(binary), limits_(limits) {}

  JsonScanner& in() { return in_; }

  // Calls member(key) for each member of the object that starts here; a key twice is an error.
  template <class Member>
  Status object(Member member) {
    NEAP_TRY_VOID(in_.expect('{'));
    std::vector<std::string> keys;
    if (in_.consume('}')) return ok();
    do {
      NEAP_TRY(std::string key, in_.string(limits_.name_bytes_max));
      NEAP_TRY_VOID(in_.expect(':'));
      if (std::ranges::find(keys, key) != keys.end())
        return in_.error(fmt::format("key \"{}\" stands twice", key));
      if (keys.size() >= 64) return in_.error("an object of more than 64 members");
      NEAP_TRY_VOID(member(key));
      keys.push_back(std::move(key));
    } while (in_.consume(','));
    return in_.expect('}');
  }

  template <class Item>
  Status array(std::size_t items_max, std::string_view what, Item item) {
    NEAP_TRY_VOID(in_.expect('['));
    if (in_.consume(']')) return ok();
    std::size_t count = 0;
    do {
      if (++count > items_max) {
        return fail(Code::kResourceExhausted, "inference.request.too_many",
                    fmt::format("the request has more than {} {}", items_max, what));
      }
      NEAP_TRY_VOID(item());
    } while (in_.consume(','));
    return in_.expect(']');
  }

  Status skip() {
    auto text = in_.value_text();
    if (!text) return std::unexpected(std::move(text).error());
    return ok();
  }

  Result<JsonObject> parameters() {
    NEAP_TRY(const std::string_view text, in_.value_text());
    NEAP_TRY(Json value, parse_json(text, {.bytes_max = 64u << 10, .depth_max = 8}));
    if (!value.is_object()) return in_.error("parameters that are no object");
    return std::move(value.as_object());
  }

  Result<std::string> name(std::string_view what) {
    NEAP_TRY(std::string text, in_.string(limits_.name_bytes_max));
    if (text.empty() && what != "id") return in_.error(fmt::format("an empty {}", what));
    return text;
  }

  Status tensor(std::vector<Tensor>& out) {
    RawTensor raw;
    NEAP_TRY_VOID(object([&](const std::string& key) { return tensor_member(raw, key); }));
    if (raw.tensor.name.empty()) return in_.error("a tensor without a name");
    auto done = finish(raw);
    if (!done) return done;
    out.push_back(std::move(raw.tensor));
    return ok();
  }

  Status check_end() {
    if (!in_.at_end()) return in_.error("text behind the end");
    if (!binary_.empty()) {
      return invalid(
          "inference.binary.left_over",
          fmt::format("{} bytes of binary data belong to no tensor; check binary_data_size", binary_.size()));
    }
    return ok();
  }

 private:
  Status tensor_member(RawTensor& raw, const std::string& key) {
    if (key == "name") {
      NEAP_TRY(raw.tensor.name, name("tensor name"));
    } else if (key == "datatype") {
      NEAP_TRY(const std::string text, in_.string(limits_.name_bytes_max));
      const auto type = find_datatype(text);
      if (!type) {
        return invalid(
            "inference.datatype.unknown",
            fmt::format(
                "tensor \"{}\" has the unknown datatype \"{}\"; the protocol knows BOOL, UINT8..UINT64, "
                "INT8..INT64, FP16, BF16, FP32, FP64 and BYTES",
                raw.tensor.name, text));
      }
      raw.tensor.type = *type;
      raw.has_type = true;
    } else if (key == "shape") {
      raw.has_shape = true;
      return array(limits_.rank_max, "dimensions in a shape", [&]() -> Status {
        NEAP_TRY(const std::int64_t dimension, in_.integer());
        raw.tensor.shape.push_back(dimension);
        return ok();
      });
    } else if (key == "parameters") {
      NEAP_TRY(const JsonObject values, parameters());
      if (const Json* size = values.if_contains("binary_data_size")) {
        if (!size->is_int64() || size->get_int64() < 0)
          return in_.error("a binary_data_size that is no byte count");
        raw.binary_size = static_cast<std::uint64_t>(size->get_int64());
      }
    } else if (key == "data") {
      raw.has_data = true;
      if (!raw.has_type || !raw.has_shape) {
        NEAP_TRY(raw.data, in_.value_text());
        return ok();
      }
      return read_data(raw.tensor, in_);
    } else {
      return skip();
    }
    return ok();
  }

  Status read_data(Tensor& tensor, JsonScanner& in) {
    auto total = count_elements(tensor.shape, limits_.elements_max);
    if (!total) return fail(std::move(total).error(), fmt::format("reading tensor \"{}\"", tensor.name));
    // An element takes at least one byte and a separator: memory stays in proportion to the text.
    if (*total > in.remaining()) {
      return invalid(
          "inference.tensor.elements",
          fmt::format("tensor \"{}\": its shape has {} elements, its data cannot", tensor.name, *total));
    }
    return read_typed_array(in, tensor, *total);
  }

  Status finish(RawTensor& raw) {
    Tensor& tensor = raw.tensor;
    if (!raw.has_type || !raw.has_shape) {
      return invalid("inference.tensor.incomplete", fmt::format("tensor \"{}\" lacks its {}", tensor.name,
                                                                raw.has_type ? "shape" : "datatype"));
    }
    if (raw.has_data == raw.binary_size.has_value()) {
      return invalid(
          "inference.tensor.data",
          fmt::format("tensor \"{}\" needs either data or the parameter binary_data_size", tensor.name));
    }
    if (!raw.data.empty()) {
      JsonScanner in(raw.data, limits_.depth_max);
      return read_data(tensor, in);
    }
    if (raw.binary_size) {
      if (*raw.binary_size > binary_.size()) {
        return invalid("inference.binary.short",
                       fmt::format("tensor \"{}\": binary_data_size is {}, the body has {} bytes left",
                                   tensor.name, *raw.binary_size, binary_.size()));
      }
      auto total = count_elements(tensor.shape, limits_.elements_max);
      if (!total) return fail(std::move(total).error(), fmt::format("reading tensor \"{}\"", tensor.name));
      tensor.bytes.assign(binary_.substr(0, *raw.binary_size));
      binary_.remove_prefix(*raw.binary_size);
      return check_contents(tensor);
    }
    return ok();
  }

  JsonScanner in_;
  std::string_view binary_;
  const CodecLimits& limits_;
};

Status read_requested_output(MessageReader& reader, std::vector<RequestedOutput>& out) {
  RequestedOutput output;
  NEAP_TRY_VOID(reader.object([&](const std::string& key) -> Status {
    if (key == "name") {
      NEAP_TRY(output.name, reader.name("output name"));
    } else if (key == "parameters") {
      NEAP_TRY(const JsonObject values, reader.parameters());
      if (values.contains("classification")) {
        return fail(Code::kUnimplemented, "inference.extension.unknown",
                    "the classification extension is not served; ask for the whole output");
      }
      if (const Json* flag = values.if_contains("binary_data")) {
        if (!flag->is_bool()) return reader.in().error("a binary_data that is neither true nor false");
        output.binary_data = flag->get_bool();
      }
    } else {
      return reader.skip();
    }
    return ok();
  }));
  if (output.name.empty()) return reader.in().error("an output without a name");
  out.push_back(std::move(output));
  return ok();
}

struct SplitBody {
  std::string_view json;
  std::string_view binary;
};

Result<SplitBody> split(std::string_view body, std::optional<std::uint64_t> json_length,
                        const CodecLimits& limits) {
  if (body.size() > limits.body_bytes_max) {
    return fail(Code::kResourceExhausted, "inference.body.too_large",
                fmt::format("the body has {} bytes, {} are allowed", body.size(), limits.body_bytes_max));
  }
  if (!json_length) return SplitBody{body, {}};
  if (*json_length > body.size()) {
    return invalid("inference.header_length", fmt::format("{} says {} bytes, the body has {}",
                                                          kHeaderLengthName, *json_length, body.size()));
  }
  return SplitBody{body.substr(0, *json_length), body.substr(*json_length)};
}

}  // namespace

Result<std::optional<std::uint64_t>> parse_header_length(std::string_view value) {
  if (value.empty()) return std::optional<std::uint64_t>{};
  std::uint64_t out = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc{} || stop != value.data() + value.size()) {
    return invalid("inference.header_length", fmt::format("{} is no byte count", kHeaderLengthName));
  }
  return std::optional<std::uint64_t>(out);
}

Result<InferRequest> decode_request(std::string_view body, std::optional<std::uint64_t> json_length,
                                    const CodecLimits& limits) {
  NEAP_TRY(const SplitBody parts, split(body, json_length, limits));
  MessageReader reader(parts.json, parts.binary, limits);
  InferRequest out;
  bool has_inputs = false;
  NEAP_TRY_VOID(reader.object([&](const std::string& key) -> Status {
    if (key == "inputs") {
      has_inputs = true;
      return reader.array(limits.tensors_max, "inputs", [&] { return reader.tensor(out.inputs); });
    }
    if (key == "outputs") {
      return reader.array(limits.tensors_max, "outputs",
                          [&] { return read_requested_output(reader, out.outputs); });
    }
    if (key == "id") {
      NEAP_TRY(out.id, reader.name("id"));
      return ok();
    }
    if (key == "parameters") {
      NEAP_TRY(out.parameters, reader.parameters());
      if (const Json* flag = out.parameters.if_contains("binary_data_output")) {
        if (!flag->is_bool()) return reader.in().error("a binary_data_output that is neither true nor false");
        out.binary_output_default = flag->get_bool();
      }
      return ok();
    }
    return reader.skip();
  }));
  NEAP_TRY_VOID(reader.check_end());
  if (!has_inputs) return invalid("inference.input.missing", "the request has no \"inputs\"");
  return out;
}

Result<InferRequest> decode_raw_request(std::string_view body, const ModelMetadata& metadata,
                                        const CodecLimits& limits) {
  NEAP_TRY(const SplitBody parts, split(body, 0, limits));
  if (metadata.inputs.size() != 1) {
    return invalid("inference.raw.inputs",
                   fmt::format("a raw request needs a model with one input; \"{}\" has {}", metadata.name,
                               metadata.inputs.size()));
  }
  const TensorSpec& spec = metadata.inputs.front();
  InferRequest out;
  out.binary_output_default = true;
  Tensor& tensor =
      out.inputs.emplace_back(Tensor{spec.name, spec.type, spec.shape, std::string(parts.binary)});
  // A variable first dimension in front of others is the batch, and a raw request is a batch of one.
  if (tensor.shape.size() > 1 && tensor.shape.front() < 0) tensor.shape.front() = 1;
  if (std::ranges::count_if(tensor.shape, [](std::int64_t d) { return d < 0; }) > 1) {
    return invalid("inference.raw.shape",
                   fmt::format("input \"{}\" has several variable dimensions; a raw request cannot "
                               "tell them apart",
                               spec.name));
  }
  if (spec.type == DataType::kBytes) {
    const auto length = static_cast<std::uint32_t>(tensor.bytes.size());
    tensor.bytes.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
    std::ranges::replace(tensor.shape, -1, 1);
  } else {
    std::vector<std::int64_t> known = tensor.shape;
    std::ranges::replace(known, -1, 1);
    NEAP_TRY(const std::uint64_t unit, count_elements(known, limits.elements_max));
    const std::uint64_t row = std::max<std::uint64_t>(unit * element_bytes(spec.type), 1);
    std::ranges::replace(tensor.shape, -1, static_cast<std::int64_t>(tensor.bytes.size() / row));
  }
  NEAP_TRY_VOID(check_contents(tensor));
  return out;
}

Result<InferResponse> decode_response(std::string_view body, std::optional<std::uint64_t> json_length,
                                      const CodecLimits& limits) {
  NEAP_TRY(const SplitBody parts, split(body, json_length, limits));
  MessageReader reader(parts.json, parts.binary, limits);
  InferResponse out;
  NEAP_TRY_VOID(reader.object([&](const std::string& key) -> Status {
    if (key == "outputs") {
      return reader.array(limits.tensors_max, "outputs", [&] { return reader.tensor(out.outputs); });
    }
    if (key == "model_name") {
      NEAP_TRY(out.model_name, reader.name("model name"));
    } else if (key == "model_version") {
      NEAP_TRY(out.model_version, reader.name("id"));
    } else if (key == "id") {
      NEAP_TRY(out.id, reader.name("id"));
    } else if (key == "parameters") {
      NEAP_TRY(out.parameters, reader.parameters());
    } else {
      return reader.skip();
    }
    return ok();
  }));
  NEAP_TRY_VOID(reader.check_end());
  return out;
}

}  // namespace neap::inference
