#include "internal/documents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "neap/api/codec.h"
#include "neap/policy/policy.h"

namespace neap::cli {
namespace {

constexpr std::uint64_t kFileBytesMax = 4u << 20;
constexpr std::string_view kPolicyKey = "SchedulingPolicy";

boost::json::string text(std::string_view value) { return boost::json::string(value); }

// The list without apiVersion and kind, as users of the older shape keep it.
Result<Json> policy_object(const Json& document) {
  NEAP_TRY(const auto rules, policy::rules_from_policy_list(document));
  (void)rules;  // wanted only for its refusals: unknown fields, conditions that do not compile
  JsonObject out;
  out["apiVersion"] = "neap.dev/v1";
  out["kind"] = text(kPolicyKey);
  out["metadata"] = JsonObject{{"name", "policy-list"}};
  out["spec"] = JsonObject{{"rules", document.get_object().at(kPolicyKey)}};
  return Json(std::move(out));
}

Status add_document(std::vector<Document>& out, Json object, const std::string& origin,
                    const std::string& directory) {
  if (object.is_null()) return ok();
  if (!object.is_object())
    return fail(Code::kInvalidArgument, "cli.document",
                fmt::format("{} is not a mapping with apiVersion, kind and metadata", origin));
  if (object.get_object().contains(kPolicyKey) && !object.get_object().contains("kind")) {
    auto policy = policy_object(object);
    if (!policy) return fail(std::move(policy).error(), origin);
    out.push_back({*std::move(policy), origin, directory});
    return ok();
  }
  auto* items = object.get_object().if_contains("items");
  if (get_string(object, "kind").ends_with("List") && items && items->is_array()) {
    for (auto& item : items->get_array())
      NEAP_TRY_VOID(add_document(out, std::move(item), origin, directory));
    return ok();
  }
  out.push_back({std::move(object), origin, directory});
  return ok();
}

Status add_text(std::vector<Document>& out, std::string_view source, const std::string& origin,
                const std::string& directory) {
  auto parsed = api::parse_yaml(source);
  if (!parsed) return fail(std::move(parsed).error(), origin);
  const auto count = parsed->size();
  for (std::size_t i = 0; i < count; ++i)
    NEAP_TRY_VOID(add_document(out, std::move((*parsed)[i]),
                               count == 1 ? origin : fmt::format("{}, document {}", origin, i + 1),
                               directory));
  return ok();
}

bool is_document_name(std::string_view name) {
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Status add_file(CliContext& context, std::vector<Document>& out, const std::string& file) {
  auto& files = context.runtime.files();
  const auto stat = files.stat(file);
  if (!stat)
    return fail(Code::kNotFound, "cli.file.absent",
                fmt::format("{} cannot be read: {}", file, stat.error().message));
  if (stat->is_directory) {
    NEAP_TRY(const auto names, files.list(file));
    for (const auto& name : names)
      if (is_document_name(name)) NEAP_TRY_VOID(add_file(context, out, file + "/" + name));
    return ok();
  }
  NEAP_TRY(const auto source, files.read_file(file, kFileBytesMax));
  const auto slash = file.rfind('/');
  return add_text(out, source, file, slash == std::string::npos ? std::string() : file.substr(0, slash + 1));
}

}  // namespace

Result<std::vector<Document>> read_documents(CliContext& context, const std::vector<std::string>& files) {
  std::vector<Document> out;
  for (const auto& file : files) {
    if (file != "-") {
      NEAP_TRY_VOID(add_file(context, out, file));
      continue;
    }
    if (!context.read_input)
      return fail(Code::kInvalidArgument, "cli.input",
                  "standard input cannot be read here; name a file with -f");
    NEAP_TRY(const auto source, context.read_input(kFileBytesMax));
    NEAP_TRY_VOID(add_text(out, source, "standard input", ""));
  }
  if (out.empty())
    return fail(Code::kInvalidArgument, "cli.document",
                fmt::format("{}: the files hold no document; write at least one with apiVersion, kind and "
                            "metadata.name",
                            fmt::join(files, ", ")));
  return out;
}

Result<const api::KindEntry*> kind_of_document(const Document& document) {
  const auto version = get_string(document.object, "apiVersion"), kind = get_string(document.object, "kind");
  if (version.empty() || kind.empty())
    return fail(Code::kInvalidArgument, "cli.document",
                fmt::format("{} has no {}; begin it with apiVersion and kind", document.origin,
                            version.empty() ? "apiVersion" : "kind"));
  const auto* metadata = find_path(document.object, {"metadata"});
  if (!metadata || get_string(*metadata, "name").empty())
    return fail(Code::kInvalidArgument, "cli.document",
                fmt::format("{}: {} has no metadata.name; apply needs a name to find it again",
                            document.origin, kind));
  const auto slash = version.find('/');
  const auto group = slash == std::string_view::npos ? std::string_view{} : version.substr(0, slash);
  const auto* entry = api::KindTable::standard().find_kind(
      group, slash == std::string_view::npos ? version : version.substr(slash + 1), kind);
  if (!entry)
    return fail(Code::kInvalidArgument, "cli.kind.unknown",
                fmt::format("{}: there is no kind {} in {}; `neap explain` lists the kinds", document.origin,
                            kind, version));
  return entry;
}

Json three_way_patch(const Json& last, const Json& live, const Json& wanted) {
  JsonObject patch;
  const auto* before = last.if_object();
  const auto& now = live.get_object();
  for (const auto& member : wanted.get_object()) {
    const auto* present = now.if_contains(member.key());
    if (present && present->is_object() && member.value().is_object()) {
      const auto* said = before ? before->if_contains(member.key()) : nullptr;
      Json inner = three_way_patch(said ? *said : Json(), *present, member.value());
      if (!inner.get_object().empty()) patch[member.key()] = std::move(inner);
    } else if (!present ? !member.value().is_null() : *present != member.value()) {
      patch[member.key()] = member.value();
    }
  }
  if (before)
    for (const auto& member : *before)
      if (!wanted.get_object().contains(member.key()) && now.contains(member.key()))
        patch[member.key()] = nullptr;
  return Json(std::move(patch));
}

}  // namespace neap::cli
