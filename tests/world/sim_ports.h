// The agent's data plane in simulation: small, but honest about what needs the link and what the disk keeps.
#pragma once

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>

#include "neap/agent/ports.h"
#include "neap/client/http_client.h"
#include "neap/controllers/model_publisher.h"
#include "neap/io/runtime.h"

namespace neap::world {

// Manifests whose signature does not verify; everything else does.
inline constexpr std::string_view kForgedManifest =
    "sha256:bad0000000000000000000000000000000000000000000000000000000000bad";

// Fetching a model for the first time asks the server; what was verified is a file and needs nobody.
class SimBlobs final : public agent::BlobExchange {
 public:
  SimBlobs(io::Runtime& runtime, client::HttpResourceClient& server, std::string directory)
      : runtime_(runtime), server_(server), directory_(std::move(directory)) {}
  Task<Result<std::string>> fetch(CallContext ctx, std::string repository, std::string digest) override;
  Task<Result<api::ArtifactRef>> send(CallContext ctx, agent::ExportIntent intent, std::string name,
                                      std::string path,
                                      std::function<void(std::int64_t sent_bytes)> progress) override;
  Task<Result<agent::FetchedModel>> fetch_model(CallContext ctx, std::string repository,
                                                std::string manifest_digest) override;
  Task<Status> record_refused_model(agent::ExportIntent, std::string) override { co_return ok(); }

 private:
  Task<Status> ask_server(CallContext ctx);
  io::Runtime& runtime_;
  client::HttpResourceClient& server_;
  std::string directory_;
};

class SimCollector final : public agent::Collector {
 public:
  Task<Result<agent::CollectedPart>> prepare(CallContext, api::CollectWork, std::string,
                                             std::string) override {
    co_return agent::CollectedPart{};
  }
};

// What a node serves, as its clients see it. `life` counts programs: a new one begins with nothing loaded.
struct ServingRecord {
  std::string active;
  std::map<std::string, std::string> loaded;  // version -> path
  std::int64_t activations = 0, removals = 0;
};

class SimServing final : public agent::ServingHost {
 public:
  // `records` outlives the program; `complain` gets what must never happen.
  SimServing(io::Runtime& runtime, std::map<std::string, ServingRecord>& records,
             std::function<void(std::string)> complain)
      : runtime_(runtime), records_(records), complain_(std::move(complain)) {
    for (auto& [model, record] : records_) {
      record.active.clear();
      record.loaded.clear();
    }
  }
  void expect(const api::ServeWork&) override {}
  Task<Status> load(CallContext ctx, std::string model, std::string version, std::string path) override;
  Task<Result<agent::ProbeResult>> probe(CallContext, std::string, std::string, std::string) override {
    co_return agent::ProbeResult{.rows = 100, .correct = 97};
  }
  Task<Status> activate(CallContext ctx, api::ServeWork work) override;
  Status set_shadow(const std::string& model, const std::string& version) override;
  api::ShadowStatus shadow_report(const std::string&) override {
    return {.requests = 60, .agreed = 60, .errors = 0, .labelled = 0, .correct = 0};
  }
  double take_busy_seconds(const std::string&) override { return 0; }
  Task<Status> remove(CallContext ctx, std::string model) override;

 private:
  io::Runtime& runtime_;
  std::map<std::string, ServingRecord>& records_;
  std::function<void(std::string)> complain_;
};

class SimPublisher final : public controllers::ModelPublisher {
 public:
  Task<Result<controllers::PublishedModel>> publish(CallContext, controllers::PublishRequest) override {
    co_return fail(Code::kUnimplemented, "world.publish", "no strategy runs in this world");
  }
};

}  // namespace neap::world
