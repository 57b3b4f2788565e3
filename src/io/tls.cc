#include "neap/io/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

namespace neap::io {
namespace {

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using SslPtr = std::unique_ptr<SSL, Freer<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

std::string openssl_message() {
  std::array<char, 256> text{};
  const auto error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "no detail";
  ERR_error_string_n(error, text.data(), text.size());
  return text.data();
}

std::unexpected<Error> bad_pem(std::string_view what) {
  return fail(Code::kInvalidArgument, "tls.pem",
              fmt::format("the {} is not usable PEM: {}", what, openssl_message()));
}

Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem, std::string_view what) {
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<CertificatePtr> out;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    out.emplace_back(certificate);
  if (out.empty()) return bad_pem(what);
  ERR_clear_error();  // the end of the text is reported as an error
  return out;
}

Status use_identity(SSL_CTX* context, const std::string& certificate_pem, const std::string& key_pem) {
  NEAP_TRY(const auto chain, parse_certificates(certificate_pem, "certificate"));
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) return bad_pem("certificate");
  for (std::size_t i = 1; i < chain.size(); ++i)
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) return bad_pem("certificate chain");
  BioPtr bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  // A callback that never gives a passphrase: the default one would ask on the terminal.
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
  if (!key) return bad_pem("private key");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    return bad_pem("private key (it does not belong to the certificate)");
  return ok();
}

Status use_roots(SSL_CTX* context, const std::string& roots_pem, bool announce) {
  NEAP_TRY(const auto roots, parse_certificates(roots_pem, "list of roots"));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const auto& root : roots) {
    X509_STORE_add_cert(store, root.get());
    if (announce) SSL_CTX_add_client_CA(context, root.get());
  }
  ERR_clear_error();
  return ok();
}

std::string hex_of(const unsigned char* data, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) fmt::format_to(std::back_inserter(out), "{:02x}", data[i]);
  return out;
}

std::string sha256_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
  return hex_of(digest.data(), size);
}

std::vector<std::string> name_entries(const X509* certificate, int nid) {
  std::vector<std::string> out;
  X509_NAME* subject = X509_get_subject_name(certificate);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
    unsigned char* text = nullptr;
    const int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (n < 0) continue;
    std::string value(reinterpret_cast<char*>(text), static_cast<std::size_t>(n));
    OPENSSL_free(text);
    // An embedded NUL has been used to make one name look like another.
    if (value.find('\0') == std::string::npos) out.push_back(std::move(value));
  }
  return out;
}

WallTime end_of(const X509* certificate) {
  int days = 0, seconds = 0;
  std::unique_ptr<ASN1_TIME, Freer<ASN1_TIME_free>> epoch(ASN1_TIME_set(nullptr, 0));
  if (ASN1_TIME_diff(&days, &seconds, epoch.get(), X509_get0_notAfter(certificate)) != 1) return {};
  // Beyond what nanoseconds hold a certificate never ends as far as anybody here will see.
  const auto total = std::int64_t(days) * 86400 + seconds;
  return WallTime(std::chrono::seconds(std::clamp<std::int64_t>(total, 1, 9'000'000'000)));
}

PeerCertificate describe_certificate(X509* certificate) {
  PeerCertificate out;
  if (auto names = name_entries(certificate, NID_commonName); names.size() == 1) out.common_name = names[0];
  out.organizations = name_entries(certificate, NID_organizationName);
  out.sha256 = sha256_of(certificate);
  if (BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr)) {
    char* text = BN_bn2hex(number);
    out.serial = text ? text : "";
    OPENSSL_free(text);
    BN_free(number);
  }
  out.not_after = end_of(certificate);
  return out;
}

SslContextPtr new_context(const SSL_METHOD* method) {
  SslContextPtr context(SSL_CTX_new(method));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  return context;
}

// Trusts exactly the certificate of the peer's own chain whose digest is pinned; `argument` is that digest.
int verify_against_pin(X509_STORE_CTX* store, void* argument) {
  const auto& pin = *static_cast<const std::string*>(argument);
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(store);
  STACK_OF(X509)* trusted = sk_X509_new_null();
  for (int i = 0; i < sk_X509_num(sent); ++i)
    if (sha256_of(sk_X509_value(sent, i)) == pin) sk_X509_push(trusted, sk_X509_value(sent, i));
  X509_STORE_CTX_set0_trusted_stack(store, trusted);
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(store), X509_V_FLAG_PARTIAL_CHAIN);
  const int result = X509_verify_cert(store);
  sk_X509_free(trusted);
  return result;
}

}  // namespace

// A replaced `context` lives on in the sessions that were made from it.
class TlsServerContext {
 public:
  SslContextPtr context;
  TlsServerOptions options;
};
class TlsClientContext {
 public:
  SslContextPtr context;
  TlsClientOptions options;
  std::string pin;
  bool pin_beside_roots = false;
  std::uint64_t generation = 0;
};

namespace {

Result<SslContextPtr> build_server_context(const TlsServerOptions& options) {
  ERR_clear_error();
  auto out = new_context(TLS_server_method());
  SSL_CTX* context = out.get();
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  // No resumption: a ticket would let a client back in whose certificate has been revoked meanwhile.
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  NEAP_TRY_VOID(use_identity(context, options.certificate_pem, options.private_key_pem));
  if (!options.client_roots_pem.empty()) {
    NEAP_TRY_VOID(use_roots(context, options.client_roots_pem, true));
    SSL_CTX_set_verify(
        context, SSL_VERIFY_PEER | (options.require_client_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nullptr);
  } else if (options.require_client_certificate) {
    return fail(Code::kInvalidArgument, "tls.client_roots.missing",
                "client certificates are required, but no roots to check them against are given");
  }
  return out;
}

// `pin` must live as long as the context.
Result<SslContextPtr> build_client_context(const TlsClientOptions& options, std::string& pin) {
  ERR_clear_error();
  auto out = new_context(TLS_client_method());
  SSL_CTX* context = out.get();
  if (!options.roots_pem.empty()) {
    NEAP_TRY_VOID(use_roots(context, options.roots_pem, false));
  } else if (pin.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else {
    SSL_CTX_set_cert_verify_callback(context, verify_against_pin, &pin);
  }
  if (!options.certificate_pem.empty())
    NEAP_TRY_VOID(use_identity(context, options.certificate_pem, options.private_key_pem));
  SSL_CTX_set_verify(context, options.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!options.insecure_skip_verify && options.server_name.empty())
    return fail(Code::kInvalidArgument, "tls.server_name.missing",
                "a TLS client needs the server's name to check its certificate");
  return out;
}

}  // namespace

Result<std::shared_ptr<TlsServerContext>> make_tls_server_context(const TlsServerOptions& options) {
  auto out = std::make_shared<TlsServerContext>();
  out->options = options;
  NEAP_TRY(out->context, build_server_context(options));
  return out;
}

Result<std::shared_ptr<TlsClientContext>> make_tls_client_context(const TlsClientOptions& options) {
  auto out = std::make_shared<TlsClientContext>();
  out->options = options;
  for (const char c : options.pinned_root_sha256)
    if (c != ':') out->pin += static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c);
  if (!out->pin.empty() && out->pin.size() != 64)
    return fail(Code::kInvalidArgument, "tls.pin", "a pinned digest is 64 hex digits of SHA-256");
  out->pin_beside_roots = !options.roots_pem.empty() && !out->pin.empty();
  NEAP_TRY(out->context, build_client_context(options, out->pin));
  return out;
}

Status replace_identity(TlsServerContext& tls, std::string certificate_pem, std::string private_key_pem) {
  auto next = tls.options;
  next.certificate_pem = std::move(certificate_pem);
  next.private_key_pem = std::move(private_key_pem);
  NEAP_TRY(tls.context, build_server_context(next));
  tls.options = std::move(next);
  return ok();
}

Status replace_identity(TlsClientContext& tls, std::string certificate_pem, std::string private_key_pem) {
  auto next = tls.options;
  next.certificate_pem = std::move(certificate_pem);
  next.private_key_pem = std::move(private_key_pem);
  NEAP_TRY(tls.context, build_client_context(next, tls.pin));
  tls.options = std::move(next);
  ++tls.generation;
  return ok();
}

std::uint64_t identity_generation(const TlsClientContext& tls) { return tls.generation; }

namespace {

// The state of one TLS connection, shared by the operations under way.
struct Session {
  std::unique_ptr<Stream> stream;
  SslPtr ssl;
  BIO* incoming = nullptr;  // owned by ssl
  BIO* outgoing = nullptr;
  std::shared_ptr<void> context;  // what ssl refers to
  bool flushing = false;
  bool closed = false;
  std::optional<PeerCertificate> peer;
};
using SessionPtr = std::shared_ptr<Session>;

bool is_about_certificates(unsigned long error) {
  switch (ERR_GET_REASON(error)) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

std::unexpected<Error> session_error(Session& session, std::string_view during) {
  const unsigned long error = ERR_peek_error();
  const bool certificates = error != 0 && is_about_certificates(error);
  std::string detail;
  if (const long verdict = SSL_get_verify_result(session.ssl.get()); certificates && verdict != X509_V_OK)
    detail = X509_verify_cert_error_string(verdict);
  else
    detail = openssl_message();
  ERR_clear_error();
  if (certificates)
    return fail(Code::kUnauthenticated, "tls.peer.unverified",
                fmt::format("TLS {} with {} failed over a certificate: {}", during,
                            session.stream->peer().to_string(), detail));
  return fail(Code::kUnavailable, "tls.failed",
              fmt::format("TLS {} with {} failed: {}", during, session.stream->peer().to_string(), detail));
}

// Sends what OpenSSL has produced. When another task is already sending, it takes ours along.
Task<Status> flush(SessionPtr session, CallContext ctx) {
  if (session->flushing) co_return ok();
  struct Turn {
    Session& s;
    explicit Turn(Session& session_in) : s(session_in) { s.flushing = true; }
    ~Turn() { s.flushing = false; }
  } turn(*session);
  std::string data;
  while (const std::size_t n = BIO_ctrl_pending(session->outgoing)) {
    data.resize(n);
    BIO_read(session->outgoing, data.data(), static_cast<int>(n));
    NEAP_CO_TRY_VOID(co_await session->stream->write_all(ctx, data));
  }
  co_return ok();
}

// Feeds OpenSSL with what the peer sends; 0 at its end.
Task<Result<std::size_t>> feed(SessionPtr session, CallContext ctx) {
  std::string data;
  NEAP_CO_TRY(const std::size_t n, co_await session->stream->read_some(ctx, data, 64u << 10));
  if (n > 0) BIO_write(session->incoming, data.data(), static_cast<int>(n));
  co_return n;
}

Task<Status> handshake(SessionPtr session, CallContext ctx) {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(session->ssl.get());
    const int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(session->ssl.get(), result);
    if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      auto error = session_error(*session, "handshake");
      (void)co_await flush(session, ctx);  // the alert that tells the peer why
      co_return error;
    }
    NEAP_CO_TRY_VOID(co_await flush(session, ctx));
    if (why == SSL_ERROR_NONE) co_return ok();
    NEAP_CO_TRY(const std::size_t n, co_await feed(session, ctx));
    if (n == 0)
      co_return fail(Code::kUnavailable, "tls.failed",
                     fmt::format("{} ended the connection during the TLS handshake",
                                 session->stream->peer().to_string()));
  }
}

Task<Result<std::size_t>> read_from(SessionPtr session, CallContext ctx, std::string& out, std::size_t max) {
  static thread_local std::array<char, 16u << 10> scratch;
  for (;;) {
    if (session->closed) co_return fail(Code::kCancelled, "net.closed", "the stream was closed on this side");
    ERR_clear_error();
    std::size_t total = 0;
    std::size_t n = 0;
    int result = 0;
    while (total < max && (result = SSL_read_ex(session->ssl.get(), scratch.data(),
                                                std::min(scratch.size(), max - total), &n)) == 1) {
      out.append(scratch.data(), n);
      total += n;
    }
    const int why = result == 1 ? SSL_ERROR_NONE : SSL_get_error(session->ssl.get(), result);
    if (total > 0) co_return total;
    if (why == SSL_ERROR_ZERO_RETURN) co_return std::size_t{0};
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_NONE) co_return session_error(*session, "read");
    if (BIO_ctrl_pending(session->outgoing) > 0) NEAP_CO_TRY_VOID(co_await flush(session, ctx));
    NEAP_CO_TRY(const std::size_t got, co_await feed(session, ctx));
    // Without the peer's close_notify someone between us may have cut the stream short.
    if (got == 0)
      co_return fail(Code::kUnavailable, "tls.truncated", "the connection ended without a TLS goodbye");
  }
}

Task<Status> write_to(SessionPtr session, CallContext ctx, std::string_view data) {
  while (!data.empty()) {
    if (session->closed) co_return fail(Code::kCancelled, "net.closed", "the stream was closed on this side");
    ERR_clear_error();
    std::size_t n = 0;
    const auto step = data.substr(0, 256u << 10);
    if (SSL_write_ex(session->ssl.get(), step.data(), step.size(), &n) != 1)
      co_return session_error(*session, "write");
    data.remove_prefix(n);
    NEAP_CO_TRY_VOID(co_await flush(session, ctx));
  }
  co_return ok();
}

Task<Status> say_goodbye(SessionPtr session) {
  if (session->closed) co_return ok();
  ERR_clear_error();
  SSL_shutdown(session->ssl.get());
  ERR_clear_error();
  NEAP_CO_TRY_VOID(co_await flush(session, {}));
  co_return co_await session->stream->shutdown_write();
}

class TlsStream final : public Stream {
 public:
  explicit TlsStream(SessionPtr session) : session_(std::move(session)) {}
  ~TlsStream() override { close(); }
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    return read_from(session_, std::move(ctx), out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return write_to(session_, std::move(ctx), data);
  }
  Task<Status> shutdown_write() override { return say_goodbye(session_); }
  void close() override {
    if (session_->closed) return;
    session_->closed = true;
    session_->stream->close();
  }
  Endpoint peer() const override { return session_->stream->peer(); }
  bool has_ended() const override { return session_->closed || session_->stream->has_ended(); }
  const PeerCertificate* peer_certificate() const override {
    return session_->peer ? &*session_->peer : nullptr;
  }

 private:
  SessionPtr session_;
};

SessionPtr new_session(SSL_CTX* context, std::shared_ptr<void> owner, std::unique_ptr<Stream> stream) {
  auto session = std::make_shared<Session>();
  session->stream = std::move(stream);
  session->context = std::move(owner);
  session->ssl.reset(SSL_new(context));
  session->incoming = BIO_new(BIO_s_mem());
  session->outgoing = BIO_new(BIO_s_mem());
  SSL_set_bio(session->ssl.get(), session->incoming, session->outgoing);
  return session;
}

void note_peer(Session& session, bool verified) {
  CertificatePtr certificate(SSL_get1_peer_certificate(session.ssl.get()));
  if (certificate && verified && SSL_get_verify_result(session.ssl.get()) == X509_V_OK)
    session.peer = describe_certificate(certificate.get());
}

bool chain_contains(SSL* ssl, const std::string& pin) {
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  for (int i = 0; i < sk_X509_num(chain); ++i)
    if (sha256_of(sk_X509_value(chain, i)) == pin) return true;
  return false;
}

}  // namespace

Task<Result<std::unique_ptr<Stream>>> tls_accept(CallContext ctx, std::unique_ptr<Stream> stream,
                                                 std::shared_ptr<TlsServerContext> tls) {
  auto session = new_session(tls->context.get(), tls, std::move(stream));
  SSL_set_accept_state(session->ssl.get());
  NEAP_CO_TRY_VOID(co_await handshake(session, ctx));
  note_peer(*session, (SSL_get_verify_mode(session->ssl.get()) & SSL_VERIFY_PEER) != 0);
  co_return std::make_unique<TlsStream>(std::move(session));
}

Task<Result<std::unique_ptr<Stream>>> tls_connect(CallContext ctx, std::unique_ptr<Stream> stream,
                                                  std::shared_ptr<TlsClientContext> tls) {
  auto session = new_session(tls->context.get(), tls, std::move(stream));
  SSL* ssl = session->ssl.get();
  SSL_set_connect_state(ssl);
  const auto& server_name = tls->options.server_name;
  if (!server_name.empty()) {
    std::array<unsigned char, 16> address{};
    const bool is_address = ::inet_pton(AF_INET, server_name.c_str(), address.data()) == 1 ||
                            ::inet_pton(AF_INET6, server_name.c_str(), address.data()) == 1;
    if (is_address) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str());
    } else {
      SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      SSL_set1_host(ssl, server_name.c_str());
      SSL_set_tlsext_host_name(ssl, server_name.c_str());
    }
  }
  NEAP_CO_TRY_VOID(co_await handshake(session, ctx));
  if (tls->pin_beside_roots && !chain_contains(ssl, tls->pin))
    co_return fail(Code::kUnauthenticated, "tls.pin.mismatch",
                   fmt::format("the certificate chain of {} does not contain the pinned root",
                               session->stream->peer().to_string()));
  note_peer(*session, !tls->options.insecure_skip_verify);
  co_return std::make_unique<TlsStream>(std::move(session));
}

}  // namespace neap::io
