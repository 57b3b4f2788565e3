#include <fmt/format.h>

#include <map>

#include "internal/request.h"

namespace neap::apiserver {
namespace {

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    const auto slash = path.find('/');
    out.push_back(path.substr(0, slash));
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash);
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return out;
}

std::unexpected<Error> unknown_resource() {
  return fail(Code::kNotFound, "api.resource.unknown", "the server could not find the requested resource");
}

// Verb of a method, given whether the path names one object.
Result<std::string> verb_of(std::string_view method, bool named, bool watch) {
  if (method == "GET" || method == "HEAD") return std::string(watch ? "watch" : named ? "get" : "list");
  if (method == "POST") return std::string("create");
  if (method == "PUT") return std::string("update");
  if (method == "PATCH") return std::string("patch");
  if (method == "DELETE") return std::string(named ? "delete" : "deletecollection");
  return fail(Code::kUnimplemented, "api.method",
              fmt::format("the method {} is not used by this API", method.substr(0, 16)));
}

}  // namespace

const std::vector<ReviewKind>& review_kinds() {
  static const std::vector<ReviewKind> kinds{
      {"authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", false},
      // All that `kubectl auth whoami` of 1.27 knows.
      {"authentication.k8s.io", "v1beta1", "SelfSubjectReview", "selfsubjectreviews", false},
      {"authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false},
      {"authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", false},
      {"authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", false},
      {"authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", false},
  };
  return kinds;
}

const api::KindEntry* find_review_kind(std::string_view group, std::string_view version,
                                       std::string_view plural) {
  static const std::vector<api::KindEntry> entries = [] {
    std::vector<api::KindEntry> out;
    for (const auto& review : review_kinds()) {
      api::KindEntry entry;
      entry.group = review.group;
      entry.version = review.version;
      entry.kind = review.kind;
      entry.plural = review.plural;
      entry.singular = lower(review.kind);
      entry.namespaced = review.namespaced;
      entry.has_status = false;
      out.push_back(std::move(entry));
    }
    return out;
  }();
  const auto at = std::ranges::find_if(entries, [&](const api::KindEntry& entry) {
    return entry.plural == plural && entry.group == group && entry.version == version;
  });
  return at == entries.end() ? nullptr : &*at;
}

Result<RequestInfo> parse_request_info(const api::KindTable& kinds, std::string_view method,
                                       std::string_view path, bool watch_asked) {
  RequestInfo out;
  out.what.path = std::string(path);
  out.what.verb = lower(method);
  auto parts = split_path(path);
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    out.what.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    out.what.group = parts[1];
    out.what.version = parts[2];
    at = 3;
  } else {
    return out;
  }
  parts.erase(parts.begin(), parts.begin() + std::ptrdiff_t(at));
  const auto find_kind = [&](std::string_view plural) -> const api::KindEntry* {
    if (const auto* entry = kinds.find(out.what.group, out.what.version, plural)) return entry;
    return find_review_kind(out.what.group, out.what.version, plural);
  };
  // namespaces/NS/PLURAL/... is inside a namespace; namespaces/NS and namespaces/NS/status are the namespace
  // itself.
  const bool inside = parts[0] == "namespaces" && parts.size() >= 3 && find_kind(parts[2]) != nullptr;
  if (inside) {
    out.what.namespace_ = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  out.kind = find_kind(parts[0]);
  if (!out.kind || parts.size() > 3 || (inside && !out.kind->namespaced)) return unknown_resource();
  out.what.is_resource = true;
  out.what.resource = parts[0];
  if (parts.size() > 1) out.what.name = parts[1];
  if (parts.size() > 2) out.what.subresource = parts[2];
  // A namespace is its own namespace to a role binding: rights on a project cover reading the project.
  if (out.kind->group.empty() && out.kind->plural == "namespaces" && !out.what.name.empty())
    out.what.namespace_ = out.what.name;
  out.is_watch = watch_asked && method == "GET" && out.what.subresource.empty();
  NEAP_TRY(out.what.verb, verb_of(method, !out.what.name.empty(), out.is_watch));
  return out;
}

}  // namespace neap::apiserver
