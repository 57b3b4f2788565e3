// Agent: one node's share of the platform.
//
// 1. Its control link dials out only. Desired state is watched, written to the local store, and acted on
//    from there, so that a restart without the server brings everything back.
// 2. It alone writes its Node's status, its Lease and the status of its allocations; local first, then
//    the server. Nothing is deleted or restarted because of a reconnect.
// 3. A gang member runs only while its epoch is the committed one, and stops by itself when the lease has
//    run out (a successor may be running elsewhere). What serves goes on.
// 4. A reclaim notice drains: programs get SIGTERM, checkpoints are made durable, then the work is Released.
// Belongs to the runtime's executor.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "neap/agent/ports.h"
#include "neap/client/resource_client.h"
#include "neap/executor/process_driver.h"
#include "neap/io/runtime.h"
#include "neap/store/store.h"
#include "neap/telemetry/log.h"

namespace neap::agent {

struct AgentOptions {
  std::string node, site;
  api::CapacityType capacity_type = api::CapacityType::kOwned;
  std::string state_directory, data_directory;
  std::string python = "/usr/bin/python3";        // stands for {python} in commands
  std::string python_path;                        // folder that holds the neap package for training scripts
  std::string advertise_host = "127.0.0.1";       // where members of a gang meet this node
  std::string inference_endpoint, peer_endpoint;  // shown on the Node
  api::Resources capacity;
  std::string version = "v0.1.0", limits;
  std::map<std::string, std::string> runtimes;
  Duration lease_duration = 20s, lease_renew = 4s;
  Duration stop_grace = 20s;
  // From the end of the lease to SIGKILL; must be less than the controllers' lease_grace.
  Duration lease_stop_grace = 6s;
  Duration status_interval = 400ms;
};

class Agent {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    client::ResourceClient& client;
    executor::ProcessDriver& processes;
    BlobExchange& blobs;
    Collector& collector;
    ServingHost& serving;
    telemetry::Logger& log;
  };
  Agent(Dependencies dependencies, AgentOptions options);
  ~Agent();
  // Restores from the local store (works offline), then keeps in touch with the server.
  Task<Status> start();
  // Leaves programs running; the next life adopts them.
  Task<void> stop();
  void abandon();  // simulated crash
  bool is_connected() const;
  // One of this node's allocations for those who read or enter it; nothing when it is not here.
  std::optional<WorkSubject> find_work(const std::string& ns, const std::string& name) const;
  // A condition of the Node beside Ready, "True" while there is a message; an empty one takes it away.
  void set_notice(std::string condition, std::string reason, std::string message);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::agent
