#include "gateway_fixture.h"

namespace neap::gateway {
namespace {

using inference::DenseModel;
using inference::to_fake_model;

// Says class `winner` whatever comes.
std::string constant_model(std::size_t winner) {
  DenseModel model{.layers = {{4, 3, std::vector<float>(12, 0.0F), std::vector<float>(3, 0.0F)}}};
  model.layers[0].bias[winner] = 1;
  return to_fake_model(model);
}

class Shadow : public ::testing::Test {
 protected:
  void load_shadow(std::string bytes) {
    const Status status = runtime_->run_task(
        node_.host.load({}, {.name = "m", .version = "next", .path = {}, .bytes = std::move(bytes)}, {}));
    ASSERT_TRUE(status) << status.error().to_string();
  }
  void set_route(double fraction) {
    node_.gateway.pipeline().set_route(
        {.service = "s", .model = "m", .shadow_version = "next", .shadow_fraction = fraction});
  }
  ShadowReport report() const { return *node_.gateway.pipeline().shadow_report("m"); }
  void ask_and_wait(int times, const std::string& body = kBody) {
    for (int i = 0; i < times; ++i) {
      const auto seen = [this] { return report().requests + report().errors + report().skipped; };
      const auto before = seen();
      ASSERT_EQ(node_.infer(body).status, 200);
      runtime_->run_task(until(runtime_->executor(), [&] { return seen() > before; }));
    }
  }

  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create({.worker_threads = 2});
  inference::FakeEngine engine_;
  ScriptedUpstream upstream_;
  Node node_{*runtime_, engine_, upstream_, "n"};
};

TEST_F(Shadow, compares_the_answers_of_both_versions) {
  node_.deploy("1", constant_model(0));
  load_shadow(constant_model(0));
  set_route(1.0);
  ask_and_wait(3);
  EXPECT_EQ(report().requests, 3u);
  EXPECT_EQ(report().agreed, 3u);
  EXPECT_GT(report().shadow_time, Duration(0));
  EXPECT_EQ(report().labelled_rows, 0u);
}

TEST_F(Shadow, measures_accuracy_where_requests_carry_labels) {
  node_.deploy("1", constant_model(0));
  load_shadow(constant_model(2));
  set_route(1.0);
  ask_and_wait(
      1,
      R"({"parameters":{"neap_label":2},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]})");
  ask_and_wait(
      1,
      R"({"parameters":{"neap_label":[0,2]},"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[1,2,3,4,1,2,3,4]}]})");
  EXPECT_EQ(report().agreed, 0u);
  EXPECT_EQ(report().rows, 3u);
  EXPECT_EQ(report().labelled_rows, 3u);
  EXPECT_DOUBLE_EQ(report().active_accuracy(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(report().shadow_accuracy(), 2.0 / 3);
}

TEST_F(Shadow, runs_only_the_share_asked_for_and_never_changes_the_answer) {
  node_.deploy("1", constant_model(0));
  load_shadow(constant_model(1));
  set_route(0.25);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(node_.infer().headers.get(kVersionHeader), "1");
  runtime_->run_task(until(runtime_->executor(), [&] { return report().requests + report().skipped == 5; }));
  EXPECT_EQ(report().requests + report().skipped, 5u);
}

TEST_F(Shadow, counts_a_shadow_that_fails_without_touching_the_request) {
  node_.deploy("1", constant_model(0));
  set_route(1.0);  // the shadow version is not loaded
  ask_and_wait(2);
  EXPECT_EQ(report().errors, 2u);
  EXPECT_EQ(report().requests, 0u);
}

TEST_F(Shadow, starts_its_figures_anew_with_a_new_version) {
  node_.deploy("1", constant_model(0));
  load_shadow(constant_model(0));
  set_route(1.0);
  ask_and_wait(2);
  set_route(0.5);
  EXPECT_EQ(report().requests, 2u);
  node_.gateway.pipeline().set_route({.service = "s", .model = "m", .shadow_version = "other"});
  EXPECT_EQ(report().requests, 0u);
  node_.gateway.pipeline().set_route({.service = "s", .model = "m"});
  EXPECT_FALSE(node_.gateway.pipeline().shadow_report("m"));
}

}  // namespace
}  // namespace neap::gateway
