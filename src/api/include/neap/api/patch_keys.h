// How strategic merge patches treat the lists of the built-in Kubernetes kinds (patchMergeKey and
// patchStrategy in k8s.io/api): the server merges by it, and OpenAPI tells clients the same.
#pragma once

#include <optional>
#include <string_view>

namespace neap::api {

// The member by which elements of a list merge; none for a list that is replaced whole. A list's name
// decides, except for `ports`: a container's and a Service's differ.
std::optional<std::string_view> patch_merge_key(std::string_view list, bool ports_of_container);
// Lists of plain values that only grow: finalizers.
bool is_patch_set(std::string_view list);

}  // namespace neap::api
