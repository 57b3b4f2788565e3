// Model versions as OCI artifacts: the ModelPack layout (CNCF model-spec v0.0.7), and signatures over their
// manifest digests kept as referrers.
//
// A signature is an OCI manifest of artifactType kSignatureType whose subject is the model's manifest and
// whose one layer is a JSON payload naming that digest; the signature over the payload's exact bytes and the
// key's id are annotations. So signing changes nothing in the model, and any OCI registry carries both. Pure
// but for crypto.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "neap/artifacts/artifact_store.h"
#include "neap/artifacts/repository_table.h"
#include "neap/crypto/sign.h"

namespace neap::artifacts {

inline constexpr std::string_view kManifestMediaType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kModelArtifactType = "application/vnd.cncf.model.manifest.v1+json";
inline constexpr std::string_view kModelConfigType = "application/vnd.cncf.model.config.v1+json";
inline constexpr std::string_view kModelWeightType = "application/vnd.cncf.model.weight.v1.raw";
inline constexpr std::string_view kModelDocType = "application/vnd.cncf.model.doc.v1.raw";
inline constexpr std::string_view kSignatureType = "application/vnd.neap.signature.v1+json";
inline constexpr std::string_view kSignaturePayloadType = "application/vnd.neap.signature.payload.v1+json";
inline constexpr std::string_view kFilePathAnnotation = "org.cncf.model.filepath";

struct ModelFile {
  std::string path;  // inside the model: relative, no ".."
  Digest digest;
  std::uint64_t size = 0;
  std::string media_type{kModelWeightType};
};

struct ModelDescription {
  std::string name;
  std::string version;
  std::string format;        // onnx, safetensors, ...
  std::string architecture;  // may be empty
  std::string precision;
  std::string created_at;  // RFC 3339; part of the digest, so the caller gives it
  std::vector<ModelFile> files;
  std::map<std::string, std::string>
      annotations;  // lineage: neap.dev/dataset, neap.dev/job, neap.dev/level, ...
};

struct PackedModel {
  std::string config;    // blob to store first
  std::string manifest;  // bytes whose digest names the version
  Digest config_digest;
  Digest manifest_digest;
};

// kInvalidArgument `artifacts.model.invalid` for no files, two of one path, or a path that leaves the model.
Result<PackedModel> pack_model(const ModelDescription& model);
// Back from the manifest's bytes (without what only the config says). Same errors.
Result<ModelDescription> unpack_model(std::string_view manifest);

struct SignedManifest {
  std::string payload;   // blob to store first
  std::string config;    // the empty config "{}", a blob too
  std::string manifest;  // referrer manifest
};
// Signs `subject` (a manifest of `subject_size` bytes).
SignedManifest sign_manifest(const Digest& subject, std::uint64_t subject_size, const crypto::PrivateKey& key,
                             std::string_view signed_at);

// What one signature says, once it verified.
struct VerifiedSignature {
  std::string key_id;
  std::string signed_at;
};
// kUnauthenticated `artifacts.signature.untrusted` for a key not in `trusted`, `artifacts.signature.bad` for
// a signature that does not verify or is about another digest.
Result<VerifiedSignature> verify_signature(const Digest& subject, std::string_view signature_manifest,
                                           std::string_view payload,
                                           const std::vector<crypto::PublicKey>& trusted);
// Looks through the referrers of `subject` in a local repository for one good signature; kUnauthenticated
// `artifacts.signature.missing` when there is none.
Task<Result<VerifiedSignature>> require_signature(ArtifactStore& store, RepositoryTable& repositories,
                                                  std::string repository, Digest subject,
                                                  std::vector<crypto::PublicKey> trusted);
// Stores payload, config and manifest of a signature.
Task<Result<ManifestRecord>> store_signature(ArtifactStore& store, RepositoryTable& repositories,
                                             std::string repository, SignedManifest signature);
// Stores config and manifest of a model whose files are linked already; `tag` may be empty.
Task<Result<ManifestRecord>> store_model(ArtifactStore& store, RepositoryTable& repositories,
                                         std::string repository, PackedModel model, std::string tag);

}  // namespace neap::artifacts
