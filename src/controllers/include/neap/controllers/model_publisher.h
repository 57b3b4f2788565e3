// ModelPublisher: turns blobs that a job left in the content store into a signed, immutable model
// version in the registry. Idempotent: the same request yields the same manifest digest.
#pragma once

#include <string>
#include <vector>

#include "neap/api/serving.h"
#include "neap/base/context.h"
#include "neap/base/task.h"

namespace neap::controllers {

struct PublishRequest {
  std::string repository;  // "project/model"
  std::string tag;
  std::string file;  // the layer to serve
  std::vector<api::ArtifactRef> files;
  api::Lineage lineage;
  Json metrics;
};
struct PublishedModel {
  std::string manifest_digest, signature_key_id;
};

class ModelPublisher {
 public:
  virtual ~ModelPublisher() = default;
  virtual Task<Result<PublishedModel>> publish(CallContext ctx, PublishRequest request) = 0;
};

}  // namespace neap::controllers
