// Border: the server's share of the data border: what it sends to nodes at other sites, and the one audit
// ledger into which all crossings and refusals come, its own and those that agents ship.
//
// 1. A blob leaves to another site only with an ExportPermit for its level; unknown blobs count as L2.
// 2. Every crossing and refusal is an audit entry; a crossing's bytes become a bill line.
// 3. Levels and attribution of blobs are read back from the ledger at start; until they are, whoever asks
// what
//    may go or says what a blob is waits.
// 4. Nodes may call a blob stricter than it is known to be, never laxer; attribution they may only fill in.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "ledger_stream.h"
#include "neap/controllers/controller.h"
#include "neap/controllers/metering.h"
#include "neap/dataguard/dataguard.h"
#include "neap/ledger/ledger.h"
#include "neap/telemetry/log.h"

namespace neap::app {

struct BlobFacts {
  api::DataLevel level = api::DataLevel::kL2;
  std::string project, team, model, owner;
};

class Border {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    ledger::Ledger& audit;
    LedgerStream* stream = nullptr;  // what audit is a copy of, where other servers record, too
    controllers::Metering& metering;
    const controllers::ClusterState& state;
    telemetry::Logger& log;
  };
  Border(Dependencies deps, std::string site)
      : deps_(deps), site_(std::move(site)), restored_(deps.runtime.executor()) {}

  // Once, before or while it is used.
  Task<Status> restore(CallContext ctx = {});
  // Waits for that. kUnavailable "audit.restore" when the ledger cannot be read.
  Task<Status> restored();
  // Nobody waits for it any more: the server is stopping.
  void give_up();
  // Takes note of an entry that is on record.
  void learn(const Json& entry);
  const std::string& site() const { return site_; }
  // What a blob is, from now on and after restarts.
  Task<Status> describe_blob(std::string digest, BlobFacts facts);
  // What somebody who pushed a blob calls it. What another project made stays that project's, and becomes
  // stricter at most.
  Task<Status> describe_push(std::string digest, BlobFacts facts);
  // What a sender calls a blob that came by transfer. Its word decides only for content that came with it;
  // for content that was here before (`was_here`), unknown counts as L2.
  Task<Status> take_offered_level(std::string digest, api::DataLevel offered, bool was_here);
  BlobFacts facts_of(const std::string& digest) const;
  // A model's repository: blobs in it that nobody described (manifests, signatures) have its facts.
  Task<Status> describe_repository(std::string repository, BlobFacts facts, std::string manifest_digest);
  // May this blob go to that node? A refusal is recorded. Without a digest: what the repository's manifests
  // and lists say, 8 MiB at most.
  Task<Result<dataguard::ExportPermit>> permit_download(std::string digest, std::string node,
                                                        std::string repository);
  Task<Status> record_download(dataguard::ExportPermit permit, std::string digest, std::string repository,
                               std::string node, std::uint64_t bytes);
  // {"ledger": id, "first": sequence of the first entry, "entries": [...]} from a node's own ledger; answers
  // {"next": n}. A node that lost its disk begins a ledger with another id, from 0 again.
  // Entries of a kind that nodes have no business with are recorded as `shipment-refusal` in their place.
  Task<Result<Json>> take_shipment(std::string node, Json shipment);
  // Newest last. type: empty for all. Of what `may_read` names: an entry's project, empty for entries of
  // none.
  Task<Result<Json>> list(std::string type, std::size_t max,
                          std::function<bool(const std::string&)> may_read = {});
  Task<Status> append(Json entry);
  dataguard::DataPolicyTable policies(const std::string& project) const;
  dataguard::Place place_of(const std::string& site) const;

 private:
  void learn_now(const Json& entry);
  Task<Status> read_back(CallContext ctx);
  void attribute(BlobFacts& facts, const std::string& node) const;
  void learn_crossing(const Json& entry);
  Task<Status> bill(Json entry, std::string id);

  Dependencies deps_;
  std::string site_;
  BlobFacts facts_in(const std::string& digest, const std::string& repository) const;
  std::map<std::string, BlobFacts> blobs_, repositories_;
  std::map<std::pair<std::string, std::string>, std::uint64_t>
      next_;  // by node and ledger: sequence expected
  std::uint64_t downloads_ = 0;
  enum class Restore { kUnderWay, kDone, kFailed };
  Restore restore_ = Restore::kUnderWay;
  Notifier restored_;
  std::vector<Json> unlearnt_;  // recorded while older entries were read back
};

}  // namespace neap::app
