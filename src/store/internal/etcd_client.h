// EtcdClient: etcd v3 through its JSON gateway (HTTP/1.1), as calls that say what became of them.
//
// Wire format: the JSON mapping of proto3 (etcd's rpc.proto): bytes in base64, 64-bit integers as
// strings, zero values absent. Asks one endpoint until it fails, then the next.
//
// Threads: all calls on the executor of the runtime.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "neap/base/json.h"
#include "neap/io/http.h"
#include "neap/store/store.h"

namespace neap::store::internal {

std::string to_base64(std::string_view bytes);
// kDataLoss "store.etcd.reply": etcd sends nothing else.
Result<std::string> from_base64(std::string_view text);
// A 64-bit field of a reply; 0 when absent.
std::uint64_t number_of(const Json& object, std::string_view field);

// The replies of one watch, as they come. Dropping it ends the watch.
class EtcdWatchReplies {
 public:
  explicit EtcdWatchReplies(std::unique_ptr<io::HttpResponseStream> stream) : stream_(std::move(stream)) {}
  // The next "result" object; kUnavailable when the stream ended.
  Task<Result<Json>> next(CallContext ctx);

 private:
  std::unique_ptr<io::HttpResponseStream> stream_;
  std::string buffer_;
  std::size_t searched_ = 0;
};

class EtcdClient {
 public:
  // URLs "http://HOST:PORT" or "https://...", one or more; server_name of `tls` is each one's host.
  // kInvalidArgument "store.etcd.endpoint".
  static Result<std::unique_ptr<EtcdClient>> create(io::Runtime& runtime,
                                                    const std::vector<std::string>& urls,
                                                    io::TlsClientOptions tls);

  // Reads are repeated at the other endpoints until one answers. A write is sent again only where it
  // surely was not taken; else kUnavailable "store.outcome.unknown". kUnavailable
  // "store.etcd.unreachable"; kOutOfRange "store.etcd.compacted", "store.etcd.future" from etcd's answer.
  Task<Result<Json>> read(CallContext ctx, std::string_view path, std::string body);
  Task<Result<Json>> write(CallContext ctx, std::string_view path, std::string body);
  // All events of all keys from revision `from` on.
  Task<Result<std::unique_ptr<EtcdWatchReplies>>> watch(CallContext ctx, std::uint64_t from);
  void close_idle();

 private:
  struct Attempt {
    Result<Json> reply;
    bool surely_not_taken = false;
  };
  EtcdClient(io::Runtime& runtime) : runtime_(runtime) {}
  Task<Attempt> attempt(CallContext ctx, std::size_t at, std::string path, std::string body);
  // To the endpoint after `at`, unless another call has gone there already.
  void pass_on(std::size_t at) {
    if (current_ == at) current_ = (at + 1) % clients_.size();
  }

  io::Runtime& runtime_;
  std::vector<std::unique_ptr<io::HttpClient>> clients_;
  std::size_t current_ = 0;
};

}  // namespace neap::store::internal
