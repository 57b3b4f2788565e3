// SessionTail: what a forwarded session's client is still to be told when the server that holds the session
// goes.
//
// Follows the bytes of that server's WebSocket (RFC 6455, 5.2: frames of a server carry no mask) and knows
// whether they end between two messages, before the session's Status and before a goodbye: then a Status and
// a goodbye may follow. exec and attach only (v4 and v5.channel.k8s.io); clients of the other protocols, SPDY
// and port-forward's tunnel, see the connection end and say so themselves.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace neap::app {

class SessionTail {
 public:
  // As it was agreed on; empty for no WebSocket.
  explicit SessionTail(std::string_view protocol);
  // What was sent to the client.
  void pass(std::string_view bytes);
  // Of what was sent nobody knows how much arrived: nothing can follow.
  void lose_track() { is_followed_ = false; }
  // The frames to send: the session broke off because of `why`. Empty where nothing can follow.
  std::string last_words(const std::string& why) const;

 private:
  void end_of_head();

  bool is_followed_;
  bool is_within_message_ = false, has_status_ = false, has_goodbye_ = false;
  std::string head_;  // of the frame that has begun
  std::uint64_t payload_left_ = 0;
  bool at_channel_ = false;  // the next byte names the channel of a message
};

}  // namespace neap::app
