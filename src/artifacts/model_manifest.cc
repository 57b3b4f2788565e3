#include "neap/artifacts/model_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "neap/base/json.h"

namespace neap::artifacts {
namespace {

constexpr std::string_view kEmptyConfigType = "application/vnd.oci.empty.v1+json";
constexpr std::string_view kKeyAnnotation = "neap.dev/key-id";
constexpr std::string_view kSignatureAnnotation = "neap.dev/signature";
constexpr std::size_t kSignatureBytesMax = 64u << 10;

std::unexpected<Error> invalid(std::string why) {
  return fail(Code::kInvalidArgument, "artifacts.model.invalid", std::move(why));
}

bool stays_inside(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.size() > 1024) return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos ||
        part.find('\\') != std::string_view::npos)
      return false;
    at = slash + 1;
  }
  return true;
}

Status check_files(const std::vector<ModelFile>& files) {
  if (files.empty()) return invalid("a model has at least one file");
  std::set<std::string> seen;
  for (const ModelFile& file : files) {
    if (!stays_inside(file.path))
      return invalid(fmt::format("the path \"{}\" does not stay inside the model", file.path.substr(0, 100)));
    if (!seen.insert(file.path).second) return invalid(fmt::format("two files are called {}", file.path));
  }
  return {};
}

JsonObject descriptor(std::string_view type, const Digest& digest, std::uint64_t size) {
  return {{"mediaType", type}, {"digest", digest.to_string()}, {"size", size}};
}

}  // namespace

Result<PackedModel> pack_model(const ModelDescription& model) {
  NEAP_TRY_VOID(check_files(model.files));
  JsonArray layers;
  JsonArray diff_ids;
  for (const ModelFile& file : model.files) {
    JsonObject layer = descriptor(file.media_type, file.digest, file.size);
    layer["annotations"] = JsonObject{{kFilePathAnnotation, file.path}};
    layers.push_back(std::move(layer));
    diff_ids.emplace_back(file.digest.to_string());
  }
  JsonObject about{{"name", model.name}, {"version", model.version}};
  if (!model.created_at.empty()) about["createdAt"] = model.created_at;
  JsonObject shape{{"format", model.format}};
  if (!model.architecture.empty()) shape["architecture"] = model.architecture;
  if (!model.precision.empty()) shape["precision"] = model.precision;
  PackedModel out;
  out.config =
      to_text(JsonObject{{"descriptor", std::move(about)},
                         {"config", std::move(shape)},
                         {"modelfs", JsonObject{{"type", "layers"}, {"diffIds", std::move(diff_ids)}}}});
  out.config_digest = crypto::sha256(out.config);
  JsonObject annotations{{"org.opencontainers.image.title", model.name},
                         {"org.opencontainers.image.version", model.version}};
  if (!model.created_at.empty()) annotations["org.opencontainers.image.created"] = model.created_at;
  annotations["neap.dev/format"] = model.format;
  for (const auto& [key, value] : model.annotations) annotations[key] = value;
  out.manifest =
      to_text(JsonObject{{"schemaVersion", 2},
                         {"mediaType", kManifestMediaType},
                         {"artifactType", kModelArtifactType},
                         {"config", descriptor(kModelConfigType, out.config_digest, out.config.size())},
                         {"layers", std::move(layers)},
                         {"annotations", std::move(annotations)}});
  out.manifest_digest = crypto::sha256(out.manifest);
  return out;
}

Result<ModelDescription> unpack_model(std::string_view manifest) {
  NEAP_TRY(const Json document, parse_json(manifest, {.bytes_max = 8u << 20, .depth_max = 16}));
  const Json* layers = find_path(document, {"layers"});
  if (layers == nullptr || !layers->is_array()) return invalid("the manifest has no list of layers");
  ModelDescription out;
  for (const Json& layer : layers->get_array()) {
    ModelFile file;
    const Json* annotations = find_path(layer, {"annotations"});
    if (annotations != nullptr) {
      file.path = get_string(*annotations, kFilePathAnnotation);
      if (file.path.empty()) file.path = get_string(*annotations, "org.opencontainers.image.title");
    }
    NEAP_TRY(file.digest, Digest::parse(get_string(layer, "digest")));
    const std::int64_t size = get_int(layer, "size", -1);
    if (size < 0) return invalid(fmt::format("the layer of {} has no size", file.path));
    file.size = static_cast<std::uint64_t>(size);
    file.media_type = get_string(layer, "mediaType");
    if (file.path.empty()) file.path = file.digest.hex();
    out.files.push_back(std::move(file));
  }
  NEAP_TRY_VOID(check_files(out.files));
  if (const Json* annotations = find_path(document, {"annotations"});
      annotations != nullptr && annotations->is_object()) {
    for (const auto& member : annotations->get_object())
      if (member.value().is_string())
        out.annotations.emplace(member.key(), std::string_view(member.value().get_string().data(),
                                                               member.value().get_string().size()));
    out.name = out.annotations["org.opencontainers.image.title"];
    out.version = out.annotations["org.opencontainers.image.version"];
    out.created_at = out.annotations["org.opencontainers.image.created"];
    out.format = out.annotations["neap.dev/format"];
  }
  return out;
}

SignedManifest sign_manifest(const Digest& subject, std::uint64_t subject_size, const crypto::PrivateKey& key,
                             std::string_view signed_at) {
  SignedManifest out;
  out.payload = to_text(JsonObject{
      {"type", "neap.dev/signature/v1"}, {"subject", subject.to_string()}, {"signedAt", signed_at}});
  out.config = "{}";
  out.manifest = to_text(JsonObject{
      {"schemaVersion", 2},
      {"mediaType", kManifestMediaType},
      {"artifactType", kSignatureType},
      {"config", descriptor(kEmptyConfigType, crypto::sha256(out.config), out.config.size())},
      {"layers",
       JsonArray{descriptor(kSignaturePayloadType, crypto::sha256(out.payload), out.payload.size())}},
      {"subject", descriptor(kManifestMediaType, subject, subject_size)},
      {"annotations", JsonObject{{kKeyAnnotation, key.key_id()},
                                 {kSignatureAnnotation, crypto::to_base64(key.sign(out.payload))}}}});
  return out;
}

Result<VerifiedSignature> verify_signature(const Digest& subject, std::string_view signature_manifest,
                                           std::string_view payload,
                                           const std::vector<crypto::PublicKey>& trusted) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::kUnauthenticated, "artifacts.signature.bad",
                fmt::format("the signature of {} does not hold: {}", subject.to_string(), why));
  };
  auto manifest = parse_json(signature_manifest, {.bytes_max = kSignatureBytesMax, .depth_max = 16});
  if (!manifest) return bad("its manifest is no JSON");
  const Json* annotations = find_path(*manifest, {"annotations"});
  if (annotations == nullptr) return bad("its manifest has no annotations");
  const std::string_view key_id = get_string(*annotations, kKeyAnnotation);
  const auto key = std::ranges::find_if(
      trusted, [&](const crypto::PublicKey& candidate) { return candidate.key_id() == key_id; });
  if (key == trusted.end())
    return fail(Code::kUnauthenticated, "artifacts.signature.untrusted",
                fmt::format("{} is signed by key {}, which is not trusted here", subject.to_string(),
                            key_id.substr(0, 64)));
  const auto signature = crypto::from_base64(get_string(*annotations, kSignatureAnnotation));
  if (!signature) return bad("it is no base64");
  if (!key->verify(payload, *signature)) return bad("the key did not make it");
  auto said = parse_json(payload, {.bytes_max = kSignatureBytesMax, .depth_max = 8});
  if (!said || get_string(*said, "type") != "neap.dev/signature/v1")
    return bad("the payload is of an unknown type");
  if (get_string(*said, "subject") != subject.to_string()) return bad("it is about another digest");
  return VerifiedSignature{std::string(key_id), std::string(get_string(*said, "signedAt"))};
}

Task<Result<VerifiedSignature>> require_signature(ArtifactStore& store, RepositoryTable& repositories,
                                                  std::string repository, Digest subject,
                                                  std::vector<crypto::PublicKey> trusted) {
  NEAP_CO_TRY(const JsonArray referrers, repositories.referrers(repository, subject));
  std::optional<Error> last;
  for (const Json& row : referrers) {
    if (get_string(row, "artifactType") != kSignatureType) continue;
    auto manifest = co_await repositories.get_manifest(repository, std::string(get_string(row, "digest")));
    if (!manifest) continue;
    const auto parsed = parse_json(manifest->bytes);
    const Json* layers = parsed ? find_path(*parsed, {"layers"}) : nullptr;
    if (layers == nullptr || !layers->is_array() || layers->get_array().size() != 1) continue;
    const auto payload_digest = Digest::parse(get_string(layers->get_array()[0], "digest"));
    if (!payload_digest) continue;
    const auto payload = co_await store.read(*payload_digest, kSignatureBytesMax);
    if (!payload) continue;
    auto verified = verify_signature(subject, manifest->bytes, *payload, trusted);
    if (verified) co_return *verified;
    last = verified.error();
  }
  if (last) co_return fail(*last);
  co_return fail(Code::kUnauthenticated, "artifacts.signature.missing",
                 fmt::format("{} in {} carries no signature; sign it or lift the requirement by policy",
                             subject.to_string(), repository));
}

namespace {
Task<Status> put_linked(ArtifactStore& store, RepositoryTable& repositories, std::string repository,
                        std::string bytes) {
  NEAP_CO_TRY(const BlobStat blob, co_await store.put(std::move(bytes)));
  co_return repositories.link_blob(repository, blob.digest);
}
}  // namespace

Task<Result<ManifestRecord>> store_signature(ArtifactStore& store, RepositoryTable& repositories,
                                             std::string repository, SignedManifest signature) {
  NEAP_CO_TRY_VOID(co_await put_linked(store, repositories, repository, std::move(signature.payload)));
  NEAP_CO_TRY_VOID(co_await put_linked(store, repositories, repository, std::move(signature.config)));
  co_return co_await repositories.put_manifest(repository, std::move(signature.manifest),
                                               std::string(kManifestMediaType), "");
}

Task<Result<ManifestRecord>> store_model(ArtifactStore& store, RepositoryTable& repositories,
                                         std::string repository, PackedModel model, std::string tag) {
  NEAP_CO_TRY_VOID(co_await put_linked(store, repositories, repository, std::move(model.config)));
  co_return co_await repositories.put_manifest(repository, std::move(model.manifest),
                                               std::string(kManifestMediaType), std::move(tag));
}

}  // namespace neap::artifacts
