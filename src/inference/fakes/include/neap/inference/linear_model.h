// A small dense network with known answers, as a FakeEngine source and as a real ONNX file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace neap::inference {

// y = x W + b; W row-major [inputs x outputs].
struct LinearLayer {
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  std::vector<float> weights;
  std::vector<float> bias;
};

// One input "x" [-1, inputs] and one output "y" [-1, outputs], FP32; ReLU between layers.
struct DenseModel {
  std::vector<LinearLayer> layers;
  std::vector<float> apply(const std::vector<float>& row) const;
};

// Weights that are a simple function of position and seed.
DenseModel make_dense_model(const std::vector<std::int64_t>& widths, std::uint32_t seed);
// What FakeEngine loads.
std::string to_fake_model(const DenseModel& model);
// ONNX ModelProto (IR 8, opset 13), written by hand after onnx.proto3: Gemm and Relu nodes.
std::string to_onnx(const DenseModel& model);

}  // namespace neap::inference
