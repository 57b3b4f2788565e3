// What the agent asks of its data plane: three ports, so that the allocation logic can be read and
// simulated without registries and model engines. The real ones stand in data_plane.h.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "neap/api/resource.h"
#include "neap/base/context.h"
#include "neap/base/task.h"

namespace neap::agent {

// Where the server keeps what agents sent.
inline constexpr std::string_view kArtifactRepository = "neap/artifacts";

// Why bytes leave the node: what the permit is asked for and what audit and bill will show.
struct ExportIntent {
  api::DataLevel level = api::DataLevel::kL1;
  std::string purpose;           // train, store
  std::string declassification;  // rule that made the level, if one did
  std::string project, owner;    // owner: kind/name
  api::Labels labels;            // team, model
};

// One allocation of this node, as its readers and users see it.
struct WorkSubject {
  std::string directory;  // where the executor keeps the log
  bool has_ended = false;
  ExportIntent intent;  // level, project and labels of the work
  // What runs as programs of its own: the work's id at the executor, and how one more program beside them
  // would be started. Not there for what runs inside the agent.
  struct Programs {
    std::string id, working_directory;
    std::vector<std::string> environment;
  };
  std::optional<Programs> programs;
};

struct FetchedModel {
  std::string manifest_digest, signature_key_id;
  std::map<std::string, std::string> files;  // layer title -> local path, each verified
};

// Blobs between this node and the platform's registry. Everything fetched is verified and kept, so that
// it is there when the link is not.
class BlobExchange {
 public:
  virtual ~BlobExchange() = default;
  // Local path of the verified bytes.
  virtual Task<Result<std::string>> fetch(CallContext ctx, std::string repository, std::string digest) = 0;
  // Returns once the bytes are durable at the server. kPermissionDenied when policy refuses; the refusal
  // is recorded either way. Resumes after cuts for as long as ctx lives.
  virtual Task<Result<api::ArtifactRef>> send(CallContext ctx, ExportIntent intent, std::string name,
                                              std::string path,
                                              std::function<void(std::int64_t sent_bytes)> progress) = 0;
  // Manifest, signature and layers; kDataLoss or kPermissionDenied when a digest or signature does not
  // verify.
  virtual Task<Result<FetchedModel>> fetch_model(CallContext ctx, std::string repository,
                                                 std::string manifest_digest) = 0;
  // On the node's audit record: this model is not served here, and why.
  virtual Task<Status> record_refused_model(ExportIntent intent, std::string reason) = 0;
};

// Makes what may leave out of raw records.
struct CollectedPart {
  std::vector<std::pair<std::string, std::string>> files;  // name, local path
  api::DatasetPart part;                                   // counts; files are filled after sending
};
class Collector {
 public:
  virtual ~Collector() = default;
  virtual Task<Result<CollectedPart>> prepare(CallContext ctx, api::CollectWork work,
                                              std::string source_directory, std::string output_directory) = 0;
};

struct ProbeResult {
  std::int64_t rows = 0, correct = 0;
};
// Models this node answers for.
class ServingHost {
 public:
  virtual ~ServingHost() = default;
  // Requests for the model wait for its first version, or go where overflow may go, instead of being unknown.
  virtual void expect(const api::ServeWork& work) = 0;
  // Loads and warms up beside what serves now. Idempotent.
  virtual Task<Status> load(CallContext ctx, std::string model, std::string version, std::string path) = 0;
  // Labelled rows of probe.json through that version.
  virtual Task<Result<ProbeResult>> probe(CallContext ctx, std::string model, std::string version,
                                          std::string probe_path) = 0;
  // From the next request on, without dropping one. Older versions are drained and unloaded.
  virtual Task<Status> activate(CallContext ctx, api::ServeWork work) = 0;
  virtual Status set_shadow(const std::string& model, const std::string& version) = 0;  // empty: none
  virtual api::ShadowStatus shadow_report(const std::string& model) = 0;
  // Seconds of requests that this node answered since it was asked last, waiting included: over the time that
  // passed, how many there were at once.
  virtual double take_busy_seconds(const std::string& model) = 0;
  virtual Task<Status> remove(CallContext ctx, std::string model) = 0;
};

}  // namespace neap::agent
