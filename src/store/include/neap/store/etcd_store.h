// EtcdStore: a Store over etcd v3 (3.4 or newer), for several servers on one state.
//
// 1. Revisions are etcd's own. They have no gaps as long as nobody else writes into this etcd.
// 2. One watch of etcd feeds all watches here; a call returns when that feed has reached what the call
//    saw, so that invariant 2 of Store holds for each store by itself and list-then-watch has no gap.
// 3. A write whose connection broke, or that met an election, is tried again where that cannot make it twice:
// when
//    all it does is under an expectation. What stays open after 12 s, and what has none, is answered with
//    kUnavailable "store.outcome.unknown".
// 4. History is kept as SqliteStore keeps it; any of the servers may forget it first.
//
// etcd's own limits are smaller than the Store's: start it with --max-txn-ops=512 and
// --max-request-bytes=33554432, else larger commits get "store.etcd.limit".
//
// Protocol: etcd's JSON gateway, https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/.
#pragma once

#include "neap/io/runtime.h"
#include "neap/io/tls.h"
#include "neap/store/store.h"

namespace neap::store {

struct EtcdStoreOptions {
  std::vector<std::string> endpoints;  // "http://HOST:PORT" or "https://HOST:PORT"
  io::TlsClientOptions tls;            // for https; server_name is each endpoint's host
  std::string key_prefix = "/neap";    // before every key
  std::uint64_t history_revisions = 10'000;
  Duration history_age = 5min;
  std::size_t pending_commits_max = 4096;
};

class EtcdStore final : public Store {
 public:
  // kUnavailable "store.etcd.unreachable"; kInvalidArgument "store.etcd.endpoint".
  static Task<Result<std::unique_ptr<EtcdStore>>> open(io::Runtime& runtime, EtcdStoreOptions options);
  // Without close() first this is a crash: calls in flight may or may not have been made.
  ~EtcdStore() override;
  Task<Result<std::optional<KeyValue>>> get(CallContext ctx, std::string key) override;
  Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions options) override;
  Task<Result<Revision>> commit(CallContext ctx, std::vector<Op> ops) override;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override;
  Task<Status> compact(CallContext ctx, Revision at) override;
  Revision current_revision() const override;
  Task<void> close() override;

 private:
  struct Impl;
  explicit EtcdStore(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace neap::store
