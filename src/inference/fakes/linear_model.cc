#include "neap/inference/linear_model.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

namespace neap::inference {

namespace {

// Protocol buffers wire format, as far as ModelProto needs it.
class ProtoWriter {
 public:
  ProtoWriter& number(std::uint32_t field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  ProtoWriter& bytes(std::uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    text_ += value;
    return *this;
  }
  ProtoWriter& message(std::uint32_t field, const ProtoWriter& value) { return bytes(field, value.text_); }
  const std::string& text() const { return text_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

constexpr std::uint64_t kOnnxFloat = 1;

ProtoWriter value_info(std::string_view name, std::int64_t width) {
  const auto rows = ProtoWriter().bytes(2, "rows");
  const auto columns = ProtoWriter().number(1, static_cast<std::uint64_t>(width));
  const auto shape = ProtoWriter().message(1, rows).message(1, columns);
  const auto tensor = ProtoWriter().number(1, kOnnxFloat).message(2, shape);
  return ProtoWriter().bytes(1, name).message(2, ProtoWriter().message(1, tensor));
}

ProtoWriter initializer(std::string_view name, std::initializer_list<std::int64_t> dims,
                        const std::vector<float>& values) {
  ProtoWriter out;
  for (const std::int64_t dim : dims) out.number(1, static_cast<std::uint64_t>(dim));
  out.number(2, kOnnxFloat).bytes(8, name);
  out.bytes(9, std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  return out;
}

}  // namespace

std::vector<float> DenseModel::apply(const std::vector<float>& row) const {
  std::vector<float> x = row;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const LinearLayer& layer = layers[l];
    std::vector<float> y = layer.bias;
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t o = 0; o < y.size(); ++o) y[o] += x[i] * layer.weights[i * y.size() + o];
    }
    if (l + 1 != layers.size()) {
      for (float& value : y) value = value > 0 ? value : 0;
    }
    x = std::move(y);
  }
  return x;
}

DenseModel make_dense_model(const std::vector<std::int64_t>& widths, std::uint32_t seed) {
  DenseModel model;
  std::uint32_t state = seed * 2654435761u + 1;
  const auto next = [&state] {
    state = state * 1664525u + 1013904223u;
    // Quarters: sums of few of them are exact in any order.
    return static_cast<float>(static_cast<std::int32_t>(state >> 28) - 8) / 4;
  };
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    LinearLayer& layer = model.layers.emplace_back(LinearLayer{widths[i], widths[i + 1], {}, {}});
    for (std::int64_t k = 0; k < layer.inputs * layer.outputs; ++k) layer.weights.push_back(next());
    for (std::int64_t k = 0; k < layer.outputs; ++k) layer.bias.push_back(next());
  }
  return model;
}

std::string to_fake_model(const DenseModel& model) {
  std::string out = "{\"layers\":[";
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const LinearLayer& layer = model.layers[i];
    out +=
        fmt::format("{}{{\"inputs\":{},\"outputs\":{},\"weights\":[{}],\"bias\":[{}]}}", i == 0 ? "" : ",",
                    layer.inputs, layer.outputs, fmt::join(layer.weights, ","), fmt::join(layer.bias, ","));
  }
  return out + "]}";
}

std::string to_onnx(const DenseModel& model) {
  ProtoWriter graph;
  ProtoWriter initializers;
  std::string from = "x";
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const LinearLayer& layer = model.layers[i];
    const bool last = i + 1 == model.layers.size();
    const std::string weights = fmt::format("w{}", i);
    const std::string bias = fmt::format("b{}", i);
    const std::string to = last ? "y" : fmt::format("h{}", i);
    graph.message(
        1, ProtoWriter().bytes(1, from).bytes(1, weights).bytes(1, bias).bytes(2, to).bytes(4, "Gemm"));
    if (!last) {
      from = fmt::format("r{}", i);
      graph.message(1, ProtoWriter().bytes(1, to).bytes(2, from).bytes(4, "Relu"));
    }
    graph.message(5, initializer(weights, {layer.inputs, layer.outputs}, layer.weights));
    graph.message(5, initializer(bias, {layer.outputs}, layer.bias));
  }
  graph.bytes(2, "dense");
  graph.message(11, value_info("x", model.layers.front().inputs));
  graph.message(12, value_info("y", model.layers.back().outputs));
  return ProtoWriter().number(1, 8).message(8, ProtoWriter().number(2, 13)).message(7, graph).text();
}

}  // namespace neap::inference

// ONNX Runtime loses a few bytes of its own when a model is refused; that is not ours to find.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libonnxruntime.so\n"; }
