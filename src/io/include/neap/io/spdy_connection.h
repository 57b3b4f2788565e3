// SpdyConnection: the server's end of a SPDY/3.1 connection whose streams the client opens, as kubectl does
// for port-forward, exec and attach.
//
// 1. A stream is answered when it is opened, and has a buffer of its own. One that is full holds the
//    connection up: there is no flow control between these peers but the transport's.
// 2. More streams than streams_max at once are refused one by one; hostile frames end the connection.
// run() must have returned before the connection is destroyed; streams may outlive it and then only fail.
#pragma once

#include <memory>

#include "neap/io/runtime.h"
#include "neap/io/spdy.h"

namespace neap::io {

class SpdyStream final : public Stream {
 public:
  struct State;
  explicit SpdyStream(std::shared_ptr<State> state);
  ~SpdyStream() override;
  // Of the frame that opened it; names are in lower case, empty when absent.
  std::string_view header(std::string_view name) const;
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override;
  Task<Status> write_all(CallContext ctx, std::string_view data) override;
  Task<Status> shutdown_write() override;
  // What still comes is dropped. The peer is not told: shutdown_write() or reset() do.
  void close() override;
  // Tells the peer that the stream is given up (status 5, cancelled).
  Task<Status> reset(CallContext ctx);
  Endpoint peer() const override { return {}; }

 private:
  std::shared_ptr<State> state_;
};

class SpdyConnection {
 public:
  struct Options {
    std::size_t streams_max = 128;
    std::size_t stream_buffer_bytes = 256u << 10;
    SpdyLimits limits;
  };
  SpdyConnection(Runtime& runtime, std::unique_ptr<Stream> transport, Options options);
  ~SpdyConnection();
  // Reads until the client goes, the context ends or a frame is wrong; then every stream has ended.
  Task<Status> run(CallContext ctx);
  // The next stream the client opened; null once run() has ended.
  Task<Result<std::unique_ptr<SpdyStream>>> accept(CallContext ctx);
  // As WebSocket::ping(): a client that has gone makes this, or the next one, fail.
  Task<Status> ping(CallContext ctx);
  // Says that nothing more is served, and ends the sending side.
  Task<Status> go_away(CallContext ctx);

 private:
  struct Core;
  std::shared_ptr<Core> core_;
  friend class SpdyStream;
};

}  // namespace neap::io
