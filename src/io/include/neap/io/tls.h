// TLS 1.2+ over any Stream (OpenSSL memory BIOs, so that it also runs in simulation).
//
// Contexts may be shared by all streams of one executor; only their identity can be replaced.
#pragma once

#include <cstdint>
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

// What connections from now on show; those that stand go on with what they showed. On failure nothing
// changes.
Status replace_identity(TlsServerContext& tls, std::string certificate_pem, std::string private_key_pem);
Status replace_identity(TlsClientContext& tls, std::string certificate_pem, std::string private_key_pem);
// Grows with each replacement, so that a kept connection of an older identity can be told.
std::uint64_t identity_generation(const TlsClientContext& tls);

// Performs the handshake; kUnauthenticated when the peer's certificate does not verify.
Task<Result<std::unique_ptr<Stream>>> tls_accept(CallContext ctx, std::unique_ptr<Stream> stream,
                                                 std::shared_ptr<TlsServerContext> tls);
Task<Result<std::unique_ptr<Stream>>> tls_connect(CallContext ctx, std::unique_ptr<Stream> stream,
                                                  std::shared_ptr<TlsClientContext> tls);

}  // namespace neap::io
