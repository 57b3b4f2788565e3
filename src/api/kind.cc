#include "neap/api/kind.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/kind_builder.h"

namespace neap::api {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return out;
}

// Identity of the document, which an update may not change.
constexpr std::array<std::string_view, 2> kIdentity{"apiVersion", "kind"};

std::vector<FieldProblem> validate_document(const KindEntry& entry, const internal::Shape& shape,
                                            const Json& object) {
  std::vector<FieldProblem> problems;
  internal::check_value(shape, nullptr, object, "", problems);
  const bool rbac = entry.group == "rbac.authorization.k8s.io";
  internal::check_metadata(object, rbac, problems);
  const auto wrong = [&](std::string_view name, const std::string& wanted) {
    const auto found = get_string(object, name);
    if (!found.empty() && found != wanted)
      problems.push_back(
          {std::string(name), fmt::format("must be \"{}\", is \"{}\"", wanted, found.substr(0, 64)), false});
  };
  wrong("apiVersion", entry.api_version());
  wrong("kind", entry.kind);
  return problems;
}

}  // namespace

std::string to_sentence(const FieldProblem& problem) {
  return problem.unknown_field || problem.path.empty() ? problem.message
                                                       : fmt::format("{}: {}", problem.path, problem.message);
}
std::string to_sentences(std::span<const FieldProblem> problems) {
  std::string out;
  for (const auto& problem : problems) {
    if (!out.empty()) out += "; ";
    out += to_sentence(problem);
  }
  return out;
}
Error error_of_problems(std::span<const FieldProblem> problems) {
  const bool only_unknown = std::ranges::all_of(problems, &FieldProblem::unknown_field);
  if (only_unknown)
    return {
        Code::kInvalidArgument, "api.field.unknown", "strict decoding error: " + to_sentences(problems), {}};
  return {Code::kFailedPrecondition, "api.object.invalid", to_sentences(problems), {}};
}

namespace {
// Annotations are bounded all together, not each.
internal::ShapePtr metadata_shape() {
  using namespace internal;
  static const ShapePtr shape = [] {
    auto out = std::make_shared<Shape>(*shape_of<ObjectMeta>());
    for (auto& field : out->fields)
      if (field.name == "annotations") field.shape = map_of(scalar(Shape::Type::kLongText));
    return out;
  }();
  return shape;
}
}  // namespace

KindEntry& KindTableBuilder::add(Names names, std::string doc, std::vector<internal::Field> body) {
  using namespace internal;
  static const ShapePtr text = scalar(Shape::Type::kString);
  std::vector<Field> fields;
  fields.push_back(make_field("apiVersion", text, "Group and version of the schema of this document."));
  fields.push_back(make_field("kind", text, "Kind of this document."));
  fields.push_back(
      make_field("metadata", metadata_shape(), "Name, labels and what the server keeps.", kRequired));
  KindEntry entry;
  entry.has_status = false;
  std::vector<Field> wanted;
  for (const auto& field : body) {
    fields.push_back(field);
    if (field.name == "status")
      entry.has_status = true;
    else
      wanted.push_back(field);
  }
  const ShapePtr body_shape = object(std::move(body));
  const ShapePtr wanted_shape = object(std::move(wanted));  // what a user's update may be refused for
  const ShapePtr shape = object(std::move(fields));
  entry.group = std::move(names.group);
  entry.version = std::move(names.version);
  entry.kind = std::move(names.kind);
  entry.plural = std::move(names.plural);
  entry.singular = lower(entry.kind);
  entry.short_names = std::move(names.short_names);
  entry.namespaced = names.namespaced;
  entry.doc = std::move(doc);
  entry.schema = schema_of(*shape);
  entry.schema.get_object()["description"] = entry.doc;
  JsonObject gvk;
  gvk["group"] = entry.group;
  gvk["version"] = entry.version;
  gvk["kind"] = entry.kind;
  entry.schema.get_object()["x-kubernetes-group-version-kind"] = JsonArray{std::move(gvk)};
  entry.apply_defaults = [body_shape](Json& document) { fill_defaults(*body_shape, document); };
  // The functions outlive the builder inside copies of the entry: they own what they need.
  KindEntry identity;
  identity.group = entry.group;
  identity.version = entry.version;
  identity.kind = entry.kind;
  entry.validate = [shape, identity](const Json& document) {
    return validate_document(identity, *shape, document);
  };
  entry.validate_update = [wanted_shape](const Json& before, const Json& after) {
    std::vector<FieldProblem> problems;
    for (const auto name : kIdentity) {
      const auto old_value = get_string(before, name), new_value = get_string(after, name);
      if (!old_value.empty() && !new_value.empty() && old_value != new_value)
        problems.push_back({std::string(name), fmt::format("cannot change, is \"{}\"", old_value), false});
    }
    check_unchanged(*wanted_shape, before, after, "", problems);
    return problems;
  };
  table_.entries_.push_back(std::move(entry));
  return table_.entries_.back();
}

const KindTable& KindTable::standard() {
  static const KindTable table = [] {
    KindTableBuilder builder;
    add_neap_kinds(builder);
    add_kubernetes_kinds(builder);
    add_foreign_documents(builder);
    return builder.build();
  }();
  return table;
}

const KindEntry* KindTable::find(std::string_view group, std::string_view version,
                                 std::string_view plural) const {
  for (const auto& entry : entries_)
    if (entry.plural == plural && entry.group == group && entry.version == version) return &entry;
  return nullptr;
}
const KindEntry* KindTable::find_kind(std::string_view group, std::string_view version,
                                      std::string_view kind) const {
  for (const auto& entry : entries_)
    if (entry.kind == kind && entry.group == group && entry.version == version) return &entry;
  return nullptr;
}
const KindEntry* KindTable::find_by_alias(std::string_view word) const {
  std::string name = lower(word), group;
  bool any_group = true;
  if (const auto dot = name.find('.'); dot != std::string::npos) {
    group = name.substr(dot + 1);
    name.resize(dot);
    any_group = false;
  }
  // neap.dev kinds come first in the table, so that the first match is the preferred one.
  for (const auto& entry : entries_) {
    if (!any_group && entry.group != group && fmt::format("{}.{}", entry.version, entry.group) != group)
      continue;
    if (entry.plural == name || entry.singular == name ||
        std::ranges::find(entry.short_names, name) != entry.short_names.end())
      return &entry;
  }
  return nullptr;
}

}  // namespace neap::api
