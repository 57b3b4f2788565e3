// ControlLoop: the leader's controllers.
//
// Level-triggered: any change of a watched object, and a slow tick, start one pass over all
// controllers; a pass reads ClusterState, writes through the API, and is safe to repeat at any time.
// A pass looks at the jobs that changed or may go on; at all of them every `resync`.
// Passes never overlap. Objects that a controller creates have names derived from their owner, so a
// repeated create is a no-op; status writes carry the resourceVersion they were computed from.
#pragma once

#include <functional>
#include <memory>

#include "neap/client/resource_client.h"
#include "neap/controllers/cluster_state.h"
#include "neap/controllers/model_publisher.h"
#include "neap/controllers/spending.h"
#include "neap/io/runtime.h"
#include "neap/telemetry/log.h"

namespace neap::controllers {

// Where decisions and usage are recorded; app/ binds them to the ledger's streams.
using RecordSink = std::function<Task<Status>(Json)>;

struct Options {
  Duration tick = 2s;
  Duration settle = 20ms;      // collect a burst of changes into one pass
  Duration plan_tick = 1min;   // between two looks at what a deadline asks for, and at who comes home
  Duration resync = 30s;       // everything is looked at again, whatever changed
  Duration lease_grace = 10s;  // past a lease's end before its work counts as gone
  Duration prepare_timeout = 3min;
  std::uint64_t seed = 1;
  std::string server_site;  // where registry and state live
};

class ControlLoop {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    client::ResourceClient& client;
    ModelPublisher& publisher;
    RecordSink decisions;  // {"time","object","explanation",...}: why, recorded before it takes effect
    telemetry::Logger& log;
    const Spending* spending = nullptr;  // outlives the loop; without one nothing counts as spent
  };
  ControlLoop(Dependencies dependencies, Options options);
  ~ControlLoop();
  void start();
  Task<void> stop();
  void abandon();  // simulated crash
  // Of several servers' loops one leads: passes run only there, and only after everything was listed anew, so
  // that nothing which another leader wrote before is unknown. The others follow the state. Leads until told
  // otherwise.
  void lead(bool leads);
  const ClusterState& state() const;
  // How many times a pass looked at a job since the start: what the loop's work grows with.
  std::uint64_t jobs_looked_at() const;
  // Where a TrainingJob or InferenceService of `project` would run now and what it would cost, beside worlds
  // in which something is different; see internal/what_if.h for the answer. Writes nothing.
  Result<Json> what_if(const Json& object, const std::string& project, Duration duration) const;
  // The moves of running jobs after which a waiting job of `project` could start, else what could be moved
  // for each that waits; see internal/repacking.h for the answer. Writes nothing.
  Result<Json> repack_plan(const std::string& project, const std::string& job,
                           const std::function<bool(const std::string&)>& may_read) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::controllers
