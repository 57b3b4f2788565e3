#include "neap/api/patch_keys.h"

#include <array>
#include <utility>

namespace neap::api {
namespace {

using namespace std::string_view_literals;

constexpr std::array kMergeKeys{std::pair{"conditions"sv, "type"sv},
                                std::pair{"containers"sv, "name"sv},
                                std::pair{"env"sv, "name"sv},
                                std::pair{"ephemeralContainers"sv, "name"sv},
                                std::pair{"hostAliases"sv, "ip"sv},
                                std::pair{"imagePullSecrets"sv, "name"sv},
                                std::pair{"initContainers"sv, "name"sv},
                                std::pair{"ownerReferences"sv, "uid"sv},
                                std::pair{"resourceClaims"sv, "name"sv},
                                std::pair{"schedulingGates"sv, "name"sv},
                                std::pair{"secrets"sv, "name"sv},
                                std::pair{"topologySpreadConstraints"sv, "topologyKey"sv},
                                std::pair{"volumeDevices"sv, "devicePath"sv},
                                std::pair{"volumeMounts"sv, "mountPath"sv},
                                std::pair{"volumes"sv, "name"sv}};

}  // namespace

std::optional<std::string_view> patch_merge_key(std::string_view list, bool ports_of_container) {
  if (list == "ports") return ports_of_container ? "containerPort"sv : "port"sv;
  for (const auto& [name, key] : kMergeKeys)
    if (name == list) return key;
  return {};
}

bool is_patch_set(std::string_view list) { return list == "finalizers"; }

}  // namespace neap::api
