#include "neap/inference/onnx_engine.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <mutex>

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

namespace neap::inference {

namespace {

constexpr std::string_view kLibraryName = "libonnxruntime.so";

struct Library {
  std::unique_ptr<Ort::Env> env;
};

std::mutex library_mutex;
// Lives as long as the process: ONNX Runtime's own statics outlive any owner that we could name.
Library* library = nullptr;

void ORT_API_CALL drop_log(void*, OrtLoggingLevel, const char*, const char*, const char*, const char*) {}

std::vector<std::string> library_candidates(const OnnxEngineOptions& options) {
  if (!options.library_path.empty()) return {options.library_path};
  std::vector<std::string> out;
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (!self.empty()) {
    out.push_back((self.parent_path() / kLibraryName).string());
    for (auto folder = self.parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
      if (folder.filename() == "build")
        out.push_back((folder / "deps/onnxruntime/lib" / kLibraryName).string());
    }
    std::erase_if(out, [&](const std::string& path) { return !std::filesystem::exists(path, ignored); });
  }
  out.emplace_back(kLibraryName);
  return out;
}

Result<Library*> open_library(const OnnxEngineOptions& options) {
  const std::lock_guard lock(library_mutex);
  if (library != nullptr) return library;
  void* handle = nullptr;
  std::string tried;
  for (const std::string& path : library_candidates(options)) {
    handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", ::dlerror());
  }
  if (handle == nullptr) {
    return fail(
        Code::kUnavailable, "inference.onnx.library_absent",
        fmt::format(
            "ONNX Runtime cannot be opened ({}); install it, or run tools/bootstrap_onnxruntime.sh, or name "
            "the library's path",
            tried));
  }
  const auto get_base = reinterpret_cast<const OrtApiBase* (*)()>(::dlsym(handle, "OrtGetApiBase"));
  const OrtApi* api = get_base == nullptr ? nullptr : get_base()->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    return fail(
        Code::kUnavailable, "inference.onnx.library_old",
        fmt::format("the ONNX Runtime library found (version {}) does not offer API {}; use a newer one",
                    get_base == nullptr ? "unknown" : get_base()->GetVersionString(), ORT_API_VERSION));
  }
  Ort::InitApi(api);
  try {
    auto opened = std::make_unique<Library>();
    opened->env = std::make_unique<Ort::Env>(ORT_LOGGING_LEVEL_FATAL, "neap", &drop_log, nullptr);
    library = opened.release();
  } catch (const std::exception& e) {
    return fail(Code::kUnavailable, "inference.onnx.library_broken",
                fmt::format("ONNX Runtime does not start: {}", e.what()));
  }
  return library;
}

std::optional<DataType> datatype_of(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return DataType::kBool;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return DataType::kUint8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
      return DataType::kUint16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return DataType::kUint32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
      return DataType::kUint64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return DataType::kInt8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
      return DataType::kInt16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return DataType::kInt32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return DataType::kInt64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return DataType::kFp16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
      return DataType::kBf16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return DataType::kFp32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return DataType::kFp64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
      return DataType::kBytes;
    default:
      return std::nullopt;
  }
}

ONNXTensorElementDataType onnx_type_of(DataType type) {
  for (int i = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED; i <= ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16; ++i) {
    const auto candidate = static_cast<ONNXTensorElementDataType>(i);
    if (datatype_of(candidate) == type) return candidate;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

Result<TensorSpec> spec_of(std::string name, const Ort::TypeInfo& type) {
  if (type.GetONNXType() != ONNX_TYPE_TENSOR) {
    return fail(Code::kUnimplemented, "inference.onnx.type",
                fmt::format("\"{}\" is a sequence, map or optional; only tensors can be served", name));
  }
  const auto info = type.GetTensorTypeAndShapeInfo();
  const auto datatype = datatype_of(info.GetElementType());
  if (!datatype) {
    return fail(Code::kUnimplemented, "inference.onnx.type",
                fmt::format("\"{}\" has element type {}, which the protocol does not know", name,
                            static_cast<int>(info.GetElementType())));
  }
  TensorSpec spec{std::move(name), *datatype, info.GetShape()};
  std::ranges::replace_if(spec.shape, [](std::int64_t d) { return d < 0; }, -1);
  return spec;
}

class OnnxModel final : public LoadedModel {
 public:
  OnnxModel(Ort::Session session, ModelMetadata metadata)
      : session_(std::move(session)),
        metadata_(std::move(metadata)),
        memory_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)) {}

  const ModelMetadata& metadata() const override { return metadata_; }

  Result<InferResponse> infer(const InferRequest& request) override {
    NEAP_TRY_VOID(check_request(metadata_, request));
    try {
      return run(request);
    } catch (const std::exception& e) {
      return fail(Code::kInternal, "inference.model.failed",
                  fmt::format("model \"{}\" failed: {}", metadata_.name, e.what()));
    }
  }

 private:
  Result<InferResponse> run(const InferRequest& request) {
    std::vector<const char*> input_names;
    std::vector<Ort::Value> inputs;
    input_names.reserve(request.inputs.size());
    inputs.reserve(request.inputs.size());
    for (const Tensor& tensor : request.inputs) {
      input_names.push_back(tensor.name.c_str());
      inputs.push_back(input_value(tensor));
    }
    std::vector<const char*> output_names;
    output_names.reserve(metadata_.outputs.size());
    if (request.outputs.empty()) {
      for (const TensorSpec& spec : metadata_.outputs) output_names.push_back(spec.name.c_str());
    } else {
      for (const RequestedOutput& output : request.outputs) output_names.push_back(output.name.c_str());
    }
    const auto values = session_.Run(run_options_, input_names.data(), inputs.data(), inputs.size(),
                                     output_names.data(), output_names.size());
    InferResponse response{
        .model_name = metadata_.name, .model_version = metadata_.version, .id = request.id};
    response.outputs.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      NEAP_TRY(auto tensor, output_tensor(output_names[i], values[i]));
      response.outputs.push_back(std::move(tensor));
    }
    return response;
  }

  Ort::Value input_value(const Tensor& tensor) const {
    const auto type = onnx_type_of(tensor.type);
    if (tensor.type != DataType::kBytes) {
      // ONNX Runtime takes a pointer to mutable bytes and does not write to inputs.
      return Ort::Value::CreateTensor(memory_, const_cast<char*>(tensor.bytes.data()), tensor.bytes.size(),
                                      tensor.shape.data(), tensor.shape.size(), type);
    }
    std::vector<std::string> elements;
    for (std::string_view rest = tensor.bytes; !rest.empty();) {
      std::uint32_t length = 0;
      std::memcpy(&length, rest.data(), sizeof(length));
      elements.emplace_back(rest.substr(sizeof(length), length));
      rest.remove_prefix(sizeof(length) + length);
    }
    std::vector<const char*> pointers;
    for (const std::string& element : elements) pointers.push_back(element.c_str());
    Ort::AllocatorWithDefaultOptions allocator;
    Ort::Value value = Ort::Value::CreateTensor(allocator, tensor.shape.data(), tensor.shape.size(), type);
    value.FillStringTensor(pointers.data(), pointers.size());
    return value;
  }

  static Result<Tensor> output_tensor(std::string name, const Ort::Value& value) {
    if (!value.IsTensor()) {
      return fail(Code::kInternal, "inference.model.failed",
                  fmt::format("output \"{}\" came back as no tensor", name));
    }
    const auto info = value.GetTensorTypeAndShapeInfo();
    const auto type = datatype_of(info.GetElementType());
    if (!type)
      return fail(Code::kInternal, "inference.model.failed",
                  fmt::format("output \"{}\" has an unknown type", name));
    Tensor out{std::move(name), *type, info.GetShape(), {}};
    const std::size_t count = info.GetElementCount();
    if (*type != DataType::kBytes) {
      out.bytes.assign(static_cast<const char*>(value.GetTensorRawData()), count * element_bytes(*type));
      return out;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::string element = value.GetStringTensorElement(i);
      const auto length = static_cast<std::uint32_t>(element.size());
      out.bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
      out.bytes += element;
    }
    return out;
  }

  Ort::Session session_;
  ModelMetadata metadata_;
  Ort::MemoryInfo memory_;
  Ort::RunOptions run_options_;
};

Status check_size(const ModelSource& source, const OnnxEngineOptions& options) {
  std::uint64_t size = source.bytes.size();
  if (source.bytes.empty()) {
    std::error_code error;
    size = std::filesystem::file_size(source.path, error);
    if (error) {
      return fail(
          Code::kInvalidArgument, "inference.onnx.file",
          fmt::format("model \"{}\": file {} cannot be read: {}", source.name, source.path, error.message()));
    }
  }
  if (size == 0) {
    return fail(Code::kInvalidArgument, "inference.onnx.file",
                fmt::format("model \"{}\": the file is empty", source.name));
  }
  if (size > options.model_bytes_max) {
    return fail(
        Code::kInvalidArgument, "inference.onnx.file",
        fmt::format("model \"{}\" has {} bytes, {} are allowed", source.name, size, options.model_bytes_max));
  }
  return ok();
}

Ort::SessionOptions session_options(const OnnxEngineOptions& options) {
  Ort::SessionOptions out;
  out.SetIntraOpNumThreads(std::max(options.intra_op_threads, 1));
  out.SetInterOpNumThreads(1);
  out.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
  out.AddConfigEntry(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0");
  out.AddConfigEntry(kOrtSessionOptionsConfigAllowInterOpSpinning, "0");
  // The pattern cache grows with every input shape it meets: unbounded memory for variable shapes.
  out.DisableMemPattern();
  return out;
}

Result<ModelMetadata> metadata_of(const Ort::Session& session, const ModelSource& source) {
  ModelMetadata metadata{.name = source.name, .version = source.version, .platform = "onnxruntime_onnx"};
  Ort::AllocatorWithDefaultOptions allocator;
  for (std::size_t i = 0; i < session.GetInputCount(); ++i) {
    NEAP_TRY(auto spec,
             spec_of(session.GetInputNameAllocated(i, allocator).get(), session.GetInputTypeInfo(i)));
    metadata.inputs.push_back(std::move(spec));
  }
  for (std::size_t i = 0; i < session.GetOutputCount(); ++i) {
    NEAP_TRY(auto spec,
             spec_of(session.GetOutputNameAllocated(i, allocator).get(), session.GetOutputTypeInfo(i)));
    metadata.outputs.push_back(std::move(spec));
  }
  return metadata;
}

}  // namespace

OnnxEngine::OnnxEngine(OnnxEngineOptions options) : options_(std::move(options)) {}
OnnxEngine::~OnnxEngine() = default;

bool OnnxEngine::is_library_open() {
  const std::lock_guard lock(library_mutex);
  return library != nullptr;
}

Result<std::unique_ptr<LoadedModel>> OnnxEngine::load(const ModelSource& source) {
  NEAP_TRY_VOID(check_size(source, options_));
  NEAP_TRY(Library * opened, open_library(options_));
  try {
    const auto options = session_options(options_);
    Ort::Session session =
        source.bytes.empty() ? Ort::Session(*opened->env, source.path.c_str(), options)
                             : Ort::Session(*opened->env, source.bytes.data(), source.bytes.size(), options);
    auto metadata = metadata_of(session, source);
    if (!metadata) return fail(std::move(metadata).error(), fmt::format("loading model \"{}\"", source.name));
    return std::make_unique<OnnxModel>(std::move(session), *std::move(metadata));
  } catch (const std::exception& e) {
    return fail(
        Code::kInvalidArgument, "inference.onnx.model",
        fmt::format("model \"{}\" is no ONNX model that ONNX Runtime accepts: {}", source.name, e.what()));
  }
}

}  // namespace neap::inference
