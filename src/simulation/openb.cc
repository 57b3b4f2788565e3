#include "neap/simulation/openb.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "neap/simulation/csv.h"

namespace neap::simulation {
namespace {

constexpr std::size_t kModelsMax = 64;
constexpr std::int64_t kDevice = 1000;
// Of a node or task: a billion cores in thousandths, an exbibyte in MiB. Sums over millions of rows fit.
constexpr std::int64_t kAmountMax = 1'000'000'000'000;
// Tasks that may start on one node, as in the published runs.
constexpr std::int32_t kTasksOfNode = 1001;

Result<std::int64_t> amount(const CsvTable& table, std::string_view name, std::size_t row,
                            std::string_view column, std::int64_t least, std::int64_t most) {
  NEAP_TRY(const auto at, table.column(column));
  NEAP_TRY(const auto value, table.integer(row, at));
  if (value < least || value > most)
    return fail(Code::kInvalidArgument, "simulation.openb",
                fmt::format("{}:{}: {} is {}; it must be between {} and {}", name, table.line(row), column,
                            value, least, most));
  return value;
}

Status read_nodes(NamedText file, OpenbTrace& trace) {
  NEAP_TRY(const auto table, CsvTable::parse(file.text, file.name));
  NEAP_TRY(const auto model_at, table.column("model"));
  for (std::size_t row = 0; row < table.rows(); ++row) {
    scheduler::PackingNode node;
    NEAP_TRY(node.cores, amount(table, file.name, row, "cpu_milli", 0, kAmountMax));
    NEAP_TRY(node.memory, amount(table, file.name, row, "memory_mib", 0, kAmountMax));
    NEAP_TRY(const auto devices,
             amount(table, file.name, row, "gpu", 0, std::int64_t(scheduler::kPackingDevicesMax)));
    node.tasks = kTasksOfNode;
    node.devices.assign(std::size_t(devices), std::int32_t(kDevice));
    const auto model = table.text(row, model_at);
    const auto known = std::ranges::find(trace.models, model);
    node.model = std::uint32_t(known - trace.models.begin());
    if (known == trace.models.end()) {
      if (trace.models.size() == kModelsMax)
        return fail(Code::kResourceExhausted, "simulation.openb",
                    fmt::format("{}:{}: more than {} accelerator models; split the cluster", file.name,
                                table.line(row), kModelsMax));
      trace.models.emplace_back(model);
    }
    trace.devices_milli += kDevice * devices;
    trace.nodes.push_back(std::move(node));
  }
  if (trace.devices_milli == 0)
    return fail(Code::kInvalidArgument, "simulation.openb",
                fmt::format("{} has no node with an accelerator; load is measured against them", file.name));
  return ok();
}

// Models no node has are kept out: a task tied to them alone has a seat nowhere.
std::uint64_t models_of(std::string_view spec, const std::vector<std::string>& models) {
  if (spec.empty()) return ~std::uint64_t(0);
  std::uint64_t mask = 0;
  for (;;) {
    const auto end = std::min(spec.find('|'), spec.size());
    for (std::size_t m = 0; m < models.size(); ++m)
      if (models[m] == spec.substr(0, end)) mask |= std::uint64_t(1) << m;
    if (end == spec.size()) return mask;
    spec.remove_prefix(end + 1);
  }
}

Status read_tasks(NamedText file, OpenbTrace& trace) {
  NEAP_TRY(const auto table, CsvTable::parse(file.text, file.name));
  NEAP_TRY(const auto name_at, table.column("name"));
  const bool has_spec = table.has("gpu_spec");
  const auto spec_at = has_spec ? table.column("gpu_spec").value() : 0;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    scheduler::PackingTask task;
    NEAP_TRY(task.cores, amount(table, file.name, row, "cpu_milli", 0, kAmountMax));
    NEAP_TRY(task.memory, amount(table, file.name, row, "memory_mib", 0, kAmountMax));
    NEAP_TRY(const auto devices,
             amount(table, file.name, row, "num_gpu", 0, std::int64_t(scheduler::kPackingDevicesMax)));
    if (devices > 0) {
      NEAP_TRY(const auto milli,
               amount(table, file.name, row, "gpu_milli", devices == 1 ? 1 : kDevice, kDevice));
      task.devices = std::int32_t(devices);
      task.milli = std::int32_t(milli);
      if (has_spec) task.models = models_of(table.text(row, spec_at), trace.models);
    }
    trace.tasks.push_back({std::string(table.text(row, name_at)), task});
  }
  if (trace.tasks.empty())
    return fail(Code::kInvalidArgument, "simulation.openb",
                fmt::format("{} has no task; at least one row must follow the header", file.name));
  std::ranges::sort(trace.tasks, {}, [](const OpenbTask& t) {
    return std::tuple(std::string_view(t.name), t.task.cores, t.task.memory, t.task.devices, t.task.milli,
                      t.task.models);
  });
  return ok();
}

}  // namespace

Result<OpenbTrace> read_openb(NamedText nodes, NamedText tasks) {
  OpenbTrace trace;
  NEAP_TRY_VOID(read_nodes(nodes, trace));
  NEAP_TRY_VOID(read_tasks(tasks, trace));
  return trace;
}

}  // namespace neap::simulation
