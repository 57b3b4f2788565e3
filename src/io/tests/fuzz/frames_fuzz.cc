// Feeds one input to the readers of WebSocket and SPDY frames whole and byte by byte: both must agree, keep
// their limits, and not crash.
#include <cstdlib>

#include "neap/io/spdy.h"
#include "neap/io/websocket.h"

namespace neap::io {
namespace {

constexpr std::size_t kPayloadMax = 512;

void require(bool holds) {
  if (!holds) std::abort();
}

std::string read_websocket(std::string_view input, std::size_t step, WebSocketRole role) {
  WebSocketParser parser(role, kPayloadMax);
  std::string out;
  for (std::size_t at = 0; at < input.size(); at += step) {
    parser.put(input.substr(at, step));
    for (;;) {
      auto frame = parser.next();
      if (!frame) return out + "!" + frame.error().reason;
      if (!*frame) break;
      require((*frame)->payload.size() <= kPayloadMax);
      out += char('a' + (*frame)->opcode);
      out += (*frame)->payload;
    }
  }
  return out;
}

// Data comes in pieces of any size: only what it adds up to can agree.
std::string read_spdy(std::string_view input, std::size_t step) {
  const SpdyLimits limits{.control_bytes_max = 512, .header_bytes_max = 512, .header_count_max = 8};
  SpdyReader reader(limits);
  std::string out, data;
  for (std::size_t at = 0; at < input.size(); at += step) {
    reader.put(input.substr(at, step));
    for (;;) {
      auto frame = reader.next();
      if (!frame) return out + data + "!" + frame.error().reason;
      if (!*frame) break;
      require((*frame)->headers.size() <= limits.header_count_max);
      data += (*frame)->data;
      if ((*frame)->type == SpdyType::kData) continue;
      out += std::exchange(data, {}) + char('A' + int((*frame)->type));
      for (const auto& [name, value] : (*frame)->headers) out += name + value;
    }
  }
  return out + data;
}

}  // namespace
}  // namespace neap::io

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace neap::io;
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  for (const auto role : {WebSocketRole::kServer, WebSocketRole::kClient})
    require(read_websocket(input, 1, role) == read_websocket(input, input.size() + 1, role));
  require(read_spdy(input, 1) == read_spdy(input, input.size() + 1));
  return 0;
}
