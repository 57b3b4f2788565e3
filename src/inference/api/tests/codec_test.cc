#include "neap/inference/api/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace neap::inference {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
std::vector<T> values(const Tensor& tensor) {
  std::vector<T> out(tensor.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

template <class T>
std::string raw(std::initializer_list<T> list) {
  return std::string(reinterpret_cast<const char*>(list.begin()), list.size() * sizeof(T));
}

std::string one_input(std::string_view datatype, std::string_view shape, std::string_view data) {
  return fmt::format(R"({{"inputs":[{{"name":"x","shape":{},"datatype":"{}","data":{}}}]}})", shape, datatype,
                     data);
}

TEST(Codec, reads_flat_and_nested_data_to_the_same_tensor) {
  const auto flat = decode_request(one_input("FP32", "[2,3]", "[1, 2.5,-3e0 ,4,5E-1,6]"), {});
  const auto nested = decode_request(one_input("FP32", "[2,3]", "[[1,2.5,-3],[4,0.5,6]]"), {});
  ASSERT_TRUE(flat) << flat.error().to_string();
  ASSERT_TRUE(nested) << nested.error().to_string();
  EXPECT_THAT(values<float>(flat->inputs[0]), ElementsAre(1, 2.5f, -3, 4, 0.5f, 6));
  EXPECT_EQ(flat->inputs[0].bytes, nested->inputs[0].bytes);
}

TEST(Codec, reads_data_that_stands_before_its_type_and_shape) {
  const auto request = decode_request(
      R"({"inputs":[{"data":[[1],[2]],"datatype":"INT64","shape":[2,1],"name":"x"}],"id":"7"})", {});
  ASSERT_TRUE(request) << request.error().to_string();
  EXPECT_THAT(values<std::int64_t>(request->inputs[0]), ElementsAre(1, 2));
  EXPECT_EQ(request->id, "7");
}

TEST(Codec, round_trips_every_type_with_a_json_form) {
  InferResponse response{.model_name = "m", .model_version = "3", .id = "a\"b\\\n\x01"};
  const auto add = [&](DataType type, std::vector<std::int64_t> shape, std::string bytes) {
    response.outputs.push_back({std::string(datatype_name(type)), type, std::move(shape), std::move(bytes)});
  };
  add(DataType::kBool, {2}, std::string("\x01\x00", 2));
  add(DataType::kUint8, {2}, raw<std::uint8_t>({0, 255}));
  add(DataType::kUint16, {1}, raw<std::uint16_t>({65535}));
  add(DataType::kUint32, {1}, raw<std::uint32_t>({UINT32_MAX}));
  add(DataType::kUint64, {1}, raw<std::uint64_t>({UINT64_MAX}));
  add(DataType::kInt8, {2}, raw<std::int8_t>({-128, 127}));
  add(DataType::kInt16, {1}, raw<std::int16_t>({-32768}));
  add(DataType::kInt32, {1}, raw<std::int32_t>({INT32_MIN}));
  add(DataType::kInt64, {2}, raw<std::int64_t>({INT64_MIN, INT64_MAX}));
  add(DataType::kFp32, {3}, raw<float>({std::numeric_limits<float>::denorm_min(), 3.4028235e38f, -0.1f}));
  add(DataType::kFp64, {3}, raw<double>({5e-324, std::numeric_limits<double>::max(), -0.1}));
  add(DataType::kBytes, {2}, std::string("\x03\0\0\0a\0c\0\0\0\0", 11));
  add(DataType::kFp32, {0, 4}, "");
  for (const bool binary : {false, true}) {
    const auto encoded = encode_response(response, {.binary_output_default = binary});
    ASSERT_TRUE(encoded) << encoded.error().to_string();
    EXPECT_EQ(encoded->json_length.has_value(), binary);
    const auto decoded = decode_response(encoded->body, encoded->json_length);
    ASSERT_TRUE(decoded) << decoded.error().to_string() << encoded->body;
    EXPECT_EQ(decoded->id, response.id);
    EXPECT_EQ(decoded->model_version, "3");
    ASSERT_EQ(decoded->outputs.size(), response.outputs.size());
    for (std::size_t i = 0; i < response.outputs.size(); ++i) {
      EXPECT_EQ(decoded->outputs[i].bytes, response.outputs[i].bytes) << response.outputs[i].name;
      EXPECT_EQ(decoded->outputs[i].shape, response.outputs[i].shape);
    }
  }
}

TEST(Codec, reads_floats_as_the_standard_library_does) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200'000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    float want = 0;
    std::memcpy(&want, &bits, sizeof(want));
    if (!std::isfinite(want)) continue;
    const std::string text = i % 3 == 0   ? fmt::format("{}", want)
                             : i % 3 == 1 ? fmt::format("{:.{}e}", want, i % 25)
                                          : fmt::format("{:.12f}", std::fmod(want, 1000.0f));
    want = std::strtof(text.c_str(), nullptr);
    if (!std::isfinite(want)) continue;
    const auto got = decode_request(one_input("FP32", "[1]", "[" + text + "]"), {});
    ASSERT_TRUE(got) << text << got.error().to_string();
    ASSERT_EQ(got->inputs[0].bytes, raw<float>({want})) << text;
  }
}

TEST(Codec, asks_for_and_gives_binary_outputs_one_by_one) {
  const auto request = decode_request(
      R"({"inputs":[],"parameters":{"binary_data_output":true},"outputs":[{"name":"a","parameters":{"binary_data":false}},{"name":"b"}]})",
      {});
  ASSERT_TRUE(request) << request.error().to_string();
  InferResponse response;
  response.outputs.push_back({"a", DataType::kInt32, {1}, raw<std::int32_t>({5})});
  response.outputs.push_back({"b", DataType::kInt32, {1}, raw<std::int32_t>({6})});
  const auto encoded = encode_response(response, *request);
  ASSERT_TRUE(encoded);
  ASSERT_TRUE(encoded->json_length);
  EXPECT_EQ(encoded->body.substr(*encoded->json_length), raw<std::int32_t>({6}));
  EXPECT_THAT(encoded->body, HasSubstr("\"data\":[5]"));
}

TEST(Codec, reads_binary_inputs_in_the_order_of_the_json) {
  InferRequest sent{.id = "q"};
  sent.parameters["neap_data_level"] = "L2";
  sent.inputs.push_back({"h", DataType::kFp16, {2}, "\x01\x02\x03\x04"});
  sent.inputs.push_back({"s", DataType::kBytes, {1}, std::string("\x02\0\0\0hi", 6)});
  sent.outputs.push_back({"y", {}});
  const auto encoded = encode_request(sent, true);
  ASSERT_TRUE(encoded);
  const auto got = decode_request(encoded->body, encoded->json_length);
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(got->inputs[0].bytes, sent.inputs[0].bytes);
  EXPECT_EQ(got->inputs[1].bytes, sent.inputs[1].bytes);
  EXPECT_TRUE(got->binary_output_default);
  EXPECT_EQ(got->outputs[0].binary_data, true);
  EXPECT_EQ(got->parameters.at("neap_data_level").as_string(), "L2");
}

TEST(Codec, makes_a_request_of_a_raw_body) {
  const ModelMetadata metadata{.name = "m", .inputs = {{"x", DataType::kFp32, {-1, 2}}}};
  const auto one = decode_raw_request(raw<float>({1, 2}), metadata);
  ASSERT_TRUE(one) << one.error().to_string();
  EXPECT_THAT(one->inputs[0].shape, ElementsAre(1, 2));
  EXPECT_FALSE(decode_raw_request(raw<float>({1, 2, 3}), metadata));
  const ModelMetadata free{.name = "m", .inputs = {{"x", DataType::kFp32, {1, -1}}}};
  const auto three = decode_raw_request(raw<float>({1, 2, 3}), free);
  ASSERT_TRUE(three);
  EXPECT_THAT(three->inputs[0].shape, ElementsAre(1, 3));
}

TEST(Codec, refuses_to_write_what_json_cannot_carry) {
  for (const auto& [type, bytes] : {std::pair{DataType::kFp32, raw<float>({NAN})},
                                    {DataType::kFp64, raw<double>({INFINITY})},
                                    {DataType::kFp16, std::string("ab")},
                                    {DataType::kBytes, std::string("\x01\0\0\0\xff", 5)}}) {
    InferResponse response;
    response.outputs.push_back({"out", type, {1}, bytes});
    const auto encoded = encode_response(response, {});
    ASSERT_FALSE(encoded);
    EXPECT_THAT(encoded.error().message, HasSubstr("\"out\""));
    EXPECT_TRUE(encode_response(response, {.binary_output_default = true}));
  }
}

struct HostileCase {
  std::string what;
  std::string body;
  std::optional<std::uint64_t> json_length;
  std::string message_part;
};

TEST(Codec, answers_hostile_input_with_an_error_that_names_it) {
  const std::vector<HostileCase> cases{
      {"nothing", "", {}, "expected"},
      {"array", "[]", {}, "expected"},
      {"no inputs", "{}", {}, "inputs"},
      {"unended", R"({"inputs":[)", {}, "expected"},
      {"trailing text", R"({"inputs":[]} x)", {}, "behind"},
      {"nul inside", std::string("{\"inputs\":[]\0}", 14), {}, "expected"},
      {"deep nesting", R"({"x":)" + std::string(100'000, '['), {}, "deeper"},
      {"deep parameters",
       R"({"inputs":[],"parameters":)" + std::string(20, '[') + std::string(20, ']') + "}",
       {},
       ""},
      {"deep data", one_input("FP32", "[1]", std::string(100'000, '[')), {}, "\"x\""},
      {"negative dimension", one_input("FP32", "[-1]", "[1]"), {}, "negative"},
      {"negative behind zero", one_input("FP32", "[0,-1]", "[]"), {}, "negative"},
      {"overflowing product", one_input("FP32", "[4294967296,4294967296,4294967296]", "[1]"), {}, "elements"},
      {"wrapping product", one_input("FP32", "[9223372036854775807,2]", "[1]"), {}, "elements"},
      {"huge shape, no data", one_input("FP32", "[16000000]", "[1]"), {}, "\"x\""},
      {"dimension beyond int64", one_input("FP32", "[92233720368547758080]", "[1]"), {}, "integer"},
      {"fraction as dimension", one_input("FP32", "[1.0]", "[1]"), {}, "integer"},
      {"too few", one_input("FP32", "[3]", "[1,2]"), {}, "\"x\""},
      {"too many", one_input("FP32", "[1]", "[1,2]"), {}, "\"x\""},
      {"ragged", one_input("FP32", "[2,2]", "[[1],[2,3,4]]"), {}, "\"x\""},
      {"nested too deep", one_input("FP32", "[2]", "[[1],[2]]"), {}, "\"x\""},
      {"mixed leaf and array", one_input("FP32", "[2,1]", "[[1],2]"), {}, "\"x\""},
      {"not a number", one_input("FP32", "[1]", "[\"1\"]"), {}, "element 0"},
      {"NaN", one_input("FP32", "[1]", "[NaN]"), {}, "binary"},
      {"leading zero", one_input("FP32", "[1]", "[01]"), {}, "element 0"},
      {"bare fraction", one_input("FP32", "[1]", "[.5]"), {}, "element 0"},
      {"ended fraction", one_input("FP32", "[1]", "[1.]"), {}, "element 0"},
      {"plus", one_input("FP32", "[1]", "[+1]"), {}, "element 0"},
      {"float overflow", one_input("FP32", "[1]", "[1e39]"), {}, "element 0"},
      {"absurd exponent", one_input("FP64", "[1]", "[1e999999999999999999999]"), {}, "element 0"},
      {"integer overflow", one_input("INT8", "[2]", "[127,128]"), {}, "element 1"},
      {"negative unsigned", one_input("UINT32", "[1]", "[-1]"), {}, "element 0"},
      {"fraction as integer", one_input("INT32", "[1]", "[1.5]"), {}, "element 0"},
      {"bool out of range", one_input("BOOL", "[1]", "[2]"), {}, "element 0"},
      {"half in json", one_input("FP16", "[1]", "[1]"), {}, "binary"},
      {"unknown type", one_input("FP99", "[1]", "[1]"), {}, "FP99"},
      {"lower case type", one_input("fp32", "[1]", "[1]"), {}, "fp32"},
      {"lone surrogate", one_input("BYTES", "[1]", R"(["\ud800"])"), {}, "surrogate"},
      {"bad utf-8", one_input("BYTES", "[1]", "[\"\xc0\xaf\"]"), {}, "UTF-8"},
      {"no data", R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]})", {}, "\"x\""},
      {"no shape", R"({"inputs":[{"name":"x","data":[1],"datatype":"FP32"}]})", {}, "\"x\""},
      {"no name", R"({"inputs":[{"shape":[1],"data":[1],"datatype":"FP32"}]})", {}, "name"},
      {"key twice", R"({"inputs":[],"inputs":[]})", {}, "twice"},
      {"id is a number", R"({"inputs":[],"id":1})", {}, "expected"},
      {"header longer than body", "{}", 3, "3 bytes"},
      {"binary size beyond body",
       R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]})",
       {},
       "\"x\""},
      {"binary size negative",
       R"({"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}}]})",
       {},
       "binary_data_size"},
      {"binary left over", "{\"inputs\":[]}abcd", 13, "4 bytes"},
  };
  for (const HostileCase& c : cases) {
    const auto got = decode_request(c.body, c.json_length);
    ASSERT_FALSE(got) << c.what;
    EXPECT_THAT(got.error().to_string(), HasSubstr(c.message_part)) << c.what;
  }
}

TEST(Codec, keeps_its_limits) {
  std::string many = R"({"inputs":[)";
  for (int i = 0; i < 100; ++i) many += R"({"name":"x","shape":[0],"datatype":"FP32","data":[]},)";
  many.back() = ']';
  many += '}';
  EXPECT_FALSE(decode_request(many, {}));
  EXPECT_FALSE(decode_request(std::string(100, ' '), {}, {.body_bytes_max = 10}));
  EXPECT_FALSE(
      decode_request(one_input("INT8", "[11]", "[0,0,0,0,0,0,0,0,0,0,0]"), {}, {.elements_max = 10}));
  for (const std::string_view bad : {"-1", "1x", " 1", "99999999999999999999", "0x10"})
    EXPECT_FALSE(parse_header_length(bad)) << bad;
  EXPECT_EQ(parse_header_length("").value(), std::nullopt);
}

TEST(Codec, survives_every_truncation_and_many_mutations) {
  const std::string good =
      R"({"id":"1","parameters":{"a":1.5},"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2e3],[-3.5,4]]},)"
      R"({"name":"s","shape":[1],"datatype":"BYTES","data":["\u00e9\ud83d\ude00"]}],"outputs":[{"name":"y"}]})";
  ASSERT_TRUE(decode_request(good, {}));
  for (std::size_t i = 0; i < good.size(); ++i) EXPECT_FALSE(decode_request(good.substr(0, i), {})) << i;
  std::mt19937 random(3);
  for (int i = 0; i < 50'000; ++i) {
    std::string text = good;
    for (int k = 0; k < 3; ++k) text[random() % text.size()] = static_cast<char>(random());
    (void)decode_request(text, random() % 2 ? std::optional<std::uint64_t>(random() % 300) : std::nullopt);
  }
}

TEST(CheckRequest, names_the_input_that_does_not_fit) {
  const ModelMetadata metadata{
      .name = "m", .inputs = {{"x", DataType::kFp32, {-1, 2}}}, .outputs = {{"y", DataType::kFp32, {-1}}}};
  const Tensor good{"x", DataType::kFp32, {1, 2}, std::string(8, '\0')};
  EXPECT_TRUE(check_request(metadata, {.inputs = {good}}));
  const auto refused = [&](InferRequest request) {
    const Status status = check_request(metadata, request);
    return status ? std::string() : status.error().message;
  };
  EXPECT_THAT(refused({}), HasSubstr("\"x\""));
  EXPECT_THAT(refused({.inputs = {good, good}}), HasSubstr("twice"));
  EXPECT_THAT(refused({.inputs = {good, {"z", DataType::kFp32, {1}, ""}}}), HasSubstr("\"z\""));
  EXPECT_THAT(refused({.inputs = {{"x", DataType::kInt32, {1, 2}, std::string(8, '\0')}}}),
              HasSubstr("INT32"));
  EXPECT_THAT(refused({.inputs = {{"x", DataType::kFp32, {1, 3}, std::string(12, '\0')}}}),
              HasSubstr("[1,3]"));
  EXPECT_THAT(refused({.inputs = {{"x", DataType::kFp32, {1, 2}, "abc"}}}), HasSubstr("3 bytes"));
  EXPECT_THAT(refused({.inputs = {good}, .outputs = {{"y", {}}, {"y", {}}}}), HasSubstr("twice"));
  EXPECT_THAT(refused({.inputs = {good}, .outputs = {{"q", {}}}}), HasSubstr("\"q\""));
}

}  // namespace
}  // namespace neap::inference
