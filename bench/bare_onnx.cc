#include "bare_onnx.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

namespace neap::bench {

namespace {

const OrtApi* open_api(const std::string& path) {
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto base = handle == nullptr
                        ? nullptr
                        : reinterpret_cast<const OrtApiBase* (*)()>(::dlsym(handle, "OrtGetApiBase"));
  if (base == nullptr) {
    fmt::print(stderr, "ONNX Runtime does not open: {}\n", ::dlerror());
    std::exit(1);
  }
  return base()->GetApi(ORT_API_VERSION);
}

Ort::Session make_session(const std::string& path, Ort::Env& env, const std::string& model) {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  options.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
  (void)path;
  return Ort::Session(env, model.data(), model.size(), options);
}

}  // namespace

struct BareOnnx::Impl {
  Impl(const std::string& path, const std::string& model, std::int64_t inputs, std::int64_t outputs)
      : api((Ort::InitApi(open_api(path)), 0)),
        env(ORT_LOGGING_LEVEL_ERROR, "bench"),
        session(make_session(path, env, model)),
        memory(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)),
        x(static_cast<std::size_t>(inputs)),
        y(static_cast<std::size_t>(outputs)),
        x_shape{1, inputs},
        y_shape{1, outputs},
        x_value(Ort::Value::CreateTensor<float>(memory, x.data(), x.size(), x_shape, 2)),
        y_value(Ort::Value::CreateTensor<float>(memory, y.data(), y.size(), y_shape, 2)) {}

  int api;
  Ort::Env env;
  Ort::Session session;
  Ort::MemoryInfo memory;
  std::vector<float> x, y;
  std::int64_t x_shape[2], y_shape[2];
  Ort::Value x_value, y_value;
  Ort::RunOptions options;
};

BareOnnx::BareOnnx(const std::string& library_path, const std::string& model, std::int64_t inputs,
                   std::int64_t outputs)
    : impl_(std::make_unique<Impl>(library_path, model, inputs, outputs)) {}
BareOnnx::~BareOnnx() = default;
std::vector<float>& BareOnnx::input() { return impl_->x; }

const std::vector<float>& BareOnnx::run() {
  const char* x = "x";
  const char* y = "y";
  impl_->session.Run(impl_->options, &x, &impl_->x_value, 1, &y, &impl_->y_value, 1);
  return impl_->y;
}

}  // namespace neap::bench
