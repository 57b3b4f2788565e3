// OnnxEngine: runs ONNX models with ONNX Runtime (https://onnxruntime.ai, C API).
//
// The library is opened at the first load(), never before: an idle process does not carry its 28 MB.
// One library a process: the first engine that loads a model decides which file is opened, and it stays
// open. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "neap/inference/api/engine.h"

namespace neap::inference {

struct OnnxEngineOptions {
  // Empty: libonnxruntime.so beside the executable, then in deps/onnxruntime/lib of the build folder the
  // executable stands in, then where the system's loader looks.
  std::string library_path;
  // Threads of one inference. Idle ones sleep instead of spinning.
  int intra_op_threads = 1;
  std::uint64_t model_bytes_max = 2ull << 30;
};

class OnnxEngine final : public Engine {
 public:
  explicit OnnxEngine(OnnxEngineOptions options = {});
  ~OnnxEngine() override;
  Result<std::unique_ptr<LoadedModel>> load(const ModelSource& source) override;

  // Whether this process has opened the library.
  static bool is_library_open();

 private:
  OnnxEngineOptions options_;
};

}  // namespace neap::inference
