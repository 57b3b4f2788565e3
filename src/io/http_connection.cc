#include "internal/http_connection.h"

namespace neap::io {
namespace {

constexpr std::size_t kPiece = 64u << 10;
// Chunk headers and trailers are read whole before they are parsed.
constexpr std::size_t kChunkLineMax = 16u << 10;

class PrefixedStream final : public Stream {
 public:
  PrefixedStream(std::unique_ptr<Stream> stream, std::string prefix)
      : stream_(std::move(stream)), prefix_(std::move(prefix)) {}
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    if (prefix_.empty()) return stream_->read_some(std::move(ctx), out, max);
    return take_prefix(out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return stream_->write_all(std::move(ctx), data);
  }
  Task<Status> shutdown_write() override { return stream_->shutdown_write(); }
  void close() override { stream_->close(); }
  Endpoint peer() const override { return stream_->peer(); }
  bool has_ended() const override { return prefix_.empty() && stream_->has_ended(); }
  const PeerCertificate* peer_certificate() const override { return stream_->peer_certificate(); }

 private:
  Task<Result<std::size_t>> take_prefix(std::string& out, std::size_t max) {
    const std::size_t n = std::min(max, prefix_.size());
    out.append(prefix_, 0, n);
    prefix_.erase(0, n);
    co_return n;
  }
  std::unique_ptr<Stream> stream_;
  std::string prefix_;
};

}  // namespace

Task<Result<std::size_t>> fill(std::shared_ptr<Wire> wire, CallContext ctx) {
  co_return co_await wire->stream->read_some(std::move(ctx), wire->in, kPiece);
}

Task<Status> write_patiently(Stream& stream, Executor& executor, CallContext ctx, Duration patience,
                             std::string_view data) {
  constexpr std::size_t kStep = 1u << 20;
  do {
    const auto step = data.substr(0, kStep);
    const auto bounded = patience.count() > 0 ? ctx.with_deadline(executor.now() + patience) : ctx;
    NEAP_CO_TRY_VOID(co_await stream.write_all(bounded, step));
    data.remove_prefix(step.size());
  } while (!data.empty());
  co_return ok();
}

std::unique_ptr<Stream> release_stream(Wire& wire) {
  std::string ahead(wire.pending());
  if (ahead.empty()) return std::move(wire.stream);
  return std::make_unique<PrefixedStream>(std::move(wire.stream), std::move(ahead));
}

void append_chunk(std::string& out, std::string_view piece) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", piece.size());
  out += piece;
  out += "\r\n";
}

WireBody::WireBody(Setup setup) : setup_(std::move(setup)) {
  remaining_ = setup_.framing == Framing::kLength ? setup_.length : 0;
  done_ = setup_.framing == Framing::kNone;
  if (done_) setup_.before_first_read = nullptr;
}

std::optional<std::uint64_t> WireBody::declared_length() const {
  if (setup_.framing == Framing::kNone) return 0;
  if (setup_.framing == Framing::kLength) return setup_.length;
  return std::nullopt;
}

void WireBody::refused_too_large() {
  if (!failure_)
    failure_ = Error{
        Code::kResourceExhausted, "http.body.too_large", "the body is larger than is accepted here", {}};
}

void WireBody::end() {
  done_ = true;
  if (auto on_end = std::exchange(setup_.on_end, nullptr)) on_end();
}

Task<Result<std::size_t>> WireBody::read_some(CallContext ctx, std::string& out) {
  if (failure_) co_return fail(*failure_);
  if (done_) co_return std::size_t{0};
  if (auto announce = std::exchange(setup_.before_first_read, nullptr))
    if (auto status = co_await announce(); !status) co_return fail(std::move(status).error());
  auto result = co_await read_piece(ctx, out);
  if (!result) {
    if (result.error().code == Code::kDeadlineExceeded && !ctx.check(setup_.executor.now()).has_value()) {
      // The caller's own deadline: the body itself may go on.
      co_return result;
    }
    if (result.error().code == Code::kDeadlineExceeded)
      result = fail(Code::kDeadlineExceeded, "http.body.timeout", "the peer stopped sending the body");
    failure_ = result.error();
  }
  co_return result;
}

Task<Result<std::size_t>> WireBody::read_piece(CallContext ctx, std::string& out) {
  Wire& wire = *setup_.wire;
  if (!wire.stream) co_return fail(Code::kCancelled, "net.closed", "the connection was given away");
  const std::size_t before = out.size();
  const auto bounded =
      setup_.patience.count() > 0 ? ctx.with_deadline(setup_.executor.now() + setup_.patience) : ctx;
  const auto truncated = [] {
    return fail(Code::kUnavailable, "http.body.truncated",
                "the peer ended the connection in the middle of the body");
  };
  if (setup_.framing == Framing::kChunked) {
    for (;;) {
      if (!wire.pending().empty()) {
        std::size_t used = 0;
        const auto data = wire.pending().substr(0, kPiece);
        NEAP_CO_TRY(const bool last, setup_.parser->put_chunked(data, used, out));
        wire.consume(used);
        if (last) end();
        if (last || out.size() > before) co_return out.size() - before;
        if (used == 0 && data.size() > kChunkLineMax)
          co_return fail(Code::kInvalidArgument, "http.chunk.malformed",
                         "a chunk's header or trailer is too long");
      }
      NEAP_CO_TRY(const std::size_t n, co_await fill(setup_.wire, bounded));
      if (n == 0) co_return truncated();
    }
  }
  std::size_t want = kPiece;
  if (setup_.framing == Framing::kLength)
    want = static_cast<std::size_t>(std::min<std::uint64_t>(want, remaining_));
  if (const auto ahead = wire.pending().substr(0, want); !ahead.empty()) {
    out += ahead;
    wire.consume(ahead.size());
  } else {
    NEAP_CO_TRY(const std::size_t n, co_await wire.stream->read_some(bounded, out, want));
    if (n == 0) {
      if (setup_.framing == Framing::kLength) co_return truncated();
      end();
      co_return std::size_t{0};
    }
  }
  if (setup_.framing == Framing::kLength) {
    remaining_ -= out.size() - before;
    if (remaining_ == 0) end();
  }
  co_return out.size() - before;
}

}  // namespace neap::io
