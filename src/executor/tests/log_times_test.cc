#include "neap/executor/log_times.h"

#include <gtest/gtest.h>

#include "neap/executor/log_reader.h"
#include "neap/io/sim_runtime.h"

namespace neap::executor {
namespace {

// A log that grows on a machine whose clock the test turns.
class LogTimesTest : public ::testing::Test {
 protected:
  LogTimesTest() {
    (void)files().make_directories("/work");
    writer_.emplace(files(), "/work/log");
  }
  io::FileSystem& files() { return machine_.runtime().files(); }
  WallTime now() { return machine_.runtime().clock().wall(); }
  void write(const std::string& text) {
    auto file = std::move(*files().open("/work/log", io::OpenMode::kCreate));
    ASSERT_TRUE(file->write_at(*file->size(), text));
  }
  // Writes and lets the writer look, as the driver does each second.
  WallTime say(const std::string& text) {
    write(text);
    const auto time = now();
    EXPECT_TRUE(writer_->look(false));
    world_.run_for(10s);
    return time;
  }
  std::string read(LogSelection selection) {
    LogReader reader(files(), "/work", selection);
    std::string out;
    for (;;) {
      const auto piece = reader.next();
      if (!piece) return piece.error().reason;
      if (piece->empty()) return out;
      out += *piece;
    }
  }
  static std::string stamp(WallTime time) { return format_rfc3339(time, 3) + " "; }

  io::SimWorld world_{5};
  io::SimMachine& machine_ = world_.add_machine("m");
  std::optional<LogTimesWriter> writer_;
};

TEST_F(LogTimesTest, lines_have_the_time_at_which_they_were_first_seen) {
  const auto one = say("one\n"), two = say("two\nthr"), three = say("ee\nfour\n");
  write("five\n");  // not looked at yet: the log's own time says it
  const auto five = now();
  EXPECT_EQ(read({.with_times = true}), stamp(one) + "one\n" + stamp(two) + "two\n" + stamp(two) + "three\n" +
                                            stamp(three) + "four\n" + stamp(five) + "five\n");
  EXPECT_EQ(read({.tail_lines = 1, .with_times = true}), stamp(five) + "five\n");
}

TEST_F(LogTimesTest, since_begins_with_the_first_line_that_is_not_older) {
  const auto one = say("one\n"), two = say("two\nthr"), three = say("ee\nfour\n");
  EXPECT_EQ(read({.since = one}), "one\ntwo\nthree\nfour\n");
  EXPECT_EQ(read({.since = one + 1s}), "two\nthree\nfour\n");
  EXPECT_EQ(read({.since = two}), "two\nthree\nfour\n");
  EXPECT_EQ(read({.since = two + 1s}), "four\n");  // "three" was begun before
  EXPECT_EQ(read({.since = three + 1s}), "");
  EXPECT_EQ(read({.tail_lines = 2, .since = one}), "three\nfour\n");
  EXPECT_EQ(read({.tail_lines = 3, .since = two + 1s}), "four\n");
}

TEST_F(LogTimesTest, times_go_over_rotations_and_restarts_of_the_writer) {
  const auto one = say("one\n");
  writer_.emplace(files(), "/work/log");
  const auto two = say("two\n");
  ASSERT_TRUE(files().write_file_atomic("/work/log.1", *files().read_file("/work/log")));
  ASSERT_TRUE(writer_->rotate("/work/log.1"));
  ASSERT_TRUE((*files().open("/work/log", io::OpenMode::kReadWrite))->truncate(0));
  const auto three = say("three\n");
  EXPECT_EQ(read({.with_times = true}),
            stamp(one) + "one\n" + stamp(two) + "two\n" + stamp(three) + "three\n");
  EXPECT_EQ(read({.since = two}), "two\nthree\n");
  EXPECT_EQ(read({.since = three}), "three\n");
}

TEST_F(LogTimesTest, a_log_of_many_hours_has_a_bounded_file_of_times) {
  for (int second = 0; second < 40'000; ++second) {
    if (second % 100 == 0) write("x");
    auto file = std::move(*files().open("/work/log", io::OpenMode::kCreate));
    ASSERT_TRUE(file->write_at(*file->size(), "y"));
    ASSERT_TRUE(writer_->look(false));
    world_.run_for(1s);
  }
  const auto stat = files().stat("/work/log.times");
  ASSERT_TRUE(stat);
  EXPECT_LT(stat->size / 16, 8192u * 4);  // gaps of 1 s, 2 s, 4 s, 8 s
  EXPECT_GT(stat->size / 16, 8192u);
}

TEST_F(LogTimesTest, a_torn_or_absent_file_of_times_is_no_error) {
  write("one\n");
  EXPECT_EQ(read({.with_times = true}), stamp(now()) + "one\n");
  ASSERT_TRUE(files().write_file_atomic("/work/log.times", "torn"));
  EXPECT_EQ(read({.since = now() - 1s}), "one\n");
}

}  // namespace
}  // namespace neap::executor
