// ServerPeers: the other servers on one store: where they are, and what is asked of them.
//
// Each server puts its address, and an id of this life of it, below /servers/ in the store when it serves and
// takes it back when it stops; one that crashed is found out by asking it. Below /node-servers/ stands where
// each node's agent is: logs and the like are asked for through the connection that the agent opened, so they
// are forwarded there, once. Servers know each other by what all of them hold: their authority verifies the
// listener, the administrator's token opens it. Belongs to the runtime's executor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "forwarded_claim.h"
#include "neap/auth/auth.h"
#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "neap/crypto/sign.h"
#include "neap/io/http.h"
#include "neap/store/store.h"
#include "neap/telemetry/log.h"

namespace neap::app {

class ServerPeers {
 public:
  static constexpr std::size_t kLedgerPage = 1000;
  // The other server waits up to 5 s for its node and 15 s for the node's answer.
  static constexpr Duration kOpenWithin = std::chrono::seconds(30);
  // Sessions carry a sign of life of the server that holds them every 15 s (session_bridge.h).
  static constexpr Duration kSilence = std::chrono::seconds(50);
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    telemetry::Logger& log;
  };
  struct Options {
    std::string roots_pem, token;
    crypto::PrivateKey signing_key;  // the installation's: what it signs comes from one of its servers
  };
  ServerPeers(Dependencies dependencies, Options options)
      : deps_(dependencies),
        options_(std::move(options)),
        claims_(options_.signing_key.public_key()),
        tasks_(deps_.runtime.executor()) {}

  Task<Status> announce(std::string address);
  Task<void> withdraw();
  const std::string& own_address() const { return address_; }
  // A client of the server at HOST:PORT; requests carry authorize()'s header.
  Result<io::HttpClient*> client_of(const std::string& address);
  void authorize(io::HttpRequest& request) const;
  // Follows which server each node's agent has its connection to.
  Task<Status> start();
  Task<void> stop();
  // That node's agent is here.
  Task<void> note_node(std::string node);
  // Empty when the node is here, or nowhere.
  std::string server_of(const std::string& node) const;
  // Hands a request about `node` over to the server at `address`, as of `who`, and its answer back, an
  // upgraded stream included. A server that is away, or falls silent, is an answer, too: the client is told
  // within kOpenWithin, and in a session within kSilence.
  Task<void> forward(io::HttpExchange& exchange, const auth::Identity& who, std::string node,
                     std::string address);
  static bool is_forwarded(const io::HttpRequest& request);
  // Who a request is from that another server forwarded, asked once; nothing for any other request. Errors of
  // ForwardedClaimDesk.
  Result<std::optional<auth::Identity>> forwarded_by_peer(const io::HttpRequest& request) const;

  // Up to kLedgerPage entries of a ledger from that sequence on, from the first server that has some.
  Task<Result<std::vector<Json>>> fetch_ledger(std::string name, std::uint64_t from);

 private:
  Task<Result<std::vector<std::string>>> others();

  Dependencies deps_;
  Options options_;
  // What it has seen is no state of the answer.
  mutable ForwardedClaimDesk claims_;
  std::string address_;
  std::string life_;  // this process's, as the others read it beside its address
  std::map<std::string, std::unique_ptr<io::HttpClient>> clients_;
  std::map<std::string, std::string, std::less<>> nodes_;  // address of the server that has it, by node
  TaskGroup tasks_;

  Task<void> follow_nodes(std::unique_ptr<store::Watch> watch);
  struct Way {
    io::HttpClient& client;
    std::string node, address;
  };
  Task<void> forward_stream(io::HttpExchange& exchange, Way way, io::HttpRequest ask);
  Task<void> forward_reply(io::HttpExchange& exchange, Way way, io::HttpRequest ask);
};

}  // namespace neap::app
