// SPDY/3.1 frames, as far as kubectl and its servers use them: streams with headers, data, ends and resets,
// pings, settings that are read over. (The SPDY Protocol, draft 3.1; header blocks are zlib streams, RFC
// 1950, with the protocol's dictionary.)
//
// Flow control is the transport's: the peers there are neither send WINDOW_UPDATE nor wait for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "neap/base/result.h"
#include "neap/io/byte_queue.h"

namespace neap::io {

using SpdyHeaders = std::vector<std::pair<std::string, std::string>>;

enum class SpdyType : std::uint16_t {
  kData = 0,  // ours: on the wire data frames have no type
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};

struct SpdyFrame {
  SpdyType type = SpdyType::kData;
  std::uint32_t stream = 0;  // of kGoAway: the last one that was taken
  bool is_last = false;      // FIN: the sender sends no more on this stream
  std::uint32_t value = 0;   // kRstStream, kGoAway: status; kPing: its id
  std::string data;          // kData: a piece; a long frame comes in several, only the last with is_last
  SpdyHeaders headers;
};

struct SpdyLimits {
  std::size_t control_bytes_max = 64u << 10;
  std::size_t header_bytes_max = 64u << 10;  // inflated
  std::size_t header_count_max = 64;
};

// Bytes to frames. After an error the connection cannot go on: the zlib stream is lost.
class SpdyReader {
 public:
  explicit SpdyReader(SpdyLimits limits = {});
  ~SpdyReader();
  void put(std::string_view bytes);
  // The next frame, or a piece of one, when it is there. kInvalidArgument "spdy.protocol",
  // kResourceExhausted "spdy.too_big".
  Result<std::optional<SpdyFrame>> next();

 private:
  struct Inflater;
  Result<SpdyFrame> read_control(std::uint16_t type, std::uint8_t flags, std::string_view body);
  Result<SpdyHeaders> read_headers(std::string_view block);

  SpdyLimits limits_;
  std::unique_ptr<Inflater> inflater_;
  ByteQueue buffer_;
  std::uint32_t data_stream_ = 0;
  std::uint32_t data_left_ = 0;
  bool data_is_last_ = false;
};

// Frames to bytes, in the order they are sent: header blocks depend on those before them.
class SpdyWriter {
 public:
  SpdyWriter();
  ~SpdyWriter();
  std::string data(std::uint32_t stream, std::string_view bytes, bool is_last);  // below 16 MiB
  std::string syn_stream(std::uint32_t stream, const SpdyHeaders& headers, bool is_last);
  std::string syn_reply(std::uint32_t stream, const SpdyHeaders& headers);
  std::string rst_stream(std::uint32_t stream, std::uint32_t status);
  std::string ping(std::uint32_t id);
  std::string go_away(std::uint32_t last_stream, std::uint32_t status);

 private:
  struct Deflater;
  std::string header_block(const SpdyHeaders& headers);
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace neap::io
