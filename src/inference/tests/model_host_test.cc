#include "neap/inference/model_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "neap/inference/fake_engine.h"
#include "neap/io/real_runtime.h"

namespace neap::inference {
namespace {

using ::testing::ElementsAre;

std::string floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

const std::vector<float> kRow{1, 2, 3, 4};

InferRequest request_of(std::string id = {}, std::int64_t rows = 1) {
  InferRequest request{
      .model_name = "m", .id = std::move(id), .inputs = {{"x", DataType::kFp32, {rows, 4}, {}}}};
  for (std::int64_t i = 0; i < rows; ++i) request.inputs[0].bytes += floats(kRow);
  return request;
}

DenseModel model_of(std::uint32_t seed) { return make_dense_model({4, 3}, seed); }

struct Answers {
  int good = 0;
  int overloaded = 0;
  int other = 0;
  std::map<std::string, int> by_version;
  void add(const Result<InferResponse>& answer) {
    if (answer) {
      ++good;
      ++by_version[answer->model_version];
    } else {
      ++(answer.error().reason == "inference.overloaded" ? overloaded : other);
    }
  }
  int all() const { return good + overloaded + other; }
};

class ModelHostTest : public ::testing::Test {
 protected:
  // Never inline: a held engine must not hold the executor.
  ModelHostTest() : ModelHostTest(ModelHostOptions{.inline_below = Duration(0)}) {}
  explicit ModelHostTest(ModelHostOptions options) : host_({*runtime_, engine_}, options) {}
  ~ModelHostTest() override {
    engine_.release();
    runtime_->run_task(host_.stop());
    EXPECT_EQ(engine_.live_models(), 0);
  }

  template <class T>
  T run(Task<T> task) {
    return runtime_->run_task(std::move(task));
  }
  static ModelSource source(const std::string& version, std::uint32_t seed) {
    return {.name = "m", .version = version, .path = {}, .bytes = to_fake_model(model_of(seed))};
  }
  void deploy(const std::string& version, std::uint32_t seed, ModelOptions options = {}) {
    const Status status = run(host_.deploy({}, source(version, seed), options));
    ASSERT_TRUE(status) << status.error().to_string();
  }
  Task<void> ask(Answers& answers, InferRequest request) {
    answers.add(co_await host_.infer({}, std::move(request)));
  }
  Task<void> until(std::function<bool()> done) {
    while (!done()) (void)co_await sleep_for(runtime_->executor(), {}, 1ms);
  }

  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create({.worker_threads = 4});
  FakeEngine engine_;
  ModelHost host_;
};

TEST_F(ModelHostTest, answers_with_the_active_version) {
  deploy("1", 1);
  const auto answer = run(host_.infer({}, request_of("a")));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->outputs[0].bytes, floats(model_of(1).apply(kRow)));
  deploy("2", 2);
  const auto next = run(host_.infer({}, request_of("b")));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->model_version, "2");
  EXPECT_EQ(next->outputs[0].bytes, floats(model_of(2).apply(kRow)));
  EXPECT_THAT(host_.versions("m"), ElementsAre("2"));
}

TEST_F(ModelHostTest, names_what_is_not_here) {
  EXPECT_EQ(run(host_.infer({}, request_of())).error().reason, "inference.model.unknown");
  ASSERT_TRUE(run(host_.load({}, source("1", 1), {})));
  EXPECT_EQ(run(host_.infer({}, request_of())).error().reason, "inference.model.not_ready");
  EXPECT_FALSE(host_.are_all_ready());
  InferRequest named = request_of();
  named.model_version = "1";
  EXPECT_TRUE(run(host_.infer({}, named)));
  EXPECT_EQ(run(host_.load({}, source("1", 1), {})).error().code, Code::kAlreadyExists);
  EXPECT_EQ(host_.activate("m", "9").error().code, Code::kNotFound);
  ASSERT_TRUE(host_.activate("m", "1"));
  EXPECT_TRUE(host_.are_all_ready());
}

TEST_F(ModelHostTest, keeps_the_old_version_when_the_new_one_does_not_load) {
  deploy("1", 1);
  EXPECT_FALSE(run(host_.deploy({}, {.name = "m", .version = "2", .path = {}, .bytes = "garbage"}, {})));
  EXPECT_EQ(host_.active_version("m"), "1");
  EXPECT_TRUE(run(host_.infer({}, request_of())));
  EXPECT_FALSE(run(host_.deploy({}, {.name = "new", .version = "1", .path = {}, .bytes = "garbage"}, {})));
  EXPECT_TRUE(host_.are_all_ready());
}

TEST_F(ModelHostTest, says_overloaded_at_once_and_serves_the_rest) {
  deploy("1", 1, {.max_concurrency = 2, .max_queue = 3});
  const int before = engine_.started();
  engine_.hold();
  Answers answers;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 64; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return answers.overloaded == 59 && engine_.started() == before + 2; }));
  EXPECT_EQ(answers.all(), 59);
  EXPECT_EQ(host_.statistics("m")[0].running, 2u);
  EXPECT_EQ(host_.statistics("m")[0].waiting, 3u);
  engine_.release();
  run(until([&] { return answers.all() == 64; }));
  EXPECT_EQ(answers.good, 5);
  EXPECT_EQ(answers.other, 0);
  EXPECT_EQ(host_.statistics("m")[0].overloaded_count, 59u);
  EXPECT_EQ(host_.statistics("m")[0].success.count, 5u);
  run(group.stop());
}

TEST_F(ModelHostTest, lets_a_waiting_request_leave_when_its_time_is_over) {
  deploy("1", 1, {.max_concurrency = 1, .max_queue = 8});
  engine_.hold();
  Answers answers;
  TaskGroup group(runtime_->executor());
  group.spawn(ask(answers, request_of()));
  CancelSource cancel;
  const auto late = run([](ModelHost& host, Executor& executor) -> Task<Result<InferResponse>> {
    CallContext ctx;
    ctx.deadline = executor.now() + 5ms;
    co_return co_await host.infer(ctx, request_of());
  }(host_, runtime_->executor()));
  EXPECT_EQ(late.error().code, Code::kDeadlineExceeded);
  std::optional<Result<InferResponse>> cancelled;
  group.spawn(
      [](ModelHost& host, CancelToken token, std::optional<Result<InferResponse>>& out) -> Task<void> {
        CallContext ctx;
        ctx.cancel = token;
        out = co_await host.infer(ctx, request_of());
      }(host_, cancel.token(), cancelled));
  run(until([&] { return host_.statistics("m")[0].waiting == 1; }));
  cancel.cancel();
  run(until([&] { return cancelled.has_value(); }));
  EXPECT_EQ(cancelled->error().code, Code::kCancelled);
  EXPECT_EQ(host_.statistics("m")[0].waiting, 0u);
  engine_.release();
  run(until([&] { return answers.good == 1; }));
  EXPECT_TRUE(run(host_.infer({}, request_of())));
  run(group.stop());
}

TEST_F(ModelHostTest, answers_every_accepted_request_while_versions_change) {
  deploy("0", 0, {.max_concurrency = 2, .max_queue = 100'000});
  Answers answers;
  bool stop = false;
  TaskGroup group(runtime_->executor());
  for (int client = 0; client < 16; ++client) {
    group.spawn([](ModelHost& host, Answers& out, bool& done) -> Task<void> {
      while (!done) out.add(co_await host.infer({}, request_of()));
    }(host_, answers, stop));
  }
  for (std::uint32_t i = 1; i <= 20; ++i) {
    deploy(std::to_string(i), i, {.max_concurrency = 2, .max_queue = 100'000});
    run(until([&] { return answers.by_version[std::to_string(i)] > 20; }));
  }
  stop = true;
  run(until([&] { return group.running() == 0; }));
  EXPECT_EQ(answers.good, answers.all());
  EXPECT_EQ(answers.by_version.size(), 21u);
  run(group.stop());
}

TEST_F(ModelHostTest, unloads_only_after_the_last_answer) {
  deploy("1", 1);
  engine_.hold();
  Answers answers;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 5; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return host_.statistics("m")[0].waiting == 3; }));
  bool unloaded = false;
  group.spawn([](ModelHost& host, bool& done) -> Task<void> {
    done = (co_await host.unload({}, "m", "1")).has_value();
  }(host_, unloaded));
  run(yield_to(runtime_->executor()));
  EXPECT_EQ(run(host_.infer({}, request_of())).error().code, Code::kNotFound);
  EXPECT_FALSE(unloaded);
  EXPECT_EQ(engine_.live_models(), 1);
  engine_.release();
  run(until([&] { return unloaded && engine_.live_models() == 0; }));
  EXPECT_EQ(answers.good, 5);
  run(group.stop());
}

TEST_F(ModelHostTest, runs_requests_together_up_to_the_batch_size) {
  deploy("1", 1, {.max_concurrency = 1, .max_batch = 4, .max_batch_delay = 10s, .warm_up = false});
  Answers answers;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 8; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return answers.good == 8; }));
  EXPECT_EQ(engine_.started(), 2);
  EXPECT_EQ(host_.statistics("m")[0].execution_count, 2u);
  EXPECT_EQ(host_.statistics("m")[0].inference_count, 8u);
  run(group.stop());
}

TEST_F(ModelHostTest, does_not_wait_longer_for_company_than_allowed) {
  deploy("1", 1, {.max_batch = 64, .max_batch_delay = 2ms, .warm_up = false});
  const auto answer = run(host_.infer({}, request_of("x", 3)));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->id, "x");
  EXPECT_EQ(answer->outputs[0].shape, (std::vector<std::int64_t>{3, 3}));
}

TEST_F(ModelHostTest, gives_each_request_its_own_chance_when_a_batch_fails) {
  deploy("1", 1, {.max_concurrency = 1, .max_batch = 4, .max_batch_delay = 10s, .warm_up = false});
  engine_.fail_above_rows(2);
  Answers answers;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 4; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return answers.all() == 4; }));
  EXPECT_EQ(answers.good, 4);
  const auto bad = run(host_.infer({}, request_of("big", 5)));
  EXPECT_EQ(bad.error().code, Code::kInternal);
  InferRequest misfit = request_of();
  misfit.inputs[0].shape = {1, 5};
  EXPECT_EQ(run(host_.infer({}, misfit)).error().code, Code::kInvalidArgument);
  run(group.stop());
}

TEST_F(ModelHostTest, bounds_the_queue_of_forming_batches) {
  deploy("1", 1,
         {.max_concurrency = 1, .max_queue = 6, .max_batch = 4, .max_batch_delay = 1ms, .warm_up = false});
  engine_.hold();
  Answers answers;
  TaskGroup group(runtime_->executor());
  for (int i = 0; i < 4; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return engine_.started() == 1; }));
  for (int i = 0; i < 20; ++i) group.spawn(ask(answers, request_of()));
  run(until([&] { return answers.overloaded > 0; }));
  EXPECT_EQ(answers.overloaded, 14);  // the running batch waits no more
  engine_.release();
  run(until([&] { return answers.all() == 24; }));
  EXPECT_EQ(answers.other, 0);
  run(group.stop());
}

class InlineModelHostTest : public ModelHostTest {
 protected:
  InlineModelHostTest() : ModelHostTest(ModelHostOptions{.inline_below = 10s}) {}
};

TEST_F(InlineModelHostTest, runs_a_model_known_to_be_fast_without_leaving_the_executor) {
  deploy("1", 1);
  int turns = 0;
  std::optional<Result<InferResponse>> answer;
  TaskGroup group(runtime_->executor());
  group.spawn([](ModelHost& host, std::optional<Result<InferResponse>>& out) -> Task<void> {
    out = co_await host.infer({}, request_of());
  }(host_, answer));
  run([](Executor& executor, std::optional<Result<InferResponse>>& out, int& count) -> Task<void> {
    while (!out) {
      ++count;
      co_await yield_to(executor);
    }
  }(runtime_->executor(), answer, turns));
  EXPECT_LE(turns, 1);
  EXPECT_TRUE(*answer);
  run(group.stop());
}

}  // namespace
}  // namespace neap::inference
