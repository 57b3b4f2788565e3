// OpenAPI v3 documents, one a group version, as kubectl reads them for validation and `kubectl explain`.
//
// Immutable after construction; thread-safe. Texts are built once.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/kind.h"

namespace neap::api {

class OpenApi {
 public:
  explicit OpenApi(const KindTable& kinds);
  // Of KindTable::standard(); built at the first call.
  static const OpenApi& standard();

  struct Document {
    std::string path;  // "api/v1", "apis/neap.dev/v1": below /openapi/v3/
    std::string text;
    std::string hash;  // of the text: the `hash` parameter and the ETag
  };
  // The answer to GET /openapi/v3.
  const std::string& index() const { return index_; }
  const Document* find(std::string_view path) const;
  std::span<const Document> all() const { return documents_; }

 private:
  std::vector<Document> documents_;
  std::string index_;
};

// The answer to GET /openapi/v2 that clients before 1.29 insist on: a gnostic document in protobuf, of media
// type application/com.github.proto-openapi.spec.v2.v1.0+protobuf.
std::string openapi_v2(const KindTable& kinds, const OpenApi& documents);

// The reference page of all kinds, in Markdown.
std::string reference_page(const KindTable& kinds);

}  // namespace neap::api
