// The Open Inference Protocol over real HTTP on loopback, on every engine.
#include "neap/gateway/gateway.h"

#include "gateway_fixture.h"
#include "neap/inference/onnx_engine.h"

namespace neap::gateway {
namespace {

using inference::DenseModel;
using inference::make_dense_model;
using ::testing::HasSubstr;

struct EngineCase {
  const char* name;
  std::unique_ptr<inference::Engine> (*make)();
  std::string (*encode)(const DenseModel&);
};

class Protocol : public ::testing::TestWithParam<EngineCase> {
 protected:
  Protocol() {
    node_.gateway.pipeline().set_route({.service = "s", .model = "m"});
    node_.deploy("1", GetParam().encode(model_));
  }
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create({.worker_threads = 2});
  std::unique_ptr<inference::Engine> engine_ = GetParam().make();
  ScriptedUpstream upstream_;
  Node node_{*runtime_, *engine_, upstream_, "n1"};
  DenseModel model_ = make_dense_model({4, 3}, 1);
};

TEST_P(Protocol, says_what_it_serves) {
  EXPECT_EQ(node_.ask("GET", "/v2/health/live").status, 200);
  EXPECT_EQ(node_.ask("GET", "/v2/health/ready").status, 200);
  const auto server = parse_json(node_.ask("GET", "/v2").body);
  ASSERT_TRUE(server);
  EXPECT_EQ(get_string(*server, "name"), "neap");
  for (const char* path : {"/v2/models/m", "/v2/models/m/versions/1"}) {
    const auto model = parse_json(node_.ask("GET", path).body);
    ASSERT_TRUE(model);
    EXPECT_EQ(get_string(*model, "name"), "m");
    EXPECT_EQ(get_string(model->at("inputs").as_array().at(0), "datatype"), "FP32");
    EXPECT_EQ(model->at("inputs").as_array().at(0).at("shape").as_array().at(0).as_int64(), -1);
  }
  EXPECT_EQ(node_.ask("GET", "/v2/models/m/ready").status, 200);
  EXPECT_EQ(node_.ask("GET", "/v2/models/m/versions/9/ready").status, 503);
  EXPECT_EQ(node_.ask("GET", "/v2/models/q/ready").status, 404);
  EXPECT_THAT(node_.ask("POST", "/v2/repository/index").body, HasSubstr("READY"));
}

TEST_P(Protocol, answers_json_with_json) {
  const auto response = node_.infer();
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(response.headers.get("x-neap-served-by"), "n1/n1-site");
  EXPECT_EQ(response.headers.get("x-neap-model-version"), "1");
  const auto decoded = inference::decode_response(response.body, {});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->id, "7");
  EXPECT_EQ(decoded->model_name, "m");
  EXPECT_EQ(decoded->outputs.at(0).bytes, floats(model_.apply(kRow)));
}

TEST_P(Protocol, answers_binary_with_binary) {
  inference::InferRequest request{.id = "b",
                                  .inputs = {{"x", inference::DataType::kFp32, {1, 4}, floats(kRow)}}};
  const auto encoded = inference::encode_request(request, true);
  ASSERT_TRUE(encoded);
  const auto response = node_.infer(
      encoded->body, {{"Inference-Header-Content-Length", std::to_string(*encoded->json_length)}});
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.headers.get("Content-Type"), "application/octet-stream");
  const auto length = inference::parse_header_length(response.headers.get(inference::kHeaderLengthName));
  ASSERT_TRUE(length);
  const auto decoded = inference::decode_response(response.body, *length);
  ASSERT_TRUE(decoded) << decoded.error().to_string();
  EXPECT_EQ(decoded->outputs.at(0).bytes, floats(model_.apply(kRow)));
}

TEST_P(Protocol, answers_a_raw_body) {
  const auto response = node_.infer(floats(kRow), {{"Inference-Header-Content-Length", "0"}});
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_TRUE(response.body.ends_with(floats(model_.apply(kRow))));
}

TEST_P(Protocol, counts_what_it_did) {
  node_.infer();
  node_.infer();
  const auto stats = parse_json(node_.ask("GET", "/v2/models/m/stats").body);
  ASSERT_TRUE(stats);
  const Json& model = stats->at("model_stats").as_array().at(0);
  EXPECT_EQ(get_int(model, "inference_count"), 2);
  EXPECT_EQ(get_int(*find_path(model, {"inference_stats", "success"}), "count"), 2);
  EXPECT_GT(get_int(*find_path(model, {"inference_stats", "compute_infer"}), "ns"), 0);
  ASSERT_EQ(node_.events.served.size(), 2u);
  EXPECT_EQ(node_.events.served[0].status, 200);
  EXPECT_EQ(node_.events.served[0].bytes_in, kBody.size());
  EXPECT_TRUE(node_.events.served[0].local);
}

struct HostileCase {
  std::string what;
  std::string method;
  std::string target;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  int status;
};

TEST_P(Protocol, answers_what_is_wrong_with_a_status_and_a_sentence) {
  const std::string infer = "/v2/models/m/infer";
  const std::vector<HostileCase> cases{
      {"unknown path", "GET", "/v2/nothing", "", {}, 404},
      {"outside v2", "GET", "/", "", {}, 404},
      {"unknown verb of a model", "GET", "/v2/models/m/dance", "", {}, 404},
      {"empty model", "POST", "/v2/models//infer", kBody, {}, 400},
      {"too long a path", "POST", "/v2/models/m/versions/1/infer/more", kBody, {}, 404},
      {"version without number", "POST", "/v2/models/m/versions", kBody, {}, 404},
      {"infer with GET", "GET", infer, "", {}, 405},
      {"live with POST", "POST", "/v2/health/live", "", {}, 405},
      {"metadata with DELETE", "DELETE", "/v2/models/m", "", {}, 405},
      {"unknown model", "POST", "/v2/models/q/infer", kBody, {}, 404},
      {"unknown model's metadata", "GET", "/v2/models/q", "", {}, 404},
      {"unknown version", "POST", "/v2/models/m/versions/9/infer", kBody, {}, 404},
      {"no body", "POST", infer, "", {}, 400},
      {"no JSON", "POST", infer, "hello", {}, 400},
      {"deep JSON", "POST", infer, "{\"x\":" + std::string(50'000, '['), {}, 400},
      {"wrong type",
       "POST",
       infer,
       R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"INT32","data":[1,2,3,4]}]})",
       {},
       400},
      {"wrong shape",
       "POST",
       infer,
       R"({"inputs":[{"name":"x","shape":[1,5],"datatype":"FP32","data":[1,2,3,4,5]}]})",
       {},
       400},
      {"overflowing shape",
       "POST",
       infer,
       R"({"inputs":[{"name":"x","shape":[4611686018427387904,4],"datatype":"FP32","data":[1]}]})",
       {},
       400},
      {"unknown output",
       "POST",
       infer,
       R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}],"outputs":[{"name":"z"}]})",
       {},
       400},
      {"header length beyond the body",
       "POST",
       infer,
       kBody,
       {{"Inference-Header-Content-Length", "100000"}},
       400},
      {"header length absurd", "POST", infer, kBody, {{"Inference-Header-Content-Length", "-1"}}, 400},
      {"raw body of odd length", "POST", infer, "abc", {{"Inference-Header-Content-Length", "0"}}, 400},
      {"compressed body", "POST", infer, kBody, {{"Content-Encoding", "gzip"}}, 400},
      {"unknown level", "POST", infer, kBody, {{"X-Neap-Data-Level", "L9"}}, 400},
      {"lower case level", "POST", infer, kBody, {{"X-Neap-Data-Level", "l1"}}, 400},
      {"level of a wrong type",
       "POST",
       infer,
       R"({"parameters":{"neap_data_level":1},"inputs":[]})",
       {},
       400},
  };
  for (const HostileCase& c : cases) {
    const auto response = node_.ask(c.method, c.target, c.body, c.headers);
    EXPECT_EQ(response.status, c.status) << c.what << ": " << response.body;
    const auto body = parse_json(response.body);
    ASSERT_TRUE(body) << c.what;
    EXPECT_FALSE(get_string(*body, "error").empty()) << c.what;
    if (c.status == 405) EXPECT_FALSE(response.headers.get("Allow").empty()) << c.what;
  }
  EXPECT_EQ(node_.infer().status, 200);
}

TEST_P(Protocol, drops_no_request_while_versions_change_under_load) {
  int good = 0;
  int bad = 0;
  bool stop = false;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 8; ++i) {
    group.spawn([](Node& node, int& yes, int& no, bool& done) -> Task<void> {
      while (!done) ++((co_await node.call(Node::infer_request())).status == 200 ? yes : no);
    }(node_, good, bad, stop));
  }
  for (int version = 2; version <= 8; ++version) {
    node_.deploy(std::to_string(version),
                 GetParam().encode(make_dense_model({4, 3}, static_cast<std::uint32_t>(version))));
    const int seen = good;
    runtime_->run_task(until(runtime_->executor(), [&] { return good > seen + 20 || bad > 0; }));
  }
  stop = true;
  runtime_->run_task(until(runtime_->executor(), [&] { return group.running() == 0; }));
  runtime_->run_task(group.stop());
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(node_.infer().headers.get(kVersionHeader), "8");
}

std::vector<EngineCase> engine_cases() {
  using inference::Engine;
  std::vector<EngineCase> out{
      {"Fake", [] { return std::unique_ptr<Engine>(std::make_unique<inference::FakeEngine>()); },
       &inference::to_fake_model}};
#ifdef NEAP_HAS_ONNXRUNTIME
  out.push_back({"Onnx", [] { return std::unique_ptr<Engine>(std::make_unique<inference::OnnxEngine>()); },
                 &inference::to_onnx});
#endif
  return out;
}

INSTANTIATE_TEST_SUITE_P(Engines, Protocol, ::testing::ValuesIn(engine_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace neap::gateway
