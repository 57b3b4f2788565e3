#include "server_store.h"

#include <fmt/format.h>

#include "neap/store/etcd_store.h"
#include "neap/store/sqlite_store.h"

namespace neap::app {
namespace {

// Beside where SQLite has store.db.
constexpr std::string_view kEtcdMark = "/etcd";
constexpr std::string_view kOwnerKey = "/server-owner";
constexpr std::string_view kInstallationKey = "/installation";
constexpr std::string_view kSiteKey = "/server-site";

Task<Status> claim(store::Store& store, std::string key, std::string owner, std::string prefix) {
  const auto claimed = co_await store.put({}, key, owner, Revision{});
  if (claimed) co_return ok();
  if (claimed.error().code != Code::kAlreadyExists) co_return fail(claimed.error());
  NEAP_CO_TRY(const auto holder, co_await store.get({}, key));
  if (holder && holder->value == owner) co_return ok();
  co_return fail(
      Code::kFailedPrecondition, "server.store.owned",
      fmt::format("the keys below \"{}\" in etcd belong to an installation with another identity; give this "
                  "server its ca.pem, ca.key, signing.key, secrets.key and admin.token (--identity DIR, or "
                  "copied into STATE/identity), or an --etcd-prefix of its own",
                  prefix));
}

// Agents learn where the server stands when they join, and give any server of the installation what may go
// there.
Task<Status> claim_site(store::Store& store, std::string site, std::string prefix) {
  const auto claimed = co_await store.put({}, std::string(kSiteKey), site, Revision{});
  if (claimed) co_return ok();
  if (claimed.error().code != Code::kAlreadyExists) co_return fail(claimed.error());
  NEAP_CO_TRY(const auto first, co_await store.get({}, std::string(kSiteKey)));
  if (first && first->value == site) co_return ok();
  co_return fail(
      Code::kFailedPrecondition, "server.store.site",
      fmt::format("the other servers on this store stand at site {}, and this one at {}: what agents may "
                  "give to the one site would reach the other; start it with --site {}, or, when all of "
                  "them have moved and their nodes have joined anew, delete {}{} in etcd",
                  first ? first->value : "?", site, first ? first->value : "?", prefix, kSiteKey));
}

}  // namespace

Task<Result<ServerStore>> open_server_store(io::Runtime& runtime, ServerStoreOptions options,
                                            std::string directory, StoreOwner owner,
                                            std::function<void(const Error&)> on_failure) {
  auto& files = runtime.files();
  const bool was_etcd = files.exists(directory + std::string(kEtcdMark));
  const bool is_etcd = !options.etcd_endpoints.empty();
  if (is_etcd ? files.exists(directory + "/store.db") : was_etcd)
    co_return fail(
        Code::kFailedPrecondition, "server.store.changed",
        fmt::format("the objects of {} are in {}; start the server with --store {}, or with a new state "
                    "directory",
                    directory, was_etcd ? "etcd" : "SQLite", was_etcd ? "etcd" : "sqlite"));
  ServerStore out;
  if (!is_etcd) {
    store::SqliteStoreOptions sqlite;
    sqlite.directory = directory;
    sqlite.on_failure = std::move(on_failure);
    NEAP_CO_TRY(out.store, co_await store::SqliteStore::open(runtime, std::move(sqlite)));
    co_return out;
  }
  NEAP_CO_TRY_VOID(files.make_directories(directory, 0700));
  NEAP_CO_TRY(out.lock, store::DirectoryLock::acquire(directory));
  store::EtcdStoreOptions etcd;
  etcd.endpoints = options.etcd_endpoints;
  etcd.key_prefix = options.etcd_prefix;
  if (!options.etcd_ca.empty()) {
    NEAP_CO_TRY(etcd.tls.roots_pem, files.read_file(options.etcd_ca));
  }
  if (!options.etcd_certificate.empty()) {
    NEAP_CO_TRY(etcd.tls.certificate_pem, files.read_file(options.etcd_certificate));
    NEAP_CO_TRY(etcd.tls.private_key_pem, files.read_file(options.etcd_key));
  }
  NEAP_CO_TRY(out.store, co_await store::EtcdStore::open(runtime, std::move(etcd)));
  auto claimed = co_await claim(*out.store, std::string(kOwnerKey), owner.signing_key, options.etcd_prefix);
  if (claimed)
    claimed =
        co_await claim(*out.store, std::string(kInstallationKey), owner.installation, options.etcd_prefix);
  if (claimed) claimed = co_await claim_site(*out.store, owner.site, options.etcd_prefix);
  if (!claimed) {
    co_await out.store->close();
    co_return fail(std::move(claimed).error());
  }
  NEAP_CO_TRY_VOID(files.write_file_atomic(directory + std::string(kEtcdMark), options.etcd_prefix + "\n"));
  co_return out;
}

}  // namespace neap::app
