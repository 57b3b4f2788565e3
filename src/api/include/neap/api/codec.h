// Documents in and out: YAML and JSON text to Json, several documents in one file, merge patch,
// selectors, and the Kubernetes Status object of an Error.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"

namespace neap::api {

struct YamlLimits {
  std::size_t bytes_max = 4u << 20;
  std::size_t depth_max = 64;
  std::size_t nodes_max = 200'000;  // after alias expansion, counted before allocation
  std::size_t documents_max = 1000;
};
// YAML 1.1 core types as kubectl reads them; duplicate keys, unknown tags and bombs are errors with
// line and column. JSON is accepted too.
Result<std::vector<Json>> parse_yaml(std::string_view text, const YamlLimits& limits = {});
std::string to_yaml(const Json& value);

// RFC 7386.
void merge_patch(Json& target, const Json& patch);
// RFC 6902; errors name the operation's index.
Status json_patch(Json& target, const Json& operations);

class LabelSelector {
 public:
  // "a=b,c!=d,e in (x,y),!f,g>1,h<2"; > and < compare 64-bit integers, and a label that is none does not
  // match. kInvalidArgument with the position.
  static Result<LabelSelector> parse(std::string_view text);
  bool matches(const Json& object) const;  // metadata.labels
  bool empty() const { return terms_.empty(); }

 private:
  struct Term {
    std::string key;
    enum class Op { kIn, kNotIn, kExists, kAbsent, kGreater, kLess } op = Op::kExists;
    std::vector<std::string> values;
    std::int64_t bound = 0;  // of kGreater and kLess
  };
  std::vector<Term> terms_;
};

// What a field selector compares: the text of the scalar at a dotted path, empty where there is none.
std::string field_text(const Json& object, std::string_view path);

class FieldSelector {
 public:
  // "metadata.name=x,spec.node!=y"; `allowed` are the dotted paths that may be used.
  static Result<FieldSelector> parse(std::string_view text, const std::vector<std::string>& allowed);
  bool matches(const Json& object) const;
  bool empty() const { return terms_.empty(); }
  // Value demanded for `path` by an = term.
  std::optional<std::string> required_value(std::string_view path) const;

 private:
  struct Term {
    std::string path, value;
    bool negated = false;
  };
  std::vector<Term> terms_;
};

// {"kind":"Status",...} with reason and code as the Kubernetes API spells them.
Json status_object(const Error& error, std::string_view kind = {}, std::string_view name = {},
                   std::string_view group = {});
// The Error a Status object stands for.
Error error_of_status(const Json& status, int http_status);

}  // namespace neap::api
