// Documents a user hands in: YAML or JSON files, folders of them, or standard input.
#pragma once

#include <string>
#include <vector>

#include "internal/session.h"

namespace neap::cli {

struct Document {
  Json object;
  std::string origin;     // "site.yaml" or "site.yaml, document 2"
  std::string directory;  // what relative paths in it start from: empty, or with its last slash
};

// In order of appearance; Lists are opened, the bare policy list becomes a SchedulingPolicy object.
Result<std::vector<Document>> read_documents(CliContext& context, const std::vector<std::string>& files);
// The kind of a document that has apiVersion, kind and a name.
Result<const api::KindEntry*> kind_of_document(const Document& document);

// The merge patch (RFC 7386) that brings `live` to `wanted`: what `wanted` says, and null for what `last`
// said and `wanted` does not.
Json three_way_patch(const Json& last, const Json& live, const Json& wanted);

inline constexpr std::string_view kLastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

}  // namespace neap::cli
