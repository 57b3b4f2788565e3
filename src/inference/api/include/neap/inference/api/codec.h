// REST codec of the Open Inference Protocol V2, with the binary tensor extension. Pure.
//
// A message is JSON, optionally followed by the raw bytes of tensors in the order the JSON names them;
// then its header Inference-Header-Content-Length gives the length of the JSON.
// Errors are kInvalidArgument (kResourceExhausted for a passed limit) and name the tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "neap/inference/api/engine.h"

namespace neap::inference {

inline constexpr std::string_view kHeaderLengthName = "Inference-Header-Content-Length";

struct CodecLimits {
  std::size_t body_bytes_max = 64u << 20;
  std::uint64_t elements_max = 16u << 20;  // of one tensor
  std::size_t tensors_max = 64;
  std::size_t rank_max = 16;
  std::size_t depth_max = 32;
  std::size_t name_bytes_max = 1024;  // of tensor names and the id
};

// Value of the header: decimal digits only; nullopt for an absent (empty) one.
Result<std::optional<std::uint64_t>> parse_header_length(std::string_view value);

// json_length: the header's value, absent when the whole body is JSON.
Result<InferRequest> decode_request(std::string_view body, std::optional<std::uint64_t> json_length,
                                    const CodecLimits& limits = {});
// Header value 0: the body is the one input's raw contents, one variable dimension at most (batch 1).
Result<InferRequest> decode_raw_request(std::string_view body, const ModelMetadata& metadata,
                                        const CodecLimits& limits = {});
Result<InferResponse> decode_response(std::string_view body, std::optional<std::uint64_t> json_length,
                                      const CodecLimits& limits = {});

struct EncodedMessage {
  std::string body;
  std::optional<std::size_t> json_length;  // set: binary parts follow, content type is octet-stream
};

// binary: inputs as raw bytes and all outputs asked for as raw bytes.
Result<EncodedMessage> encode_request(const InferRequest& request, bool binary);
// Each output as `request` asked for it. kFailedPrecondition when JSON cannot carry an output (FP16,
// BF16, NaN or infinity, BYTES that are not UTF-8): the message names the binary form instead.
Result<EncodedMessage> encode_response(const InferResponse& response, const InferRequest& request);
// {"error": message}
std::string encode_error(const Error& error);
std::string encode_metadata(const ModelMetadata& metadata, const std::vector<std::string>& versions);

}  // namespace neap::inference
