// EgressGate: the one place that decides whether bytes may leave this node, and records that they did.
//
// 1. Without what it knows of sites and policies nothing leaves: an unknown destination counts as public,
//    an unknown policy allows nothing for L2.
// 2. What it knows is kept in the local store, so that it decides the same offline.
// 3. Crossings and refusals go to the node's own ledger first and are shipped to the server from there, in
//    order, exactly once (the server drops what it has).
// 4. Events that come by the thousand (requests forwarded) are summed over a second before they are recorded.
// Belongs to the agent's executor.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "neap/agent/ports.h"
#include "neap/base/task_group.h"
#include "neap/client/resource_client.h"
#include "neap/dataguard/dataguard.h"
#include "neap/gateway/pipeline.h"
#include "neap/io/http.h"
#include "neap/ledger/ledger.h"
#include "neap/store/store.h"
#include "neap/telemetry/log.h"

namespace neap::agent {

class EgressGate {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    client::ResourceClient& client;
    ledger::Ledger& audit;
    io::HttpClient& server;  // for shipments
    telemetry::Logger& log;
  };
  EgressGate(Dependencies deps, std::string node, std::string site);
  Task<Status> start();  // loads what was known; then keeps it fresh and ships
  Task<void> stop();
  void abandon();

  struct Known {
    std::map<std::string, dataguard::Place> places;              // by site
    std::map<std::string, dataguard::DataPolicyTable> policies;  // by project
  };
  // Told what is known, now and whenever it was read anew. One observer; empty takes it away.
  void set_observer(std::function<void(const Known&)> observer);

  struct Export {
    std::string to_site, project;
    api::DataLevel level = api::DataLevel::kL1;
    std::string declassification, purpose;
    std::optional<crypto::Digest> content;
    Bytes bytes;
  };
  // Decides; the caller writes down what came of it: record_crossing(), record_refusal(), or the sums.
  Result<dataguard::ExportPermit> permit(const Export& request);
  // May `user` read what work of this level writes, where the reader's server stands in `to_site`? The rule
  // that says so. L1 and L2 need an allow rule whose purposes name the user ("log/USER", "exec/USER"); L1
  // stays at its site even then.
  Result<std::string> permit_view(const ExportIntent& intent, const std::string& to_site,
                                  const std::string& user);
  Task<Status> record_crossing(std::string to_site, std::string rule, ExportIntent intent, std::string digest,
                               std::uint64_t bytes);
  Task<Status> record_refusal(ExportIntent intent, std::string to_site, std::string reason);
  // `entry`: a session's beginning or end (internal/stream_answer.h); time, node and site are added.
  Task<Status> record_session(Json entry);
  Task<Status> record_declassification(ExportIntent intent, std::string rule, Json counts);
  // Summed: service requests that were forwarded or refused.
  void count_crossing(const gateway::CrossingRecord& record);
  void count_refusal(const gateway::RefusalRecord& record);
  const std::string& site() const { return site_; }

 private:
  struct Sum {
    JsonObject entry;
    std::uint64_t requests = 0, bytes = 0;
  };
  Task<void> keep_fresh();
  Task<void> ship();
  Task<void> flush_sums();
  Task<Status> refresh();
  Task<Result<std::uint64_t>> ship_from(std::uint64_t next);
  Status learn(const Json& sites, const Json& policies);
  dataguard::Place place_of(const std::string& site) const;
  const dataguard::DataPolicyTable& policies(const std::string& project) const;
  JsonObject entry_of(std::string_view type, const gateway::RouteAttempt& attempt) const;
  void add_sum(JsonObject entry, std::uint64_t bytes);

  Dependencies deps_;
  std::string node_, site_;
  std::string ledger_;  // tells the server this ledger from one that was here before the disk was lost
  Known known_;
  std::function<void(const Known&)> observer_;
  std::map<std::string, Sum> sums_;  // by their entry's text
  Notifier appended_;
  TaskGroup tasks_;
};

}  // namespace neap::agent
