#include "session_tail.h"

#include <algorithm>
#include <utility>

#include "neap/api/codec.h"
#include "neap/io/channel_stream.h"
#include "neap/io/websocket.h"

namespace neap::app {
namespace {

constexpr std::uint8_t kFinal = 0x80, kMasked = 0x80, kControl = 0x08, kBinary = 2, kClose = 8;

// Bytes of a frame's head, as far as it is known.
std::size_t head_bytes(std::string_view head) {
  if (head.size() < 2) return 2;
  const auto second = std::uint8_t(head[1]);
  const auto length = second & 0x7f;
  return 2 + (length == 126 ? 2u : length == 127 ? 8u : 0u) + ((second & kMasked) ? 4u : 0u);
}

}  // namespace

SessionTail::SessionTail(std::string_view protocol)
    : is_followed_(protocol == "v4.channel.k8s.io" || protocol == "v5.channel.k8s.io") {}

void SessionTail::end_of_head() {
  const auto first = std::uint8_t(head_[0]), length = std::uint8_t(std::uint8_t(head_[1]) & 0x7f);
  payload_left_ = length < 126 ? length : 0;
  for (std::size_t i = 0; i < (length == 126 ? 2u : length == 127 ? 8u : 0u); ++i)
    payload_left_ = payload_left_ << 8 | std::uint8_t(head_[2 + i]);
  const auto opcode = first & 0x0f;
  has_goodbye_ = has_goodbye_ || opcode == kClose;
  at_channel_ = opcode == kBinary && payload_left_ > 0;
  // Control frames may stand between the parts of a message.
  if (!(opcode & kControl)) is_within_message_ = !(first & kFinal);
}

void SessionTail::pass(std::string_view bytes) {
  while (is_followed_ && !bytes.empty()) {
    if (payload_left_ > 0) {
      if (std::exchange(at_channel_, false))
        has_status_ = has_status_ || io::Channel(std::uint8_t(bytes.front())) == io::Channel::kStatus;
      const auto n = std::min<std::uint64_t>(payload_left_, bytes.size());
      payload_left_ -= n;
      bytes.remove_prefix(n);
      if (payload_left_ == 0) head_.clear();
      continue;
    }
    head_ += bytes.front();
    bytes.remove_prefix(1);
    if (head_.size() < head_bytes(head_)) continue;
    end_of_head();
    if (payload_left_ == 0) head_.clear();
  }
}

std::string SessionTail::last_words(const std::string& why) const {
  if (!is_followed_ || !head_.empty() || is_within_message_ || has_status_ || has_goodbye_) return {};
  const auto status = api::status_object(
      {Code::kUnavailable, "session.cut", "the session broke off: " + why + "; start it again", {}});
  // 1000 (RFC 6455, 7.4.1): clients take any other code for the session's end and leave the Status unread.
  constexpr std::string_view kDone = "\x03\xe8";
  return io::encode_websocket_frame(kBinary, std::string(1, char(io::Channel::kStatus)) + to_text(status)) +
         io::encode_websocket_frame(kClose, kDone);
}

}  // namespace neap::app
