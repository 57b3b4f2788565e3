#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstring>

#include "internal/json_scanner.h"
#include "neap/inference/api/codec.h"

namespace neap::inference {

namespace {

std::unexpected<Error> no_json_form(const Tensor& tensor, std::string_view what) {
  return fail(
      Code::kFailedPrecondition, "inference.tensor.no_json_form",
      fmt::format("output \"{}\" {}, which JSON cannot carry; ask for binary_data", tensor.name, what));
}

// Longest shortest-form text of a value, with its comma: "-1.2345678901234567e-308,".
constexpr std::size_t kNumberTextMax = 26;
constexpr std::size_t kChunk = 512;

template <class Element>
Status append_numbers(std::string& out, const Tensor& tensor) {
  const std::size_t count = tensor.bytes.size() / sizeof(Element);
  bool finite = true;
  for (std::size_t from = 0; from < count; from += kChunk) {
    const std::size_t to = std::min(count, from + kChunk);
    const std::size_t old = out.size();
    out.resize_and_overwrite(old + (to - from) * kNumberTextMax, [&](char* text, std::size_t) {
      char* at = text + old;
      for (std::size_t i = from; i < to; ++i) {
        Element value;
        std::memcpy(&value, tensor.bytes.data() + i * sizeof(Element), sizeof(Element));
        if constexpr (std::floating_point<Element>) finite = finite && std::isfinite(value);
        at = std::to_chars(at, at + kNumberTextMax, value).ptr;
        *at++ = ',';
      }
      return static_cast<std::size_t>(at - text);
    });
  }
  if (!finite) return no_json_form(tensor, "holds NaN or infinity");
  if (count != 0) out.pop_back();
  return ok();
}

Status append_strings(std::string& out, const Tensor& tensor) {
  std::string_view rest = tensor.bytes;
  while (rest.size() >= sizeof(std::uint32_t)) {
    std::uint32_t length = 0;
    std::memcpy(&length, rest.data(), sizeof(length));
    rest.remove_prefix(sizeof(length));
    const std::string_view element = rest.substr(0, length);
    if (!is_utf8(element)) return no_json_form(tensor, "holds bytes that are not UTF-8");
    append_json_string(out, element);
    rest.remove_prefix(element.size());
    if (!rest.empty()) out += ',';
  }
  return ok();
}

Status append_data(std::string& out, const Tensor& tensor) {
  switch (tensor.type) {
    case DataType::kBool:
      for (std::size_t i = 0; i < tensor.bytes.size(); ++i) {
        if (i != 0) out += ',';
        out += tensor.bytes[i] != 0 ? "true" : "false";
      }
      return ok();
    case DataType::kUint8:
      return append_numbers<std::uint8_t>(out, tensor);
    case DataType::kUint16:
      return append_numbers<std::uint16_t>(out, tensor);
    case DataType::kUint32:
      return append_numbers<std::uint32_t>(out, tensor);
    case DataType::kUint64:
      return append_numbers<std::uint64_t>(out, tensor);
    case DataType::kInt8:
      return append_numbers<std::int8_t>(out, tensor);
    case DataType::kInt16:
      return append_numbers<std::int16_t>(out, tensor);
    case DataType::kInt32:
      return append_numbers<std::int32_t>(out, tensor);
    case DataType::kInt64:
      return append_numbers<std::int64_t>(out, tensor);
    case DataType::kFp32:
      return append_numbers<float>(out, tensor);
    case DataType::kFp64:
      return append_numbers<double>(out, tensor);
    case DataType::kBytes:
      return append_strings(out, tensor);
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return no_json_form(tensor, fmt::format("is {}", datatype_name(tensor.type)));
}

void append_shape(std::string& out, const std::vector<std::int64_t>& shape) {
  out += "\"shape\":[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) out += ',';
    fmt::format_to(std::back_inserter(out), "{}", shape[i]);
  }
  out += ']';
}

Status append_tensor(std::string& out, const Tensor& tensor, bool binary) {
  out += "{\"name\":";
  append_json_string(out, tensor.name);
  out += ",\"datatype\":\"";
  out += datatype_name(tensor.type);
  out += "\",";
  append_shape(out, tensor.shape);
  if (binary) {
    fmt::format_to(std::back_inserter(out), ",\"parameters\":{{\"binary_data_size\":{}}}",
                   tensor.bytes.size());
  } else {
    out += ",\"data\":[";
    NEAP_TRY_VOID(append_data(out, tensor));
    out += ']';
  }
  out += '}';
  return ok();
}

void append_member(std::string& out, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  if (out.back() != '{') out += ',';
  append_json_string(out, key);
  out += ':';
  append_json_string(out, value);
}

void append_parameters(std::string& out, const JsonObject& parameters) {
  if (parameters.empty()) return;
  if (out.back() != '{') out += ',';
  out += "\"parameters\":";
  out += boost::json::serialize(parameters);
}

void append_binary_parts(EncodedMessage& message, std::size_t bytes, const std::vector<Tensor>& tensors,
                         const std::vector<bool>& binary) {
  message.json_length = message.body.size();
  message.body.reserve(message.body.size() + bytes);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (binary[i]) message.body += tensors[i].bytes;
  }
}

Status append_tensors(EncodedMessage& message, std::string_view key, const std::vector<Tensor>& tensors,
                      const std::vector<bool>& binary, std::size_t& binary_bytes) {
  std::string& out = message.body;
  if (out.back() != '{') out += ',';
  append_json_string(out, key);
  out += ":[";
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i != 0) out += ',';
    NEAP_TRY_VOID(append_tensor(out, tensors[i], binary[i]));
    if (binary[i]) binary_bytes += tensors[i].bytes.size();
  }
  out += ']';
  return ok();
}

void append_specs(std::string& out, std::string_view key, const std::vector<TensorSpec>& specs) {
  out += ",\"";
  out += key;
  out += "\":[";
  for (std::size_t i = 0; i < specs.size(); ++i) {
    out += i == 0 ? "{\"name\":" : ",{\"name\":";
    append_json_string(out, specs[i].name);
    out += ",\"datatype\":\"";
    out += datatype_name(specs[i].type);
    out += "\",";
    append_shape(out, specs[i].shape);
    out += '}';
  }
  out += ']';
}

}  // namespace

Result<EncodedMessage> encode_request(const InferRequest& request, bool binary) {
  EncodedMessage message{.body = "{"};
  append_member(message.body, "id", request.id);
  JsonObject parameters = request.parameters;
  if (binary) parameters["binary_data_output"] = true;
  append_parameters(message.body, parameters);
  const std::vector<bool> as_binary(request.inputs.size(), binary);
  std::size_t binary_bytes = 0;
  NEAP_TRY_VOID(append_tensors(message, "inputs", request.inputs, as_binary, binary_bytes));
  if (!request.outputs.empty()) {
    message.body += ",\"outputs\":[";
    for (const RequestedOutput& output : request.outputs) {
      message.body += "{\"name\":";
      append_json_string(message.body, output.name);
      const bool wanted = binary || output.binary_data.value_or(false);
      fmt::format_to(std::back_inserter(message.body), ",\"parameters\":{{\"binary_data\":{}}}}},", wanted);
    }
    message.body.back() = ']';
  }
  message.body += '}';
  if (binary) append_binary_parts(message, binary_bytes, request.inputs, as_binary);
  return message;
}

Result<EncodedMessage> encode_response(const InferResponse& response, const InferRequest& request) {
  EncodedMessage message;
  message.body.reserve(256);
  message.body = "{";
  append_member(message.body, "model_name", response.model_name);
  append_member(message.body, "model_version", response.model_version);
  append_member(message.body, "id", response.id);
  append_parameters(message.body, response.parameters);
  std::vector<bool> binary(response.outputs.size(), request.binary_output_default);
  for (std::size_t i = 0; i < binary.size(); ++i) {
    const auto asked = std::ranges::find(request.outputs, response.outputs[i].name, &RequestedOutput::name);
    if (asked != request.outputs.end() && asked->binary_data) binary[i] = *asked->binary_data;
  }
  std::size_t binary_bytes = 0;
  NEAP_TRY_VOID(append_tensors(message, "outputs", response.outputs, binary, binary_bytes));
  message.body += '}';
  if (std::ranges::find(binary, true) != binary.end()) {
    append_binary_parts(message, binary_bytes, response.outputs, binary);
  }
  return message;
}

std::string encode_error(const Error& error) {
  std::string out = "{\"error\":";
  append_json_string(out, error.message);
  out += '}';
  return out;
}

std::string encode_metadata(const ModelMetadata& metadata, const std::vector<std::string>& versions) {
  std::string out = "{";
  append_member(out, "name", metadata.name);
  out += ",\"versions\":[";
  for (std::size_t i = 0; i < versions.size(); ++i) {
    if (i != 0) out += ',';
    append_json_string(out, versions[i]);
  }
  out += ']';
  append_member(out, "platform", metadata.platform);
  append_specs(out, "inputs", metadata.inputs);
  append_specs(out, "outputs", metadata.outputs);
  out += '}';
  return out;
}

}  // namespace neap::inference
