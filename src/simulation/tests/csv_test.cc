#include "neap/simulation/csv.h"

#include <gtest/gtest.h>

namespace neap::simulation {
namespace {

TEST(CsvTable, reads_quotes_crlf_and_a_byte_order_mark) {
  const auto table = CsvTable::parse("\xEF\xBB\xBFname,n\r\n\"a, \"\"b\"\"\r\nc\",1\r\n\r\nd,\r\n", "t.csv");
  ASSERT_TRUE(table.has_value()) << table.error().message;
  ASSERT_EQ(table->rows(), 2u);
  EXPECT_EQ(table->text(0, 0), "a, \"b\"\r\nc");
  EXPECT_EQ(table->integer(0, 1).value(), 1);
  EXPECT_EQ(table->text(1, 1), "");
}

TEST(CsvTable, names_file_line_and_column_of_what_is_wrong) {
  const auto table = CsvTable::parse("name,n\n\na,1x\nb,nan\n", "t.csv");
  ASSERT_TRUE(table.has_value());
  const auto number = table->number(0, 1);
  ASSERT_FALSE(number.has_value());
  EXPECT_NE(number.error().message.find("t.csv:3: column `n` is `1x`"), std::string::npos);
  EXPECT_FALSE(table->number(1, 1).has_value());
  const auto absent = table->column("gpu");
  ASSERT_FALSE(absent.has_value());
  EXPECT_NE(absent.error().message.find("it has: name, n"), std::string::npos);
}

TEST(CsvTable, refuses_ragged_rows_open_quotes_and_too_many_rows) {
  EXPECT_FALSE(CsvTable::parse("", "t").has_value());
  const auto packed = CsvTable::parse("\x1f\x8b\x08 a,b", "t.gz");
  ASSERT_FALSE(packed.has_value());
  EXPECT_NE(packed.error().message.find("t.gz is compressed with gzip"), std::string::npos);
  EXPECT_FALSE(CsvTable::parse(std::string_view("a\0b\n1\n", 6), "t").has_value());
  EXPECT_FALSE(CsvTable::parse("a,b\n1\n", "t").has_value());
  EXPECT_FALSE(CsvTable::parse("a,b\n1,\"2\n", "t").has_value());
  EXPECT_FALSE(CsvTable::parse("a,b\n1,\"2\"3\n", "t").has_value());
  EXPECT_FALSE(CsvTable::parse("a\n1\n2\n", "t", 1).has_value());
}

}  // namespace
}  // namespace neap::simulation
