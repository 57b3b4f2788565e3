// World: one server and any number of agents, the real programs' parts, in one thread on simulated time.
//
// Machines: "server", "desk" (a user's machine with a client that remembers what was acknowledged), and one
// for each node. The invariants below are checked after every simulated event while run() moves time:
//   gang       processes of two epochs of one job never live at once (DESIGN 9, number 10)
//   capacity   living processes fit their machine, allocations that hold resources fit their node (1)
//   revision   the store's revision never falls below one that was acknowledged (5)
//   reason     a job that does not run says why, some seconds after the server saw it (4)
//   verified   nothing is served that did not verify (7; sim_ports.cc)
// Acknowledged creations are compared with the server by find_lost_writes(), after restarts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "neap/api/resource.h"
#include "neap/client/typed.h"
#include "neap/controllers/cluster_state.h"
#include "neap/io/sim_runtime.h"
#include "neap/telemetry/log.h"
#include "sim_ports.h"

namespace neap::world {

enum class Fall { kProgram, kMachine };  // what ends: the program alone, or power with all unsynced bytes

// One process that a job's member runs, as the machine's operating system sees it.
struct LivingProcess {
  std::string machine, job;
  std::int64_t pid = 0, epoch = 0, rank = 0;
  MilliCores cpu;
};

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  io::SimWorld& sim() { return sim_; }

  void add_node(const std::string& name, const std::string& site, MilliCores cpu);
  void start_server();
  void end_server(Fall fall);
  // The server is up and its store takes writes.
  bool server_is_healthy() const;
  void start_agent(const std::string& node);
  void end_agent(const std::string& node, Fall fall);
  void cut(const std::string& node, bool is_cut);

  // Moves time, checking the invariants; true when `done` came true in time.
  bool run(Duration at_most, const std::function<bool()>& done = {});

  // Creates an object from the desk, trying again until the server acknowledged it.
  template <class T>
  void create(const T& object) {
    create_at(client::TypedClient<T>::path(object.metadata.namespace_, ""), api::to_json(object));
  }
  // Merge patch from the desk, until acknowledged.
  void patch(client::ResourcePath path, Json change);
  // Writes a small object every second from now on, and remembers what was acknowledged.
  void keep_writing();
  // Objects that were acknowledged and are not there any more.
  std::vector<std::string> find_lost_writes();

  // What the controllers see; only while the server is up.
  const controllers::ClusterState& state() const;
  const api::TrainingJob* job(const std::string& name) const;
  const api::InferenceService* service(const std::string& name) const;
  const std::vector<LivingProcess>& processes() const { return living_; }
  const ServingRecord& serving(const std::string& node, const std::string& model);
  // How long each script of a job runs.
  void script(const std::string& job, io::SimProgram program) { scripts_[job] = std::move(program); }
  // Empty while all invariants hold.
  const std::vector<std::string>& violations() const { return violations_; }
  std::uint64_t acknowledged() const { return acknowledged_.size(); }
  // The first job that has not succeeded yet, or the service that is not complete; empty when all is done.
  std::string unfinished() const;
  // Agents and server agree on what runs.
  std::string disagreement() const;

 private:
  struct Server;
  struct Node;
  struct Desk;
  void create_at(client::ResourcePath path, Json object);
  void complain(std::string what);
  void check();
  void note_processes();
  void check_gangs();
  void check_capacity();
  void check_server();
  Result<io::SimProgram> started(const std::string& machine, const io::ProcessSpec& spec);
  void finish(Task<void> task);

  void trace_phases();

  io::SimWorld sim_;
  const bool is_loud_;  // NEAP_WORLD_LOG: programs' logs and every change of phase on stderr
  std::map<std::string, std::string> traced_;
  std::unique_ptr<telemetry::LogSink> sink_;
  std::unique_ptr<Server> server_;
  std::map<std::string, std::unique_ptr<Node>> nodes_;
  std::unique_ptr<Desk> desk_;
  std::map<std::string, io::SimProgram> scripts_;
  std::map<std::pair<std::string, std::int64_t>, LivingProcess> started_;  // (machine, pid), ever
  std::map<std::string, std::int64_t> starts_;                             // by machine
  std::vector<LivingProcess> living_;
  std::map<std::string, MilliCores> cpu_of_job_;
  std::map<std::string, std::int64_t> acknowledged_;  // path -> resourceVersion
  std::int64_t acknowledged_revision_ = 0;
  std::map<std::string, MonoTime> silent_since_;
  std::vector<std::string> violations_;
  std::set<std::string> complained_;  // each once
};

}  // namespace neap::world
