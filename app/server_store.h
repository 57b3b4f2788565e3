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
};

struct ServerStore {
  std::unique_ptr<store::DirectoryLock> lock;  // where the store brings none of its own
  std::unique_ptr<store::Store> store;
};

// `directory` is STATE/store, `owner` names the installation for good. A directory stays with the kind of
// store it began with ("server.store.changed"), and a prefix in etcd with the owner that used it first
// ("server.store.owned"): what belongs together is found together, and two servers never share one store.
Task<Result<ServerStore>> open_server_store(io::Runtime& runtime, ServerStoreOptions options,
                                            std::string directory, std::string owner,
                                            std::function<void(const Error&)> on_failure);

}  // namespace neap::app
