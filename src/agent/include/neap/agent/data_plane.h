// The real ports of an agent: masking, the registry, and the node's gateway.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/agent/egress_gate.h"
#include "neap/agent/ports.h"
#include "neap/artifacts/registry_client.h"
#include "neap/gateway/gateway.h"
#include "neap/inference/model_host.h"

namespace neap::agent {

// Masks records.jsonl and keeps of images.bin what belongs to the records that may leave; one pass, bounded
// memory.
std::unique_ptr<Collector> make_masking_collector(io::Runtime& runtime, EgressGate& gate);

// The node's model host and gateway as one ServingHost. Requests to peers leave only with a permit of the
// gate.
class GatewayServing : public ServingHost {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    inference::Engine& engine;
    EgressGate& gate;
    // Mutual TLS to another node, verified as that node; asked once for each connection pool.
    std::function<Result<io::HttpClientOptions>(const gateway::UpstreamTarget&)> peer_options;
    telemetry::Logger& log;
  };
  static std::unique_ptr<GatewayServing> create(Dependencies deps, std::string node, std::string site);
  // For the listener of clients, and for the one of peers (forwarded requests).
  virtual io::HttpHandler handler() = 0;
  virtual Task<void> stop() = 0;
};

struct BlobExchangeOptions {
  std::string server_site;
  std::string export_log_directory;  // empty: the plain bytes that left are not kept
  std::vector<crypto::PublicKey> trusted_keys;
};
std::unique_ptr<BlobExchange> make_registry_exchange(io::Runtime& runtime, EgressGate& gate,
                                                     io::HttpClient& server, artifacts::ArtifactStore& store,
                                                     artifacts::RepositoryTable& repositories,
                                                     BlobExchangeOptions options, telemetry::Logger& log);

}  // namespace neap::agent
