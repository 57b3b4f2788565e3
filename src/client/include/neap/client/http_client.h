// HttpResourceClient: the API over HTTP/1.1 and JSON, as kubectl speaks it.
//
// Runs on the runtime's executor. Errors carry the code and reason of the server's Status; what the
// transport could not do is kUnavailable or kDeadlineExceeded. A server that answers 429 with Retry-After is
// asked again after that time, as long as the call lasts, eight times at most and not where it asks for more
// than 30 s; then, and without that header, the call ends with kResourceExhausted. Watch streams may outlive
// the client.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/client/resource_client.h"
#include "neap/io/http.h"

namespace neap::client {

struct HttpResourceClientOptions {
  Duration call_timeout = 30s;  // of calls whose context has no deadline; a watch has none
  std::uint64_t reply_bytes_max = 64u << 20;
  std::size_t event_bytes_max = 16u << 20;  // of one watch event
  std::string user_agent = "neap";
  // Told the text of each Warning header (RFC 7234, code 299) of an answer that succeeded.
  std::function<void(std::string)> on_warning;
};

class HttpResourceClient : public ResourceClient {
 public:
  // `token` is sent as bearer token; empty: the TLS client certificate alone says who calls.
  HttpResourceClient(io::Runtime& runtime, io::Endpoint endpoint, io::HttpClientOptions http,
                     std::string token, HttpResourceClientOptions options = {});
  ~HttpResourceClient() override;

  Task<Result<Json>> get(CallContext ctx, ResourcePath path) override;
  Task<Result<Json>> list(CallContext ctx, ResourcePath path, ListOptions options) override;
  Task<Result<Json>> create(CallContext ctx, ResourcePath path, Json object, WriteOptions options) override;
  Task<Result<Json>> update(CallContext ctx, ResourcePath path, Json object, WriteOptions options) override;
  Task<Result<Json>> patch(CallContext ctx, ResourcePath path, PatchType type, Json patch,
                           WriteOptions options) override;
  Task<Result<Json>> remove(CallContext ctx, ResourcePath path, WriteOptions options) override;
  Task<Result<std::unique_ptr<WatchStream>>> watch(CallContext ctx, ResourcePath path, ListOptions options,
                                                   std::string resource_version) override;

  // For paths outside the resource API ("/version", "/metrics"), with the same identity.
  Task<Result<io::HttpResponse>> raw(CallContext ctx, io::HttpRequest request);
  // The same with the body as it comes; without a deadline of its own.
  Task<Result<std::unique_ptr<io::HttpResponseStream>>> open(CallContext ctx, io::HttpRequest request);
  // A new token (a rotated one) for all later calls.
  void set_token(std::string token);

 private:
  Task<Result<Json>> call(CallContext ctx, io::HttpRequest request);
  io::HttpRequest request(std::string_view method, std::string target) const;
  io::Runtime& runtime_;
  std::shared_ptr<io::HttpClient> http_;
  std::string token_;
  HttpResourceClientOptions options_;
};

// "/apis/neap.dev/v1/namespaces/a/trainingjobs/x/status"; every part percent-encoded.
std::string target_of(const ResourcePath& path);

}  // namespace neap::client
