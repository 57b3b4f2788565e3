// ONNX Runtime by itself, for comparison: one session, fixed buffers, nothing of ours around it.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace neap::bench {

class BareOnnx {
 public:
  // Model with input "x" [1, inputs] and output "y" [1, outputs]. Ends the program when it does not load.
  BareOnnx(const std::string& library_path, const std::string& model, std::int64_t inputs,
           std::int64_t outputs);
  ~BareOnnx();
  std::vector<float>& input();
  const std::vector<float>& run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::bench
