// ApiServer: the Kubernetes-style API over a Store.
//
// One request's life: http front (front.cc) -> authenticate -> request info -> authorize -> codec ->
// defaults and validation (api::KindTable) -> patch -> admission -> store compare-and-swap -> watch
// hub -> watchers. All on the runtime's executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "neap/api/kind.h"
#include "neap/apiserver/admission.h"
#include "neap/auth/audit_policy.h"
#include "neap/auth/auth.h"
#include "neap/auth/rbac.h"
#include "neap/auth/tokens.h"
#include "neap/client/resource_client.h"
#include "neap/crypto/sign.h"
#include "neap/io/http.h"
#include "neap/store/store.h"

namespace neap::apiserver {

struct ReviewedToken {
  auth::Identity who;
  std::vector<std::string> audiences;
};

// Turns credentials of a connection into an identity. kUnauthenticated refuses the request.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // Awaited before authenticate() is asked about the same request: the place to fetch keys that it will need.
  virtual Task<void> prepare(const io::HttpRequest&) const { co_return; }
  virtual Result<auth::Identity> authenticate(const io::HttpRequest& request,
                                              const io::PeerCertificate* certificate) const = 0;
  // Whose a bearer token is that somebody else was shown, and for which of `audiences` it was made; none
  // asked for means this server. kUnauthenticated: nobody's, or for none of them. Whether the account is
  // still there is not looked at.
  virtual Task<Result<ReviewedToken>> review_token(CallContext ctx, std::string token,
                                                   std::vector<std::string> audiences) const;
};

// Client certificates first, then bearer tokens, then tokens signed by this installation.
class StandardAuthenticator : public Authenticator {
 public:
  struct SignedTokens {
    crypto::PublicKey key;
    std::string issuer, audience;
  };
  struct Options {
    bool allow_anonymous = false;  // requests without credentials become system:anonymous
    std::optional<SignedTokens> signed_tokens;
  };
  StandardAuthenticator(const Clock& clock, const auth::BearerTokenTable& tokens, Options options)
      : clock_(clock), tokens_(tokens), options_(std::move(options)) {}
  // A credential that is there and wrong is refused, even where anonymous requests are allowed.
  Result<auth::Identity> authenticate(const io::HttpRequest& request,
                                      const io::PeerCertificate* certificate) const override;
  Task<Result<ReviewedToken>> review_token(CallContext ctx, std::string token,
                                           std::vector<std::string> audiences) const override;
  // `who`, whose token was made for this server and for nobody else.
  Result<ReviewedToken> for_this_server(Result<auth::Identity> who,
                                        const std::vector<std::string>& audiences) const;

 private:
  const Clock& clock_;
  const auth::BearerTokenTable& tokens_;
  const Options options_;
};

// Signs the tokens that ServiceAccounts get by TokenRequest; a StandardAuthenticator with its public key
// takes them.
struct TokenIssuer {
  crypto::PrivateKey key;  // Ed25519
  std::string issuer, audience;
  Duration lifetime_max = 24h;
};

// How a request came here; of one that is made in this process only the time.
struct RequestOrigin {
  std::string uri, source, user_agent;  // as sent, cut where they are long
  WallTime received{};
};
// One for each request that changes something or was refused, and for what an audit policy names.
struct AuditRecord {
  auth::Identity who;
  auth::Attributes what;
  int status = 0;  // 0: the request was let in, and its answer is somebody else's business
  std::string reason;
  auth::AuditLevel level = auth::AuditLevel::kMetadata;
  bool by_policy = false;  // a rule asked for it
  RequestOrigin origin;
  Json request, response;  // bodies, where the level says so; null else
};
// What it returns is awaited before the reply is sent: what a client was told is on record.
using AuditSink = std::function<Task<void>(AuditRecord)>;

// A handler of the caller's for paths the resource API does not own ("/console/", "/v2/", "/transfer/v1/",
// or a subresource such as "trainingjobs/explain"). Identity is already established and authorized.
using ExtraHandler = std::function<Task<void>(io::HttpExchange&, const auth::Identity&)>;
struct ExtraRoute {
  std::string prefix;     // path prefix, longest wins
  bool authorize = true;  // false: the handler decides itself (login, join)
  ExtraHandler handler;
};
// GET .../namespaces/NS/PLURAL/NAME/SUBRESOURCE answered by the caller instead of the store.
struct ExtraSubresource {
  std::string plural, subresource;
  std::function<Task<Result<Json>>(CallContext, std::string ns, std::string name)> get;
};

// Asked before a stream or log is served: true when it has answered, because another server holds the
// connection to the node. Authorization is that server's.
using StreamForward =
    std::function<Task<bool>(io::HttpExchange&, const auth::Identity&, const auth::Attributes&)>;

class LogSource;      // log_source.h
class SessionSource;  // session_source.h

// GET or POST .../namespaces/NS/PLURAL/NAME/SUBRESOURCE whose answer is no object: `pods/log` and the like.
// The caller is authenticated and may (verb `get` or `create` on PLURAL/SUBRESOURCE); the exchange counts as
// a watch.
struct StreamSubresource {
  std::string plural, subresource;
  // None: the front serves it itself, and this names it in discovery.
  std::function<Task<void>(io::HttpExchange&, const auth::Identity&, std::string ns, std::string name)>
      handler;
};

class ApiServer {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    const api::KindTable& kinds;
    const Authenticator& authenticator;
    const auth::Authorizer& authorizer;
    std::vector<Admission*> admission;
    AuditSink audit;
    // None: what changes something, as metadata. Refusals are recorded whatever it says.
    const auth::AuditPolicy* audit_policy = nullptr;
    // Called when what the store holds cannot be read: no watch goes on, so the process had better end.
    std::function<void(const Error&)> on_failure;
    // What the server's own upkeep (garbage, expired Events, quotas given back) writes through; null:
    // `store`.
    store::Store* upkeep = nullptr;
  };
  struct Options {
    std::uint64_t body_bytes_max = 3u << 20;
    Duration bookmark_interval = 60s;
    Duration watch_timeout_max = 10min;
    std::size_t watch_buffer_events = 4096;
    // Above these, 429: requests at once of agents, of everyone else, and watches.
    std::size_t node_requests_max = 512;
    std::size_t requests_max = 512;
    std::size_t watches_max = 20'000;
    Duration event_lifetime = std::chrono::hours(1);  // of v1 Events
    std::string version = "v0.1.0";
    std::optional<TokenIssuer> token_issuer = {};  // none: TokenRequest is refused
  };
  ApiServer(Dependencies dependencies, Options options);
  ~ApiServer();
  // Loads what it needs from the store, creates the built-in namespaces. Call once before serving.
  Task<Status> start();
  Task<void> stop();
  void abandon();  // simulated crash

  io::HttpHandler handler();
  void add_route(ExtraRoute route);
  void add_subresource(ExtraSubresource subresource);
  void add_stream(StreamSubresource stream);
  // Serves GET .../allocations/NAME/log and .../pods/NAME/log from there. It must outlive the server.
  void serve_logs(LogSource& logs);
  void forward_streams(StreamForward forward);
  // Serves exec, attach and portforward of allocations and pods from there. It must outlive the server.
  void serve_sessions(SessionSource& sessions);
  // Keeps `rbac` equal to the stored roles and bindings. Call before start(); it must outlive the server.
  void keep_rbac(auth::RbacAuthorizer& rbac);
  // Of several servers on one store, the one that leads does the upkeep. On until it is turned off.
  void do_upkeep(bool on);
  // In-process client with the same admission, authorization and audit, whose writes go through `writes`
  // (null: the server's store), a view of the same store, as a FencedStore is.
  // Must not outlive the server.
  std::unique_ptr<client::ResourceClient> local_client(auth::Identity identity,
                                                       store::Store* writes = nullptr);
  std::size_t open_watches() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::apiserver
