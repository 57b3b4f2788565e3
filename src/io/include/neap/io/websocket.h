// WebSocket (RFC 6455) over a Stream: whole messages in, whole messages out. No extensions.
//
// Pings are answered and fragments joined inside read(). What a peer does wrong ends the connection with a
// close frame that says so. One read at a time; writes may overlap and wait for each other. Belongs to the
// stream's executor.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "neap/base/sync.h"
#include "neap/io/byte_queue.h"
#include "neap/io/http.h"

namespace neap::io {

// True for a GET that asks to become a WebSocket of the version that is spoken here.
bool is_websocket_request(const HttpRequest& request);
// The first of `known` that the client offers; empty when it offers none of them.
std::string choose_websocket_protocol(const HttpRequest& request, std::span<const std::string_view> known);
// The headers of the 101 reply, for HttpExchange::upgrade(). kInvalidArgument "websocket.handshake".
Result<Headers> accept_websocket(const HttpRequest& request, const std::string& protocol);

struct WebSocketFrame {
  bool is_final = true;
  std::uint8_t opcode = 0;  // 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong
  std::string payload;      // unmasked
};

enum class WebSocketRole { kServer, kClient };

// Bytes to frames. Refuses what RFC 6455 forbids, before the payload is kept: reserved bits and opcodes,
// lengths that are not the shortest or above `payload_max`, split or long control frames, and masks where the
// role wants none or none where it wants one.
class WebSocketParser {
 public:
  WebSocketParser(WebSocketRole role, std::size_t payload_max) : role_(role), payload_max_(payload_max) {}
  void put(std::string_view bytes) { buffer_.put(bytes); }
  // The next whole frame, when it is there.
  Result<std::optional<WebSocketFrame>> next();

 private:
  WebSocketRole role_;
  std::size_t payload_max_;
  ByteQueue buffer_;
};

// `mask` is a client's, four bytes; empty for a server.
std::string encode_websocket_frame(std::uint8_t opcode, std::string_view payload, std::string_view mask = {});

class WebSocket {
 public:
  struct Options {
    WebSocketRole role = WebSocketRole::kServer;
    std::size_t message_bytes_max = 1u << 20;
  };
  WebSocket(Runtime& runtime, std::unique_ptr<Stream> stream, Options options);
  ~WebSocket();
  // The next message, text or binary; nothing once the peer has ended the connection.
  Task<Result<std::optional<std::string>>> read(CallContext ctx);
  Task<Status> write(CallContext ctx, std::string_view message);  // binary
  // Asks for a sign of life. A peer that has gone makes this, or the next one, fail, also while nobody reads
  // what it sent.
  Task<Status> ping(CallContext ctx);
  // Says goodbye (RFC 6455, 7.4.1: 1000 done, 1011 failed) and ends the sending side. At most 123 bytes of
  // `reason` go along.
  Task<Status> close(CallContext ctx, std::uint16_t code, std::string reason);
  // Ends the connection now.
  void abort() { stream_->close(); }

 private:
  Task<Status> send(CallContext ctx, std::uint8_t opcode, std::string payload);
  Task<Result<WebSocketFrame>> read_frame(CallContext ctx);
  Task<Result<std::optional<std::string>>> refuse(CallContext ctx, Error error);

  Runtime& runtime_;
  std::unique_ptr<Stream> stream_;
  Options options_;
  WebSocketParser parser_;
  Semaphore writing_;
  bool close_sent_ = false;
};

// The messages of a WebSocket as one stream of bytes, which is how SPDY is tunnelled through it.
std::unique_ptr<Stream> make_websocket_stream(std::unique_ptr<WebSocket> socket);

}  // namespace neap::io
