#include "neap/executor/log_reader.h"

#include <gtest/gtest.h>

#include "neap/io/sim_runtime.h"

namespace neap::executor {
namespace {

class LogReaderTest : public ::testing::Test {
 protected:
  LogReaderTest() { (void)files().make_directories("/work"); }
  io::FileSystem& files() { return machine_.runtime().files(); }
  void write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(files().write_file_atomic("/work/" + name, text));
  }
  std::string read_all(LogReader& reader) {
    std::string out;
    for (;;) {
      const auto piece = reader.next();
      if (!piece) return piece.error().reason;
      if (piece->empty()) return out;
      out += *piece;
    }
  }
  std::string tail(std::int64_t lines) {
    LogReader reader(files(), "/work", {.tail_lines = lines});
    return read_all(reader);
  }
  io::SimWorld world_{5};
  io::SimMachine& machine_ = world_.add_machine("m");
};

TEST_F(LogReaderTest, work_that_wrote_nothing_is_told_from_an_empty_log) {
  EXPECT_EQ(tail(-1), "executor.log.absent");
  write("log", "");
  EXPECT_EQ(tail(-1), "");
}

TEST_F(LogReaderTest, the_last_lines_are_counted_over_both_files) {
  write("log.1", "a\nb\nc\n");
  write("log", "d\ne\nf");
  EXPECT_EQ(tail(-1), "a\nb\nc\nd\ne\nf");
  EXPECT_EQ(tail(0), "");
  EXPECT_EQ(tail(1), "f");
  EXPECT_EQ(tail(2), "e\nf");
  EXPECT_EQ(tail(3), "d\ne\nf");
  EXPECT_EQ(tail(4), "c\nd\ne\nf");
  EXPECT_EQ(tail(100), "a\nb\nc\nd\ne\nf");
  write("log", "d\ne\nf\n");
  EXPECT_EQ(tail(1), "f\n");
}

TEST_F(LogReaderTest, lines_longer_than_a_piece_are_whole) {
  const std::string longest(200'000, 'x');
  write("log", "first\n" + longest + "\n");
  EXPECT_EQ(tail(1), longest + "\n");
  EXPECT_EQ(tail(2), "first\n" + longest + "\n");
}

TEST_F(LogReaderTest, what_is_written_later_comes_later_also_over_a_rotation) {
  write("log", "one\n");
  LogReader reader(files(), "/work", {.tail_lines = -1});
  EXPECT_EQ(read_all(reader), "one\n");
  write("log", "one\ntwo\n");
  EXPECT_EQ(read_all(reader), "two\n");
  // ProcessDriver copies, then truncates; three was not read before.
  write("log.1", "one\ntwo\nthree\n");
  write("log", "");
  EXPECT_EQ(read_all(reader), "three\n");
  write("log", "four\n");
  EXPECT_EQ(read_all(reader), "four\n");
}

}  // namespace
}  // namespace neap::executor
