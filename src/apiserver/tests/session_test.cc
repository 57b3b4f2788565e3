// exec, attach and portforward against a source that a test plays, by WebSocket and by SPDY.
#include "neap/apiserver/session_source.h"

#include <fmt/format.h>

#include <map>

#include "neap/base/task_group.h"
#include "neap/io/channel_stream.h"
#include "neap/io/spdy.h"
#include "neap/io/websocket.h"
#include "tests/world.h"

namespace neap::apiserver {
namespace {

using io::Channel;

const std::string kPod = "/api/v1/namespaces/default/pods/job-0/";

// Plays nodes: each session is one end of a connection whose other end `node` serves.
class FakeSessionSource : public SessionSource {
 public:
  using Node = std::function<Task<void>(io::Runtime&, io::Stream&, SessionQuery)>;
  explicit FakeSessionSource(io::Runtime& runtime) : runtime_(runtime), tasks_(runtime.executor()) {}

  std::vector<SessionQuery> asked;
  std::optional<Error> refuses;
  Node node;
  int ended = 0;

  Task<Result<std::unique_ptr<io::Stream>>> open_session(CallContext ctx, SessionQuery query) override {
    asked.push_back(query);
    if (refuses) co_return fail(*refuses);
    NEAP_CO_TRY(auto listener, runtime_.network().listen({"hq", 0, {}}));
    NEAP_CO_TRY(auto near, co_await runtime_.network().connect(ctx, listener->local()));
    NEAP_CO_TRY(auto far, co_await listener->accept(ctx));
    tasks_.spawn(play(*this, std::move(far), std::move(query)));
    co_return near;
  }
  Task<void> stop() { return tasks_.stop(); }

 private:
  static Task<void> play(FakeSessionSource& self, std::unique_ptr<io::Stream> stream, SessionQuery query) {
    co_await self.node(self.runtime_, *stream, std::move(query));
    (void)co_await stream->shutdown_write();
    std::string ignored;
    (void)co_await stream->read_some(self.tasks_.context(), ignored, 4096);
    ++self.ended;
  }
  io::Runtime& runtime_;
  TaskGroup tasks_;
};

// Says its input back in capitals, as a program that ends with code 3 at the end of it.
Task<void> shout(io::Runtime& runtime, io::Stream& stream, SessionQuery) {
  io::ChannelStream channels(runtime.executor(), stream);
  for (;;) {
    auto message = co_await channels.read({});
    if (!message || !*message) co_return;
    if ((*message)->channel == Channel::kEnd) break;
    if ((*message)->channel == Channel::kResize) {
      (void)co_await channels.write({}, Channel::kErrors, (*message)->bytes);
      continue;
    }
    for (auto& c : (*message)->bytes) c = char(std::toupper(c));
    (void)co_await channels.write({}, Channel::kOutput, (*message)->bytes);
  }
  (void)co_await channels.write({}, Channel::kStatus, R"({"status":"Failure"})");
}

class SessionTest : public ::testing::Test {
 public:
  SessionTest() : source(world.runtime()) {
    source.node = shout;
    world.server().serve_sessions(source);
  }
  ~SessionTest() override { world.run(source.stop()); }

  static io::HttpRequest websocket(const std::string& target, const std::string& protocol) {
    io::HttpRequest out;
    out.method = "GET";
    out.target = target;
    out.headers.set("Authorization", "Bearer admin");
    out.headers.set("Upgrade", "websocket");
    out.headers.set("Sec-WebSocket-Version", "13");
    out.headers.set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    out.headers.set("Sec-WebSocket-Protocol", protocol);
    return out;
  }
  static io::HttpRequest spdy(const std::string& target, const std::string& protocol) {
    io::HttpRequest out;
    out.method = "POST";
    out.target = target;
    out.headers.set("Authorization", "Bearer admin");
    out.headers.set("Upgrade", "SPDY/3.1");
    out.headers.set("X-Stream-Protocol-Version", protocol);
    return out;
  }
  // The frames a client gets until the connection ends.
  static Task<std::vector<io::SpdyFrame>> read_frames(World& w, io::Stream& stream, io::SpdyReader& reader,
                                                      std::function<bool(const io::SpdyFrame&)> is_enough) {
    std::vector<io::SpdyFrame> out;
    const auto ctx = CallContext{}.with_deadline(w.runtime().executor().now() + 30s);
    for (;;) {
      auto frame = reader.next();
      EXPECT_TRUE(frame);
      if (frame && *frame) {
        out.push_back(**std::move(frame));
        if (is_enough(out.back())) co_return out;
        continue;
      }
      std::string bytes;
      const auto n = co_await stream.read_some(ctx, bytes, 65'536);
      if (!n || *n == 0) co_return out;
      reader.put(bytes);
    }
  }
  Answer ask(const std::string& target, std::vector<std::pair<std::string, std::string>> headers = {},
             const std::string& method = "GET") {
    return world.call(method, target, "", "admin", std::move(headers));
  }

  World world;
  FakeSessionSource source;
};

TEST_F(SessionTest, exec_over_a_websocket_carries_input_output_size_and_status) {
  world.run([](World& w) -> Task<void> {
    auto stream = co_await w.http().upgrade(
        {}, websocket(kPod + "exec?command=tr&command=a-z&stdin=true&stdout=true&stderr=true",
                      "v5.channel.k8s.io"));
    EXPECT_TRUE(stream) << stream.error().to_string();
    if (!stream) co_return;
    io::WebSocket socket(w.runtime(), *std::move(stream), {.role = io::WebSocketRole::kClient});
    using namespace std::string_literals;
    for (const auto& message : {"\0one"s, "\4{}"s, "\0two"s, "\xff\0"s})
      EXPECT_TRUE(co_await socket.write({}, message));
    std::vector<std::string> got;
    for (;;) {
      auto message = co_await socket.read({});
      EXPECT_TRUE(message);
      if (!message || !*message) break;
      got.push_back(**message);
    }
    EXPECT_EQ(got, (std::vector<std::string>{"\1ONE", "\2{}", "\1TWO", "\3{\"status\":\"Failure\"}"}));
  }(world));
  world.settle(10s);
  ASSERT_EQ(source.asked.size(), 1u);
  const auto& query = source.asked[0];
  EXPECT_EQ(query.command, (std::vector<std::string>{"tr", "a-z"}));
  EXPECT_TRUE(query.kind == SessionQuery::Kind::kExec && query.input && query.errors && !query.terminal);
  EXPECT_EQ(query.user, "admin");
  EXPECT_EQ(query.allocation, "job-0");
  EXPECT_EQ(source.ended, 1);
  EXPECT_EQ(world.audit().back().status, 101);
  EXPECT_EQ(world.audit().back().what.verb, "create");
}

TEST_F(SessionTest, a_client_that_goes_ends_the_session_on_the_node) {
  world.run([](World& w) -> Task<void> {
    auto stream = co_await w.http().upgrade({}, websocket(kPod + "attach?stdout=true", "v4.channel.k8s.io"));
    EXPECT_TRUE(stream);
    if (stream) (*stream)->close();
  }(world));
  world.settle(10s);
  EXPECT_EQ(source.ended, 1);
  EXPECT_TRUE(source.asked.at(0).kind == SessionQuery::Kind::kAttach);
}

// Takes nothing of what it is sent, as a program that does not read its input.
Task<void> take_nothing(io::Runtime& runtime, io::Stream& stream, SessionQuery) {
  while (!stream.has_ended() && co_await sleep_for(runtime.executor(), {}, 1s))
    if (!co_await io::ChannelStream(runtime.executor(), stream).write({}, Channel::kOutput, {})) co_return;
}

TEST_F(SessionTest, a_client_that_goes_while_its_input_is_stuck_ends_the_session) {
  source.node = take_nothing;
  for (const bool is_spdy : {false, true}) {
    world.run([](World& w, bool by_spdy) -> Task<void> {
      const auto target = kPod + "exec?command=a&stdin=true&stdout=true";
      auto stream = co_await w.http().upgrade(
          {}, by_spdy ? spdy(target, "v4.channel.k8s.io") : websocket(target, "v5.channel.k8s.io"));
      EXPECT_TRUE(stream);
      if (!stream) co_return;
      const auto soon = CallContext{}.with_deadline(w.runtime().executor().now() + 5s);
      // More than all buffers on the way hold.
      const std::string much(64u << 10, 'x');
      if (by_spdy) {
        io::SpdyWriter writer;
        std::string wire = writer.syn_stream(1, {{"streamtype", "error"}}, false) +
                           writer.syn_stream(3, {{"streamtype", "stdin"}}, false) +
                           writer.syn_stream(5, {{"streamtype", "stdout"}}, false);
        for (int i = 0; i < 64; ++i) wire += writer.data(3, much, false);
        EXPECT_FALSE(co_await (*stream)->write_all(soon, wire)) << "it is stuck";
      } else {
        io::WebSocket socket(w.runtime(), *std::move(stream), {.role = io::WebSocketRole::kClient});
        Status sent = ok();
        for (int i = 0; i < 64 && sent; ++i) sent = co_await socket.write(soon, std::string(1, '\0') + much);
        EXPECT_FALSE(sent) << "it is stuck";
        socket.abort();
        co_return;
      }
      (*stream)->close();
    }(world, is_spdy));
    EXPECT_EQ(source.ended, int(is_spdy)) << "not noticed yet";
    world.settle(2 * 15s + 10s);
    EXPECT_EQ(source.ended, 1 + int(is_spdy)) << (is_spdy ? "SPDY" : "WebSocket");
  }
}

TEST_F(SessionTest, what_a_client_sends_on_streams_that_nobody_reads_does_not_hold_up_the_rest) {
  world.run([](World& w) -> Task<void> {
    auto stream = co_await w.http().upgrade(
        {}, spdy(kPod + "exec?command=tr&stdin=true&stdout=true", "v4.channel.k8s.io"));
    EXPECT_TRUE(stream);
    if (!stream) co_return;
    io::SpdyWriter writer;
    io::SpdyReader reader;
    std::string wire = writer.syn_stream(1, {{"streamtype", "error"}}, false) +
                       writer.syn_stream(3, {{"streamtype", "stdin"}}, false) +
                       writer.syn_stream(5, {{"streamtype", "stdout"}}, false);
    for (int i = 0; i < 16; ++i)
      wire += writer.data(1, std::string(64u << 10, 'e'), false) +
              writer.data(5, std::string(64u << 10, 'o'), false);
    wire += writer.data(3, "hello", true);
    const auto soon = CallContext{}.with_deadline(w.runtime().executor().now() + 20s);
    EXPECT_TRUE(co_await (*stream)->write_all(soon, wire));
    std::string got;
    for (const auto& frame : co_await read_frames(
             w, **stream, reader, [](const auto& f) { return f.type == io::SpdyType::kGoAway; }))
      if (frame.type == io::SpdyType::kData && frame.stream == 5) got += frame.data;
    EXPECT_EQ(got, "HELLO");
  }(world));
}

TEST_F(SessionTest, a_right_that_is_taken_away_ends_the_session_and_says_why) {
  const auto rbac = [](std::string kind) {
    return "/apis/rbac.authorization.k8s.io/v1/namespaces/default/" + kind;
  };
  ASSERT_EQ(world
                .post(rbac("roles"), R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role",
    "metadata":{"name":"enter"},"rules":[{"verbs":["create"],"apiGroups":[""],"resources":["pods/exec"]}]})")
                .status,
            201);
  ASSERT_EQ(world
                .post(rbac("rolebindings"), R"({"apiVersion":"rbac.authorization.k8s.io/v1",
    "kind":"RoleBinding","metadata":{"name":"enter"},
    "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"enter"},
    "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]})")
                .status,
            201);
  world.settle(1s);
  world.run([](SessionTest& test, std::string binding) -> Task<void> {
    auto request = websocket(kPod + "exec?command=a&stdin=true&stdout=true", "v5.channel.k8s.io");
    request.headers.set("Authorization", "Bearer alice");
    auto stream = co_await test.world.http().upgrade({}, std::move(request));
    EXPECT_TRUE(stream) << stream.error().to_string();
    if (!stream) co_return;
    auto& runtime = test.world.runtime();
    io::WebSocket socket(runtime, *std::move(stream), {.role = io::WebSocketRole::kClient});
    using namespace std::string_literals;
    EXPECT_TRUE(co_await socket.write({}, "\0one"s));
    EXPECT_EQ((co_await socket.read({})).value().value(), "\1ONE");
    io::HttpRequest revoke;
    revoke.method = "DELETE";
    revoke.target = std::move(binding);
    revoke.headers.set("Authorization", "Bearer admin");
    EXPECT_EQ((co_await test.world.http().call({}, std::move(revoke)))->status, 200);
    const auto within = CallContext{}.with_deadline(runtime.executor().now() + 20s);
    const auto last = co_await socket.read(within);
    EXPECT_TRUE(last && *last) << "within two checks";
    if (!last || !*last) co_return;
    EXPECT_EQ((*last)->front(), '\3');
    EXPECT_NE((*last)->find("the session was ended: "), std::string::npos) << **last;
    EXPECT_NE((*last)->find("alice"), std::string::npos) << **last;
    const auto end = co_await socket.read(within);
    EXPECT_TRUE(end && !*end);
  }(*this, rbac("rolebindings/enter")));
  world.settle(10s);
  EXPECT_EQ(source.ended, 1);
  EXPECT_EQ(world.audit().back().status, 403);
}

TEST_F(SessionTest, a_node_that_is_lost_is_said_in_the_status) {
  source.node = [](io::Runtime&, io::Stream&, SessionQuery) -> Task<void> { co_return; };
  world.run([](World& w) -> Task<void> {
    auto stream =
        co_await w.http().upgrade({}, websocket(kPod + "exec?command=a&stdout=true", "v5.channel.k8s.io"));
    io::WebSocket socket(w.runtime(), *std::move(stream), {.role = io::WebSocketRole::kClient});
    auto message = co_await socket.read({});
    EXPECT_TRUE(message && *message);
    if (message && *message) EXPECT_NE((*message)->find("broke off"), std::string::npos) << **message;
  }(world));
}

TEST_F(SessionTest, what_is_wrong_is_refused_before_the_node_is_asked) {
  const std::vector<std::pair<std::string, std::string>> upgrade{
      {"Upgrade", "websocket"},
      {"Connection", "Upgrade"},
      {"Sec-WebSocket-Version", "13"},
      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"}};
  auto other = upgrade;
  other.back().second = "v3.channel.k8s.io";
  EXPECT_EQ(ask(kPod + "exec?command=a&stdout=true").status, 400);  // no upgrade
  EXPECT_EQ(ask(kPod + "exec?command=a&stdout=true", other).status, 400);
  EXPECT_EQ(ask(kPod + "exec?stdout=true", upgrade).status, 400);  // no command
  EXPECT_EQ(ask(kPod + "exec?command=a", upgrade).status, 400);    // no channel
  EXPECT_EQ(ask(kPod + "exec?command=a&stdout=true&container=side", upgrade).status, 400);
  EXPECT_EQ(ask(kPod + "portforward", upgrade).status, 400);  // not this protocol
  EXPECT_EQ(world.call("GET", kPod + "exec?command=a&stdout=true", "", "alice", upgrade).status, 403);
  EXPECT_EQ(world.call("GET", kPod + "exec?command=a&stdout=true", "", "node", upgrade).status, 403);
  EXPECT_TRUE(source.asked.empty());
  auto as = upgrade;
  as.emplace_back("Impersonate-User", "alice");
  EXPECT_EQ(ask(kPod + "exec?command=a&stdout=true", as).status, 403);
  EXPECT_TRUE(source.asked.empty());
  source.refuses = Error{Code::kPermissionDenied, "egress.view.unnamed", "no policy names user admin", {}};
  const auto refused = ask(kPod + "exec?command=a&stdout=true", upgrade);
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.message().find("no policy names"), std::string::npos);
  EXPECT_EQ(world.audit().back().reason, "egress.view.unnamed");
}

TEST_F(SessionTest, subresources_are_in_discovery) {
  const auto list = world.get("/api/v1").text;
  for (const auto* name : {"pods/exec", "pods/attach", "pods/portforward"})
    EXPECT_NE(list.find(name), std::string::npos) << name;
}

TEST_F(SessionTest, exec_over_spdy_has_a_stream_for_each_channel) {
  world.run([](World& w) -> Task<void> {
    auto stream = co_await w.http().upgrade(
        {}, spdy(kPod + "exec?command=tr&stdin=true&stdout=true", "v4.channel.k8s.io"));
    EXPECT_TRUE(stream) << stream.error().to_string();
    if (!stream) co_return;
    io::SpdyWriter writer;
    io::SpdyReader reader;
    EXPECT_TRUE(co_await (*stream)->write_all(
        {}, writer.syn_stream(1, {{"streamtype", "error"}}, false) +
                writer.syn_stream(3, {{"streamtype", "stdin"}}, false) +
                writer.syn_stream(5, {{"streamtype", "stdout"}}, false) + writer.data(3, "hello", true)));
    std::map<std::uint32_t, std::string> got;
    for (const auto& frame : co_await read_frames(
             w, **stream, reader, [](const auto& f) { return f.type == io::SpdyType::kGoAway; }))
      if (frame.type == io::SpdyType::kData) got[frame.stream] += frame.data;
    EXPECT_EQ(got[5], "HELLO");
    EXPECT_EQ(got[1], R"({"status":"Failure"})");
  }(world));
  world.settle(10s);
  EXPECT_EQ(source.ended, 1);
}

// kubectl's port-forward, from 1.31 on through a WebSocket, before that as it is.
Task<void> forward_twice(World& w, bool through_websocket) {
  auto raw = co_await w.http().upgrade(
      {}, through_websocket ? SessionTest::websocket(kPod + "portforward", "SPDY/3.1+portforward.k8s.io")
                            : SessionTest::spdy(kPod + "portforward", "portforward.k8s.io"));
  EXPECT_TRUE(raw) << raw.error().to_string();
  if (!raw) co_return;
  auto stream = *std::move(raw);
  if (through_websocket)
    stream = io::make_websocket_stream(std::make_unique<io::WebSocket>(
        w.runtime(), std::move(stream), io::WebSocket::Options{.role = io::WebSocketRole::kClient}));
  io::SpdyWriter writer;
  io::SpdyReader reader;
  std::string wire;
  for (std::uint32_t id = 1; id <= 9; id += 4) {
    const auto request = std::to_string(id);
    const std::string port = id == 9 ? "none" : "8080";
    wire += writer.syn_stream(id, {{"streamtype", "error"}, {"port", port}, {"requestid", request}}, true);
    wire +=
        writer.syn_stream(id + 2, {{"streamtype", "data"}, {"port", port}, {"requestid", request}}, false);
    wire += writer.data(id + 2, "to " + request, true);
  }
  EXPECT_TRUE(co_await stream->write_all({}, wire));
  std::map<std::uint32_t, std::string> got;
  int ends = 0;
  for (const auto& frame : co_await SessionTest::read_frames(w, *stream, reader, [&](const auto& f) {
         return f.type == io::SpdyType::kData && f.is_last && ++ends == 6;
       }))
    if (frame.type == io::SpdyType::kData) got[frame.stream] += frame.data;
  EXPECT_EQ(got[3], "port 8080: to 1");
  EXPECT_EQ(got[7], "port 8080: to 5");
  EXPECT_EQ(got[1], "");
  EXPECT_NE(got[9].find("is no port"), std::string::npos) << got[9];
  EXPECT_EQ(got[11], "");
  stream->close();
}

Task<void> echo_port(io::Runtime& runtime, io::Stream& stream, SessionQuery query) {
  std::string text;
  if (query.port == 0) {  // the word that it may be
    (void)co_await stream.read_some(CallContext{}.with_deadline(runtime.executor().now() + 1h), text, 10);
    co_return;
  }
  for (;;) {
    const auto n = co_await stream.read_some({}, text, 4096);
    if (!n || *n == 0) break;
  }
  (void)co_await stream.write_all({}, fmt::format("port {}: {}", query.port, text));
}

TEST_F(SessionTest, ports_are_forwarded_by_several_connections_at_once) {
  source.node = echo_port;
  for (const bool through_websocket : {true, false}) {
    world.run(forward_twice(world, through_websocket));
    world.settle(10s);
  }
  EXPECT_EQ(source.asked.size(), 2u * 3u);  // the word, and two connections
  EXPECT_EQ(source.ended, 6);
}

}  // namespace
}  // namespace neap::apiserver
