// A forward-only reader of JSON text that builds no tree: the tensor data of a request is most of its
// bytes and goes straight into the tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap::inference {

class JsonScanner {
 public:
  JsonScanner(std::string_view text, std::size_t depth_max)
      : begin_(text.data()), at_(text.data()), end_(text.data() + text.size()), depth_max_(depth_max) {}

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  // Next character that is not space, '\0' at the end.
  char peek() {
    skip_space();
    return at_ == end_ ? '\0' : *at_;
  }
  bool consume(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  Status expect(char c);
  bool at_end() { return peek() == '\0' && at_ == end_; }

  // A string; `bytes_max` bounds the decoded length. UTF-8 is checked.
  Result<std::string> string(std::size_t bytes_max);
  Result<std::int64_t> integer();
  Result<bool> boolean();
  // Text of one whole value, checked for well-formed structure and depth.
  Result<std::string_view> value_text();

  // Number readers for the hot loop: false leaves the position at the offending number.
  bool read(float& out);
  bool read(double& out);
  bool read(std::int64_t& out);
  bool read(std::uint64_t& out);

  std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }
  std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  std::unexpected<Error> error(std::string_view what) const;

 private:
  Status skip_value(std::size_t depth);
  Status skip_string();
  bool scan_number(const char*& end_of_number, bool& integral) const;
  Status append_escape(std::string& out);

  const char* begin_;
  const char* at_;
  const char* end_;
  std::size_t depth_max_;
};

bool is_utf8(std::string_view text);
// Text as a JSON string with its quotes.
void append_json_string(std::string& out, std::string_view text);

}  // namespace neap::inference
