#include "internal/argmax.h"

#include <cstring>

namespace neap::gateway {

namespace {

template <class Element>
std::vector<std::int64_t> argmax(const std::string& bytes, std::size_t rows) {
  const std::size_t width = bytes.size() / sizeof(Element) / rows;
  std::vector<std::int64_t> out;
  for (std::size_t row = 0; row < rows; ++row) {
    Element best{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < width; ++i) {
      Element value;
      std::memcpy(&value, bytes.data() + (row * width + i) * sizeof(Element), sizeof(Element));
      if (i == 0 || value > best) {
        best = value;
        at = i;
      }
    }
    out.push_back(static_cast<std::int64_t>(at));
  }
  return out;
}

}  // namespace

std::optional<std::vector<std::int64_t>> argmax_rows(const inference::Tensor& tensor) {
  using inference::DataType;
  const std::size_t rows = tensor.shape.size() < 2 ? 1 : static_cast<std::size_t>(tensor.shape.front());
  if (rows == 0 || tensor.bytes.empty()) return std::nullopt;
  switch (tensor.type) {
    case DataType::kUint8:
      return argmax<std::uint8_t>(tensor.bytes, rows);
    case DataType::kInt8:
      return argmax<std::int8_t>(tensor.bytes, rows);
    case DataType::kInt32:
      return argmax<std::int32_t>(tensor.bytes, rows);
    case DataType::kInt64:
      return argmax<std::int64_t>(tensor.bytes, rows);
    case DataType::kFp32:
      return argmax<float>(tensor.bytes, rows);
    case DataType::kFp64:
      return argmax<double>(tensor.bytes, rows);
    default:
      return std::nullopt;
  }
}

std::vector<std::int64_t> labels_of(const Json& parameter, std::size_t rows) {
  if (parameter.is_int64()) return std::vector<std::int64_t>(rows, parameter.get_int64());
  std::vector<std::int64_t> out;
  if (!parameter.is_array() || parameter.get_array().size() != rows) return out;
  for (const Json& label : parameter.get_array()) {
    if (!label.is_int64()) return {};
    out.push_back(label.get_int64());
  }
  return out;
}

}  // namespace neap::gateway
