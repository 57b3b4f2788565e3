// Rows of a CSV trace by column name. RFC 4180 quoting; a byte order mark and CRLF are accepted.
//
// Threads: immutable after reading. Source: RFC 4180.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"

namespace neap::simulation {

class CsvTable {
 public:
  // `name` stands in errors. Refuses: no header, a row with another number of fields (with its line), an open
  // quote, more than `rows_max` rows.
  static Result<CsvTable> parse(std::string_view text, std::string_view name,
                                std::size_t rows_max = 10'000'000);

  std::size_t rows() const { return columns_.empty() ? 0 : cells_.size() / columns_.size(); }
  bool has(std::string_view column) const;
  // Index for text() and the like; names the columns there are where it is absent.
  Result<std::size_t> column(std::string_view column) const;

  std::string_view text(std::size_t row, std::size_t column) const {
    return cells_[row * columns_.size() + column];
  }
  // Line of the file a row starts at, for errors of one's own.
  std::size_t line(std::size_t row) const { return lines_[row]; }
  // Finite numbers; the error names file, line, column and the text found.
  Result<double> number(std::size_t row, std::size_t column) const;
  Result<std::int64_t> integer(std::size_t row, std::size_t column) const;

 private:
  std::string name_;
  std::vector<std::string> columns_;
  std::vector<std::string> cells_;  // row by row
  std::vector<std::size_t> lines_;  // line of the file each row starts at
};

}  // namespace neap::simulation
