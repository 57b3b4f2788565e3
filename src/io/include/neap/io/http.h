// HTTP/1.1 (RFC 9112) over Streams: messages, server and client, with streaming bodies, upgrade and
// explicit limits. Runs on the executor of the runtime it was made with; nothing here is thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/task_group.h"
#include "neap/io/runtime.h"
#include "neap/io/tls.h"

namespace neap::io {

// Ordered, names compared without case.
class Headers {
 public:
  void set(std::string_view name, std::string value);
  void add(std::string_view name, std::string value);
  void remove(std::string_view name);
  // First value, empty when absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return entries_; }

 private:
  std::vector<std::pair<std::string, std::string>> entries_;
};

struct HttpLimits {
  std::size_t header_bytes_max = 64u << 10;
  std::size_t header_count_max = 128;
  std::uint64_t body_bytes_max = 16u << 20;  // of read_all; a handler that streams sets its own
  Duration header_timeout = 10s;
  Duration idle_timeout = 120s;
  std::size_t connections_max = 20'000;
};

// Percent-decodes; kInvalidArgument for a broken escape or an encoded NUL.
Result<std::string> url_decode(std::string_view text, bool plus_is_space = false);
std::string url_encode(std::string_view text);

// The body of a message, read piece by piece.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // Appends the next piece (up to about 64 KiB) to `out`; 0 at the end.
  virtual Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out) = 0;
  // Declared Content-Length, when there is one.
  virtual std::optional<std::uint64_t> declared_length() const = 0;
  // All of it; kResourceExhausted (`http.body.too_large`) above `max`, without reading on.
  Task<Result<std::string>> read_all(CallContext ctx, std::uint64_t max);

 protected:
  // read_all gave up: a server answers 413 when its handler says nothing.
  virtual void refused_too_large() {}
};

struct HttpRequest {
  std::string method;
  std::string target;  // as sent: path and query
  std::string path;    // decoded; no "." or ".." segment, no "//", no control characters
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  Headers headers;
  std::string body;  // client side: sent whole, unless body_stream is set

  // First value of a query parameter, empty when absent.
  std::string_view query_value(std::string_view name) const;
  bool has_query(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  Headers headers;
  std::string body;
};

// One request being served. A handler replies once (reply), or starts a streamed reply, writes pieces
// and finishes. A handler that returns without replying sends 500.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual BodyReader& body() = 0;
  // Deadline-free; cancelled when the connection ends or the server stops.
  virtual CallContext context() const = 0;
  virtual const PeerCertificate* peer_certificate() const = 0;
  virtual Endpoint peer() const = 0;

  virtual Task<Status> reply(HttpResponse response) = 0;
  // Chunked unless `response.headers` carries Content-Length; `response.body` is sent as first piece.
  virtual Task<Status> start(HttpResponse response) = 0;
  virtual Task<Status> write(std::string_view piece) = 0;
  virtual Task<Status> finish() = 0;
  virtual bool has_started() const = 0;
  // Sends 101 with `headers` and hands over the raw stream (bytes already read included).
  virtual Task<Result<std::unique_ptr<Stream>>> upgrade(Headers headers) = 0;
};

using HttpHandler = std::function<Task<void>(HttpExchange&)>;

struct HttpServerOptions {
  HttpLimits limits;
  std::shared_ptr<TlsServerContext> tls;  // null: plain
  std::string server_name = "neap";
};

// Accepts on `listener` until stopped. Malformed requests get 400, 413, 414 or 431 with a reason.
class HttpServer {
 public:
  HttpServer(Runtime& runtime, std::unique_ptr<Listener> listener, HttpServerOptions options,
             HttpHandler handler);
  ~HttpServer();
  void start();
  Endpoint local() const;
  std::size_t open_connections() const;
  // Stops accepting, lets running exchanges end for `grace`, then cancels them.
  Task<void> stop(Duration grace = 2s);
  // Simulated crash: drops everything now.
  void abandon();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A reply whose body is still on the wire. Dropping it closes the connection.
class HttpResponseStream {
 public:
  virtual ~HttpResponseStream() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  virtual BodyReader& body() = 0;
};

struct HttpClientOptions {
  std::shared_ptr<TlsClientContext> tls;  // null: plain
  HttpLimits limits;
  std::size_t idle_connections_max = 32;
  Duration connect_timeout = 5s;
  // Other servers that answer the same: a connection that cannot be made is tried at the next one, and the
  // one that took it serves from then on, until it fails in turn.
  struct Alternate {
    Endpoint endpoint;
    std::shared_ptr<TlsClientContext> tls;
  };
  std::vector<Alternate> alternates = {};
};

// Keep-alive client for one endpoint, or for several that answer the same. Retries a request once on a fresh
// connection when a reused one turned out dead before any byte of the reply came and the method is
// idempotent.
class HttpClient {
 public:
  HttpClient(Runtime& runtime, Endpoint endpoint, HttpClientOptions options);
  ~HttpClient();
  // Whole reply; any HTTP status is a value, errors are of the transport.
  Task<Result<HttpResponse>> call(CallContext ctx, HttpRequest request);
  Task<Result<std::unique_ptr<HttpResponseStream>>> open(CallContext ctx, HttpRequest request);
  // Body pulled from `pieces` (empty string = end) with the given length, or chunked when unknown.
  Task<Result<HttpResponse>> upload(CallContext ctx, HttpRequest request, std::optional<std::uint64_t> length,
                                    std::function<Task<Result<std::string>>()> pieces);
  // Sends the request and, on 101, hands over the raw stream.
  // The reply's headers go to `headers`, where it is not null.
  Task<Result<std::unique_ptr<Stream>>> upgrade(CallContext ctx, HttpRequest request,
                                                Headers* headers = nullptr);
  // The one that is asked now.
  const Endpoint& endpoint() const;
  void close_idle();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// {"error": message, "reason": reason} with the code's HTTP status, for endpoints without own error shape.
HttpResponse json_error(const Error& error);

}  // namespace neap::io
