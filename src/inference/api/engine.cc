#include "neap/inference/api/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace neap::inference {

namespace {

struct DataTypeRow {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<DataTypeRow, 14> kDataTypes{{{"BOOL", 1},
                                                  {"UINT8", 1},
                                                  {"UINT16", 2},
                                                  {"UINT32", 4},
                                                  {"UINT64", 8},
                                                  {"INT8", 1},
                                                  {"INT16", 2},
                                                  {"INT32", 4},
                                                  {"INT64", 8},
                                                  {"FP16", 2},
                                                  {"BF16", 2},
                                                  {"FP32", 4},
                                                  {"FP64", 8},
                                                  {"BYTES", 0}}};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

std::string names_of(const std::vector<TensorSpec>& specs) {
  std::string out;
  for (const TensorSpec& spec : specs) out += (out.empty() ? "" : ", ") + spec.name;
  return out;
}

bool fits(const TensorSpec& spec, const std::vector<std::int64_t>& shape) {
  return std::ranges::equal(spec.shape, shape, [](std::int64_t want, std::int64_t have) {
    return want < 0 ? have >= 0 : want == have;
  });
}

}  // namespace

std::string_view datatype_name(DataType type) { return kDataTypes[static_cast<std::size_t>(type)].name; }

std::optional<DataType> find_datatype(std::string_view name) {
  for (std::size_t i = 0; i < kDataTypes.size(); ++i) {
    if (kDataTypes[i].name == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

std::size_t element_bytes(DataType type) { return kDataTypes[static_cast<std::size_t>(type)].bytes; }

Result<std::uint64_t> count_elements(const std::vector<std::int64_t>& shape, std::uint64_t max) {
  std::uint64_t product = 1;
  bool over = false;
  bool empty = false;
  for (std::int64_t dimension : shape) {
    if (dimension < 0) {
      return fail(Code::kInvalidArgument, "inference.shape.negative",
                  fmt::format("shape {} has a negative dimension", shape_text(shape)));
    }
    over = over || __builtin_mul_overflow(product, static_cast<std::uint64_t>(dimension), &product) ||
           product > max;
    if (dimension == 0) {
      empty = true;
      product = 1;
    }
  }
  if (empty) return std::uint64_t{0};
  if (over) {
    return fail(Code::kInvalidArgument, "inference.shape.too_large",
                fmt::format("shape {} has more than the {} elements allowed", shape_text(shape), max));
  }
  return product;
}

Status check_contents(const Tensor& tensor) {
  NEAP_TRY(const std::uint64_t count, count_elements(tensor.shape, UINT32_MAX));
  if (const std::size_t width = element_bytes(tensor.type); width != 0) {
    if (tensor.bytes.size() == count * width) return ok();
    return fail(
        Code::kInvalidArgument, "inference.tensor.size",
        fmt::format("tensor \"{}\" has {} bytes; shape {} of {} takes {}", tensor.name, tensor.bytes.size(),
                    shape_text(tensor.shape), datatype_name(tensor.type), count * width));
  }
  std::uint64_t seen = 0;
  std::string_view rest = tensor.bytes;
  while (!rest.empty()) {
    std::uint32_t length = 0;
    if (rest.size() >= sizeof(length)) std::memcpy(&length, rest.data(), sizeof(length));
    if (rest.size() < sizeof(length) || rest.size() - sizeof(length) < length) {
      return fail(Code::kInvalidArgument, "inference.tensor.size",
                  fmt::format("BYTES tensor \"{}\": element {} runs past the end of its {} bytes",
                              tensor.name, seen, tensor.bytes.size()));
    }
    rest.remove_prefix(sizeof(length) + length);
    ++seen;
  }
  if (seen == count) return ok();
  return fail(Code::kInvalidArgument, "inference.tensor.size",
              fmt::format("BYTES tensor \"{}\" has {} elements; shape {} takes {}", tensor.name, seen,
                          shape_text(tensor.shape), count));
}

Status check_request(const ModelMetadata& metadata, const InferRequest& request) {
  const auto find = [](const std::vector<TensorSpec>& specs, std::string_view name) {
    return std::ranges::find(specs, name, &TensorSpec::name);
  };
  std::vector<bool> seen(metadata.inputs.size());
  for (const Tensor& input : request.inputs) {
    const auto spec = find(metadata.inputs, input.name);
    if (spec == metadata.inputs.end()) {
      return fail(Code::kInvalidArgument, "inference.input.unknown",
                  fmt::format("model \"{}\" has no input \"{}\"; its inputs are: {}", metadata.name,
                              input.name, names_of(metadata.inputs)));
    }
    auto&& was_seen = seen[static_cast<std::size_t>(spec - metadata.inputs.begin())];
    if (was_seen) {
      return fail(Code::kInvalidArgument, "inference.input.duplicate",
                  fmt::format("input \"{}\" is given twice", input.name));
    }
    was_seen = true;
    if (input.type != spec->type) {
      return fail(Code::kInvalidArgument, "inference.input.type",
                  fmt::format("input \"{}\" is {}; model \"{}\" takes {}", input.name,
                              datatype_name(input.type), metadata.name, datatype_name(spec->type)));
    }
    if (!fits(*spec, input.shape)) {
      return fail(Code::kInvalidArgument, "inference.input.shape",
                  fmt::format("input \"{}\" has shape {}; model \"{}\" takes {}", input.name,
                              shape_text(input.shape), metadata.name, shape_text(spec->shape)));
    }
    NEAP_TRY_VOID(check_contents(input));
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i]) {
      return fail(
          Code::kInvalidArgument, "inference.input.missing",
          fmt::format("input \"{}\" of model \"{}\" is missing", metadata.inputs[i].name, metadata.name));
    }
  }
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    const std::string& name = request.outputs[i].name;
    if (find(metadata.outputs, name) == metadata.outputs.end()) {
      return fail(Code::kInvalidArgument, "inference.output.unknown",
                  fmt::format("model \"{}\" has no output \"{}\"; its outputs are: {}", metadata.name, name,
                              names_of(metadata.outputs)));
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (request.outputs[k].name == name) {
        return fail(Code::kInvalidArgument, "inference.output.duplicate",
                    fmt::format("output \"{}\" is asked for twice", name));
      }
    }
  }
  return ok();
}

}  // namespace neap::inference
