#include "neap/io/websocket.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

namespace neap::io {
namespace {

constexpr std::uint8_t kContinuation = 0, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr std::size_t kControlPayloadMax = 125;
constexpr std::size_t kReadBytes = 64u << 10;
constexpr std::size_t kKeyBytes = 24;  // 16 bytes as base64
// What RFC 6455, 1.3 has the server put after the client's key.
constexpr std::string_view kAcceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return std::tolower(x) == std::tolower(y); });
}

// Calls `use` for each item of every header of that name until it returns true.
template <class Use>
bool any_item(const Headers& headers, std::string_view name, Use use) {
  for (const auto& [key, value] : headers.all()) {
    if (!same_word(key, name)) continue;
    for (std::string_view rest = value;;) {
      const auto comma = rest.find(',');
      if (use(trimmed(rest.substr(0, comma)))) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

std::string accept_key(std::string_view key) {
  const auto text = std::string(key) + std::string(kAcceptSuffix);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  // RFC 6455 wants SHA-1 here; nothing secret depends on it.
  ::EVP_Digest(text.data(), text.size(), digest.data(), &size, ::EVP_sha1(), nullptr);
  std::array<unsigned char, 64> encoded{};
  const int length = ::EVP_EncodeBlock(encoded.data(), digest.data(), int(size));
  return {reinterpret_cast<const char*>(encoded.data()), std::size_t(length)};
}

std::unexpected<Error> protocol_error(std::string message) {
  return fail(Code::kInvalidArgument, "websocket.protocol", std::move(message));
}

}  // namespace

bool is_websocket_request(const HttpRequest& request) {
  return request.method == "GET" && same_word(request.headers.get("Upgrade"), "websocket") &&
         any_item(request.headers, "Connection", [](auto word) { return same_word(word, "upgrade"); }) &&
         request.headers.get("Sec-WebSocket-Version") == "13";
}

std::string choose_websocket_protocol(const HttpRequest& request, std::span<const std::string_view> known) {
  std::string found;
  any_item(request.headers, "Sec-WebSocket-Protocol", [&](std::string_view offered) {
    if (std::ranges::find(known, offered) == known.end()) return false;
    found = offered;
    return true;
  });
  return found;
}

Result<Headers> accept_websocket(const HttpRequest& request, const std::string& protocol) {
  const auto key = request.headers.get("Sec-WebSocket-Key");
  if (!is_websocket_request(request) || key.size() != kKeyBytes)
    return fail(Code::kInvalidArgument, "websocket.handshake",
                "this is no WebSocket handshake of version 13 (RFC 6455, section 4.2)");
  Headers out;
  out.set("Upgrade", "websocket");
  out.set("Sec-WebSocket-Accept", accept_key(key));
  if (!protocol.empty()) out.set("Sec-WebSocket-Protocol", protocol);
  return out;
}

Result<std::optional<WebSocketFrame>> WebSocketParser::next() {
  const auto buffer = buffer_.view();
  const auto byte = [buffer](std::size_t at) { return std::uint8_t(buffer[at]); };
  if (buffer.size() < 2) return std::nullopt;
  const bool is_final = byte(0) & 0x80, is_masked = byte(1) & 0x80;
  const std::uint8_t opcode = byte(0) & 0x0f;
  const bool is_control = opcode & 0x08;
  if (byte(0) & 0x70) return protocol_error("a reserved bit is set, and no extension was agreed on");
  if (opcode > kPong || (opcode > kBinary && opcode < kClose))
    return protocol_error(fmt::format("there is no opcode {}", opcode));
  if (is_masked != (role_ == WebSocketRole::kServer))
    return protocol_error(is_masked ? "a server's frame is masked" : "a client's frame is not masked");
  std::uint64_t length = byte(1) & 0x7f;
  if (is_control && (!is_final || length > kControlPayloadMax))
    return protocol_error("a control frame is split or longer than 125 bytes");
  const std::size_t length_bytes = length == 127 ? 8 : length == 126 ? 2 : 0;
  if (buffer.size() < 2 + length_bytes) return std::nullopt;
  if (length_bytes > 0) {
    length = 0;
    for (std::size_t i = 0; i < length_bytes; ++i) length = length << 8 | byte(2 + i);
    if (length < (length_bytes == 8 ? 0x10000u : 126u))
      return protocol_error("a length is not written in the shortest form");
  }
  if (length > payload_max_)
    return fail(Code::kResourceExhausted, "websocket.too_big",
                fmt::format("a frame of {} bytes is above the limit of {}", length, payload_max_));
  const std::size_t head = 2 + length_bytes + (is_masked ? 4 : 0);
  if (buffer.size() < head + length) return std::nullopt;
  WebSocketFrame out{.is_final = is_final,
                     .opcode = opcode,
                     .payload = std::string(buffer.substr(head, std::size_t(length)))};
  if (is_masked)
    for (std::size_t i = 0; i < out.payload.size(); ++i)
      out.payload[i] = char(std::uint8_t(out.payload[i]) ^ byte(head - 4 + i % 4));
  buffer_.take(head + std::size_t(length));
  return out;
}

std::string encode_websocket_frame(std::uint8_t opcode, std::string_view payload, std::string_view mask) {
  std::string out;
  out.reserve(payload.size() + 14);
  out += char(0x80 | opcode);
  const auto mask_bit = std::uint8_t(mask.empty() ? 0 : 0x80);
  const std::size_t length_bytes = payload.size() > 0xffff ? 8 : payload.size() > kControlPayloadMax ? 2 : 0;
  out += char(mask_bit | (length_bytes == 8 ? 127 : length_bytes == 2 ? 126 : payload.size()));
  for (auto i = length_bytes; i > 0; --i) out += char(std::uint64_t(payload.size()) >> (8 * (i - 1)));
  out += mask;
  const auto begin = out.size();
  out += payload;
  if (!mask.empty())
    for (std::size_t i = 0; i < payload.size(); ++i) out[begin + i] = char(out[begin + i] ^ mask[i % 4]);
  return out;
}

WebSocket::WebSocket(Runtime& runtime, std::unique_ptr<Stream> stream, Options options)
    : runtime_(runtime),
      stream_(std::move(stream)),
      options_(options),
      parser_(options.role, options.message_bytes_max),
      writing_(runtime.executor(), 1) {}
WebSocket::~WebSocket() = default;

Task<Status> WebSocket::send(CallContext ctx, std::uint8_t opcode, std::string payload) {
  NEAP_CO_TRY(const auto turn, co_await writing_.acquire(ctx));
  if (close_sent_) co_return fail(Code::kCancelled, "websocket.closed", "the connection was closed");
  if (opcode == kClose) close_sent_ = true;
  std::string mask;
  if (options_.role == WebSocketRole::kClient) {
    const auto number = runtime_.random().next();
    for (int i = 0; i < 4; ++i) mask += char(number >> (8 * i));
  }
  const auto frame = encode_websocket_frame(opcode, payload, mask);
  co_return co_await stream_->write_all(ctx, frame);
}

Task<Status> WebSocket::write(CallContext ctx, std::string_view message) {
  return send(std::move(ctx), kBinary, std::string(message));
}

Task<Status> WebSocket::ping(CallContext ctx) { return send(std::move(ctx), kPing, {}); }

Task<Status> WebSocket::close(CallContext ctx, std::uint16_t code, std::string reason) {
  std::string payload{char(code >> 8), char(code)};
  payload += reason.substr(0, kControlPayloadMax - 2);
  NEAP_CO_TRY_VOID(co_await send(ctx, kClose, std::move(payload)));
  co_return co_await stream_->shutdown_write();
}

Task<Result<WebSocketFrame>> WebSocket::read_frame(CallContext ctx) {
  for (;;) {
    NEAP_CO_TRY(auto frame, parser_.next());
    if (frame) co_return *std::move(frame);
    std::string bytes;
    NEAP_CO_TRY(const auto n, co_await stream_->read_some(ctx, bytes, kReadBytes));
    if (n == 0)
      co_return fail(Code::kUnavailable, "websocket.cut", "the peer went without closing the WebSocket");
    parser_.put(bytes);
  }
}

Task<Result<std::optional<std::string>>> WebSocket::refuse(CallContext ctx, Error error) {
  if (error.reason == "websocket.protocol") (void)co_await close(ctx, 1002, error.message);
  if (error.reason == "websocket.too_big") (void)co_await close(ctx, 1009, error.message);
  co_return fail(std::move(error));
}

Task<Result<std::optional<std::string>>> WebSocket::read(CallContext ctx) {
  std::string message;
  bool is_begun = false;
  for (;;) {
    auto frame = co_await read_frame(ctx);
    if (!frame) co_return co_await refuse(ctx, frame.error());
    if (frame->opcode == kPong) continue;
    if (frame->opcode == kPing) {
      if (const auto sent = co_await send(ctx, kPong, std::move(frame->payload)); !sent && !close_sent_)
        co_return fail(sent.error());
      continue;
    }
    if (frame->opcode == kClose) {
      if (!close_sent_) (void)co_await close(ctx, 1000, {});
      co_return std::nullopt;
    }
    if ((frame->opcode == kContinuation) != is_begun)
      co_return co_await refuse(
          ctx, protocol_error(is_begun ? "a message begins before the one before it has ended"
                                       : "a continuation frame continues nothing")
                   .error());
    if (message.size() + frame->payload.size() > options_.message_bytes_max)
      co_return co_await refuse(
          ctx, Error{Code::kResourceExhausted,
                     "websocket.too_big",
                     fmt::format("a message is above the limit of {} bytes", options_.message_bytes_max),
                     {}});
    is_begun = true;
    message += frame->payload;
    if (frame->is_final) co_return message;
  }
}

namespace {

class WebSocketStream final : public Stream {
 public:
  explicit WebSocketStream(std::unique_ptr<WebSocket> socket) : socket_(std::move(socket)) {}
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    while (rest_.empty()) {
      NEAP_CO_TRY(auto message, co_await socket_->read(ctx));
      if (!message) co_return std::size_t{0};
      rest_ = ByteQueue(*std::move(message));
    }
    const auto n = std::min(max, rest_.size());
    out += rest_.view().substr(0, n);
    rest_.take(n);
    co_return n;
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return socket_->write(std::move(ctx), data);
  }
  Task<Status> shutdown_write() override { return socket_->close({}, 1000, {}); }
  void close() override { socket_->abort(); }
  Endpoint peer() const override { return {}; }

 private:
  std::unique_ptr<WebSocket> socket_;
  ByteQueue rest_;
};

}  // namespace

std::unique_ptr<Stream> make_websocket_stream(std::unique_ptr<WebSocket> socket) {
  return std::make_unique<WebSocketStream>(std::move(socket));
}

}  // namespace neap::io
