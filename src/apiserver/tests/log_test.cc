// GET .../allocations/NAME/log against a source that a test writes.
#include "neap/apiserver/log_source.h"

#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kLog = "/apis/neap.dev/v1/namespaces/default/allocations/job-0/log";

// Says what it was asked, gives the pieces it was given, then ends or fails.
class FakeLogSource : public LogSource {
 public:
  std::vector<std::string> pieces;
  std::optional<Error> refuses, breaks;
  std::vector<LogQuery> asked;
  int open = 0;

  Task<Result<std::unique_ptr<LogStream>>> open_log(CallContext, LogQuery query) override {
    asked.push_back(std::move(query));
    if (refuses) co_return fail(*refuses);
    co_return std::make_unique<Stream>(*this);
  }

 private:
  struct Stream : LogStream {
    explicit Stream(FakeLogSource& s) : source(s), left(s.pieces.begin(), s.pieces.end()) { ++source.open; }
    ~Stream() override { --source.open; }
    Task<Result<std::size_t>> read_some(CallContext, std::string& out) override {
      if (left.empty() && source.breaks) co_return fail(*source.breaks);
      if (left.empty()) co_return std::size_t{0};
      out += left.front();
      const auto n = left.front().size();
      left.erase(left.begin());
      co_return n;
    }
    FakeLogSource& source;
    std::vector<std::string> left;
  };
};

class LogTest : public ::testing::Test {
 protected:
  LogTest() { world.server().serve_logs(source); }
  FakeLogSource source;
  World world;
};

TEST_F(LogTest, a_log_comes_as_it_is_with_who_asked_and_how_much) {
  source.pieces = {"one\n", "two\n"};
  const auto answer = world.get(kLog + "?tailLines=5&follow=true");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text, "one\ntwo\n");
  EXPECT_TRUE(answer.headers.get("Content-Type").starts_with("text/plain"));
  ASSERT_EQ(source.asked.size(), 1u);
  EXPECT_EQ(source.asked[0].namespace_, "default");
  EXPECT_EQ(source.asked[0].allocation, "job-0");
  EXPECT_EQ(source.asked[0].user, "admin");
  EXPECT_EQ(source.asked[0].tail_lines, 5);
  EXPECT_TRUE(source.asked[0].follow);
  EXPECT_EQ(source.open, 0);
  world.get(kLog);
  EXPECT_EQ(source.asked[1].tail_lines, -1);
  EXPECT_FALSE(source.asked[1].timestamps || source.asked[1].since_seconds || source.asked[1].since_time);
  world.get(kLog + "?sinceSeconds=5&timestamps=true");
  EXPECT_EQ(source.asked[2].since_seconds, 5);
  EXPECT_TRUE(source.asked[2].timestamps);
  world.get(kLog + "?sinceTime=2026-01-01T00:00:00Z");
  EXPECT_EQ(format_rfc3339(source.asked[3].since_time.value()), "2026-01-01T00:00:00Z");
  EXPECT_EQ(world.get(kLog + "?limitBytes=6").text, "one\ntw");
}

TEST_F(LogTest, what_cannot_be_answered_is_refused_by_name_before_the_node_is_asked) {
  for (const auto& [query, status] : {std::pair{"previous=true", 404},
                                      {"sinceSeconds=-5", 400},
                                      {"sinceSeconds=99999999999", 400},
                                      {"sinceTime=yesterday", 400},
                                      {"sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 400},
                                      {"container=side", 400},
                                      {"tailLines=-1", 400},
                                      {"tailLines=some", 400},
                                      {"limitBytes=x", 400}})
    EXPECT_EQ(world.get(kLog + "?" + query).status, status) << query;
  EXPECT_TRUE(source.asked.empty());
}

TEST_F(LogTest, a_refusal_of_the_source_is_a_status_and_on_record) {
  source.refuses = Error{Code::kPermissionDenied, "egress.view.unnamed", "no policy names user admin", {}};
  const auto answer = world.get(kLog);
  EXPECT_EQ(answer.status, 403);
  EXPECT_NE(answer.message().find("no policy names user admin"), std::string::npos);
  EXPECT_EQ(world.audit().back().reason, "egress.view.unnamed");
  source.refuses = Error{Code::kUnavailable, "logs.node.unreachable", "node n1 is not connected", {}};
  EXPECT_EQ(world.get(kLog).status, 503);
}

TEST_F(LogTest, who_may_not_read_logs_never_reaches_the_node) {
  EXPECT_EQ(world.call("GET", kLog, "", "alice").status, 403);
  EXPECT_EQ(world.call("GET", kLog, "", "node").status, 403);
  EXPECT_TRUE(source.asked.empty());
  EXPECT_EQ(world.audit().back().status, 403);
}

TEST_F(LogTest, a_log_that_breaks_off_is_no_complete_reply) {
  source.pieces = {"one\n"};
  source.breaks = Error{Code::kUnavailable, "logs.node.lost", "gone", {}};
  world.run([](World& w) -> Task<void> {
    io::HttpRequest request;
    request.method = "GET";
    request.target = kLog;
    request.headers.set("Authorization", "Bearer admin");
    EXPECT_FALSE(co_await w.http().call({}, std::move(request)));  // the chunked body has no end
  }(world));
}

}  // namespace
}  // namespace neap::apiserver
