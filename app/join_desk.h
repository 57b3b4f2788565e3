// JoinDesk: one-time join tokens, and the certificates of nodes: of those that come with a token, and of
// those that renew the one they have.
//
// 1. A token's use is durable before the certificate is issued: after a crash it is spent, not usable twice.
// 2. A certificate holds the address the request came from and the node's name, nothing that a node chose;
// and
//    neither where that would let the node pass for the server. Loopback is the exception: in a lab both
//    share it.
// 3. A node renews only its own certificate, and only while its Node object is there: deleting that is how a
//    node is shut out for good.
// 4. Every certificate and every refusal is recorded with the peer's address; a token never is. Refusals
// above a
//    bound a minute are counted instead, so that nobody fills the ledger from outside.
// 5. The name of a node that is known is given again only to a token made for exactly that name, and only at
//    its site: a token for new nodes makes nobody pass for one that works.
#pragma once

#include <functional>
#include <set>

#include "neap/auth/auth.h"
#include "neap/auth/certificate_authority.h"
#include "neap/auth/tokens.h"
#include "neap/client/resource_client.h"
#include "neap/crypto/sign.h"
#include "neap/io/json_reply.h"
#include "neap/store/store.h"
#include "refusal_budget.h"

namespace neap::app {

class JoinDesk {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    const auth::CertificateAuthority& authority;
    client::ResourceClient& client;                  // as administrator: creates the Node object
    std::string signing_key_pem;                     // public; agents verify models with it
    std::string site;                                // of the server
    std::vector<std::string> server_names;           // names and addresses in the server's own certificate
    std::function<Task<Status>(Json entry)> record;  // into the audit ledger
    Duration certificate_life = std::chrono::hours(24 * 30);
  };
  explicit JoinDesk(Dependencies deps) : deps_(std::move(deps)) {}
  Task<Status> restore();
  // Ends every open token, on record with `why`; how many there were.
  Task<Result<std::size_t>> end_all(std::string why);
  // POST /neap/v1/join-tokens {"node","site","capacityType","ttl"} -> {"token","expiresAt"}
  Task<void> serve_tokens(io::HttpExchange& exchange);
  // POST /neap/v1/join {"token","node","site","capacityType","request"} ->
  // {"certificate","ca","signingKey","serverSite"}
  Task<void> serve_join(io::HttpExchange& exchange);
  // POST /agent/v1/nodes/NAME/certificate {"request"} -> {"certificate"}, over NAME's present certificate.
  Task<void> serve_renewal(io::HttpExchange& exchange, const auth::Identity& who);

 private:
  Task<Result<Json>> mint(Json body);
  Task<Result<Json>> join(Json body, std::string peer_host);
  Task<Result<Json>> try_join(Json body, std::string peer_host);
  // The token as the store has it now: another server may have made or taken it.
  Task<Status> refresh(std::string token);
  Task<Status> check_name(auth::JoinClaim claim, auth::JoinTokenRecord record);
  Task<Result<Json>> renew(std::string node, Json body, std::string peer_host);
  Task<Result<Json>> try_renew(std::string node, Json body, std::string peer_host);
  Task<Result<std::string>> issue(std::string type, std::string node, std::string request_pem,
                                  std::string peer_host);
  Task<void> record_refusal(std::string type, std::string node, std::string peer_host, Error error);
  std::vector<std::string> addresses_for(const std::string& peer_host) const;
  Task<Status> create_node(std::string node, std::string site, std::string capacity_type);

  Dependencies deps_;
  auth::JoinTokenTable tokens_;
  std::set<std::string> joining_;  // names between their check and their Node object
  RefusalBudget refusals_{60};
};

}  // namespace neap::app
