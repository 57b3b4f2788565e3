#include "neap/io/spdy_connection.h"

#include <deque>
#include <map>

#include "neap/base/sync.h"

namespace neap::io {
namespace {

constexpr std::size_t kReadBytes = 64u << 10, kPieceBytes = 32u << 10;
constexpr std::uint32_t kInvalidStream = 2, kRefusedStream = 3, kCancel = 5;
constexpr std::uint32_t kGoAwayOk = 0, kGoAwayProtocol = 1;

std::unexpected<Error> stream_ended() {
  return fail(Code::kCancelled, "spdy.stream.ended", "the stream was ended");
}

}  // namespace

struct SpdyStream::State {
  State(Executor& executor, std::uint32_t number) : id(number), changed(executor) {}
  std::shared_ptr<SpdyConnection::Core> core;
  std::uint32_t id;
  SpdyHeaders headers;
  ByteQueue received;
  bool peer_ended = false, we_ended = false;
  bool is_reset = false;    // by the peer, or with the connection
  bool is_dropped = false;  // nobody reads it here any more
  Notifier changed;
};

struct SpdyConnection::Core {
  Core(Runtime& r, std::unique_ptr<Stream> t, Options o)
      : runtime(r),
        transport(std::move(t)),
        options(o),
        reader(o.limits),
        writing(r.executor(), 1),
        opened_changed(r.executor()) {}

  Task<Status> send(CallContext ctx, std::string frame) {
    NEAP_CO_TRY(const auto turn, co_await writing.acquire(ctx));
    co_return co_await transport->write_all(ctx, frame);
  }
  // Header blocks depend on the ones before them, so they are made when it is their turn.
  Task<Status> send_reply(CallContext ctx, std::uint32_t id) {
    NEAP_CO_TRY(const auto turn, co_await writing.acquire(ctx));
    const auto frame = writer.syn_reply(id, {});
    co_return co_await transport->write_all(ctx, frame);
  }
  Task<Status> open(CallContext ctx, SpdyFrame frame) {
    if (frame.stream % 2 == 0 || frame.stream <= last_id)
      co_return fail(Code::kInvalidArgument, "spdy.protocol",
                     "the ids of a client's streams are odd and grow");
    last_id = frame.stream;
    if (streams.size() >= options.streams_max)
      co_return co_await send(ctx, writer.rst_stream(frame.stream, kRefusedStream));
    auto state = std::make_shared<SpdyStream::State>(runtime.executor(), frame.stream);
    state->headers = std::move(frame.headers);
    state->peer_ended = frame.is_last;
    streams[frame.stream] = state;
    NEAP_CO_TRY_VOID(co_await send_reply(ctx, frame.stream));
    opened.push_back(std::move(state));
    opened_changed.notify_all();
    co_return ok();
  }
  Task<Status> take_data(CallContext ctx, SpdyFrame frame) {
    const auto it = streams.find(frame.stream);
    if (it == streams.end()) {
      // One that both ends have left already may still have bytes under way.
      if (frame.stream <= last_id) co_return ok();
      co_return co_await send(ctx, writer.rst_stream(frame.stream, kInvalidStream));
    }
    const auto state = it->second;
    while (!state->is_dropped && !state->is_reset && state->received.size() >= options.stream_buffer_bytes)
      NEAP_CO_TRY_VOID(co_await state->changed.wait(ctx, state->changed.generation()));
    if (state->peer_ended) co_return ok();
    if (!state->is_dropped) state->received.put(frame.data);
    if (frame.is_last) state->peer_ended = true;
    forget_if_over(*state);
    state->changed.notify_all();
    co_return ok();
  }
  Task<Status> handle(CallContext ctx, SpdyFrame frame) {
    switch (frame.type) {
      case SpdyType::kData:
        return take_data(std::move(ctx), std::move(frame));
      case SpdyType::kSynStream:
        return open(std::move(ctx), std::move(frame));
      case SpdyType::kPing:
        // Even ids are ours: the client's answer.
        if (frame.value % 2 == 1) return send(std::move(ctx), writer.ping(frame.value));
        break;
      case SpdyType::kRstStream:
        if (const auto it = streams.find(frame.stream); it != streams.end()) end_stream(it->second);
        break;
      default:  // settings, windows, a goodbye before the end: nothing to do
        break;
    }
    return nothing();
  }
  static Task<Status> nothing() { co_return ok(); }
  void end_stream(std::shared_ptr<SpdyStream::State> state) {
    state->is_reset = true;
    state->changed.notify_all();
    streams.erase(state->id);
    // One that was reset before anybody took it would wait for ever where nobody takes streams any more.
    std::erase(opened, state);
    state->core.reset();
  }
  void forget_if_over(const SpdyStream::State& state) {
    if (state.peer_ended && state.we_ended) streams.erase(state.id);
  }
  void end_all() {
    is_over = true;
    while (!streams.empty()) end_stream(streams.begin()->second);
    opened_changed.notify_all();
  }

  Runtime& runtime;
  std::unique_ptr<Stream> transport;
  Options options;
  SpdyReader reader;
  SpdyWriter writer;
  Semaphore writing;
  std::map<std::uint32_t, std::shared_ptr<SpdyStream::State>> streams;
  std::deque<std::shared_ptr<SpdyStream::State>> opened;
  Notifier opened_changed;
  std::uint32_t last_id = 0, last_ping = 0;
  bool is_over = false;
};

SpdyStream::SpdyStream(std::shared_ptr<State> state) : state_(std::move(state)) {}
SpdyStream::~SpdyStream() { close(); }

std::string_view SpdyStream::header(std::string_view name) const {
  for (const auto& [key, value] : state_->headers)
    if (key == name) return value;
  return {};
}

Task<Result<std::size_t>> SpdyStream::read_some(CallContext ctx, std::string& out, std::size_t max) {
  const auto state = state_;
  for (;;) {
    if (!state->received.empty()) {
      const auto n = std::min(max, state->received.size());
      out += state->received.view().substr(0, n);
      state->received.take(n);
      state->changed.notify_all();
      co_return n;
    }
    if (state->is_reset || state->is_dropped) co_return stream_ended();
    if (state->peer_ended) co_return std::size_t{0};
    NEAP_CO_TRY_VOID(co_await state->changed.wait(ctx, state->changed.generation()));
  }
}

Task<Status> SpdyStream::write_all(CallContext ctx, std::string_view data) {
  const auto state = state_;
  while (!data.empty()) {
    const auto core = state->core;
    if (!core || state->we_ended) co_return stream_ended();
    const auto piece = data.substr(0, kPieceBytes);
    NEAP_CO_TRY_VOID(co_await core->send(ctx, core->writer.data(state->id, piece, false)));
    data.remove_prefix(piece.size());
  }
  co_return ok();
}

Task<Status> SpdyStream::shutdown_write() {
  const auto state = state_;
  const auto core = state->core;
  if (!core || state->we_ended) co_return ok();
  state->we_ended = true;
  core->forget_if_over(*state);
  co_return co_await core->send({}, core->writer.data(state->id, {}, true));
}

void SpdyStream::close() {
  state_->is_dropped = true;
  state_->received = {};
  state_->changed.notify_all();
}

Task<Status> SpdyStream::reset(CallContext ctx) {
  const auto state = state_;
  const auto core = state->core;
  close();
  if (!core) co_return ok();
  core->end_stream(state);
  co_return co_await core->send(ctx, core->writer.rst_stream(state->id, kCancel));
}

SpdyConnection::SpdyConnection(Runtime& runtime, std::unique_ptr<Stream> transport, Options options)
    : core_(std::make_shared<Core>(runtime, std::move(transport), options)) {}
SpdyConnection::~SpdyConnection() { core_->end_all(); }

Task<Status> SpdyConnection::run(CallContext ctx) {
  const auto core = core_;
  Status ended;
  for (;;) {
    auto frame = core->reader.next();
    if (!frame) {
      (void)co_await core->send(ctx, core->writer.go_away(core->last_id, kGoAwayProtocol));
      ended = fail(frame.error());
      break;
    }
    if (*frame) {
      ended = co_await core->handle(ctx, **std::move(frame));
      if (!ended) break;
      continue;
    }
    std::string bytes;
    const auto n = co_await core->transport->read_some(ctx, bytes, kReadBytes);
    if (!n) ended = fail(n.error());
    if (!n || *n == 0) break;
    core->reader.put(bytes);
  }
  core->end_all();
  co_return ended;
}

Task<Result<std::unique_ptr<SpdyStream>>> SpdyConnection::accept(CallContext ctx) {
  const auto core = core_;
  while (core->opened.empty()) {
    if (core->is_over) co_return std::unique_ptr<SpdyStream>();
    NEAP_CO_TRY_VOID(co_await core->opened_changed.wait(ctx, core->opened_changed.generation()));
  }
  auto state = std::move(core->opened.front());
  core->opened.pop_front();
  if (!state->is_reset) state->core = core;
  co_return std::make_unique<SpdyStream>(std::move(state));
}

Task<Status> SpdyConnection::ping(CallContext ctx) {
  const auto core = core_;
  co_return co_await core->send(std::move(ctx), core->writer.ping(core->last_ping += 2));
}

Task<Status> SpdyConnection::go_away(CallContext ctx) {
  const auto core = core_;
  NEAP_CO_TRY_VOID(co_await core->send(ctx, core->writer.go_away(core->last_id, kGoAwayOk)));
  co_return co_await core->transport->shutdown_write();
}

}  // namespace neap::io
