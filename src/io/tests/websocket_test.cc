// WebSocket frames against RFC 6455, with what hostile peers send, and connections between two ends.
#include "neap/io/websocket.h"

#include <array>

#include "neap/base/task_group.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += char(value);
  return out;
}
// A client's frame as the wire has it.
std::string masked(std::uint8_t opcode, std::string_view payload) {
  return encode_websocket_frame(opcode, payload, "\x37\xfa\x21\x3d");
}

std::string refusal(std::string_view wire, WebSocketRole role = WebSocketRole::kServer) {
  WebSocketParser parser(role, 1000);
  parser.put(wire);
  const auto frame = parser.next();
  return frame ? "taken" : frame.error().reason;
}

TEST(WebSocketFrames, the_examples_of_the_standard_are_read_and_written) {
  WebSocketParser server(WebSocketRole::kServer, 100), client(WebSocketRole::kClient, 100'000);
  const auto hello = bytes({0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58});
  EXPECT_EQ(masked(1, "Hello"), hello);
  for (const char c : hello.substr(0, hello.size() - 1)) {  // byte by byte
    server.put(std::string(1, c));
    const auto early = server.next();
    ASSERT_TRUE(early);
    EXPECT_FALSE(*early);
  }
  server.put(hello.substr(hello.size() - 1));
  const auto frame = server.next();
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->payload, "Hello");
  EXPECT_EQ(encode_websocket_frame(9, "Hello"), bytes({0x89, 0x05}) + "Hello");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{125}, std::size_t{126}, std::size_t{65'535}, std::size_t{65'536}}) {
    client.put(encode_websocket_frame(2, std::string(size, 'x')));
    const auto back = client.next();
    ASSERT_TRUE(back && *back) << size;
    EXPECT_EQ((*back)->payload.size(), size);
  }
}

// Where each frame moved what is behind it, this took minutes: 4 TB.
TEST(WebSocketFrames, a_large_buffer_of_small_frames_is_read_in_one_pass) {
  constexpr int kFrames = 1'000'000;
  const auto frame = masked(2, "abc");
  std::string wire;
  for (int i = 0; i < kFrames; ++i) wire += frame;
  WebSocketParser parser(WebSocketRole::kServer, 100);
  parser.put(wire);
  int count = 0;
  for (auto next = parser.next(); next && *next; next = parser.next())
    if ((*next)->payload == "abc") ++count;
  EXPECT_EQ(count, kFrames);
}

TEST(ByteQueue, what_is_put_in_comes_out_in_order_whatever_the_pieces) {
  std::string text, out;
  for (int i = 0; i < 5000; ++i) text += char('a' + i % 26);
  ByteQueue queue;
  for (std::size_t put = 0, size = 1; out.size() < text.size(); size = size * 7 % 101) {
    queue.put(std::string_view(text).substr(std::min(put, text.size()), size));
    put += size;
    const auto count = std::min(queue.size(), size * 3 % 97);
    out += queue.view().substr(0, count);
    queue.take(count);
  }
  EXPECT_EQ(out, text);
  EXPECT_TRUE(queue.empty());
}

TEST(WebSocketFrames, what_the_standard_forbids_is_refused) {
  EXPECT_EQ(refusal(encode_websocket_frame(2, "x")), "websocket.protocol");          // no mask
  EXPECT_EQ(refusal(masked(2, "x"), WebSocketRole::kClient), "websocket.protocol");  // a mask
  EXPECT_EQ(refusal(bytes({0xc2, 0x80, 0, 0, 0, 0})), "websocket.protocol");         // reserved bit
  for (const int opcode : {3, 7, 11, 15})
    EXPECT_EQ(refusal(bytes({0x80 | opcode, 0x80, 0, 0, 0, 0})), "websocket.protocol") << opcode;
  EXPECT_EQ(refusal(bytes({0x09, 0x80, 0, 0, 0, 0})), "websocket.protocol");  // split ping
  EXPECT_EQ(refusal(bytes({0x89, 0xfe, 0, 126})), "websocket.protocol");      // long ping
  EXPECT_EQ(refusal(bytes({0x82, 0xfe, 0, 125})), "websocket.protocol");      // not shortest
  EXPECT_EQ(refusal(bytes({0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff})),
            "websocket.protocol");  // not shortest
  // Refused by its head, before any of the payload is there.
  EXPECT_EQ(refusal(bytes({0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})),
            "websocket.too_big");
  EXPECT_EQ(refusal(bytes({0x82, 0xfe, 0x03, 0xe9})), "websocket.too_big");
}

HttpRequest handshake(const std::string& protocols) {
  HttpRequest out;
  out.method = "GET";
  out.headers.set("Upgrade", "WebSocket");
  out.headers.set("Connection", "keep-alive, Upgrade");
  out.headers.set("Sec-WebSocket-Version", "13");
  out.headers.set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
  out.headers.set("Sec-WebSocket-Protocol", protocols);
  return out;
}

TEST(WebSocketHandshake, the_key_is_answered_and_a_protocol_chosen) {
  constexpr std::array<std::string_view, 2> known{"v5.channel.k8s.io", "v4.channel.k8s.io"};
  auto request = handshake("v9.channel.k8s.io, v4.channel.k8s.io");
  EXPECT_EQ(choose_websocket_protocol(request, known), "v4.channel.k8s.io");
  EXPECT_EQ(choose_websocket_protocol(handshake("other"), known), "");
  const auto headers = accept_websocket(request, "v4.channel.k8s.io");
  ASSERT_TRUE(headers);
  EXPECT_EQ(headers->get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(headers->get("Sec-WebSocket-Protocol"), "v4.channel.k8s.io");
  request.headers.set("Sec-WebSocket-Key", "short");
  EXPECT_FALSE(accept_websocket(request, ""));
  request = handshake("");
  request.headers.set("Sec-WebSocket-Version", "8");
  EXPECT_FALSE(accept_websocket(request, ""));
}

// A WebSocket server against bytes that a test writes.
class WebSocketTest : public ::testing::Test {
 protected:
  // What the server reads of `wire`, then its error; `answered` is what it wrote.
  std::vector<std::string> serve(const std::string& wire, std::string& answered) {
    std::vector<std::string> out;
    auto listener = std::move(*world.runtime().network().listen(world.any_endpoint()));
    world.run([](Runtime& runtime, Listener& l, std::string sent, std::vector<std::string>& read,
                 std::string& back) -> Task<void> {
      auto client = co_await runtime.network().connect({}, l.local());
      auto accepted = co_await l.accept({});
      WebSocket socket(runtime, *std::move(accepted), {.message_bytes_max = 1000});
      EXPECT_TRUE(co_await (*client)->write_all({}, sent));
      for (;;) {
        auto message = co_await socket.read(CallContext{}.with_deadline(runtime.executor().now() + 5s));
        read.push_back(!message ? "!" + message.error().reason : *message ? **message : "(end)");
        if (!message || !*message) break;
      }
      (void)co_await (*client)->read_some(CallContext{}.with_deadline(runtime.executor().now() + 1s), back,
                                          4096);
    }(world.runtime(), *listener, wire, out, answered));
    return out;
  }
  SimulatedWorld world;
};

TEST_F(WebSocketTest, messages_come_whole_over_fragments_with_pings_between) {
  std::string answered;
  auto first = masked(2, "one ");
  first[0] = char(0x02);  // goes on
  EXPECT_EQ(serve(first + masked(9, "?") + masked(0, "message") + masked(10, "") + masked(8, ""), answered),
            (std::vector<std::string>{"one message", "(end)"}));
  EXPECT_TRUE(answered.starts_with(encode_websocket_frame(10, "?"))) << answered;
}

TEST_F(WebSocketTest, hostile_sequences_end_with_the_close_code_that_says_so) {
  using List = std::vector<std::string>;
  std::string answered;
  EXPECT_EQ(serve(masked(0, "x"), answered), List{"!websocket.protocol"});
  EXPECT_EQ(answered.substr(2, 2), bytes({0x03, 0xea}));  // 1002
  auto open = masked(2, "x");
  open[0] = char(0x02);
  EXPECT_EQ(serve(open + open, answered), List{"!websocket.protocol"});
  // Small pieces of a message without end.
  auto piece = masked(2, std::string(400, 'x')), next = masked(0, std::string(400, 'x'));
  piece[0] = char(0x02);
  next[0] = char(0x00);
  answered.clear();
  EXPECT_EQ(serve(piece + next + next + next, answered), List{"!websocket.too_big"});
  EXPECT_EQ(answered.substr(2, 2), bytes({0x03, 0xf1}));  // 1009
}

TEST_F(WebSocketTest, two_ends_talk_as_one_stream_of_bytes) {
  auto listener = std::move(*world.runtime().network().listen(world.any_endpoint()));
  world.run([](Runtime& runtime, Listener& l) -> Task<void> {
    auto near = co_await runtime.network().connect({}, l.local());
    auto far = co_await l.accept({});
    auto client = make_websocket_stream(std::make_unique<WebSocket>(
        runtime, *std::move(near), WebSocket::Options{.role = WebSocketRole::kClient}));
    auto server =
        make_websocket_stream(std::make_unique<WebSocket>(runtime, *std::move(far), WebSocket::Options{}));
    const std::string sent(30'000, 'y');
    EXPECT_TRUE(co_await client->write_all({}, sent));
    std::string got;
    while (got.size() < sent.size()) {
      const auto n = co_await server->read_some({}, got, 7000);
      if (!n || *n == 0) break;
    }
    EXPECT_EQ(got, sent);
    EXPECT_TRUE(co_await client->shutdown_write());
    const auto end = co_await server->read_some({}, got, 10);
    EXPECT_TRUE(end && *end == 0);
  }(world.runtime(), *listener));
}

}  // namespace
}  // namespace neap::io
