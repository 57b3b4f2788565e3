// HTTP/1.1 message heads (on Boost.Beast's parser) and chunked bodies. Bytes in, values out.
//
// Stricter than the RFC where leniency has been used to smuggle requests: a Transfer-Encoding other than
// "chunked", one beside a Content-Length, a repeated Content-Length, and folded header lines are errors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "neap/io/http.h"

namespace neap::io {

enum class Framing { kNone, kLength, kChunked, kUntilEnd };

struct MessageHead {
  std::string method, target;  // of a request
  int status = 0;              // of a response
  int version = 11;
  Headers headers;
  bool keep_alive = true;
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;  // when kLength
};

class HttpParser {
 public:
  enum class Kind { kRequest, kResponse };
  HttpParser(Kind kind, const HttpLimits& limits);
  ~HttpParser();
  HttpParser(HttpParser&&) noexcept;
  HttpParser& operator=(HttpParser&&) noexcept;

  // The reply to HEAD announces a body that does not come. Before the first put_head.
  void expect_no_body();
  // True once the head is complete; else give the same bytes again with more behind them. `used` says how
  // many bytes belonged to the head.
  Result<bool> put_head(std::string_view data, std::size_t& used);
  MessageHead& head();
  // Decodes chunks and appends to `out`; true once the last chunk and the trailer were seen.
  Result<bool> put_chunked(std::string_view data, std::size_t& used, std::string& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The path and query of a request's target, into `request`. kInvalidArgument for what no honest client sends.
Status parse_target(HttpRequest& request);
// 400, 408, 413, 414 or 431 for errors of reading a request; else the code's own status.
int status_of_error(const Error& error);
std::string_view reason_phrase(int status);
bool is_token(std::string_view text);
// Appends "name: value" lines; kInvalidArgument when a name or value could break out of its line.
Status append_headers(std::string& out, const Headers& headers);

}  // namespace neap::io
