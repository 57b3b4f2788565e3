#include "neap/auth/node_authorizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace neap::auth {
namespace {

using namespace std::string_view_literals;

constexpr std::array kReadAll{"sites"sv, "links"sv, "nodes"sv, "datapolicies"sv, "schedulingpolicies"sv};
constexpr std::array kGetOne{"trainingjobs"sv, "inferenceservices"sv, "datasets"sv, "datasetversions"sv,
                             "models"sv,       "modelversions"sv};
constexpr std::array kOpenPaths{"/api"sv, "/apis"sv, "/version"sv, "/healthz"sv, "/livez"sv, "/readyz"sv};
constexpr std::array kDataPaths{"/v2/"sv, "/transfer/v1/"sv, "/openapi/"sv, "/api/"sv, "/apis/"sv};

bool in(const auto& list, std::string_view word) { return std::ranges::find(list, word) != list.end(); }
bool is_read(std::string_view verb) { return verb == "get" || verb == "list" || verb == "watch"; }
bool is_write_in_place(std::string_view verb) { return verb == "update" || verb == "patch"; }
Decision allow() { return {true, "the node's own"}; }
Decision refuse(std::string reason) { return {false, std::move(reason)}; }

// True when one term of the selector is spec.node=NODE (or ==), which narrows the answer to the node.
bool selects_node(std::string_view selector, std::string_view node) {
  while (!selector.empty()) {
    const auto comma = selector.find(',');
    auto term = selector.substr(0, comma);
    selector = comma == std::string_view::npos ? std::string_view() : selector.substr(comma + 1);
    if (!term.starts_with("spec.node=")) continue;
    term.remove_prefix("spec.node="sv.size());
    if (term.starts_with('=')) term.remove_prefix(1);
    if (term == node) return true;
  }
  return false;
}

Decision authorize_path(const Identity& who, const Attributes& what) {
  if (what.verb == "get" && in(kOpenPaths, what.path)) return allow();
  for (const auto prefix : kDataPaths)
    // The registry and transfer endpoints judge each blob and permit themselves.
    if (what.path.starts_with(prefix)) return allow();
  for (const auto prefix : {"/ledger/v1/nodes/"sv, "/agent/v1/nodes/"sv}) {
    const auto own = fmt::format("{}{}", prefix, who.node);
    if (what.path == own || what.path.starts_with(own + "/")) return allow();
  }
  return refuse(fmt::format("the agent of node \"{}\" may not use the path {}", who.node, what.path));
}

Decision authorize_neap(const Identity& who, const Attributes& what) {
  if (is_read(what.verb) && what.subresource.empty() && in(kReadAll, what.resource)) return allow();
  if (what.verb == "get" && (what.subresource.empty() || what.subresource == "status") &&
      in(kGetOne, what.resource))
    return allow();
  if (what.resource == "nodes") {
    if (what.name != who.node)
      return refuse(fmt::format("the agent of node \"{}\" may not write node \"{}\"", who.node, what.name));
    if (what.subresource == "status" && (is_write_in_place(what.verb) || what.verb == "get")) return allow();
    return refuse(fmt::format("the agent of node \"{}\" may write only the status of its Node", who.node));
  }
  if (what.resource == "allocations") {
    if (what.verb == "get" && (what.subresource.empty() || what.subresource == "status")) return allow();
    if (what.verb == "list" || what.verb == "watch")
      return selects_node(what.field_selector, who.node)
                 ? allow()
                 : refuse(fmt::format(
                       "the agent of node \"{0}\" may {1} allocations only with the field selector "
                       "spec.node={0}",
                       who.node, what.verb));
    if (is_write_in_place(what.verb) && what.subresource == "status") return allow();
    return refuse(
        fmt::format("the agent of node \"{}\" may write only the status of its allocations", who.node));
  }
  return refuse(fmt::format("agents may not {} {}", what.verb, what.resource));
}

}  // namespace

Decision NodeAuthorizer::authorize(const Identity& who, const Attributes& what) const {
  if (who.node.empty() || !is_member(who, kNodesGroup)) return refuse("not the agent of a node");
  if (!what.is_resource) return authorize_path(who, what);
  if (what.group == "neap.dev") return authorize_neap(who, what);
  if (what.group == "coordination.k8s.io" && what.resource == "leases") {
    if (what.namespace_ != kNodeLeaseNamespace)
      return refuse(fmt::format("agents use leases of namespace {} only", kNodeLeaseNamespace));
    // The name of a create is in its body: judged by authorize_object.
    if (what.verb == "create" && what.name.empty()) return allow();
    if (what.name == who.node && (what.verb == "get" || is_write_in_place(what.verb))) return allow();
    return refuse(fmt::format("the agent of node \"{}\" may use only its own lease", who.node));
  }
  if ((what.group.empty() || what.group == "events.k8s.io") && what.resource == "events")
    return what.verb == "create" ? allow() : refuse("agents may only create events");
  if ((what.group == "authorization.k8s.io" || what.group == "authentication.k8s.io") &&
      what.verb == "create" && what.resource.starts_with("selfsubject"))
    return allow();
  return refuse(fmt::format("agents may not {} {}", what.verb, what.resource));
}

Decision NodeAuthorizer::authorize_object(const Identity& who, const Attributes& what, const Json* before,
                                          const Json* after) const {
  const auto* object = before ? before : after;
  if (!object) return allow();
  if (what.resource == "allocations") {
    const auto* spec = find_path(*object, {"spec"});
    if (!spec || get_string(*spec, "node") != who.node)
      return refuse(fmt::format("this allocation is not placed on node \"{}\"", who.node));
  }
  if (what.resource == "leases") {
    const auto* metadata = find_path(after ? *after : *object, {"metadata"});
    if (!metadata || get_string(*metadata, "name") != who.node)
      return refuse(fmt::format("the agent of node \"{}\" may use only its own lease", who.node));
  }
  return allow();
}

JsonArray NodeAuthorizer::rules_for(const Identity& who, std::string_view) const {
  JsonArray out;
  const auto add = [&out](JsonArray verbs, std::string_view group, JsonArray resources,
                          JsonArray names = {}) {
    out.push_back(JsonObject{{"verbs", std::move(verbs)},
                             {"apiGroups", {group}},
                             {"resources", std::move(resources)},
                             {"resourceNames", std::move(names)}});
  };
  JsonArray read_all, get_one;
  for (const auto word : kReadAll) read_all.emplace_back(word);
  for (const auto word : kGetOne) get_one.emplace_back(word);
  add({"get", "list", "watch"}, "neap.dev", std::move(read_all));
  add({"get"}, "neap.dev", std::move(get_one));
  add({"update", "patch"}, "neap.dev", {"nodes/status"}, {who.node});
  add({"get", "list", "watch"}, "neap.dev", {"allocations"});
  add({"update", "patch"}, "neap.dev", {"allocations/status"});
  add({"create", "get", "update", "patch"}, "coordination.k8s.io", {"leases"}, {who.node});
  add({"create"}, "", {"events"});
  return out;
}

}  // namespace neap::auth
