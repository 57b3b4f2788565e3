#include "internal/pod_view.h"

namespace neap::apiserver {
namespace {

// Work of Neap is a process or an engine in the agent: there is no image to name.
constexpr std::string_view kImage = "neap.dev/process";

// An Allocation's phase as a Pod's; what was taken back before it ended counts as failed, as an evicted Pod
// does.
std::string_view pod_phase(std::string_view phase) {
  if (phase == "Running" || phase == "Draining") return "Running";
  if (phase == "Succeeded" || phase == "Failed") return phase;
  return phase == "Released" ? "Failed" : "Pending";
}

void copy_member(const Json& from, std::string_view name, JsonObject& to, std::string_view as) {
  if (const auto* value = find_path(from, {name}); value && !value->is_null()) to[as] = *value;
}

JsonObject pod_resources(const Json& spec) {
  JsonObject requests;
  if (const auto* resources = find_path(spec, {"resources"})) {
    copy_member(*resources, "cpu", requests, "cpu");
    copy_member(*resources, "memory", requests, "memory");
    if (const auto* accelerators = find_path(*resources, {"accelerators"});
        accelerators && accelerators->is_object())
      for (const auto& [model, count] : accelerators->get_object())
        requests["neap.dev/" + std::string(model)] = count;
  }
  JsonObject out;
  if (!requests.empty()) out["requests"] = std::move(requests);
  return out;
}

JsonObject pod_spec(const Json& spec) {
  JsonObject container{{"name", kMainContainer}, {"image", kImage}};
  if (const auto* process = find_path(spec, {"process"})) {
    copy_member(*process, "command", container, "command");
    if (get_bool(*process, "stdin")) container["stdin"] = true;
  }
  container["resources"] = pod_resources(spec);
  JsonArray containers;
  containers.push_back(std::move(container));
  JsonObject out;
  out["containers"] = std::move(containers);
  out["restartPolicy"] = "Never";
  copy_member(spec, "node", out, "nodeName");
  return out;
}

JsonObject container_state(const Json& status, std::string_view phase) {
  JsonObject state, out;
  if (phase == "Pending") {
    const auto reason = get_string(status, "reason");
    state["reason"] = reason.empty() ? std::string_view("Reserved") : reason;
    copy_member(status, "message", state, "message");
    out["waiting"] = std::move(state);
    return out;
  }
  copy_member(status, "startedAt", state, "startedAt");
  if (phase == "Running") {
    out["running"] = std::move(state);
    return out;
  }
  state["exitCode"] = get_int(status, "exitCode");
  state["reason"] = phase == "Succeeded" ? "Completed" : "Error";
  copy_member(status, "finishedAt", state, "finishedAt");
  copy_member(status, "message", state, "message");
  out["terminated"] = std::move(state);
  return out;
}

JsonObject pod_status(const Json& status) {
  const auto own_phase = get_string(status, "phase");
  const auto phase = pod_phase(own_phase);
  const bool is_ready = own_phase == "Running";
  JsonArray containers, conditions;
  containers.push_back(JsonObject{{"name", kMainContainer},
                                  {"image", kImage},
                                  {"imageID", ""},
                                  {"ready", is_ready},
                                  {"restartCount", get_int(status, "restarts")},
                                  {"state", container_state(status, phase)}});
  JsonObject ready{{"type", "Ready"}, {"status", is_ready ? "True" : "False"}};
  copy_member(status, "startedAt", ready, "lastTransitionTime");
  conditions.push_back(std::move(ready));
  JsonObject out{{"phase", phase},
                 {"reason", own_phase.empty() ? std::string_view("Reserved") : own_phase},
                 {"conditions", std::move(conditions)},
                 {"containerStatuses", std::move(containers)}};
  copy_member(status, "message", out, "message");
  copy_member(status, "startedAt", out, "startTime");
  return out;
}

}  // namespace

const api::KindEntry& stored_kind(const api::KindTable& kinds, const api::KindEntry& kind) {
  if (kind.view_of.empty()) return kind;
  const auto* stored = kinds.find("neap.dev", "v1", kind.view_of);
  return stored ? *stored : kind;
}

Json shown_as(const api::KindEntry& kind, Json stored) {
  if (kind.view_of.empty()) return stored;
  const auto part = [&](std::string_view name) {
    const auto* found = find_path(stored, {name});
    return found && found->is_object() ? *found : Json(JsonObject());
  };
  JsonObject out{{"apiVersion", kind.api_version()}, {"kind", kind.kind}};
  auto metadata = part("metadata");
  metadata.get_object().erase("managedFields");
  out["metadata"] = std::move(metadata);
  out["spec"] = pod_spec(part("spec"));
  out["status"] = pod_status(part("status"));
  return Json(std::move(out));
}

}  // namespace neap::apiserver
