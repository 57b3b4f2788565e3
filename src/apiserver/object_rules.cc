#include "internal/object_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "neap/crypto/digest.h"

namespace neap::apiserver {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kAnnotationBytesMax = 256u << 10;
constexpr std::size_t kDataBytesMax = 1u << 20;
constexpr std::size_t kNameBytesMax = 63, kPrefixBytesMax = 253, kKeyBytesMax = 253, kNamespaceBytesMax = 63;
constexpr auto kRbacGroup = "rbac.authorization.k8s.io"sv;

class Findings {
 public:
  void add(std::string path, std::string message) {
    if (list_.size() < 32) list_.push_back({std::move(path), std::move(message), false});
  }
  std::vector<api::FieldProblem> take() { return std::move(list_); }

 private:
  std::vector<api::FieldProblem> list_;
};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_name_part(std::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax && is_letter_or_digit(text.front()) &&
         is_letter_or_digit(text.back()) && std::ranges::all_of(text, [](char c) {
           return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}
// A DNS subdomain, in any case of letters.
bool is_prefix(std::string_view text) {
  return !text.empty() && text.size() <= kPrefixBytesMax && is_letter_or_digit(text.front()) &&
         is_letter_or_digit(text.back()) && text.find("..") == text.npos &&
         std::ranges::all_of(text, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.'; });
}
bool is_qualified_name(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == text.npos) return is_name_part(text);
  return is_prefix(text.substr(0, slash)) && is_name_part(text.substr(slash + 1));
}
bool is_data_key(std::string_view key) {
  return !key.empty() && key.size() <= kKeyBytesMax && key != "." && !key.starts_with("..") &&
         std::ranges::all_of(
             key, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

const Json* member(const Json* object, std::string_view name) {
  return object ? find_path(*object, {name}) : nullptr;
}
const JsonObject* object_at(const Json& document, std::string_view name) {
  const auto* found = find_path(document, {name});
  return found ? found->if_object() : nullptr;
}
const JsonArray* list_at(const Json& document, std::string_view name) {
  const auto* found = find_path(document, {name});
  return found ? found->if_array() : nullptr;
}
bool is_empty_list(const Json& document, std::string_view name) {
  const auto* list = list_at(document, name);
  return !list || list->empty();
}
bool same(const Json* a, const Json* b) { return a == b || (a && b && *a == *b); }

void check_annotations(const Json* before, const Json& metadata, Findings& out) {
  const auto* annotations = object_at(metadata, "annotations");
  if (!annotations) return;
  const auto* old = before ? find_path(*before, {"metadata", "annotations"}) : nullptr;
  if (old && old->if_object() && old->get_object() == *annotations) return;
  std::size_t bytes = 0;
  for (const auto& [key, value] : *annotations) {
    bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    if (!is_qualified_name(std::string_view(key)))
      out.add(
          "metadata.annotations",
          fmt::format("\"{}\" is not a name: [prefix/]name of letters, digits, '-', '_' and '.', the name at "
                      "most 63 bytes",
                      std::string_view(key).substr(0, 128)));
  }
  if (bytes > kAnnotationBytesMax)
    out.add("metadata.annotations",
            fmt::format("Too long: may not be more than {} bytes in all, is {}", kAnnotationBytesMax, bytes));
}

void check_finalizers(const api::KindEntry& kind, const Json* before, const Json& metadata, Findings& out) {
  const auto* list = list_at(metadata, "finalizers");
  if (!list) return;
  const auto* old = before ? find_path(*before, {"metadata", "finalizers"}) : nullptr;
  if (old && old->if_array() && old->get_array() == *list) return;
  const bool is_builtin = kind.group.find('.') == std::string::npos || kind.group.ends_with(".k8s.io");
  bool orphans = false, foreground = false;
  for (std::size_t at = 0; at < list->size(); ++at) {
    if (!(*list)[at].is_string()) continue;
    const std::string_view name = (*list)[at].get_string();
    orphans |= name == "orphan";
    foreground |= name == "foregroundDeletion";
    const bool is_standard = name == "orphan" || name == "foregroundDeletion" || name == "kubernetes";
    if (!is_qualified_name(name))
      out.add("metadata.finalizers",
              fmt::format("\"{}\" is not a finalizer: DOMAIN/NAME", name.substr(0, 128)));
    else if (is_builtin && !is_standard && name.find('/') == name.npos)
      out.add(fmt::format("metadata.finalizers[{}]", at),
              fmt::format("\"{}\" is neither a standard finalizer nor DOMAIN/NAME", name.substr(0, 128)));
  }
  if (orphans && foreground)
    out.add("metadata.finalizers", "orphan and foregroundDeletion cannot be both set");
}

void check_owners(const Json& metadata, Findings& out) {
  const auto* list = list_at(metadata, "ownerReferences");
  if (!list) return;
  const auto controllers =
      std::ranges::count_if(*list, [](const Json& owner) { return get_bool(owner, "controller"); });
  if (controllers > 1)
    out.add("metadata.ownerReferences",
            fmt::format("only one reference can have controller set to true, {} have", controllers));
}

// Keys and bytes of a ConfigMap's or Secret's data.
void check_data(const Json* before, const Json& after, std::string_view name, bool is_base64,
                std::size_t& bytes, Findings& out) {
  const auto* data = object_at(after, name);
  if (!data) return;
  const bool is_new = !same(member(before, name), find_path(after, {name}));
  for (const auto& [key, value] : *data) {
    const std::string_view text = value.is_string() ? std::string_view(value.get_string()) : ""sv;
    bytes += is_base64 ? text.size() / 4 * 3 : text.size();
    if (!is_new) continue;
    const auto path = fmt::format("{}[{}]", name, std::string_view(key).substr(0, 64));
    if (!is_data_key(std::string_view(key)))
      out.add(path,
              "a key has letters, digits, '-', '_' and '.', at most 253 bytes, and does not begin with '..'");
    if (!is_base64) continue;
    std::string packed(text);
    std::erase_if(packed, [](char c) { return c == '\n' || c == '\r'; });
    if (const auto decoded = crypto::from_base64(packed); !decoded)
      out.add(path, "must be base64 (RFC 4648, with padding); encode it again");
  }
}

void check_immutable(const Json* before, const Json& after, std::initializer_list<std::string_view> frozen,
                     Findings& out) {
  if (!before || !get_bool(*before, "immutable")) return;
  constexpr auto kWhy = "Forbidden: field is immutable when `immutable` is set; make a new object"sv;
  if (!get_bool(after, "immutable")) out.add("immutable", std::string(kWhy));
  const auto is_empty = [](const Json* value) {
    return !value || (value->is_object() && value->get_object().empty());
  };
  for (const auto name : frozen) {
    const auto* was = member(before, name);
    const auto* is = find_path(after, {name});
    if (!same(was, is) && !(is_empty(was) && is_empty(is))) out.add(std::string(name), std::string(kWhy));
  }
}

void check_size(std::size_t bytes, Findings& out) {
  if (bytes > kDataBytesMax)
    out.add("data",
            fmt::format("Too long: may not be more than {} bytes in all, is {}", kDataBytesMax, bytes));
}

void check_config_map(const Json* before, const Json& after, Findings& out) {
  std::size_t bytes = 0;
  check_data(before, after, "data", false, bytes, out);
  check_data(before, after, "binaryData", true, bytes, out);
  check_size(bytes, out);
  const auto* texts = object_at(after, "data");
  if (const auto* binary = object_at(after, "binaryData"); texts && binary)
    for (const auto& [key, value] : *binary)
      if (texts->contains(key))
        out.add(fmt::format("data[{}]", std::string_view(key).substr(0, 64)),
                "the key is in binaryData, too");
  check_immutable(before, after, {"data", "binaryData"}, out);
}

// What a type of secret must hold, and whether any one of the keys is enough.
struct SecretType {
  std::string_view type;
  std::array<std::string_view, 2> keys;
  bool any = false;
};
constexpr std::array<SecretType, 5> kSecretTypes{{
    {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
    {"kubernetes.io/basic-auth", {"username", "password"}, true},
    {"kubernetes.io/ssh-auth", {"ssh-privatekey", ""}},
    {"kubernetes.io/dockercfg", {".dockercfg", ""}},
    {"kubernetes.io/dockerconfigjson", {".dockerconfigjson", ""}},
}};

void check_secret(const Json* before, const Json& after, Findings& out) {
  std::size_t bytes = 0;
  check_data(before, after, "data", true, bytes, out);
  check_size(bytes, out);
  check_immutable(before, after, {"data"}, out);
  const auto type = get_string(after, "type");
  const auto* data = object_at(after, "data");
  const auto holds = [&](std::string_view key) { return key.empty() || (data && data->contains(key)); };
  for (const auto& row : kSecretTypes) {
    if (row.type != type || (row.any && (holds(row.keys[0]) || holds(row.keys[1])))) continue;
    for (const auto key : row.keys)
      if (!holds(key))
        out.add(fmt::format("data[{}]", key), fmt::format("Required value of a secret of type {}", type));
  }
  const bool is_docker = type == "kubernetes.io/dockercfg" || type == "kubernetes.io/dockerconfigjson";
  const auto key = type == "kubernetes.io/dockercfg" ? ".dockercfg"sv : ".dockerconfigjson"sv;
  if (is_docker && holds(key)) {
    const auto decoded = crypto::from_base64(get_string(*find_path(after, {"data"}), key));
    // The message says nothing of what the secret holds.
    if (!decoded || !parse_json(*decoded)) out.add(fmt::format("data[{}]", key), "must be JSON");
  }
}

void check_namespace(const Json* before, const Json& after, Findings& out) {
  if (before) return;
  const auto* metadata = find_path(after, {"metadata"});
  const auto name = metadata ? get_string(*metadata, "name") : ""sv;
  if (name.find('.') != name.npos) out.add("metadata.name", "a namespace's name has no dots");
  if (name.size() > kNamespaceBytesMax)
    out.add("metadata.name", fmt::format("must be no more than {} bytes", kNamespaceBytesMax));
}

// Go reads these fields into int32: one object beyond that would break every list of client-go.
void check_int32(const Json& parent, std::string_view name, std::string_view path, Findings& out) {
  const auto* value = find_path(parent, {name});
  if (!value || !value->is_int64()) {
    if (value && value->is_uint64()) out.add(fmt::format("{}{}", path, name), "must be at most 2147483647");
    return;
  }
  if (value->get_int64() > std::numeric_limits<std::int32_t>::max() ||
      value->get_int64() < std::numeric_limits<std::int32_t>::min())
    out.add(fmt::format("{}{}", path, name), "must be between -2147483648 and 2147483647");
}
void check_lease(const Json& after, Findings& out) {
  const auto* spec = find_path(after, {"spec"});
  if (!spec) return;
  for (const auto name : {"leaseDurationSeconds"sv, "leaseTransitions"sv})
    check_int32(*spec, name, "spec.", out);
}

void check_role(const api::KindEntry& kind, const Json& after, Findings& out) {
  const auto* rules = list_at(after, "rules");
  if (!rules) return;
  for (std::size_t at = 0; at < rules->size(); ++at) {
    const auto& rule = (*rules)[at];
    const auto path = [at](std::string_view name) { return fmt::format("rules[{}].{}", at, name); };
    if (!is_empty_list(rule, "nonResourceURLs")) {
      if (kind.namespaced)
        out.add(path("nonResourceURLs"), "namespaced rules cannot apply to non-resource URLs");
      else if (!is_empty_list(rule, "apiGroups") || !is_empty_list(rule, "resources") ||
               !is_empty_list(rule, "resourceNames"))
        out.add(path("nonResourceURLs"), "rules cannot apply to both resources and non-resource URLs");
      continue;
    }
    if (is_empty_list(rule, "apiGroups"))
      out.add(path("apiGroups"), "Required value: resource rules must supply at least one api group");
    if (is_empty_list(rule, "resources"))
      out.add(path("resources"), "Required value: resource rules must supply at least one resource");
  }
}

void check_binding(const api::KindEntry& kind, const Json& after, Findings& out) {
  const auto* role = find_path(after, {"roleRef"});
  if (!role) return;
  const auto group = get_string(*role, "apiGroup");
  if (!group.empty() && group != kRbacGroup)
    out.add("roleRef.apiGroup", fmt::format("must be \"{}\", is \"{}\"", kRbacGroup, group.substr(0, 64)));
  if (!kind.namespaced && get_string(*role, "kind") == "Role")
    out.add("roleRef.kind", "must be \"ClusterRole\", is \"Role\"");
  const auto* subjects = list_at(after, "subjects");
  if (!subjects) return;
  for (std::size_t at = 0; at < subjects->size(); ++at) {
    const auto& subject = (*subjects)[at];
    const auto wanted = get_string(subject, "kind") == "ServiceAccount" ? ""sv : kRbacGroup;
    if (const auto found = get_string(subject, "apiGroup"); !found.empty() && found != wanted)
      out.add(fmt::format("subjects[{}].apiGroup", at),
              fmt::format("must be \"{}\", is \"{}\"", wanted, found.substr(0, 64)));
  }
}

}  // namespace

std::vector<api::FieldProblem> check_object_rules(const api::KindEntry& kind, const Json* before,
                                                  const Json& after) {
  Findings out;
  if (const auto* metadata = find_path(after, {"metadata"}); metadata && metadata->is_object()) {
    check_annotations(before, *metadata, out);
    check_finalizers(kind, before, *metadata, out);
    check_owners(*metadata, out);
  }
  if (kind.group.empty() && kind.kind == "ConfigMap") check_config_map(before, after, out);
  if (kind.group.empty() && kind.kind == "Secret") check_secret(before, after, out);
  if (kind.group.empty() && kind.kind == "Namespace") check_namespace(before, after, out);
  if (kind.group.empty() && kind.kind == "Event") check_int32(after, "count", "", out);
  if (kind.group == "coordination.k8s.io" && kind.kind == "Lease") check_lease(after, out);
  if (kind.group == kRbacGroup && kind.kind.ends_with("Role")) check_role(kind, after, out);
  if (kind.group == kRbacGroup && kind.kind.ends_with("Binding")) check_binding(kind, after, out);
  return out.take();
}

}  // namespace neap::apiserver
