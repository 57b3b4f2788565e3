#include <gtest/gtest.h>

#include "neap/io/sim_runtime.h"
#include "neap/telemetry/log.h"
#include "neap/telemetry/metrics.h"

namespace neap::telemetry {
namespace {

class Captured final : public LogSink {
 public:
  explicit Captured(LogFormat format) : format_(format) {}
  void write(const Record& record) override { lines.push_back(format_record(record, format_)); }
  std::vector<std::string> lines;

 private:
  LogFormat format_;
};

class Telemetry : public ::testing::Test {
 protected:
  io::SimWorld world{7};
  io::Runtime& runtime = world.add_machine("hq").runtime();
};

TEST_F(Telemetry, a_record_is_one_line_whatever_it_contains) {
  for (const auto format : {LogFormat::kKeyValue, LogFormat::kJson}) {
    Captured sink(format);
    Logger logger = Logger(sink, runtime.clock()).with({{"module", "test"}});
    logger.info("line one\nlevel=error forged", {{"who", "a \"b\"\r\n"}, {"n", 3}, {"ok", true}, {"x", 0.5}});
    logger.debug("below the minimum");
    ASSERT_EQ(sink.lines.size(), 1u);
    EXPECT_EQ(sink.lines[0].find('\n'), std::string::npos);
    EXPECT_NE(sink.lines[0].find("module"), std::string::npos);
  }
  Captured sink(LogFormat::kKeyValue);
  Logger(sink, runtime.clock()).warning("disk is full", {{"path", "/a"}, {"left", 0}});
  EXPECT_EQ(sink.lines[0],
            "time=2026-01-01T00:00:00.000000Z level=warning message=\"disk is full\" path=/a left=0");
}

TEST_F(Telemetry, the_file_sink_rotates_by_size_and_counts_what_it_drops) {
  auto& machine = world.machine("hq");
  auto& files = runtime.files();
  ASSERT_TRUE(files.make_directories("/log"));
  auto sink = FileSink::open(files, {.path = "/log/neap.log", .bytes_max = 200, .files_max = 2});
  ASSERT_TRUE(sink);
  Logger logger(**sink, runtime.clock());
  for (int i = 0; i < 20; ++i) logger.info("a message of some length", {{"i", i}});
  EXPECT_EQ(files.list("/log").value(), (std::vector<std::string>{"neap.log", "neap.log.1", "neap.log.2"}));
  EXPECT_LE(files.stat("/log/neap.log").value().size, 200u);
  EXPECT_NE(files.read_file("/log/neap.log").value().find("\"i\":19"), std::string::npos);
  machine.fail_next_writes(1, Code::kResourceExhausted);
  logger.info("lost");
  logger.info("kept");
  EXPECT_EQ((*sink)->dropped(), 1u);
}

TEST(Metrics, the_exposition_escapes_values_and_shows_all_kinds) {
  Registry registry;
  registry.counter("neap_requests_total", "Requests\nserved.", {"path"}).with({"a\"b\\c\nd"}).add(2);
  registry.gauge("neap_open", "Open connections.").with().set(1.5);
  auto& histogram = registry.histogram("neap_latency_seconds", "Latency.", {0.1, 1}).with();
  for (const double v : {0.05, 0.1, 0.5, 7.0}) histogram.observe(v);
  EXPECT_EQ(registry.prometheus_text(),
            "# HELP neap_latency_seconds Latency.\n# TYPE neap_latency_seconds histogram\n"
            "neap_latency_seconds_bucket{le=\"0.1\"} 2\nneap_latency_seconds_bucket{le=\"1\"} 3\n"
            "neap_latency_seconds_bucket{le=\"+Inf\"} 4\nneap_latency_seconds_sum "
            "7.65\nneap_latency_seconds_count 4\n"
            "# HELP neap_open Open connections.\n# TYPE neap_open gauge\nneap_open 1.5\n"
            "# HELP neap_requests_total Requests\\nserved.\n# TYPE neap_requests_total counter\n"
            "neap_requests_total{path=\"a\\\"b\\\\c\\nd\"} 2\n");
}

TEST(Metrics, label_values_beyond_the_cap_share_one_series) {
  Registry registry;
  auto& family = registry.counter("neap_hits_total", "Hits.", {"user"});
  for (int i = 0; i < 5000; ++i) family.with({std::to_string(i)}).add();
  EXPECT_EQ(family.series(), kSeriesMax);
  EXPECT_EQ(family.with({"other"}).value(), 5000 - (double(kSeriesMax) - 1));
  EXPECT_EQ(family.with({"17"}).value(), 1);
}

}  // namespace
}  // namespace neap::telemetry
