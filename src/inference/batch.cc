#include "internal/batch.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::inference {

namespace {

const Tensor* find_tensor(const std::vector<Tensor>& tensors, std::string_view name) {
  const auto at = std::ranges::find(tensors, name, &Tensor::name);
  return at == tensors.end() ? nullptr : &*at;
}

}  // namespace

bool can_batch(const ModelMetadata& metadata) {
  const auto variable = [](const TensorSpec& spec) {
    return !spec.shape.empty() && spec.shape.front() < 0 && spec.type != DataType::kBytes;
  };
  return !metadata.inputs.empty() && std::ranges::all_of(metadata.inputs, variable) &&
         std::ranges::all_of(metadata.outputs, variable);
}

std::uint64_t rows_of(const InferRequest& request) {
  if (request.inputs.empty() || request.inputs.front().shape.empty()) return 0;
  const std::int64_t rows = request.inputs.front().shape.front();
  for (const Tensor& input : request.inputs) {
    if (input.shape.empty() || input.shape.front() != rows) return 0;
  }
  return static_cast<std::uint64_t>(std::max<std::int64_t>(rows, 0));
}

bool can_join(const InferRequest& a, const InferRequest& b) {
  return std::ranges::all_of(a.inputs, [&](const Tensor& input) {
    const Tensor* other = find_tensor(b.inputs, input.name);
    return other != nullptr && other->shape.size() == input.shape.size() &&
           std::equal(input.shape.begin() + 1, input.shape.end(), other->shape.begin() + 1);
  });
}

InferRequest join(const std::vector<const InferRequest*>& requests) {
  const InferRequest& first = *requests.front();
  InferRequest out{.model_name = first.model_name, .model_version = first.model_version};
  for (const Tensor& lead : first.inputs) {
    Tensor& joined = out.inputs.emplace_back(Tensor{lead.name, lead.type, lead.shape, {}});
    joined.bytes.reserve(lead.bytes.size() * requests.size());
    joined.shape.front() = 0;
    for (const InferRequest* request : requests) {
      const Tensor* part = find_tensor(request->inputs, lead.name);
      joined.shape.front() += part->shape.front();
      joined.bytes += part->bytes;
    }
  }
  return out;
}

Result<std::vector<InferResponse>> split(const InferResponse& joined,
                                         const std::vector<const InferRequest*>& requests) {
  std::uint64_t total = 0;
  for (const InferRequest* request : requests) total += rows_of(*request);
  for (const Tensor& output : joined.outputs) {
    if (output.shape.empty() || static_cast<std::uint64_t>(output.shape.front()) != total || total == 0 ||
        output.bytes.size() % total != 0) {
      return fail(
          Code::kInternal, "inference.batch.shape",
          fmt::format("output \"{}\" of a batch of {} rows cannot be cut into them", output.name, total));
    }
  }
  std::vector<InferResponse> out;
  std::uint64_t row = 0;
  for (const InferRequest* request : requests) {
    const std::uint64_t rows = rows_of(*request);
    InferResponse& response = out.emplace_back(InferResponse{
        .model_name = joined.model_name, .model_version = joined.model_version, .id = request->id});
    const auto take = [&](const Tensor& output) {
      const std::size_t width = output.bytes.size() / total;
      Tensor& part = response.outputs.emplace_back(Tensor{output.name, output.type, output.shape, {}});
      part.shape.front() = static_cast<std::int64_t>(rows);
      part.bytes.assign(output.bytes, row * width, rows * width);
    };
    if (request->outputs.empty()) {
      for (const Tensor& output : joined.outputs) take(output);
    } else {
      for (const RequestedOutput& asked : request->outputs) take(*find_tensor(joined.outputs, asked.name));
    }
    row += rows;
  }
  return out;
}

}  // namespace neap::inference
