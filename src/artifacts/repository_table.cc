#include "neap/artifacts/repository_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::artifacts {
namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kRecordBytesMax = 1u << 20;

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_name_component(std::string_view part) {
  if (part.empty() || !is_lower_alnum(part.front()) || !is_lower_alnum(part.back())) return false;
  for (std::size_t i = 0; i < part.size();) {
    if (is_lower_alnum(part[i])) {
      ++i;
      continue;
    }
    const std::size_t start = i;
    while (i < part.size() && !is_lower_alnum(part[i])) ++i;
    const std::string_view joint = part.substr(start, i - start);
    const bool dashes = std::ranges::all_of(joint, [](char c) { return c == '-'; });
    if (!dashes && joint != "." && joint != "_" && joint != "__") return false;
  }
  return true;
}

std::unexpected<Error> invalid_manifest(std::string why) {
  return fail(Code::kInvalidArgument, "artifacts.manifest.invalid", std::move(why));
}

struct Reading {
  std::vector<Digest> blobs;     // config and layers that must be here
  std::vector<Digest> children;  // manifests of an index
  std::optional<Digest> subject;
  JsonObject descriptor;  // for the referrers list
};

Result<std::optional<Digest>> descriptor_digest(const Json* descriptor, std::string_view what) {
  if (descriptor == nullptr || descriptor->is_null()) return std::nullopt;
  if (!descriptor->is_object()) return invalid_manifest(fmt::format("{} is no descriptor object", what));
  auto digest = Digest::parse(get_string(*descriptor, "digest"));
  if (!digest) return invalid_manifest(fmt::format("{}: {}", what, digest.error().message));
  const Json* size = find_path(*descriptor, {"size"});
  if (size == nullptr || !size->is_int64() || size->get_int64() < 0)
    return invalid_manifest(
        fmt::format("{} has no size; a descriptor carries mediaType, digest and size", what));
  return *digest;
}

Status read_list(const Json& document, std::string_view member, std::vector<Digest>& out) {
  const Json* list = find_path(document, {member});
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array()) return invalid_manifest(fmt::format("{} is no list", member));
  for (const Json& entry : list->get_array()) {
    // Layers that may not be distributed are fetched from elsewhere.
    if (get_string(entry, "mediaType").find("nondistributable") != std::string_view::npos ||
        get_string(entry, "mediaType").find("foreign") != std::string_view::npos)
      continue;
    NEAP_TRY(const auto digest, descriptor_digest(&entry, member));
    if (digest) out.push_back(*digest);
  }
  return {};
}

Result<Reading> read_manifest(std::string_view bytes, std::string_view media_type) {
  auto parsed = parse_json(bytes, {.bytes_max = bytes.size(), .depth_max = 32});
  if (!parsed) return invalid_manifest("the manifest is no JSON: " + parsed.error().message);
  if (!parsed->is_object()) return invalid_manifest("the manifest is no JSON object");
  if (get_int(*parsed, "schemaVersion") != 2) return invalid_manifest("schemaVersion must be 2");
  if (const auto own = get_string(*parsed, "mediaType");
      !own.empty() && !media_type.empty() && own != media_type)
    return invalid_manifest(
        fmt::format("the manifest says mediaType {}, the request Content-Type {}", own, media_type));
  Reading out;
  NEAP_TRY(const auto config, descriptor_digest(find_path(*parsed, {"config"}), "config"));
  if (config) out.blobs.push_back(*config);
  NEAP_TRY_VOID(read_list(*parsed, "layers", out.blobs));
  NEAP_TRY_VOID(read_list(*parsed, "blobs", out.blobs));
  NEAP_TRY_VOID(read_list(*parsed, "manifests", out.children));
  NEAP_TRY(out.subject, descriptor_digest(find_path(*parsed, {"subject"}), "subject"));
  out.descriptor["mediaType"] = media_type;
  std::string_view type = get_string(*parsed, "artifactType");
  if (const Json* c = find_path(*parsed, {"config"}); type.empty() && c != nullptr && c->is_object())
    type = get_string(*c, "mediaType");
  if (!type.empty()) out.descriptor["artifactType"] = type;
  if (const Json* annotations = find_path(*parsed, {"annotations"});
      annotations != nullptr && annotations->is_object())
    out.descriptor["annotations"] = *annotations;
  return out;
}

}  // namespace

bool is_repository_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    if (!is_name_component(name.substr(at, slash - at))) return false;
    at = slash + 1;
  }
  return true;
}

bool is_tag(std::string_view tag) {
  const auto word = [](char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !tag.empty() && tag.size() <= 128 && word(tag[0]) &&
         std::ranges::all_of(tag, [&](char c) { return word(c) || c == '.' || c == '-'; });
}

std::string RepositoryTable::folder(const std::string& repository, std::string_view part) const {
  return fmt::format("{}/repositories/{}/_{}", store_.root(), repository, part);
}

Result<std::vector<std::string>> RepositoryTable::list_folder(const std::string& path) const {
  auto names = store_.runtime().files().list(path);
  if (!names && names.error().code == Code::kNotFound) return std::vector<std::string>{};
  return names;
}

Status RepositoryTable::link_blob(const std::string& repository, const Digest& digest) {
  if (holds_blob(repository, digest)) return {};
  const std::string layers = folder(repository, "layers");
  NEAP_TRY_VOID(store_.runtime().files().make_directories(layers));
  return store_.runtime().files().write_file_atomic(layers + "/" + digest.hex(), "");
}

bool RepositoryTable::holds_blob(const std::string& repository, const Digest& digest) const {
  return store_.runtime().files().exists(folder(repository, "layers") + "/" + digest.hex()) &&
         store_.has(digest);
}

Status RepositoryTable::unlink_blob(const std::string& repository, const Digest& digest) {
  return store_.runtime().files().remove(folder(repository, "layers") + "/" + digest.hex());
}

Result<std::vector<std::string>> RepositoryTable::holders(const Digest& digest) const {
  NEAP_TRY(auto names, repositories());
  std::erase_if(names, [&](const std::string& name) { return !holds_blob(name, digest); });
  return names;
}

Task<Result<ManifestRecord>> RepositoryTable::put_manifest(std::string repository, std::string bytes,
                                                           std::string media_type, std::string tag) {
  NEAP_CO_TRY(Reading reading, read_manifest(bytes, media_type));
  for (const Digest& blob : reading.blobs)
    if (!holds_blob(repository, blob))
      co_return fail(Code::kFailedPrecondition, "artifacts.manifest.blob_unknown",
                     fmt::format("the manifest names {}, which {} does not hold; upload it first",
                                 blob.to_string(), repository));
  ManifestRecord record{crypto::sha256(bytes), media_type, bytes.size(), reading.subject};
  NEAP_CO_TRY_VOID(co_await store_.put(std::move(bytes)));
  reading.descriptor["digest"] = record.digest.to_string();
  reading.descriptor["size"] = record.size;
  JsonObject row{{"mediaType", media_type}, {"size", record.size}};
  if (record.subject) row["subject"] = record.subject->to_string();
  const std::string descriptor = to_text(reading.descriptor);
  const std::string row_text = to_text(row);
  auto& files = store_.runtime().files();
  const Status written = co_await store_.runtime().offload([&]() -> Status {
    if (record.subject) {
      const std::string referrers = folder(repository, "referrers") + "/" + record.subject->hex();
      NEAP_TRY_VOID(files.make_directories(referrers));
      NEAP_TRY_VOID(files.write_file_atomic(referrers + "/" + record.digest.hex(), descriptor));
    }
    NEAP_TRY_VOID(files.make_directories(folder(repository, "manifests")));
    return files.write_file_atomic(folder(repository, "manifests") + "/" + record.digest.hex(), row_text);
  });
  if (!written) co_return fail(written.error());
  if (!tag.empty()) NEAP_CO_TRY_VOID(set_tag(repository, tag, record.digest));
  co_return record;
}

Result<ManifestRecord> RepositoryTable::find_manifest(const std::string& repository,
                                                      const std::string& reference) const {
  const auto unknown = [&] {
    return fail(Code::kNotFound, "artifacts.manifest.unknown",
                fmt::format("{} has no manifest {}", repository, reference));
  };
  auto& files = store_.runtime().files();
  std::string name = reference;
  if (is_tag(reference)) {
    auto target = files.read_file(folder(repository, "tags") + "/" + reference, 256);
    if (!target) return unknown();
    name = *target;
  }
  const auto digest = Digest::parse(name);
  if (!digest) return unknown();
  auto text = files.read_file(folder(repository, "manifests") + "/" + digest->hex(), kRecordBytesMax);
  if (!text) return unknown();
  NEAP_TRY(const Json row, parse_json(*text));
  ManifestRecord record{*digest,
                        std::string(get_string(row, "mediaType")),
                        static_cast<std::uint64_t>(get_int(row, "size")),
                        {}};
  if (const auto subject = Digest::parse(get_string(row, "subject"))) record.subject = *subject;
  return record;
}

Task<Result<Manifest>> RepositoryTable::get_manifest(std::string repository, std::string reference) {
  NEAP_CO_TRY(const ManifestRecord record, find_manifest(repository, reference));
  Manifest out{record.digest, record.media_type, {}};
  NEAP_CO_TRY(out.bytes, co_await store_.read(record.digest, record.size));
  co_return out;
}

Status RepositoryTable::remove_manifest(const std::string& repository, const Digest& digest) {
  NEAP_TRY(const ManifestRecord record, find_manifest(repository, digest.to_string()));
  auto& files = store_.runtime().files();
  NEAP_TRY(const auto names, tags(repository));
  for (const std::string& tag : names) {
    const auto target = files.read_file(folder(repository, "tags") + "/" + tag, 256);
    if (target && *target == digest.to_string()) NEAP_TRY_VOID(remove_tag(repository, tag));
  }
  NEAP_TRY_VOID(files.remove(folder(repository, "manifests") + "/" + digest.hex()));
  if (record.subject)
    (void)files.remove(folder(repository, "referrers") + "/" + record.subject->hex() + "/" + digest.hex());
  return {};
}

Status RepositoryTable::set_tag(const std::string& repository, const std::string& tag, const Digest& digest) {
  if (!is_tag(tag)) return invalid_manifest(fmt::format("\"{}\" is no tag", tag.substr(0, 140)));
  NEAP_TRY_VOID(find_manifest(repository, digest.to_string()));
  NEAP_TRY_VOID(store_.runtime().files().make_directories(folder(repository, "tags")));
  return store_.runtime().files().write_file_atomic(folder(repository, "tags") + "/" + tag,
                                                    digest.to_string());
}

Status RepositoryTable::remove_tag(const std::string& repository, const std::string& tag) {
  return store_.runtime().files().remove(folder(repository, "tags") + "/" + tag);
}

Result<std::vector<std::string>> RepositoryTable::tags(const std::string& repository) const {
  if (!store_.runtime().files().exists(store_.root() + "/repositories/" + repository))
    return fail(Code::kNotFound, "artifacts.repository.unknown",
                fmt::format("there is no repository {}", repository));
  NEAP_TRY(auto names, list_folder(folder(repository, "tags")));
  std::erase_if(names, [](const std::string& name) { return !is_tag(name); });
  std::ranges::sort(names);
  return names;
}

Status RepositoryTable::walk(const std::string& prefix, std::vector<std::string>& out) const {
  const std::string base = store_.root() + "/repositories";
  NEAP_TRY(const auto names, list_folder(prefix.empty() ? base : base + "/" + prefix));
  bool is_repository = false;
  for (const std::string& name : names) {
    if (name.starts_with('_')) {
      is_repository = true;
    } else {
      NEAP_TRY_VOID(walk(prefix.empty() ? name : prefix + "/" + name, out));
    }
  }
  if (is_repository) out.push_back(prefix);
  return {};
}

Result<std::vector<std::string>> RepositoryTable::repositories() const {
  std::vector<std::string> out;
  NEAP_TRY_VOID(walk("", out));
  std::ranges::sort(out);
  return out;
}

Result<JsonArray> RepositoryTable::referrers(const std::string& repository, const Digest& digest) const {
  JsonArray out;
  const std::string path = folder(repository, "referrers") + "/" + digest.hex();
  NEAP_TRY(const auto names, list_folder(path));
  for (const std::string& name : names) {
    // An entry without a record belongs to a put that a crash cut short.
    if (!find_manifest(repository, "sha256:" + name)) continue;
    auto text = store_.runtime().files().read_file(path + "/" + name, 8u << 20);
    if (!text) continue;
    if (auto descriptor = parse_json(*text)) out.push_back(std::move(*descriptor));
  }
  return out;
}

Task<Result<std::set<Digest>>> RepositoryTable::reachable() {
  std::set<Digest> out;
  NEAP_CO_TRY(const auto names, repositories());
  for (const std::string& repository : names) {
    NEAP_CO_TRY(const auto manifests, list_folder(folder(repository, "manifests")));
    for (const std::string& hex : manifests) {
      const auto digest = Digest::parse("sha256:" + hex);
      if (!digest) continue;
      auto manifest = co_await get_manifest(repository, digest->to_string());
      // What cannot be read now may be repaired later; a sweep must not make it worse.
      if (!manifest) co_return fail(std::move(manifest).error(), "collecting what manifests reach");
      out.insert(*digest);
      NEAP_CO_TRY(const Reading reading, read_manifest(manifest->bytes, ""));
      out.insert(reading.blobs.begin(), reading.blobs.end());
      out.insert(reading.children.begin(), reading.children.end());
    }
  }
  co_return out;
}

}  // namespace neap::artifacts
