// cost, audit and top: what it cost, what crossed a border, what is in use.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "internal/commands.h"
#include "internal/output.h"

namespace neap::cli {
namespace {

const JsonArray& get_list(const Json& object, std::string_view key) {
  static const JsonArray empty;
  const auto* list = find_path(object, {key});
  return list && list->is_array() ? list->get_array() : empty;
}

// Against what it would have cost there.
std::string comparison_line(std::string_view what, std::int64_t actual, std::int64_t elsewhere,
                            std::string_view currency) {
  if (elsewhere <= 0) return fmt::format("{:<13}{}\n", what, money_text(elsewhere, currency));
  const double percent = 100.0 * (double(elsewhere) - double(actual)) / double(elsewhere);
  const bool is_saved = actual <= elsewhere;
  return fmt::format("{:<13}{} (this bill is {:.1f} % {})\n", what, money_text(elsewhere, currency),
                     std::fabs(percent), is_saved ? "lower" : "higher");
}

// This month by what full days and weekdays cost so far, and the days that stood out.
std::string trends_text(const Json& bill, std::string_view currency) {
  std::vector<std::vector<std::string>> rows{{"PROJECT", "THIS MONTH", "EXPECTED", "LIKELY RANGE"}};
  for (const auto& line : get_list(bill, "outlook"))
    rows.push_back({or_dash(get_string(line, "project")),
                    money_text(get_int(line, "so_far_micros"), currency),
                    money_text(get_int(line, "expected_micros"), currency),
                    fmt::format("{} to {}", money_text(get_int(line, "low_micros"), currency),
                                money_text(get_int(line, "high_micros"), currency))});
  std::string out = rows.size() == 1 ? "" : "\n" + render_table(rows);
  for (const auto& found : get_list(bill, "anomalies"))
    out += fmt::format("unusual in {}: {}\n", get_string(found, "project"), get_string(found, "sentence"));
  return out;
}

std::string cost_text(const Json& bill) {
  const std::string currency(get_string(bill, "currency"));
  std::vector<std::vector<std::string>> rows{{"PROJECT", "TEAM", "MODEL", "KIND", "AMOUNT"}};
  for (const auto& line : get_list(bill, "lines"))
    rows.push_back({or_dash(get_string(line, "project")), or_dash(get_string(line, "team")),
                    or_dash(get_string(line, "model")), or_dash(get_string(line, "kind")),
                    money_text(get_int(line, "micros"), currency)});
  std::string out = rows.size() == 1 ? "No usage was billed yet.\n" : render_table(rows);
  const auto total = get_int(bill, "total_micros");
  out += fmt::format("\n{:<13}{}\n", "total", money_text(total, currency));
  if (find_path(bill, {"all_public_micros"}))
    out += comparison_line("all public", total, get_int(bill, "all_public_micros"), currency);
  if (find_path(bill, {"all_private_micros"}))
    out += comparison_line("all private", total, get_int(bill, "all_private_micros"), currency);
  return out + trends_text(bill, currency);
}

std::string audit_text(const Json& answer) {
  std::vector<std::vector<std::string>> rows{
      {"TIME", "TYPE", "FROM", "TO", "LEVEL", "BYTES", "PURPOSE", "RULE OR REASON"}};
  for (const auto& entry : get_list(answer, "entries")) {
    const bool is_refusal = get_string(entry, "type").ends_with("refusal");
    rows.push_back({or_dash(get_string(entry, "time")), or_dash(get_string(entry, "type")),
                    or_dash(get_string(entry, "from")), or_dash(get_string(entry, "to")),
                    or_dash(get_string(entry, "level")),
                    find_path(entry, {"bytes"}) ? bytes_text(get_int(entry, "bytes")) : "-",
                    or_dash(get_string(entry, "purpose")),
                    or_dash(get_string(entry, is_refusal ? "reason" : "rule"))});
  }
  return rows.size() == 1 ? "Nothing crossed a border and nothing was refused.\n" : render_table(rows);
}

struct Use {
  std::int64_t cores_used = 0, cores = 0, memory_used = 0, memory = 0;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> accelerators;  // model -> used, all
};

std::int64_t cores_of(const Json* resources) {
  const auto* text = resources ? find_path(*resources, {"cpu"}) : nullptr;
  if (!text) return 0;
  const auto parsed = parse_cores(text->is_string() ? std::string(text->get_string()) : to_text(*text));
  return parsed ? parsed->value : 0;
}
std::int64_t memory_of(const Json* resources) {
  const auto* text = resources ? find_path(*resources, {"memory"}) : nullptr;
  if (!text) return 0;
  const auto parsed = parse_bytes(text->is_string() ? std::string(text->get_string()) : to_text(*text));
  return parsed ? parsed->value : 0;
}
std::map<std::string, std::int64_t> accelerators_of(const Json* resources) {
  std::map<std::string, std::int64_t> out;
  const auto* map = resources ? find_path(*resources, {"accelerators"}) : nullptr;
  if (map && map->is_object())
    for (const auto& member : map->get_object()) {
      const auto text =
          member.value().is_string() ? std::string(member.value().get_string()) : to_text(member.value());
      if (const auto parsed = parse_accelerators(text)) out[std::string(member.key())] = parsed->value;
    }
  return out;
}

std::string share(std::int64_t used, std::int64_t all) {
  return all > 0 ? fmt::format("{:.0f}%", 100.0 * double(used) / double(all)) : "-";
}
std::string thousandths(std::int64_t value) {
  return value % 1000 == 0 ? fmt::format("{}", value / 1000) : fmt::format("{:.2f}", double(value) / 1000);
}
std::vector<std::string> use_cells(const Use& use) {
  std::string accelerators;
  for (const auto& [model, amounts] : use.accelerators)
    accelerators += fmt::format("{}{} {}/{}", accelerators.empty() ? "" : ", ", model,
                                thousandths(amounts.first), thousandths(amounts.second));
  return {fmt::format("{}/{}", thousandths(use.cores_used), thousandths(use.cores)),
          share(use.cores_used, use.cores),
          fmt::format("{}/{}", bytes_text(use.memory_used), bytes_text(use.memory)),
          share(use.memory_used, use.memory), or_dash(accelerators)};
}

bool is_ready(const Json& node) {
  const auto* list = find_path(node, {"status", "conditions"});
  if (list && list->is_array())
    for (const auto& one : list->get_array())
      if (get_string(one, "type") == "Ready") return get_string(one, "status") == "True";
  return false;
}

// What allocations that have not ended hold on each node: reserved, not measured.
std::map<std::string, Use> held_by_node(const Json& allocations) {
  std::map<std::string, Use> out;
  for (const auto& item : get_list(allocations, "items")) {
    const auto* spec = find_path(item, {"spec"});
    const auto* status = find_path(item, {"status"});
    const auto phase = status ? get_string(*status, "phase") : std::string_view{};
    if (!spec || phase == "Succeeded" || phase == "Failed" || phase == "Released") continue;
    auto& use = out[std::string(get_string(*spec, "node"))];
    const auto* resources = find_path(*spec, {"resources"});
    use.cores_used += cores_of(resources);
    use.memory_used += memory_of(resources);
    for (const auto& [model, amount] : accelerators_of(resources)) use.accelerators[model].first += amount;
  }
  return out;
}

Task<Result<int>> top_nodes(Session& session, std::string output) {
  NEAP_CO_TRY(const auto nodes, co_await fetch_list(session, {"neap.dev", "v1", "nodes", "", "", ""}, {}));
  NEAP_CO_TRY(const auto allocations,
              co_await fetch_list(session, {"neap.dev", "v1", "allocations", "", "", ""}, {}));
  auto held = held_by_node(allocations);
  std::vector<std::vector<std::string>> rows{
      {"NAME", "SITE", "READY", "CPU", "CPU%", "MEMORY", "MEMORY%", "ACCELERATORS"}};
  JsonArray items;
  for (const auto& node : get_list(nodes, "items")) {
    const std::string name(get_string(node.at("metadata"), "name"));
    const auto* spec = find_path(node, {"spec"});
    const auto site = spec ? get_string(*spec, "site") : std::string_view{};
    auto use = held[name];
    const auto* capacity = find_path(node, {"status", "capacity"});
    use.cores = cores_of(capacity);
    use.memory = memory_of(capacity);
    for (const auto& [model, amount] : accelerators_of(capacity)) use.accelerators[model].second = amount;
    std::vector<std::string> row{name, or_dash(site), is_ready(node) ? "True" : "False"};
    for (auto& cell : use_cells(use)) row.push_back(std::move(cell));
    rows.push_back(std::move(row));
    items.push_back(JsonObject{{"name", name},
                               {"site", boost::json::string(site)},
                               {"ready", is_ready(node)},
                               {"cpuMillicoresHeld", use.cores_used},
                               {"cpuMillicores", use.cores},
                               {"memoryBytesHeld", use.memory_used},
                               {"memoryBytes", use.memory}});
  }
  session.print(output.empty() ? render_table(rows)
                               : structured_text(JsonObject{{"nodes", std::move(items)}}, output));
  co_return 0;
}

Task<Result<int>> top_sites(Session& session, std::string output) {
  NEAP_CO_TRY(const auto sites, co_await fetch_list(session, {"neap.dev", "v1", "sites", "", "", ""}, {}));
  std::vector<std::vector<std::string>> rows{
      {"NAME", "TIER", "NODES", "CPU", "CPU%", "MEMORY", "MEMORY%", "ACCELERATORS"}};
  JsonArray items;
  for (const auto& site : get_list(sites, "items")) {
    const std::string name(get_string(site.at("metadata"), "name"));
    const auto* spec = find_path(site, {"spec"});
    const auto tier = spec ? get_string(*spec, "tier") : std::string_view{};
    const auto* status = find_path(site, {"status"});
    const auto* capacity = find_path(site, {"status", "capacity"});
    const auto* free = find_path(site, {"status", "free"});
    Use use;
    use.cores = cores_of(capacity);
    use.cores_used = use.cores - cores_of(free);
    use.memory = memory_of(capacity);
    use.memory_used = use.memory - memory_of(free);
    const auto idle = accelerators_of(free);
    for (const auto& [model, amount] : accelerators_of(capacity))
      use.accelerators[model] = {amount - (idle.contains(model) ? idle.at(model) : 0), amount};
    std::vector<std::string> row{name, or_dash(tier),
                                 fmt::format("{}/{}", status ? get_int(*status, "nodesReady") : 0,
                                             status ? get_int(*status, "nodes") : 0)};
    for (auto& cell : use_cells(use)) row.push_back(std::move(cell));
    rows.push_back(std::move(row));
    items.push_back(JsonObject{{"name", name},
                               {"tier", boost::json::string(tier)},
                               {"cpuMillicoresHeld", use.cores_used},
                               {"cpuMillicores", use.cores},
                               {"memoryBytesHeld", use.memory_used},
                               {"memoryBytes", use.memory}});
  }
  session.print(output.empty() ? render_table(rows)
                               : structured_text(JsonObject{{"sites", std::move(items)}}, output));
  co_return 0;
}

}  // namespace

// The bill as a FOCUS dataset, in CSV.
static Task<Result<int>> run_focus_export(Session& session, CostOptions options) {
  std::string target = "/neap/v1/focus";
  char separator = '?';
  for (const auto& [name, value] :
       {std::pair{"project", &options.project}, {"from", &options.from}, {"to", &options.to}})
    if (!value->empty()) {
      target += fmt::format("{}{}={}", separator, name, io::url_encode(*value));
      separator = '&';
    }
  NEAP_CO_TRY(const auto csv, co_await session.fetch_text(std::move(target)));
  session.print(csv);
  co_return 0;
}

Task<Result<int>> run_cost(Session& session, CostOptions options) {
  if (options.output == "focus") co_return co_await run_focus_export(session, std::move(options));
  if (!options.from.empty() || !options.to.empty())
    co_return fail(Code::kInvalidArgument, "cli.cost.period",
                   "--from and --to choose rows of the FOCUS export; add -o focus or leave them out");
  std::string target = "/neap/v1/cost";
  if (!options.project.empty()) target += "?project=" + io::url_encode(options.project);
  NEAP_CO_TRY(const auto bill, co_await session.fetch("GET", target));
  session.print(options.output.empty() ? cost_text(bill) : structured_text(bill, options.output));
  co_return 0;
}

Task<Result<int>> run_audit(Session& session, AuditOptions options) {
  std::string target = "/neap/v1/audit";
  if (!options.type.empty()) target += "?type=" + io::url_encode(options.type);
  if (options.output == "k8s") {
    target += options.type.empty() ? "?format=k8s" : "&format=k8s";
    NEAP_CO_TRY(const auto events, co_await session.fetch("GET", target));
    session.print(structured_text(events, "json"));
    co_return 0;
  }
  NEAP_CO_TRY(const auto answer, co_await session.fetch("GET", target));
  const bool is_verified = get_bool(answer, "log_verified");
  if (!options.output.empty()) {
    session.print(structured_text(answer, options.output));
  } else {
    if (!options.verify_only) session.print(audit_text(answer));
    if (is_verified)
      session.print(fmt::format(
          "log verified{}{}\n",
          find_path(answer, {"size"}) ? fmt::format(": {} entries", get_int(answer, "size")) : "",
          get_string(answer, "root").empty() ? "" : fmt::format(", root {}", get_string(answer, "root"))));
  }
  if (is_verified) co_return 0;
  const auto why = get_string(answer, "error");
  co_return fail(
      Code::kDataLoss, "cli.audit.unverified",
      fmt::format(
          "the audit log does not verify{}; keep the server's state folder as evidence and compare it "
          "with a backup",
          why.empty() ? std::string() : fmt::format(": {}", why)));
}

Task<Result<int>> run_top(Session& session, TopOptions options) {
  if (options.what == "nodes" || options.what == "node")
    co_return co_await top_nodes(session, options.output);
  co_return co_await top_sites(session, options.output);
}

}  // namespace neap::cli
