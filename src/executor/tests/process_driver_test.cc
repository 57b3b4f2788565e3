#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "neap/executor/process_driver.h"
#include "neap/io/real_runtime.h"

namespace neap::executor {
namespace {

class ProcessDriverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    runtime_ = io::RealRuntime::create();
    std::string path = ::testing::TempDir() + "/neap-executor-XXXXXX";
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  WorkSpec spec(std::string id, std::vector<std::vector<std::string>> programs) {
    WorkSpec out{.id = std::move(id), .directory = directory_, .programs = {}, .limits = {}};
    for (auto& argv : programs) out.programs.push_back({std::move(argv), {"PATH=/usr/bin:/bin"}, directory_});
    return out;
  }
  std::unique_ptr<io::RealRuntime> runtime_;
  std::string directory_;
};

Task<Result<WorkExit>> run_to_end(ProcessDriver& driver, WorkSpec spec) {
  NEAP_CO_TRY_VOID(driver.start(spec));
  auto exit = co_await driver.wait({}, spec.id);
  co_await driver.close();
  co_return exit;
}

TEST_F(ProcessDriverTest, reports_the_exit_code_and_keeps_the_log) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  EXPECT_TRUE(limiter.description().starts_with("none: ")) << limiter.description();
  ProcessDriver driver(*runtime_, limiter, {});
  const auto exit =
      runtime_->run_task(run_to_end(driver, spec("a", {{"/bin/sh", "-c", "echo hello; exit 3"}})));
  ASSERT_TRUE(exit.has_value()) << exit.error().to_string();
  EXPECT_EQ(exit->code, 3);
  EXPECT_EQ(driver.read_log_tail(directory_, 100).value_or(""), "hello\n");
  EXPECT_FALSE(driver.is_running("a"));
}

TEST_F(ProcessDriverTest, a_program_that_does_not_exist_is_a_clear_error) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  ProcessDriver driver(*runtime_, limiter, {});
  const auto exit = runtime_->run_task(run_to_end(driver, spec("a", {{"/nonexistent/program"}})));
  if (exit) {
    EXPECT_NE(exit->code, 0);
  } else {
    EXPECT_NE(exit.error().to_string().find("/nonexistent/program"), std::string::npos)
        << exit.error().to_string();
  }
}

TEST_F(ProcessDriverTest, stop_ends_a_program_that_ignores_sigterm) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  ProcessDriver driver(*runtime_, limiter, {});
  const auto exit =
      runtime_->run_task([](ProcessDriver& d, WorkSpec s, io::Runtime& r) -> Task<Result<WorkExit>> {
        NEAP_CO_TRY_VOID(d.start(s));
        NEAP_CO_TRY_VOID(co_await sleep_for(r.executor(), {}, 300ms));
        NEAP_CO_TRY_VOID(co_await d.stop({}, s.id, 200ms));
        auto out = co_await d.wait({}, s.id);
        co_await d.close();
        co_return out;
      }(driver, spec("a", {{"/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"}}), *runtime_));
  ASSERT_TRUE(exit.has_value()) << exit.error().to_string();
  EXPECT_EQ(exit->signal, SIGKILL);
}

TEST_F(ProcessDriverTest, a_second_life_adopts_what_still_runs_and_nothing_else) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  std::vector<std::int64_t> first_pids;
  {
    ProcessDriver first(*runtime_, limiter, {});
    const auto started = runtime_->run_task([](ProcessDriver& d, WorkSpec s) -> Task<Status> {
      auto status = d.start(s);
      co_await d.close();
      co_return status;
    }(first, spec("a", {{"/bin/sleep", "30"}, {"/bin/sleep", "30"}})));
    ASSERT_TRUE(started.has_value());
    first_pids = first.pids("a");
  }
  ProcessDriver second(*runtime_, limiter, {});
  ASSERT_TRUE(second.adopt("a", directory_).value_or(false));
  EXPECT_EQ(second.pids("a"), first_pids);
  const auto stopped = runtime_->run_task([](ProcessDriver& d) -> Task<Status> {
    auto status = co_await d.stop({}, "a", 2s);
    co_await d.close();
    co_return status;
  }(second));
  EXPECT_TRUE(stopped.has_value());
  ProcessDriver third(*runtime_, limiter, {});
  EXPECT_FALSE(third.adopt("a", directory_).value_or(true));
}

TEST_F(ProcessDriverTest, what_is_typed_reaches_the_program_in_a_second_life_too) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  const auto type = [](ProcessDriver& d, std::string line) -> Task<Status> {
    NEAP_CO_TRY(const auto input, d.open_input("a"));
    co_return co_await input->write_all({}, line);
  };
  {
    ProcessDriver first(*runtime_, limiter, {});
    auto work = spec("a", {{"/bin/sh", "-c", "read a; read b; echo \"$a and $b\""}});
    work.programs[0].takes_input = true;
    ASSERT_TRUE(first.start(work));
    ASSERT_TRUE(runtime_->run_task(type(first, "before\n")));
    runtime_->run_task([](ProcessDriver& d) -> Task<void> { co_await d.close(); }(first));
  }
  ProcessDriver second(*runtime_, limiter, {});
  ASSERT_TRUE(second.adopt("a", directory_).value_or(false));
  ASSERT_TRUE(runtime_->run_task(type(second, "after\n")));
  const auto ended = runtime_->run_task([](ProcessDriver& d) -> Task<Status> {
    auto exit = co_await d.wait({}, "a");
    co_await d.close();
    co_return exit ? ok() : Status(fail(exit.error()));
  }(second));
  ASSERT_TRUE(ended);
  EXPECT_EQ(second.read_log_tail(directory_, 100).value_or(""), "before and after\n");
}

TEST_F(ProcessDriverTest, a_program_that_takes_no_input_reads_an_end_and_says_so) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "test", directory_ + "/no-cgroups");
  ProcessDriver driver(*runtime_, limiter, {});
  const auto refused = runtime_->run_task([](ProcessDriver& d, WorkSpec s) -> Task<std::string> {
    if (!d.start(s)) co_return "not started";
    const auto input = d.open_input("a");
    (void)co_await d.stop({}, "a", 1s);
    co_await d.close();
    co_return input ? "opened" : input.error().reason;
  }(driver, spec("a", {{"/bin/sh", "-c", "cat && echo end; exec sleep 1000"}})));
  EXPECT_EQ(refused, "executor.input.none");
  EXPECT_EQ(driver.open_input("a").error().reason, "executor.ended");
}

TEST_F(ProcessDriverTest, memory_limits_are_enforced_where_the_kernel_offers_cgroups) {
  auto limiter = ResourceLimiter::detect(runtime_->files(), "unit-test");
  if (limiter.layout() == ResourceLimiter::Layout::kNone) GTEST_SKIP() << limiter.description();
  ProcessDriver driver(*runtime_, limiter, {});
  auto work = spec("mem", {{"/usr/bin/python3", "-c", "x = bytearray(300 * 1024 * 1024); print(len(x))"}});
  work.limits.memory_bytes = 64 << 20;
  const auto exit = runtime_->run_task(run_to_end(driver, work));
  ASSERT_TRUE(exit.has_value()) << exit.error().to_string();
  EXPECT_TRUE(exit->signal == SIGKILL || exit->code != 0) << exit->code << " " << exit->signal;
}

}  // namespace
}  // namespace neap::executor
