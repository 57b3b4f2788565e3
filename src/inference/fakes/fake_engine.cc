#include "neap/inference/fake_engine.h"

#include <fmt/format.h>

#include <cstring>

#include "neap/base/json.h"

namespace neap::inference {

namespace {

std::unexpected<Error> no_model(const std::string& name, std::string_view why) {
  return fail(Code::kInvalidArgument, "inference.fake.model",
              fmt::format("model \"{}\" is no fake model: {}", name, why));
}

bool read_floats(const Json* array, std::size_t count, std::vector<float>& out) {
  if (array == nullptr || !array->is_array() || array->get_array().size() != count) return false;
  for (const Json& value : array->get_array()) {
    if (!value.is_number()) return false;
    out.push_back(value.to_number<float>());
  }
  return true;
}

Result<DenseModel> parse_model(const std::string& name, const Json& document) {
  const Json* layers = find_path(document, {"layers"});
  if (layers == nullptr || !layers->is_array() || layers->get_array().empty())
    return no_model(name, "no layers");
  DenseModel model;
  for (const Json& item : layers->get_array()) {
    LinearLayer layer{
        .inputs = get_int(item, "inputs"), .outputs = get_int(item, "outputs"), .weights = {}, .bias = {}};
    if (layer.inputs <= 0 || layer.outputs <= 0 || layer.inputs > 65536 || layer.outputs > 65536) {
      return no_model(name, "a layer without a width");
    }
    if (!read_floats(find_path(item, {"weights"}), static_cast<std::size_t>(layer.inputs * layer.outputs),
                     layer.weights) ||
        !read_floats(find_path(item, {"bias"}), static_cast<std::size_t>(layer.outputs), layer.bias)) {
      return no_model(name, "weights that do not fit the widths");
    }
    if (!model.layers.empty() && model.layers.back().outputs != layer.inputs)
      return no_model(name, "layers do not chain");
    model.layers.push_back(std::move(layer));
  }
  return model;
}

}  // namespace

class FakeModel final : public LoadedModel {
 public:
  FakeModel(FakeEngine& engine, DenseModel model, const ModelSource& source)
      : engine_(engine), model_(std::move(model)) {
    metadata_ = {.name = source.name,
                 .version = source.version,
                 .platform = "neap_fake",
                 .inputs = {{"x", DataType::kFp32, {-1, model_.layers.front().inputs}}},
                 .outputs = {{"y", DataType::kFp32, {-1, model_.layers.back().outputs}}}};
    ++engine_.live_models_;
  }
  ~FakeModel() override { --engine_.live_models_; }

  const ModelMetadata& metadata() const override { return metadata_; }

  Result<InferResponse> infer(const InferRequest& request) override {
    NEAP_TRY_VOID(check_request(metadata_, request));
    const Tensor& x = request.inputs.front();
    engine_.pass_gate();
    const std::int64_t limit = engine_.fail_above_rows_;
    if (limit > 0 && x.shape.front() > limit) {
      return fail(Code::kInternal, "inference.model.failed",
                  fmt::format("model \"{}\" failed: too many rows", metadata_.name));
    }
    InferResponse response{
        .model_name = metadata_.name, .model_version = metadata_.version, .id = request.id};
    Tensor& y = response.outputs.emplace_back(
        Tensor{"y", DataType::kFp32, {x.shape[0], model_.layers.back().outputs}, {}});
    std::vector<float> row(static_cast<std::size_t>(x.shape[1]));
    for (std::int64_t i = 0; i < x.shape[0]; ++i) {
      std::memcpy(row.data(), x.bytes.data() + static_cast<std::size_t>(i) * row.size() * sizeof(float),
                  row.size() * sizeof(float));
      const std::vector<float> out = model_.apply(row);
      y.bytes.append(reinterpret_cast<const char*>(out.data()), out.size() * sizeof(float));
    }
    return response;
  }

 private:
  FakeEngine& engine_;
  DenseModel model_;
  ModelMetadata metadata_;
};

Result<std::unique_ptr<LoadedModel>> FakeEngine::load(const ModelSource& source) {
  auto document = parse_json(source.bytes);
  if (!document) return no_model(source.name, document.error().message);
  NEAP_TRY(auto model, parse_model(source.name, *document));
  return std::make_unique<FakeModel>(*this, std::move(model), source);
}

void FakeEngine::hold() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeEngine::release() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  opened_.notify_all();
}

void FakeEngine::pass_gate() {
  std::unique_lock lock(mutex_);
  ++started_;
  opened_.wait(lock, [this] { return !held_; });
}

}  // namespace neap::inference
