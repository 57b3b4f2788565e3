#include "internal/workload_completion.h"

#include <fmt/format.h>

#include <functional>

namespace neap::apiserver {
namespace {

constexpr std::string_view kNameLabel = "app.kubernetes.io/name";
constexpr std::size_t kLabelLengthMax = 63;

JsonObject* object_at(JsonObject& parent, std::string_view key) {
  auto* value = parent.if_contains(key);
  return value ? value->if_object() : nullptr;
}

// A label's value may be shorter than a name and must not end in a separator.
std::string label_value(std::string_view name) {
  auto out = std::string(name.substr(0, kLabelLengthMax));
  while (!out.empty() && (out.back() == '-' || out.back() == '.')) out.pop_back();
  return out;
}

bool is_absent_or_empty(const JsonObject& parent, std::string_view key) {
  const auto* value = parent.if_contains(key);
  return !value || value->is_null() || (value->is_object() && value->get_object().empty());
}

// The pod's labels, and the selector that matches them.
void complete_labels(Json& object, JsonObject& spec, JsonObject& pod,
                     const std::function<void(std::string_view, std::string_view)>& say) {
  if (const auto* given = pod.if_contains("metadata"); given && !given->is_null() && !given->is_object())
    return;
  const bool has_selector = !is_absent_or_empty(spec, "selector");
  auto& pod_metadata = sub_object(pod, "metadata");
  if (is_absent_or_empty(pod_metadata, "labels")) {
    // A selector that was given says which labels it wants to see.
    JsonObject labels;
    if (const auto* wanted = find_path(object, {"spec", "selector", "matchLabels"});
        wanted && wanted->is_object())
      labels = wanted->get_object();
    const auto* metadata = object.get_object().if_contains("metadata");
    if (labels.empty()) labels[kNameLabel] = label_value(metadata ? get_string(*metadata, "name") : "");
    say("spec.template.metadata.labels", to_text(Json(labels)));
    pod_metadata["labels"] = std::move(labels);
  }
  const auto* labels = object_at(pod_metadata, "labels");
  if (has_selector || !labels) return;
  JsonObject selector;
  selector["matchLabels"] = *labels;
  say("spec.selector", to_text(Json(selector)));
  spec["selector"] = std::move(selector);
}

}  // namespace

void complete_workload(Json& object, bool is_deployment, std::vector<std::string>& warnings) {
  auto* spec = object_at(object.get_object(), "spec");
  auto* pod = spec ? object_at(*spec, "template") : nullptr;
  auto* pod_spec = pod ? object_at(*pod, "spec") : nullptr;
  if (!pod_spec) return;
  const auto say = [&](std::string_view field, std::string_view value) {
    warnings.push_back(
        fmt::format("{} was not given and is filled in: {}; stock Kubernetes refuses the document without it",
                    field, value));
  };
  if (is_deployment) {
    complete_labels(object, *spec, *pod, say);
  } else if (!pod_spec->contains("restartPolicy")) {
    (*pod_spec)["restartPolicy"] = "Never";
    say("spec.template.spec.restartPolicy", "Never");
  }
}

}  // namespace neap::apiserver
