// Nanoseconds a rule, beside the same decision written in C++ over the same data, and beside compiling the
// rule for each request. Prints ratios of one run.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "neap/base/json.h"
#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace {

using neap::policy::Activation;
using neap::policy::Value;

// What the scheduler's views do: members computed when asked for.
class TaskView final : public neap::policy::ObjectView {
 public:
  bool find(std::string_view member, Value& out) const override {
    if (member == "type")
      out = Value::borrowed_string(type);
    else if (member == "gpu_demand")
      out = Value::integer(gpu_demand);
    else if (member == "latency_requirement")
      out = Value::duration(latency);
    else if (member == "data_level")
      out = Value::borrowed_string(level);
    else
      return false;
    return true;
  }
  std::string type = "training", level = "L2";
  std::int64_t gpu_demand = 16;
  neap::Duration latency = std::chrono::milliseconds(50);
};

class SiteView final : public neap::policy::ObjectView {
 public:
  bool find(std::string_view member, Value& out) const override {
    if (member == "tier")
      out = Value::borrowed_string(tier);
    else if (member == "jurisdiction")
      out = Value::borrowed_string(jurisdiction);
    else if (member == "labels")
      out = Value::borrowed(labels);
    else
      return false;
    return true;
  }
  std::string tier = "public", jurisdiction = "EU";
  neap::Json labels = neap::parse_json(R"({"a/x": "1", "b/y": "2", "pii/face": "3", "c": "4"})").value();
};

double nanos_each(const std::function<bool()>& once) {
  using clock = std::chrono::steady_clock;
  double best = 1e18;
  bool seen = false;
  for (int round = 0; round < 9; ++round) {
    constexpr int kCount = 40'000;
    const auto begin = clock::now();
    for (int i = 0; i < kCount; ++i) {
      seen ^= once();
      asm volatile("" ::"r"(seen) : "memory");
    }
    best = std::min(best, std::chrono::duration<double, std::nano>(clock::now() - begin).count() / kCount);
  }
  return best;
}

struct Row {
  const char* text;
  std::function<bool()> by_hand;
};

}  // namespace

int main() {
  const TaskView task;
  const SiteView site;
  Activation activation;
  activation.bind("task", Value::borrowed(task)).bind("site", Value::borrowed(site));
  const std::vector<Row> rows{
      {"task.type == 'training' && task.gpu_demand > 8",
       [&] { return task.type == "training" && task.gpu_demand > 8; }},
      {"task.type == 'inference' AND task.latency_requirement < 20ms",
       [&] { return task.type == "inference" && task.latency < std::chrono::milliseconds(20); }},
      {"task.data_level != 'L1' || site.jurisdiction == 'CN'",
       [&] { return task.level != "L1" || site.jurisdiction == "CN"; }},
      {"task.latency_requirement < duration('20ms') || site.tier in ['edge', 'private']",
       [&] {
         return task.latency < std::chrono::milliseconds(20) || site.tier == "edge" || site.tier == "private";
       }},
      {"site.labels.exists(l, l.startsWith('pii/')) && size(site.labels) < 10",
       [&] {
         for (const auto& label : site.labels.get_object())
           if (std::string_view(label.key()).starts_with("pii/")) return site.labels.get_object().size() < 10;
         return false;
       }},
  };
  fmt::print("{:>8} {:>8} {:>8} {:>10} {:>9}  rule\n", "ns/rule", "by hand", "ratio", "compile us",
             "x compile");
  for (const auto& row : rows) {
    const auto program = neap::policy::compile(row.text, neap::policy::placement_environment());
    if (!program) {
      fmt::print("{}\n", program.error().message);
      return 1;
    }
    const auto ask = [&] { return neap::policy::evaluate_condition(*program, activation).value(); };
    if (ask() != row.by_hand()) {
      fmt::print("the rule and its C++ disagree: {}\n", row.text);
      return 1;
    }
    const double rule = nanos_each(ask), hand = nanos_each(row.by_hand);
    using clock = std::chrono::steady_clock;
    double compile = 1e18;
    for (int i = 0; i < 300; ++i) {
      const auto begin = clock::now();
      const auto again = neap::policy::compile(row.text, neap::policy::placement_environment());
      compile = std::min(compile, std::chrono::duration<double, std::nano>(clock::now() - begin).count());
      if (!again) return 1;
    }
    fmt::print("{:8.1f} {:8.1f} {:8.1f} {:10.1f} {:9.0f}  {}\n", rule, hand, rule / hand, compile / 1000,
               compile / rule, row.text);
  }
  return 0;
}
