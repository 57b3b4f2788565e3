// ChannelStream: several channels over one Stream, as frames of a channel byte, a length in four bytes (big
// endian) and so many bytes. What a remote command says between the server and its node.
//
// Back-pressure is the Stream's: a slow channel holds up those behind it. One read at a time; writes may
// overlap and wait for each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "neap/base/sync.h"
#include "neap/io/byte_queue.h"
#include "neap/io/runtime.h"

namespace neap::io {

// The channels of a remote command, numbered as in Kubernetes' channel protocols (v4 and v5).
enum class Channel : std::uint8_t {
  kInput = 0,
  kOutput = 1,
  kErrors = 2,
  kStatus = 3,  // a Status object, once, at the end
  kResize = 4,  // {"Width": columns, "Height": rows}
  kEnd = 255,   // its one byte is the channel that ends
};

struct ChannelMessage {
  Channel channel{};
  std::string bytes;
};

class ChannelStream {
 public:
  static constexpr std::size_t kBytesMax = 64u << 10;  // of one frame; longer writes become several

  // `rest`: bytes that were read from `stream` already.
  ChannelStream(Executor& executor, Stream& stream, std::string rest = {})
      : stream_(stream), buffer_(std::move(rest)), writing_(executor, 1) {}
  // The next frame; nothing at the end of the stream. kInvalidArgument "channel.protocol".
  Task<Result<std::optional<ChannelMessage>>> read(CallContext ctx);
  Task<Status> write(CallContext ctx, Channel channel, std::string_view bytes);
  // Nothing more is written.
  Task<Status> finish() { return stream_.shutdown_write(); }

 private:
  Stream& stream_;
  ByteQueue buffer_;
  Semaphore writing_;
};

}  // namespace neap::io
