// Engine: what runs a model; Tensor and the request and response of the Open Inference Protocol (V2,
// kserve/open-inference-protocol, 2025-05) that travel between codec, host, gateway and engine.
//
// Tensor contents are row-major and little-endian, exactly as the protocol's binary extension has them:
// BOOL one byte an element, BYTES a four-byte length before each element.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"

namespace neap::inference {

enum class DataType : std::uint8_t {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kBf16,
  kFp32,
  kFp64,
  kBytes,
};

// "FP32", "BYTES", ...
std::string_view datatype_name(DataType type);
std::optional<DataType> find_datatype(std::string_view name);
// 0 for BYTES, whose elements have no common size.
std::size_t element_bytes(DataType type);

// Product of the dimensions. kInvalidArgument for a negative one, a product over `max`, or overflow.
Result<std::uint64_t> count_elements(const std::vector<std::int64_t>& shape, std::uint64_t max);

struct Tensor {
  std::string name;
  DataType type = DataType::kFp32;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

struct RequestedOutput {
  std::string name;
  std::optional<bool> binary_data;  // absent: the request's default
};

struct InferRequest {
  std::string model_name;
  std::string model_version;  // empty: the active one
  std::string id;             // echoed
  JsonObject parameters;
  bool binary_output_default = false;
  std::vector<Tensor> inputs;
  std::vector<RequestedOutput> outputs;  // empty: all, in the model's order
};

struct InferResponse {
  std::string model_name;
  std::string model_version;
  std::string id;
  JsonObject parameters;
  std::vector<Tensor> outputs;  // in the order asked for
};

struct TensorSpec {
  std::string name;
  DataType type = DataType::kFp32;
  std::vector<std::int64_t> shape;  // -1: any length
};

struct ModelMetadata {
  std::string name;
  std::string version;
  std::string platform;  // "onnxruntime_onnx"
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

// A model's bytes, or the file that holds them; bytes win where both are given.
struct ModelSource {
  std::string name;
  std::string version;
  std::string path;
  std::string bytes;
};

// A model ready to run. Thread-safe: infer may be called from several threads at once.
class LoadedModel {
 public:
  virtual ~LoadedModel() = default;
  virtual const ModelMetadata& metadata() const = 0;
  // Blocking. kInvalidArgument naming the input or output that does not fit the metadata (check_request),
  // kInternal when the model itself fails. The response echoes name, version and id.
  virtual Result<InferResponse> infer(const InferRequest& request) = 0;
};

// Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  // Blocking. kInvalidArgument for a file that is no model of this engine, kUnimplemented for one with
  // inputs or outputs of unknown types, kUnavailable when the engine's library cannot be opened.
  virtual Result<std::unique_ptr<LoadedModel>> load(const ModelSource& source) = 0;
};

// Whether `request` fits `metadata`: every input there once, of the right type, shape and byte count,
// and only known outputs, once each.
Status check_request(const ModelMetadata& metadata, const InferRequest& request);
// Byte count against type and element count; walks the lengths of BYTES.
Status check_contents(const Tensor& tensor);

}  // namespace neap::inference
