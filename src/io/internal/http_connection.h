// What HTTP's two sides share: a stream with the bytes that were read ahead, and a body on it.
#pragma once

#include "internal/http_parser.h"

namespace neap::io {

struct Wire {
  std::unique_ptr<Stream> stream;
  std::string in;
  std::size_t at = 0;
  std::uint64_t identity = 0;  // generation of the certificate this side showed

  std::string_view pending() const { return std::string_view(in).substr(at); }
  void consume(std::size_t n) {
    at += n;
    if (at == in.size()) {
      at = 0;
      in.clear();
      if (in.capacity() > (16u << 10)) in.shrink_to_fit();
    } else if (at > (64u << 10)) {
      in.erase(0, at);
      at = 0;
    }
  }
};

// Reads more behind pending(); 0 at the peer's end.
Task<Result<std::size_t>> fill(std::shared_ptr<Wire> wire, CallContext ctx);
// Writes with a fresh deadline of `patience` for every MiB, so that size alone does not time out.
Task<Status> write_patiently(Stream& stream, Executor& executor, CallContext ctx, Duration patience,
                             std::string_view data);
// The stream of an upgraded connection: what was read ahead comes first.
std::unique_ptr<Stream> release_stream(Wire& wire);
void append_chunk(std::string& out, std::string_view piece);

class WireBody final : public BodyReader {
 public:
  struct Setup {
    Executor& executor;
    std::shared_ptr<Wire> wire;
    Framing framing = Framing::kNone;
    std::uint64_t length = 0;
    std::unique_ptr<HttpParser> parser;  // of a chunked body
    Duration patience{0};                // for each read; 0 = the context's deadline alone
    std::function<Task<Status>()> before_first_read;
    std::function<void()> on_end;
  };
  explicit WireBody(Setup setup);
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out) override;
  std::optional<std::uint64_t> declared_length() const override;

  bool is_done() const { return done_; }
  // The peer still waits for "100 Continue" and may never send the body.
  bool is_untouched_offer() const { return static_cast<bool>(setup_.before_first_read); }
  std::uint64_t remaining() const { return remaining_; }
  Framing framing() const { return setup_.framing; }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  void refused_too_large() override;
  Task<Result<std::size_t>> read_piece(CallContext ctx, std::string& out);
  void end();
  Setup setup_;
  std::uint64_t remaining_ = 0;
  bool done_ = false;
  std::optional<Error> failure_;
};

}  // namespace neap::io
