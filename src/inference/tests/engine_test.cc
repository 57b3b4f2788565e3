// One suite for every engine: what FakeEngine promises, OnnxEngine keeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>

#include "neap/inference/fake_engine.h"
#include "neap/inference/onnx_engine.h"

namespace neap::inference {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct EngineCase {
  const char* name;
  std::unique_ptr<Engine> (*make)();
  std::string (*encode)(const DenseModel&);
};

std::string floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

InferRequest request_of(const std::vector<float>& row, std::string id = "1") {
  return {.id = std::move(id),
          .inputs = {{"x", DataType::kFp32, {1, static_cast<std::int64_t>(row.size())}, floats(row)}}};
}

class EngineConformance : public ::testing::TestWithParam<EngineCase> {
 protected:
  Result<std::unique_ptr<LoadedModel>> load(const DenseModel& model) {
    return engine_->load({.name = "m", .version = "7", .path = {}, .bytes = GetParam().encode(model)});
  }
  std::unique_ptr<Engine> engine_ = GetParam().make();
};

TEST_P(EngineConformance, computes_what_the_model_says) {
  const DenseModel dense = make_dense_model({4, 8, 3}, 1);
  const auto model = load(dense);
  ASSERT_TRUE(model) << model.error().to_string();
  const std::vector<float> row{1, -2, 0.5f, 3};
  InferRequest request = request_of(row, "id-9");
  request.inputs[0].shape[0] = 2;
  request.inputs[0].bytes += floats({0, 0, 0, 0});
  const auto answer = (*model)->infer(request);
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->id, "id-9");
  EXPECT_EQ(answer->model_name, "m");
  EXPECT_EQ(answer->model_version, "7");
  ASSERT_EQ(answer->outputs.size(), 1u);
  EXPECT_EQ(answer->outputs[0].name, "y");
  EXPECT_THAT(answer->outputs[0].shape, ElementsAre(2, 3));
  EXPECT_EQ(answer->outputs[0].bytes, floats(dense.apply(row)) + floats(dense.apply({0, 0, 0, 0})));
}

TEST_P(EngineConformance, describes_inputs_and_outputs) {
  const auto model = load(make_dense_model({4, 3}, 1));
  ASSERT_TRUE(model);
  const ModelMetadata& metadata = (*model)->metadata();
  ASSERT_EQ(metadata.inputs.size(), 1u);
  EXPECT_EQ(metadata.inputs[0].name, "x");
  EXPECT_EQ(metadata.inputs[0].type, DataType::kFp32);
  EXPECT_THAT(metadata.inputs[0].shape, ElementsAre(-1, 4));
  EXPECT_THAT(metadata.outputs.at(0).shape, ElementsAre(-1, 3));
  EXPECT_FALSE(metadata.platform.empty());
}

TEST_P(EngineConformance, refuses_requests_that_do_not_fit) {
  const auto model = load(make_dense_model({4, 3}, 1));
  ASSERT_TRUE(model);
  InferRequest unknown = request_of({1, 2, 3, 4});
  unknown.inputs[0].name = "q";
  InferRequest output = request_of({1, 2, 3, 4});
  output.outputs = {{"nope", {}}};
  InferRequest short_bytes = request_of({1, 2, 3, 4});
  short_bytes.inputs[0].bytes.pop_back();
  for (const InferRequest& bad : {InferRequest{}, request_of({1, 2}), unknown, output, short_bytes}) {
    const auto answer = (*model)->infer(bad);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kInvalidArgument);
  }
  EXPECT_TRUE((*model)->infer(request_of({1, 2, 3, 4})));
}

TEST_P(EngineConformance, refuses_bad_model_files_with_a_reason) {
  const std::string good = GetParam().encode(make_dense_model({4, 8, 3}, 2));
  std::vector<std::string> bad{"x",
                               std::string(1000, '\0'),
                               std::string(1000, '\xff'),
                               good.substr(0, good.size() / 2),
                               good.substr(1),
                               std::string(100'000, '[')};
  for (const std::string& bytes : bad) {
    const auto model = engine_->load({.name = "broken", .version = "1", .path = {}, .bytes = bytes});
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, Code::kInvalidArgument) << model.error().to_string();
    EXPECT_THAT(model.error().message, HasSubstr("broken"));
  }
  EXPECT_FALSE(engine_->load({.name = "none", .version = "1", .path = "/nonexistent/model", .bytes = {}}));
}

TEST_P(EngineConformance, survives_damaged_model_files) {
  const std::string good = GetParam().encode(make_dense_model({4, 3}, 2));
  for (std::size_t i = 0; i < good.size(); i += 3) {
    std::string bytes = good;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
    if (const auto model = engine_->load({.name = "m", .version = "1", .path = {}, .bytes = bytes})) {
      (void)(*model)->infer(request_of({1, 2, 3, 4}));
    }
  }
}

TEST_P(EngineConformance, answers_several_threads_at_once) {
  const DenseModel dense = make_dense_model({4, 16, 3}, 3);
  const auto model = load(dense);
  ASSERT_TRUE(model);
  std::vector<std::future<int>> threads;
  for (int t = 0; t < 4; ++t) {
    threads.push_back(std::async(std::launch::async, [&, t] {
      int right = 0;
      for (int i = 0; i < 100; ++i) {
        const std::vector<float> row{static_cast<float>(t), static_cast<float>(i), 1, 2};
        const auto answer = (*model)->infer(request_of(row));
        right += answer && answer->outputs[0].bytes == floats(dense.apply(row));
      }
      return right;
    }));
  }
  for (auto& thread : threads) EXPECT_EQ(thread.get(), 100);
}

std::vector<EngineCase> engine_cases() {
  std::vector<EngineCase> out{
      {"Fake", [] { return std::unique_ptr<Engine>(std::make_unique<FakeEngine>()); }, &to_fake_model}};
#ifdef NEAP_HAS_ONNXRUNTIME
  out.push_back({"Onnx", [] { return std::unique_ptr<Engine>(std::make_unique<OnnxEngine>()); }, &to_onnx});
#endif
  return out;
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineConformance, ::testing::ValuesIn(engine_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

#ifdef NEAP_HAS_ONNXRUNTIME
TEST(OnnxEngine, says_what_to_do_when_its_library_is_absent) {
  if (OnnxEngine::is_library_open()) GTEST_SKIP() << "the library is open in this process already";
  OnnxEngine engine({.library_path = "/nonexistent/libonnxruntime.so"});
  const auto model =
      engine.load({.name = "m", .version = "1", .path = {}, .bytes = to_onnx(make_dense_model({2, 2}, 1))});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, Code::kUnavailable);
  EXPECT_THAT(model.error().message, HasSubstr("bootstrap_onnxruntime"));
  EXPECT_FALSE(OnnxEngine::is_library_open());
}
#endif

}  // namespace
}  // namespace neap::inference
