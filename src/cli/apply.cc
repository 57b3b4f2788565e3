// apply: GET, then POST or a three-way merge PATCH, as `kubectl apply` does on the client's side; code
// folders named in a document are packed and pushed first, and their digest put in their place.
#include <fmt/format.h>

#include "internal/code_archive.h"
#include "internal/commands.h"
#include "internal/documents.h"
#include "internal/output.h"

namespace neap::cli {
namespace {

struct Applied {
  const api::KindEntry* kind = nullptr;
  std::string name;
  std::string_view verb;
  Json object;
};

// The member that may name a folder; nullptr where the kind has none or the document does not say.
Json* find_code(const api::KindEntry& kind, Json& object) {
  if (kind.group != "neap.dev" || (kind.kind != "DeploymentStrategy" && kind.kind != "TrainingJob"))
    return nullptr;
  const auto inside = [](Json* at, std::string_view key) {
    auto* members = at ? at->if_object() : nullptr;
    return members ? members->if_contains(key) : nullptr;
  };
  Json* at = inside(&object, "spec");
  if (kind.kind == "DeploymentStrategy") at = inside(at, "train");
  at = inside(at, "code");
  return at && at->is_string() ? at : nullptr;
}

std::string folder_of(std::string_view value, const std::string& directory) {
  while (value.size() > 1 && value.ends_with('/')) value.remove_suffix(1);
  if (value.starts_with('/')) return std::string(value);
  while (value.starts_with("./")) value.remove_prefix(2);
  return directory + std::string(value);
}

// Replaces a folder by the digest of its archive. A dry run packs, and pushes nothing.
Task<Status> embed_code(Session& session, const api::KindEntry& kind, Document& document, std::string ns,
                        bool is_dry_run) {
  Json* code = find_code(kind, document.object);
  if (!code) co_return ok();
  const std::string value(code->get_string());
  if (value.starts_with("sha256:")) co_return ok();
  const auto folder = folder_of(value, document.directory);
  NEAP_CO_TRY(auto bytes, co_await session.runtime().offload([&files = session.runtime().files(), folder] {
    return pack_code_folder(files, folder);
  }));
  const auto digest = sha256_digest(bytes);
  if (!is_dry_run) NEAP_CO_TRY_VOID(co_await push_code(session, std::move(ns), digest, std::move(bytes)));
  *code = boost::json::string(digest);
  co_return ok();
}

Status refuse_unknown_fields(const api::KindEntry& kind, const Document& document) {
  std::vector<api::FieldProblem> unknown;
  for (auto& problem : kind.validate(document.object))
    if (problem.unknown_field) unknown.push_back(std::move(problem));
  if (unknown.empty()) return ok();
  return fail(Code::kInvalidArgument, "api.field.unknown",
              fmt::format("{}; remove it, or see `neap explain {}` for what there is",
                          api::to_sentences(unknown), kind.singular));
}

void annotate(Json& object, const std::string& last_applied) {
  auto& metadata = sub_object(object.get_object(), "metadata");
  sub_object(metadata, "annotations")[kLastAppliedAnnotation] = last_applied;
}

// What an earlier apply said; null where there was none, or where it cannot be read any more.
Json last_applied(const Json& live) {
  const auto* annotations = find_path(live, {"metadata", "annotations"});
  if (!annotations) return {};
  auto parsed = parse_json(get_string(*annotations, kLastAppliedAnnotation));
  return parsed && parsed->is_object() ? *std::move(parsed) : Json();
}

std::string_view version_of(const Json& object) {
  const auto* metadata = find_path(object, {"metadata"});
  return metadata ? get_string(*metadata, "resourceVersion") : std::string_view{};
}

Task<Result<Applied>> write_object(Session& session, const api::KindEntry& kind, std::string ns, Json wanted,
                                   client::WriteOptions write) {
  Applied out{&kind, std::string(get_string(wanted.at("metadata"), "name")), {}, {}};
  const auto path = path_of(kind, ns, out.name);
  auto live = co_await session.client().get(session.call(), path);
  if (!live && live.error().code == Code::kNotFound) {
    auto created = co_await session.client().create(session.call(), path_of(kind, ns, ""), wanted, write);
    if (created) {
      out.verb = "created";
      out.object = *std::move(created);
      co_return out;
    }
    // Somebody was faster: go on as if it had been there.
    if (created.error().code != Code::kAlreadyExists) co_return fail(std::move(created).error());
    live = co_await session.client().get(session.call(), path);
  }
  if (!live) co_return fail(std::move(live).error());
  const Json patch = three_way_patch(last_applied(*live), *live, wanted);
  out.verb = "unchanged";
  if (patch.get_object().empty()) {
    out.object = *std::move(live);
    co_return out;
  }
  NEAP_CO_TRY(out.object,
              co_await session.client().patch(session.call(), path, client::PatchType::kMerge, patch, write));
  // Lists travel whole, so that a patch may say nothing new: only a new version is a change. A dry run makes
  // no version.
  const bool is_changed = write.dry_run ? without_managed_fields(out.object) != without_managed_fields(*live)
                                        : version_of(out.object) != version_of(*live);
  if (is_changed) out.verb = "configured";
  co_return out;
}

Task<Result<Applied>> apply_document(Session& session, Document document, bool is_dry_run, bool validates) {
  NEAP_CO_TRY(const auto* kind, kind_of_document(document));
  auto& metadata = sub_object(document.object.get_object(), "metadata");
  std::string ns;
  if (kind->namespaced) {
    const auto* said = metadata.if_contains("namespace");
    ns = said && said->is_string() ? std::string(said->get_string()) : session.namespace_name();
    if (session.is_namespace_given() && ns != session.namespace_name())
      co_return fail(Code::kInvalidArgument, "cli.namespace",
                     fmt::format("the document is of namespace {} and -n says {}; leave one of them out", ns,
                                 session.namespace_name()));
    metadata["namespace"] = ns;
  }
  if (validates) NEAP_CO_TRY_VOID(refuse_unknown_fields(*kind, document));
  NEAP_CO_TRY_VOID(co_await embed_code(session, *kind, document, ns, is_dry_run));
  if (auto* annotations = metadata.if_contains("annotations"); annotations && annotations->is_object())
    annotations->get_object().erase(kLastAppliedAnnotation);
  Json wanted = document.object;
  wanted.get_object().erase("status");
  annotate(wanted, to_text(wanted) + "\n");
  co_return co_await write_object(session, *kind, ns, std::move(wanted),
                                  {.field_manager = "neap-apply", .dry_run = is_dry_run});
}

}  // namespace

Task<Result<int>> run_apply(Session& session, ApplyOptions options) {
  NEAP_CO_TRY(auto documents, read_documents(session.io(), options.files));
  const bool is_dry_run = options.dry_run == "server";
  JsonArray objects;
  int failures = 0;
  for (auto& document : documents) {
    const auto origin = document.origin;
    auto applied = co_await apply_document(session, std::move(document), is_dry_run, options.validates);
    if (!applied) {
      auto error = std::move(applied).error();
      if (error.message.find(origin) == std::string::npos) error.context.push_back(origin);
      session.report(error);
      ++failures;
      // Nobody answers, or nobody knows us: the other documents would only say the same.
      if (error.code == Code::kUnavailable || error.code == Code::kUnauthenticated ||
          error.code == Code::kCancelled)
        break;
      continue;
    }
    const auto name = short_name(*applied->kind, applied->name);
    if (options.output == "json" || options.output == "yaml")
      objects.push_back(without_managed_fields(std::move(applied->object)));
    else if (options.output == "name")
      session.print(name + "\n");
    else
      session.print(fmt::format("{} {}{}\n", name, applied->verb, is_dry_run ? " (server dry run)" : ""));
  }
  if (objects.size() == 1) {
    session.print(structured_text(objects[0], options.output));
  } else if (!objects.empty()) {
    session.print(structured_text(
        JsonObject{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(objects)}}, options.output));
  }
  co_return failures == 0 ? 0 : 1;
}

}  // namespace neap::cli
