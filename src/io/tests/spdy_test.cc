// SPDY/3.1 frames with what hostile peers send, and a connection whose client is played by a SpdyWriter.
#include "neap/io/spdy.h"

#include "neap/base/task_group.h"
#include "neap/io/spdy_connection.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += char(value);
  return out;
}

std::vector<SpdyFrame> read_all(SpdyReader& reader) {
  std::vector<SpdyFrame> out;
  for (;;) {
    auto frame = reader.next();
    EXPECT_TRUE(frame) << frame.error().to_string();
    if (!frame || !*frame) return out;
    out.push_back(**std::move(frame));
  }
}

TEST(SpdyFrames, frames_come_back_as_they_were_written_whole_or_byte_by_byte) {
  const SpdyHeaders data{{"streamtype", "data"}, {"port", "8080"}, {"requestid", "0"}}, none;
  for (const bool by_byte : {false, true}) {
    SpdyWriter writer;
    // Header blocks share one zlib stream: the second is read by what the first left behind.
    const auto wire = writer.syn_stream(1, data, false) + writer.syn_stream(3, data, true) +
                      writer.syn_reply(1, none) + writer.ping(7) + writer.data(1, "hello", true) +
                      writer.rst_stream(3, 5) + writer.go_away(3, 0) + writer.data(3, "", true);
    SpdyReader reader;
    std::vector<SpdyFrame> frames;
    for (std::size_t at = 0; at < wire.size(); at += by_byte ? 1 : wire.size()) {
      reader.put(std::string_view(wire).substr(at, by_byte ? 1 : wire.size()));
      for (auto& frame : read_all(reader)) frames.push_back(std::move(frame));
    }
    std::string text;
    for (const auto& frame : frames) text += frame.data;
    EXPECT_EQ(text, "hello");
    ASSERT_GE(frames.size(), 8u);
    EXPECT_EQ(frames[0].headers, data);
    EXPECT_EQ(frames[1].headers, data);
    EXPECT_TRUE(frames[1].is_last);
    EXPECT_EQ(frames[2].headers, none);
    EXPECT_EQ(frames[3].value, 7u);
    EXPECT_EQ(frames.back().stream, 3u);
    EXPECT_TRUE(frames.back().is_last);
  }
}

TEST(SpdyFrames, a_large_buffer_of_small_frames_is_read_in_one_pass) {
  constexpr int kFrames = 1'000'000;
  SpdyWriter writer;
  const auto frame = writer.data(1, "a", false);
  std::string wire;
  for (int i = 0; i < kFrames; ++i) wire += frame;
  SpdyReader reader;
  reader.put(wire);
  int count = 0;
  for (auto next = reader.next(); next && *next; next = reader.next()) ++count;
  EXPECT_EQ(count, kFrames);
}

std::string refusal(std::string_view wire, SpdyLimits limits = {}) {
  SpdyReader reader(limits);
  reader.put(wire);
  for (;;) {
    const auto frame = reader.next();
    if (!frame) return frame.error().reason;
    if (!*frame) return "waits";
  }
}

TEST(SpdyFrames, wrong_frames_are_refused) {
  EXPECT_EQ(refusal(bytes({0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1})), "spdy.protocol");  // SPDY/2
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 5, 0, 0, 0, 0})), "spdy.protocol");              // NOOP, long gone
  EXPECT_EQ(refusal(bytes({0x80, 3, 0xff, 0xff, 0, 0, 0, 0})), "spdy.protocol");
  EXPECT_EQ(refusal(bytes({0, 0, 0, 0, 0, 0, 0, 1, 'x'})), "spdy.protocol");            // data for nobody
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1})), "spdy.protocol");  // RST cut short
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 6, 0, 0, 0, 5, 0, 0, 0, 1, 0})), "spdy.protocol");
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})), "spdy.protocol");
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 2, 0, 0, 0, 8, 0, 0, 0, 1, 'n', 'o', 'z', 'l'})), "spdy.protocol");
  // A length beyond the limit is refused by the head alone.
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 4, 0, 0xff, 0xff, 0xff})), "spdy.too_big");
  EXPECT_EQ(refusal(bytes({0x80, 3, 0, 6})), "waits");
}

TEST(SpdyFrames, header_blocks_are_bounded_however_small_they_come) {
  SpdyWriter bomb;
  const auto wire = bomb.syn_stream(1, {{"a", std::string(10u << 20, 'x')}}, false);
  EXPECT_LT(wire.size(), 64u << 10);
  EXPECT_EQ(refusal(wire), "spdy.too_big");
  SpdyWriter many;
  EXPECT_EQ(refusal(many.syn_stream(1, SpdyHeaders(65, {"a", "b"}), false)), "spdy.too_big");
  SpdyWriter few;
  EXPECT_EQ(refusal(few.syn_stream(1, {{"a", "b"}}, false)), "waits");
  SpdyWriter nameless;
  EXPECT_EQ(refusal(nameless.syn_stream(1, {{"", "b"}}, false)), "spdy.protocol");
}

TEST(SpdyFrames, any_byte_changed_never_does_worse_than_an_error) {
  SpdyWriter writer;
  const auto wire = writer.syn_stream(1, {{"streamtype", "error"}, {"port", "1"}}, false) +
                    writer.data(1, "abc", false) + writer.ping(1) + writer.syn_stream(3, {{"a", "b"}}, true);
  for (std::size_t at = 0; at < wire.size(); ++at)
    for (const int flip : {0x01, 0x80, 0xff}) {
      auto changed = wire;
      changed[at] = char(changed[at] ^ flip);
      (void)refusal(changed);
      (void)refusal(changed.substr(at));
    }
}

class SpdyConnectionTest : public ::testing::Test {
 protected:
  using Play = std::function<Task<void>(Runtime&, Stream&, SpdyConnection&)>;
  // A connection that is served, and its client's raw stream.
  void play(Play script, SpdyConnection::Options options = {}) {
    auto listener = std::move(*world.runtime().network().listen(world.any_endpoint()));
    world.run([](Runtime& runtime, Listener& l, Play& act, SpdyConnection::Options o) -> Task<void> {
      auto client = co_await runtime.network().connect({}, l.local());
      auto accepted = co_await l.accept({});
      SpdyConnection connection(runtime, *std::move(accepted), o);
      TaskGroup tasks(runtime.executor());
      tasks.spawn([](SpdyConnection& c, CallContext ctx) -> Task<void> { (void)co_await c.run(ctx); }(
                                                             connection, tasks.context()));
      co_await act(runtime, **client, connection);
      (*client)->close();
      co_await tasks.stop();
    }(world.runtime(), *listener, script, options));
  }
  static Task<std::vector<SpdyFrame>> answers(Runtime& runtime, Stream& client) {
    SpdyReader reader;
    std::string text;
    while (
        co_await client.read_some(CallContext{}.with_deadline(runtime.executor().now() + 1s), text, 65'536)) {
      if (text.empty()) break;
      reader.put(std::exchange(text, {}));
    }
    co_return read_all(reader);
  }
  SimulatedWorld world;
};

TEST_F(SpdyConnectionTest, a_stream_is_answered_carries_bytes_both_ways_and_ends) {
  play([](Runtime& runtime, Stream& client, SpdyConnection& connection) -> Task<void> {
    SpdyWriter writer;
    EXPECT_TRUE(co_await client.write_all({}, writer.syn_stream(1, {{"streamtype", "data"}}, false) +
                                                  writer.data(1, "ping", true) + writer.ping(9)));
    auto stream = co_await connection.accept({});
    EXPECT_TRUE(stream && *stream);
    EXPECT_EQ((*stream)->header("streamtype"), "data");
    std::string got;
    while (*co_await (*stream)->read_some({}, got, 2) > 0) continue;
    EXPECT_EQ(got, "ping");
    EXPECT_TRUE(co_await (*stream)->write_all({}, std::string(100'000, 'z')));
    EXPECT_TRUE(co_await (*stream)->shutdown_write());
    std::size_t received = 0;
    bool was_replied = false, was_ponged = false, has_ended = false;
    for (const auto& frame : co_await answers(runtime, client)) {
      was_replied |= frame.type == SpdyType::kSynReply && frame.stream == 1;
      was_ponged |= frame.type == SpdyType::kPing && frame.value == 9;
      if (frame.type == SpdyType::kData) received += frame.data.size();
      has_ended |= frame.type == SpdyType::kData && frame.is_last;
    }
    EXPECT_EQ(received, 100'000u);
    EXPECT_TRUE(was_replied && was_ponged && has_ended);
  });
}

TEST_F(SpdyConnectionTest, streams_are_bounded_in_number_and_in_what_they_hold) {
  play(
      [](Runtime& runtime, Stream& client, SpdyConnection& connection) -> Task<void> {
        SpdyWriter writer;
        std::string wire;
        for (std::uint32_t id = 1; id <= 5; id += 2) wire += writer.syn_stream(id, {}, false);
        EXPECT_TRUE(co_await client.write_all({}, wire));
        auto first = co_await connection.accept({});
        // Nobody reads: the connection stops taking, and goes on when somebody does.
        TaskGroup sending(runtime.executor());
        const auto flood = writer.data(1, std::string(3u << 20, 'x'), true);
        bool is_sent = false;
        sending.spawn([](Stream& c, const std::string& f, bool& done) -> Task<void> {
          EXPECT_TRUE(co_await c.write_all({}, f));
          done = true;
        }(client, flood, is_sent));
        (void)co_await sleep_for(runtime.executor(), {}, 2s);
        std::string got;
        for (;;) {
          const auto n = co_await (*first)->read_some({}, got, 65'536);
          if (!n || *n == 0) break;
        }
        EXPECT_EQ(got.size(), 3u << 20);
        co_await sending.stop();
        int refused = 0;
        for (const auto& frame : co_await answers(runtime, client))
          refused += frame.type == SpdyType::kRstStream && frame.value == 3;
        EXPECT_EQ(refused, 1);
      },
      {.streams_max = 2, .stream_buffer_bytes = 1000, .limits = {}});
}

TEST_F(SpdyConnectionTest, a_reset_and_a_wrong_frame_end_what_they_should) {
  play([](Runtime& runtime, Stream& client, SpdyConnection& connection) -> Task<void> {
    SpdyWriter writer;
    EXPECT_TRUE(co_await client.write_all({}, writer.syn_stream(1, {}, false) +
                                                  writer.syn_stream(3, {}, false) +
                                                  writer.syn_stream(5, {}, false) + writer.rst_stream(5, 5)));
    auto first = co_await connection.accept({}), second = co_await connection.accept({});
    EXPECT_TRUE(co_await client.write_all({}, writer.rst_stream(1, 5)));
    std::string got;
    EXPECT_FALSE(co_await (*first)->read_some({}, got, 10));
    EXPECT_FALSE(co_await (*first)->write_all({}, "x"));
    EXPECT_TRUE(co_await client.write_all({}, writer.syn_stream(2, {}, false)));  // an even id
    EXPECT_FALSE(co_await (*second)->read_some({}, got, 10));
    auto none = co_await connection.accept({});
    EXPECT_TRUE(none && !*none) << "what was reset before anybody took it is not given out";
    (void)runtime;
  });
}

}  // namespace
}  // namespace neap::io
