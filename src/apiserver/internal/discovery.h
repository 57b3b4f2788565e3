// Discovery: what kinds there are, as clients ask for it: aggregated (v2 and v2beta1) or group by group,
// with the OpenAPI documents they validate against. Everything is computed once and has an ETag.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "neap/api/kind.h"
#include "neap/api/openapi.h"
#include "neap/apiserver/server.h"
#include "neap/io/http.h"

namespace neap::apiserver {

class Discovery {
 public:
  Discovery(const api::KindTable& kinds, const std::vector<ExtraSubresource>& subresources,
            const std::vector<StreamSubresource>& streams, std::string version)
      : kinds_(kinds), subresources_(subresources), streams_(streams), version_(std::move(version)) {}
  // Nothing for a path that is not discovery's.
  std::optional<io::HttpResponse> answer(const io::HttpRequest& request) const;

 private:
  struct Document {
    std::string text, content_type, etag;
  };
  struct GroupVersion {
    std::string group, version;
    std::vector<const api::KindEntry*> kinds;
  };
  const Document* find_document(const io::HttpRequest& request) const;
  const Document& keep(const std::string& key, std::string content_type, std::string text) const;
  const api::OpenApi& open_api() const;
  std::vector<GroupVersion> group_versions() const;
  Json aggregated(bool core, std::string_view version) const;
  Json aggregated_resource(const api::KindEntry& kind) const;
  Json resource_list(const GroupVersion& group) const;
  Json group_object(const std::vector<GroupVersion>& all, std::string_view group) const;
  std::vector<std::pair<std::string, std::string>> subresources_of(const api::KindEntry& kind) const;

  const api::KindTable& kinds_;
  const std::vector<ExtraSubresource>& subresources_;
  const std::vector<StreamSubresource>& streams_;
  const std::string version_;
  mutable std::map<std::string, Document, std::less<>> documents_;
  mutable std::optional<api::OpenApi> open_api_;
};

}  // namespace neap::apiserver
