// KindTable: everything the API server, the command line and the docs need to know of each kind.
//
// Immutable after construction; thread-safe.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"

namespace neap::api {

// `path` is dotted, "status.phase"; "*" enters all elements of a list (joined by commas), "[type=Ready]" the
// first such; "a.b/c.d" shows two with a slash between. `type` "date" is shown as an age.
struct Column {
  std::string name, type, path, description;
  int priority = 0;               // > 0: only with -o wide
  Json missing = Json("<none>");  // the cell of an object that does not say
};

enum class Strictness { kIgnore, kWarn, kStrict };  // the fieldValidation parameter

struct FieldProblem {
  std::string path;     // "spec.train.replicas"
  std::string message;  // what, why, what next
  bool unknown_field = false;
};
// `spec.train.replicas: must be at least 1, is 0`; for an unknown field `unknown field "spec.x"`.
std::string to_sentence(const FieldProblem& problem);
// All of them, joined by "; ".
std::string to_sentences(std::span<const FieldProblem> problems);
// What a refused write answers: kFailedPrecondition (422 Invalid, "api.object.invalid"), or, when nothing but
// unknown fields is wrong, kInvalidArgument (400, "api.field.unknown", `strict decoding error: ...`).
Error error_of_problems(std::span<const FieldProblem> problems);

struct KindEntry {
  std::string group, version, kind, plural, singular;
  std::vector<std::string> short_names, categories;
  bool namespaced = true;
  bool has_status = true;
  bool has_scale = false;
  // Plural of the neap.dev kind whose objects this kind shows: nothing is stored under it, it is only read.
  std::string view_of;
  std::vector<Column> columns;                 // after NAME, before AGE
  std::vector<std::string> selectable_fields;  // beside metadata.name and metadata.namespace
  // OpenAPI v3 schema object of the whole document; metadata is written out.
  Json schema;
  std::string doc;

  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  // Fills defaults in place.
  std::function<void(Json& object)> apply_defaults;
  // All problems with spec and metadata; unknown fields among them.
  std::function<std::vector<FieldProblem>(const Json& object)> validate;
  // Problems of replacing `before` by `after`: immutable fields.
  std::function<std::vector<FieldProblem>(const Json& before, const Json& after)> validate_update;
};

class KindTable {
 public:
  // All kinds of neap.dev/v1, the parts of v1, apps, batch, coordination and rbac that Neap serves, and the
  // document shapes of others that are stored as applied.
  static const KindTable& standard();
  const KindEntry* find(std::string_view group, std::string_view version, std::string_view plural) const;
  const KindEntry* find_kind(std::string_view group, std::string_view version, std::string_view kind) const;
  // By plural, singular, kind or short name, any case; "plural.group" picks the group. Of several groups
  // neap.dev wins: how people type it.
  const KindEntry* find_by_alias(std::string_view word) const;
  std::span<const KindEntry> all() const { return entries_; }

 private:
  friend class KindTableBuilder;
  std::vector<KindEntry> entries_;
};

}  // namespace neap::api
