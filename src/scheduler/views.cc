#include "internal/views.h"

#include <algorithm>

namespace neap::scheduler {
namespace {

using policy::Value;

// Accelerator counts are ints where whole, so that `== 8` and `> 8` read as written.
Value count_of(std::int64_t milli) {
  return milli % 1000 == 0 ? Value::integer(milli / 1000) : Value::real(double(milli) / 1000);
}
Value labels_of(const Labels& labels) {
  Value::MapEntries entries;
  for (const auto& [key, held] : labels)
    entries.emplace_back(Value::borrowed_string(key), Value::borrowed_string(held));
  return Value::map(std::move(entries));
}
std::string_view level_text(DataLevel level) {
  return level == DataLevel::kL1 ? "L1" : level == DataLevel::kL2 ? "L2" : "L3";
}
// The strictest level of the inputs; L3 without any.
DataLevel level_of(const Request& request) {
  DataLevel level = DataLevel::kL3;
  for (const auto& input : request.data) level = std::min(level, input.level);
  return level;
}

}  // namespace

finops::ResourceAmounts amounts_of(const ReplicaResources& each, const std::string& model) {
  return {each.cores, each.memory, model, each.accelerators};
}

bool TaskView::find(std::string_view member, Value& out) const {
  const auto& r = request_;
  if (member == "type" || member == "kind") {
    out = Value::borrowed_string(task_kind_name(r.kind));
  } else if (member == "gpu_demand" || member == "accelerators") {
    out = count_of(r.each.accelerators.value * r.replicas);
  } else if (member == "latency_requirement") {
    // Without a requirement any latency will do.
    out = Value::duration(r.latency_max.value_or(Duration::max()));
  } else if (member == "priority_class") {
    out = Value::borrowed_string(r.priority_class);
  } else if (member == "priority") {
    out = Value::integer(r.priority);
  } else if (member == "data_level") {
    out = Value::borrowed_string(level_text(level_of(r)));
  } else if (member == "accelerator") {
    out = Value::borrowed_string(r.each.accelerator_model);
  } else if (member == "replicas") {
    out = Value::integer(r.replicas);
  } else if (member == "cpu") {
    out = Value::real(double(r.each.cores.value) / 1000);
  } else if (member == "memory") {
    out = Value::integer(r.each.memory.value);
  } else if (member == "interruptible") {
    out = Value::boolean(r.interruption != InterruptionClass::kNever);
  } else if (member == "interruption") {
    out = Value::borrowed_string(interruption_class_name(r.interruption));
  } else if (member == "duration" && r.duration_estimate) {
    out = Value::duration(*r.duration_estimate);
  } else if (member == "deadline" && r.deadline) {
    out = Value::timestamp(*r.deadline);
  } else if (member == "project") {
    out = Value::borrowed_string(r.project);
  } else if (member == "team") {
    out = Value::borrowed_string(r.team);
  } else if (member == "model") {
    out = Value::borrowed_string(r.model);
  } else if (member == "queue") {
    out = Value::borrowed_string(r.queue);
  } else if (member == "id") {
    out = Value::borrowed_string(r.id);
  } else {
    return false;
  }
  return true;
}

bool InputsView::find(std::string_view member, Value& out) const {
  if (member == "level") {
    out = Value::borrowed_string(level_text(level_of(request_)));
  } else if (member == "bytes") {
    std::int64_t total = 0;
    for (const auto& input : request_.data)
      if (__builtin_add_overflow(total, input.size.value, &total)) total = INT64_MAX;
    out = Value::integer(total);
  } else if ((member == "home" || member == "jurisdiction") && !request_.data.empty()) {
    const auto& first = request_.data.front();
    out = Value::borrowed_string(member == "home" ? first.home_site : first.jurisdiction);
  } else if (member == "datasets") {
    std::vector<Value> names;
    for (const auto& input : request_.data) names.push_back(Value::borrowed_string(input.dataset));
    out = Value::list(std::move(names));
  } else {
    return false;
  }
  return true;
}

bool SiteView::find(std::string_view member, Value& out) const {
  if (member == "name") {
    out = Value::borrowed_string(site_.name);
  } else if (member == "tier") {
    out = Value::borrowed_string(policy::tier_name(site_.tier));
  } else if (member == "jurisdiction") {
    out = Value::borrowed_string(site_.jurisdiction);
  } else if (member == "labels") {
    out = labels_of(site_.labels);
  } else if (member == "rtt" && (is_consumer_ || to_consumer_)) {
    out = Value::duration(is_consumer_ ? Duration{} : to_consumer_->rtt);
  } else if (member == "bandwidth" && to_consumer_) {
    out = Value::real(to_consumer_->bandwidth);
  } else if (member == "carbon_intensity" && site_.carbon_intensity > 0) {
    out = Value::real(site_.carbon_intensity);
  } else {
    return false;
  }
  return true;
}

bool NodeView::find(std::string_view member, Value& out) const {
  const Node& node = *board_.nodes[node_];
  if (member == "name") {
    out = Value::borrowed_string(node.name);
  } else if (member == "kind" || member == "capacity_type") {
    out = Value::borrowed_string(policy::capacity_type_name(node.capacity_type));
  } else if (member == "tier") {
    out = Value::borrowed_string(
        policy::tier_name(board_.sites[board_.classes[board_.node_class[node_]].site]->tier));
  } else if (member == "labels") {
    out = labels_of(node.labels);
  } else if (member == "accelerator") {
    out = Value::borrowed_string(node.accelerator_model);
  } else if (member == "accelerators") {
    out = Value::integer(std::int64_t(node.devices_free.size()));
  } else if (member == "accelerator_memory") {
    out = Value::integer(node.accelerator_memory.value);
  } else if (member == "accelerators_free") {
    std::int64_t total = 0;
    for (const auto free : board_.devices(node_)) total += free;
    out = count_of(total);
  } else if (member == "cpu") {
    out = Value::real(double(node.cores_allocatable.value) / 1000);
  } else if (member == "cpu_free") {
    out = Value::real(double(board_.cores_free[node_]) / 1000);
  } else if (member == "memory") {
    out = Value::integer(node.memory_allocatable.value);
  } else if (member == "memory_free") {
    out = Value::integer(board_.memory_free[node_]);
  } else if (member == "load") {
    const auto total = node.cores_allocatable.value;
    out = Value::real(total > 0 ? 1 - double(board_.cores_free[node_]) / double(total) : 1);
  } else if (member == "versions") {
    Value::MapEntries entries;
    for (const auto& [what, version] : node.versions)
      entries.emplace_back(Value::borrowed_string(what), Value::borrowed_string(version));
    out = Value::map(std::move(entries));
  } else {
    return false;
  }
  return true;
}

bool PriceView::find(std::string_view member, Value& out) const {
  const bool is_median = member == "spot_median_30d";
  const auto type =
      is_median ? CapacityType::kSpot : policy::parse_capacity_type(member).value_or(CapacityType::kOwned);
  if (!is_median && !policy::parse_capacity_type(member)) return false;
  const auto hourly = snapshot_.prices.compute_hourly(
      site_.name, finops::CapacityType(type), amounts_of(request_.each, request_.each.accelerator_model));
  if (!hourly) return false;
  double price = double(hourly->value) / 1e6;
  if (is_median) price /= site_.spot_price_to_median > 0 ? site_.spot_price_to_median : 1;
  out = Value::real(price);
  return true;
}

}  // namespace neap::scheduler
