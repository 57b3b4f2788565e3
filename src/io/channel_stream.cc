#include "neap/io/channel_stream.h"

#include <fmt/format.h>

namespace neap::io {
namespace {
constexpr std::size_t kHead = 5;
}  // namespace

Task<Result<std::optional<ChannelMessage>>> ChannelStream::read(CallContext ctx) {
  for (;;) {
    if (const auto buffer = buffer_.view(); buffer.size() >= kHead) {
      std::size_t length = 0;
      for (std::size_t i = 1; i < kHead; ++i) length = length << 8 | std::uint8_t(buffer[i]);
      if (length > kBytesMax)
        co_return fail(Code::kInvalidArgument, "channel.protocol",
                       fmt::format("a frame of {} bytes is above the limit of {}", length, kBytesMax));
      if (buffer.size() >= kHead + length) {
        ChannelMessage out{.channel = Channel(std::uint8_t(buffer[0])),
                           .bytes = std::string(buffer.substr(kHead, length))};
        buffer_.take(kHead + length);
        co_return out;
      }
    }
    NEAP_CO_TRY(const auto n, co_await stream_.read_some(ctx, buffer_.tail(), kBytesMax));
    if (n > 0) continue;
    if (buffer_.empty()) co_return std::nullopt;
    co_return fail(Code::kInvalidArgument, "channel.protocol", "the stream ended within a frame");
  }
}

Task<Status> ChannelStream::write(CallContext ctx, Channel channel, std::string_view bytes) {
  NEAP_CO_TRY(const auto turn, co_await writing_.acquire(ctx));
  do {
    const auto piece = bytes.substr(0, kBytesMax);
    std::string frame;
    frame.reserve(kHead + piece.size());
    frame += char(channel);
    for (int shift = 24; shift >= 0; shift -= 8) frame += char(piece.size() >> shift);
    frame += piece;
    NEAP_CO_TRY_VOID(co_await stream_.write_all(ctx, frame));
    bytes.remove_prefix(piece.size());
  } while (!bytes.empty());
  co_return ok();
}

}  // namespace neap::io
