// `neap server`: control plane, registry and console of one installation, wired together on one page.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/base/task.h"
#include "neap/io/http.h"
#include "oidc_providers.h"
#include "server_store.h"

namespace neap::app {

// EX_IOERR of sysexits.h: the disk failed. A supervisor starts the process again.
inline constexpr int kExitStorageFailed = 74;

struct ServerOptions {
  std::string state_directory;
  std::string listen = "127.0.0.1:8443";
  std::string site = "hq";
  std::vector<std::string> names;  // further addresses for the server certificate
  ServerStoreOptions store;
  std::string identity_directory;         // of the installation's keys; empty: STATE/identity
  std::string content_directory;          // of the registry's blobs; empty: STATE/content
  std::string advertise;                  // HOST:PORT for the other servers; empty: the address listened on
  std::vector<OidcProviderOptions> oidc;  // who says who people are; none: tokens and certificates only
  std::string secrets_key_file;           // empty: STATE/identity/secrets.key, made at the first start
  std::string audit_policy_file;          // audit.k8s.io/v1 Policy in YAML; empty: writes and refusals
  Duration node_certificate_life = std::chrono::hours(24 * 30);
  std::size_t connections_max = io::HttpLimits{}.connections_max;
  std::function<void()> on_storage_failure;  // nothing more is written: end, with kExitStorageFailed
};

class ServerProcess {
 public:
  ServerProcess(io::Runtime& runtime, ServerOptions options);
  ~ServerProcess();
  // Serves when it returns; STATE/ready and STATE/endpoints.json are written then.
  Task<Status> start();
  Task<void> stop();
  const std::string& address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::app
