// Feeds one input to the HTTP parser whole and cut into pieces: both must agree, and neither may crash.
#include <cstdlib>

#include "internal/http_parser.h"

namespace neap::io {
namespace {

struct Outcome {
  bool head = false, failed = false, done = false;
  std::string reason, method, body;
  Framing framing = Framing::kNone;
  std::size_t consumed = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome parse(std::string_view input, std::size_t step, HttpParser::Kind kind) {
  HttpLimits limits;
  limits.header_bytes_max = 2048;
  limits.header_count_max = 16;
  HttpParser parser(kind, limits);
  Outcome out;
  std::string buffer;
  for (std::size_t at = 0; at < input.size() && !out.failed && !out.done;) {
    const auto piece = input.substr(at, step);
    at += piece.size();
    buffer += piece;
    std::size_t used = 0;
    if (!out.head) {
      auto complete = parser.put_head(buffer, used);
      out.failed = !complete;
      if (!complete) out.reason = complete.error().reason;
      if (!complete || !*complete) continue;
      out.head = true;
      out.framing = parser.head().framing;
      out.method = parser.head().method;
      out.consumed += used;
      buffer.erase(0, used);
      HttpRequest request;
      request.method = out.method;
      request.target = parser.head().target;
      if (kind == HttpParser::Kind::kRequest && parse_target(request) &&
          request.path.find("/../") != std::string::npos)
        std::abort();
    }
    if (out.framing != Framing::kChunked) break;
    while (!buffer.empty() && !out.done && !out.failed) {
      auto last = parser.put_chunked(buffer, used, out.body);
      out.failed = !last;
      if (!last) break;
      out.done = *last;
      out.consumed += used;
      buffer.erase(0, used);
      if (used == 0) break;
    }
  }
  if (out.failed) out.body.clear(), out.consumed = 0, out.reason.clear();
  return out;
}

}  // namespace
}  // namespace neap::io

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace neap::io;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto kind = data[0] & 1 ? HttpParser::Kind::kRequest : HttpParser::Kind::kResponse;
  const auto whole = parse(input, input.size(), kind);
  const auto pieces = parse(input, 1 + (data[0] >> 1) % 16, kind);
  if (!(whole == pieces)) std::abort();
  return 0;
}
