#include "registry_publisher.h"

#include <fmt/format.h>

namespace neap::app {
namespace {

std::string_view media_type_of(const std::string& name) {
  return name.ends_with(".onnx") ? artifacts::kModelWeightType : artifacts::kModelDocType;
}

}  // namespace

Task<Result<controllers::PublishedModel>> RegistryPublisher::publish(CallContext,
                                                                     controllers::PublishRequest request) {
  // A tag that is there was published by an earlier pass: the same answer again.
  if (const auto existing = repositories_.find_manifest(request.repository, request.tag)) {
    const auto trusted = std::vector<crypto::PublicKey>{key_.public_key()};
    if (auto verified = co_await artifacts::require_signature(store_, repositories_, request.repository,
                                                              existing->digest, trusted))
      co_return controllers::PublishedModel{.manifest_digest = existing->digest.to_string(),
                                            .signature_key_id = verified->key_id};
  }
  artifacts::ModelDescription model;
  model.name = request.repository;
  model.version = request.tag;
  model.format = "onnx";
  model.created_at = format_rfc3339(runtime_.clock().wall());
  std::vector<std::string> digests;
  for (const auto& file : request.files) {
    NEAP_CO_TRY(const auto digest, crypto::Digest::parse(file.digest));
    NEAP_CO_TRY(const auto stat, store_.stat(digest));
    NEAP_CO_TRY_VOID(repositories_.link_blob(request.repository, digest));
    model.files.push_back({.path = file.name,
                           .digest = digest,
                           .size = stat.size,
                           .media_type = std::string(media_type_of(file.name))});
    digests.push_back(file.digest);
  }
  model.annotations["neap.dev/file"] = request.file;
  model.annotations["neap.dev/job"] = request.lineage.job;
  model.annotations["neap.dev/code"] = request.lineage.codeDigest;
  model.annotations["neap.dev/teacher"] = request.lineage.teacherDigest;
  std::string datasets;
  for (const auto& d : request.lineage.datasetDigests) datasets += (datasets.empty() ? "" : ",") + d;
  model.annotations["neap.dev/datasets"] = datasets;
  model.annotations["neap.dev/metrics"] = to_text(request.metrics);
  NEAP_CO_TRY(auto packed, artifacts::pack_model(model));
  const auto manifest_digest = packed.manifest_digest;
  const auto manifest_size = packed.manifest.size();
  NEAP_CO_TRY(const auto stored, co_await artifacts::store_model(store_, repositories_, request.repository,
                                                                 std::move(packed), request.tag));
  auto signature =
      artifacts::sign_manifest(stored.digest, manifest_size, key_, format_rfc3339(runtime_.clock().wall()));
  NEAP_CO_TRY(const auto signed_record, co_await artifacts::store_signature(
                                            store_, repositories_, request.repository, std::move(signature)));
  (void)signed_record;
  NEAP_CO_TRY_VOID(co_await describe(request, std::move(digests)));
  co_return controllers::PublishedModel{.manifest_digest = manifest_digest.to_string(),
                                        .signature_key_id = key_.key_id()};
}

// What was made from L3 data is L3; manifests and signatures go with the model.
Task<Status> RegistryPublisher::describe(const controllers::PublishRequest& request,
                                         std::vector<std::string> digests) {
  if (digests.empty()) co_return ok();
  NEAP_CO_TRY_VOID(co_await border_.restored());
  auto facts = border_.facts_of(digests.front());
  for (const auto& digest : digests) facts.level = std::min(facts.level, border_.facts_of(digest).level);
  NEAP_CO_TRY(const auto manifest, repositories_.find_manifest(request.repository, request.tag));
  facts.owner = "model/" + request.repository;
  co_return co_await border_.describe_repository(request.repository, facts, manifest.digest.to_string());
}

}  // namespace neap::app
