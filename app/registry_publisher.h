// RegistryPublisher: ModelPublisher over the server's own registry: ModelPack manifest, signature as
// referrer.
#pragma once

#include "border.h"
#include "neap/artifacts/model_manifest.h"
#include "neap/controllers/model_publisher.h"

namespace neap::app {

class RegistryPublisher final : public controllers::ModelPublisher {
 public:
  RegistryPublisher(io::Runtime& runtime, artifacts::ArtifactStore& store,
                    artifacts::RepositoryTable& repositories, Border& border, crypto::PrivateKey key)
      : runtime_(runtime),
        store_(store),
        repositories_(repositories),
        border_(border),
        key_(std::move(key)) {}
  Task<Result<controllers::PublishedModel>> publish(CallContext ctx,
                                                    controllers::PublishRequest request) override;

 private:
  Task<Status> describe(const controllers::PublishRequest& request, std::vector<std::string> digests);

  io::Runtime& runtime_;
  artifacts::ArtifactStore& store_;
  artifacts::RepositoryTable& repositories_;
  Border& border_;
  crypto::PrivateKey key_;
};

}  // namespace neap::app
