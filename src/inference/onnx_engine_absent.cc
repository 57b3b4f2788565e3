// Stands in where the build found no ONNX Runtime headers.
#include "neap/inference/onnx_engine.h"

namespace neap::inference {

OnnxEngine::OnnxEngine(OnnxEngineOptions options) : options_(std::move(options)) {}
OnnxEngine::~OnnxEngine() = default;
bool OnnxEngine::is_library_open() { return false; }

Result<std::unique_ptr<LoadedModel>> OnnxEngine::load(const ModelSource&) {
  return fail(Code::kUnimplemented, "inference.onnx.not_built",
              "this build has no ONNX Runtime: its headers were missing; run tools/bootstrap_onnxruntime.sh, "
              "configure and "
              "build again");
}

}  // namespace neap::inference
