// CertificateRenewal: keeps a node's certificate from ending for as long as its agent runs.
//
// 1. The key stays; the certificate is asked for over the identity that it replaces, written by rename after
//    fsync, and only then shown to others.
// 2. It asks when two thirds of the certificate's life are over (a little earlier at random, so that nodes
// that
//    joined together do not ask together), and after a failure again, slower each time.
// 3. A certificate that has ended cannot renew itself: the notice says how the node joins again.
// Belongs to the runtime's executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent_identity.h"
#include "neap/base/task_group.h"
#include "neap/crypto/x509.h"
#include "neap/io/http.h"
#include "neap/telemetry/log.h"

namespace neap::app {

// When a certificate of this validity is renewed; `draw` in [0, 1) spreads the nodes.
WallTime renewal_time(const crypto::Validity& validity, double draw);

// The TLS contexts of one node, which all follow its certificate.
class NodeCredentials {
 public:
  explicit NodeCredentials(AgentIdentity identity) : identity_(std::move(identity)) {}
  const AgentIdentity& identity() const { return identity_; }
  // To the server or to another node, verified under `server_name`.
  Result<std::shared_ptr<io::TlsClientContext>> client_context(std::string server_name);
  Result<std::shared_ptr<io::TlsServerContext>> server_context();
  // Connections that stand go on with the certificate they showed.
  Status replace_certificate(std::string certificate_pem);

 private:
  AgentIdentity identity_;
  std::vector<std::weak_ptr<io::TlsClientContext>> clients_;
  std::vector<std::weak_ptr<io::TlsServerContext>> servers_;
};

class CertificateRenewal {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    io::HttpClient& server;  // over `credentials`
    NodeCredentials& credentials;
    telemetry::Logger& log;
    std::function<void(std::string reason, std::string message)> notice;  // empty message: all is well
  };
  CertificateRenewal(Dependencies deps, std::string directory, std::string node);
  void start();
  Task<void> stop();
  // Asks once, now.
  Task<Status> renew();

 private:
  Task<void> keep();
  Task<void> renew_until_done();
  Result<crypto::Validity> validity() const;
  void tell(const Error& error, WallTime not_after, Duration life);

  Dependencies deps_;
  std::string directory_, node_;
  TaskGroup tasks_;
};

}  // namespace neap::app
