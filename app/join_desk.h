// JoinDesk: one-time join tokens, and the certificates of nodes that come with one.
//
// 1. A token's use is durable before the certificate is issued: after a crash it is spent, not usable twice.
// 2. A certificate holds the address the request came from and the node's name, nothing that a node chose;
// and
//    neither where that would let the node pass for the server. Loopback is the exception: in a lab both
//    share it.
#pragma once

#include "neap/auth/certificate_authority.h"
#include "neap/auth/tokens.h"
#include "neap/client/resource_client.h"
#include "neap/crypto/sign.h"
#include "neap/io/http.h"
#include "neap/store/store.h"

namespace neap::app {

class JoinDesk {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    const auth::CertificateAuthority& authority;
    client::ResourceClient& client;         // as administrator: creates the Node object
    std::string signing_key_pem;            // public; agents verify models with it
    std::string site;                       // of the server
    std::vector<std::string> server_names;  // names and addresses in the server's own certificate
  };
  explicit JoinDesk(Dependencies deps) : deps_(std::move(deps)) {}
  Task<Status> restore();
  // POST /neap/v1/join-tokens {"node","site","capacityType","ttl"} -> {"token","expiresAt"}
  Task<void> serve_tokens(io::HttpExchange& exchange);
  // POST /neap/v1/join {"token","node","site","capacityType","request"} ->
  // {"certificate","ca","signingKey","serverSite"}
  Task<void> serve_join(io::HttpExchange& exchange);

 private:
  Task<Result<Json>> mint(Json body);
  Task<Result<Json>> join(Json body, std::string peer_host);
  std::vector<std::string> addresses_for(const std::string& peer_host) const;
  Task<Status> create_node(std::string node, std::string site, std::string capacity_type);

  Dependencies deps_;
  auth::JoinTokenTable tokens_;
};

// Reads a JSON body, calls `act`, and replies with its result or the error.
Task<void> reply_json(io::HttpExchange& exchange, std::function<Task<Result<Json>>(Json)> act,
                      std::uint64_t body_bytes_max = 1u << 20);

}  // namespace neap::app
