// TLS 1.2+ over any Stream (OpenSSL memory BIOs, so that it also runs in simulation).
//
// Contexts are immutable after creation and may be shared by all streams of one executor.
#pragma once

#include <memory>
#include <string>

#include "neap/io/runtime.h"

namespace neap::io {

struct TlsServerOptions {
  std::string certificate_pem;  // leaf first, then intermediates
  std::string private_key_pem;
  std::string client_roots_pem;  // empty: clients are not asked for a certificate
  bool require_client_certificate = false;
};

struct TlsClientOptions {
  std::string roots_pem;        // empty: the system's roots
  std::string certificate_pem;  // own identity, optional
  std::string private_key_pem;
  std::string server_name;  // checked against the certificate (DNS name or IP address)
  bool insecure_skip_verify = false;
  std::string pinned_root_sha256;  // hex of the DER of a certificate that must be in the peer's chain
};

class TlsServerContext;
class TlsClientContext;
// kInvalidArgument naming which of the PEM texts does not parse or match.
Result<std::shared_ptr<TlsServerContext>> make_tls_server_context(const TlsServerOptions& options);
Result<std::shared_ptr<TlsClientContext>> make_tls_client_context(const TlsClientOptions& options);

// Performs the handshake; kUnauthenticated when the peer's certificate does not verify.
Task<Result<std::unique_ptr<Stream>>> tls_accept(CallContext ctx, std::unique_ptr<Stream> stream,
                                                 std::shared_ptr<TlsServerContext> tls);
Task<Result<std::unique_ptr<Stream>>> tls_connect(CallContext ctx, std::unique_ptr<Stream> stream,
                                                  std::shared_ptr<TlsClientContext> tls);

}  // namespace neap::io
