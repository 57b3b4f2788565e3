// Where a server keeps its objects: SQLite in its state directory, or etcd.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "neap/io/runtime.h"
#include "neap/store/directory_lock.h"
#include "neap/store/store.h"

namespace neap::app {

struct ServerStoreOptions {
  std::vector<std::string> etcd_endpoints;  // empty: SQLite
  std::string etcd_prefix = "/neap";
  std::string etcd_ca, etcd_certificate, etcd_key;  // PEM files, for https
  // Several servers may use it at once.
  bool is_shared() const { return !etcd_endpoints.empty(); }
};

struct ServerStore {
  std::unique_ptr<store::DirectoryLock> lock;  // where the store brings none of its own
  std::unique_ptr<store::Store> store;
};

// What names an installation for good, as hashes.
struct StoreOwner {
  std::string signing_key;   // of it alone, as the first servers on etcd wrote it
  std::string installation;  // of everything that its servers share
  std::string site;          // not a hash: where all of its servers stand
};

// `directory` is STATE/store. A
// directory stays with the kind of store it began with ("server.store.changed"), and a prefix in etcd with
// the installation that used it first ("server.store.owned"): servers share a store when they share their
// identity.
Task<Result<ServerStore>> open_server_store(io::Runtime& runtime, ServerStoreOptions options,
                                            std::string directory, StoreOwner owner,
                                            std::function<void(const Error&)> on_failure);

}  // namespace neap::app
