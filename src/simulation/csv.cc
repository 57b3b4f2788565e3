#include "neap/simulation/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace neap::simulation {
namespace {

// One record at a time; knows the line it stands at.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string_view name) : rest_(text), name_(name) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }

  std::size_t line() const { return line_; }

  // False at the end. Blank lines are skipped.
  Result<bool> next(std::vector<std::string>& fields) {
    while (rest_.starts_with('\n') || rest_.starts_with("\r\n")) {
      rest_.remove_prefix(rest_.front() == '\r' ? 2 : 1);
      ++line_;
    }
    if (rest_.empty()) return false;
    fields.clear();
    record_line_ = line_;
    for (;;) {
      NEAP_TRY(auto field, read_field());
      fields.push_back(std::move(field));
      if (rest_.empty()) return true;
      const char end = rest_.front();
      rest_.remove_prefix(1);
      if (end == '\n') {
        ++line_;
        return true;
      }
    }
  }
  std::size_t record_line() const { return record_line_; }

 private:
  Result<std::string> read_field() {
    if (!rest_.starts_with('"')) {
      const auto end = std::min(rest_.find_first_of(",\n"), rest_.size());
      auto field = rest_.substr(0, end);
      rest_.remove_prefix(end);
      if (field.ends_with('\r') && !rest_.starts_with(',')) field.remove_suffix(1);
      return std::string(field);
    }
    std::string field;
    for (std::size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] == '\n') ++line_;
      if (rest_[at] != '"') {
        field += rest_[at];
      } else if (at + 1 < rest_.size() && rest_[at + 1] == '"') {
        field += rest_[at++];
      } else {
        rest_.remove_prefix(at + 1);
        if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);
        if (rest_.empty() || rest_.front() == ',' || rest_.front() == '\n') return field;
        return fail(Code::kInvalidArgument, "simulation.csv",
                    fmt::format("{}:{}: text follows a closing quote; double the quotes inside a field",
                                name_, line_));
      }
    }
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{}:{}: a quote is never closed; close it or double it", name_, record_line_));
  }

  std::string_view rest_;
  std::string_view name_;
  std::size_t line_ = 1;
  std::size_t record_line_ = 1;
};

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<CsvTable> CsvTable::parse(std::string_view text, std::string_view name, std::size_t rows_max) {
  if (text.starts_with("\x1f\x8b"))
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{} is compressed with gzip; unpack it first", name));
  // What a message would otherwise write to the user's terminal.
  if (text.find('\0') != std::string_view::npos)
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{} is no text: it has a NUL byte; give a CSV file", name));
  CsvTable table;
  table.name_ = name;
  CsvReader reader(text, name);
  NEAP_TRY(const bool has_header, reader.next(table.columns_));
  if (!has_header)
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{} is empty; its first line must name the columns", name));
  std::vector<std::string> fields;
  for (;;) {
    NEAP_TRY(const bool has_row, reader.next(fields));
    if (!has_row) return table;
    if (fields.size() != table.columns_.size())
      return fail(Code::kInvalidArgument, "simulation.csv",
                  fmt::format("{}:{}: {} fields where the header names {}; quote fields that contain commas",
                              name, reader.record_line(), fields.size(), table.columns_.size()));
    if (table.rows() == rows_max)
      return fail(Code::kResourceExhausted, "simulation.csv",
                  fmt::format("{} has more than {} rows; split it", name, rows_max));
    std::ranges::move(fields, std::back_inserter(table.cells_));
    table.lines_.push_back(reader.record_line());
  }
}

bool CsvTable::has(std::string_view column) const {
  return std::ranges::find(columns_, column) != columns_.end();
}

Result<std::size_t> CsvTable::column(std::string_view column) const {
  const auto found = std::ranges::find(columns_, column);
  if (found == columns_.end())
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{} has no column `{}`; it has: {}", name_, column, fmt::join(columns_, ", ")));
  return static_cast<std::size_t>(found - columns_.begin());
}

Result<double> CsvTable::number(std::size_t row, std::size_t column) const {
  const auto value = parse_number<double>(text(row, column));
  if (!value || !std::isfinite(*value))
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{}:{}: column `{}` is `{}`; a number is expected", name_, lines_[row],
                            columns_[column], text(row, column).substr(0, 40)));
  return *value;
}

Result<std::int64_t> CsvTable::integer(std::size_t row, std::size_t column) const {
  const auto value = parse_number<std::int64_t>(text(row, column));
  if (!value)
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{}:{}: column `{}` is `{}`; a whole number is expected", name_, lines_[row],
                            columns_[column], text(row, column).substr(0, 40)));
  return *value;
}

}  // namespace neap::simulation
