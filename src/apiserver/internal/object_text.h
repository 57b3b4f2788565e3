// How objects lie in the store: their keys, and their text, which begins with apiVersion, kind and
// metadata, so that the resourceVersion can be put in without parsing.
#pragma once

#include <string>
#include <string_view>

#include "neap/api/kind.h"
#include "neap/base/id.h"
#include "neap/base/json.h"
#include "neap/base/time.h"

namespace neap::apiserver {

inline constexpr std::string_view kRegistry = "/registry/";

// "/registry/<group>/<plural>/": all objects of a kind.
std::string kind_prefix(const api::KindEntry& kind);
// Of one namespace; the kind's prefix when `ns` is empty or the kind is cluster-scoped.
std::string list_prefix(const api::KindEntry& kind, std::string_view ns);
std::string object_key(const api::KindEntry& kind, std::string_view ns, std::string_view name);

struct KeyParts {
  std::string_view group, plural, ns, name;
};
// Views into `key`; all empty for a key that is no object's.
KeyParts split_key(std::string_view key);

// apiVersion, kind, metadata first; resourceVersion removed. What is written to the store.
std::string stored_text(const Json& object);
// `text` with metadata.resourceVersion put in.
std::string text_with_revision(std::string_view text, Revision revision);
Json with_revision(Json object, Revision revision);

JsonObject& metadata_of(Json& object);  // made when absent
std::string_view meta_string(const Json& object, std::string_view key);
bool has_finalizer(const Json& object, std::string_view finalizer);
std::size_t finalizer_count(const Json& object);
bool is_terminating(const Json& object);
bool remove_finalizer(Json& object, std::string_view finalizer);

// Same but for resourceVersion and the times in managedFields.
bool same_object(const Json& a, const Json& b);
// Same in everything a user wants, as opposed to what is and to metadata.
bool same_wish(const Json& a, const Json& b);

}  // namespace neap::apiserver
