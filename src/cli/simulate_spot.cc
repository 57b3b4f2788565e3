// simulate spot: what jobs with a deadline pay on recorded spot capacity under a policy.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "internal/output.h"
#include "internal/simulate.h"
#include "neap/simulation/spot.h"

namespace neap::cli {
namespace {

struct Options {
  std::string traces, policy = "neap";
  simulation::SpotTraceOptions trace;
  double work_hours = 0, deadline_hours = 0, changeover_hours = 0, on_demand_price = 3.06;
  bool prints_json = false;
};

// Whole seconds; the bound keeps the number an integer, the simulation judges the value.
Result<std::int64_t> seconds_of(double hours, std::string_view option) {
  if (!std::isfinite(hours) || hours < 0 || hours > 1e6)
    return fail(Code::kInvalidArgument, "cli.simulate.hours",
                fmt::format("--{} {} is no number of hours; give 0 or more", option, hours));
  return static_cast<std::int64_t>(std::llround(hours * 3600));
}

Result<simulation::SpotSummary> simulate(const std::string& text, const Options& options) {
  NEAP_TRY(const auto rule, simulation::parse_spot_rule(options.policy));
  if (!std::isfinite(options.trace.spot_price) || options.trace.spot_price < 0)
    return fail(Code::kInvalidArgument, "cli.simulate.price",
                "--spot-price is no amount; give dollars an hour, 0 or more");
  simulation::SpotTerms terms{.on_demand_price = options.on_demand_price};
  NEAP_TRY(terms.work_s, seconds_of(options.work_hours, "work-hours"));
  NEAP_TRY(terms.deadline_s, seconds_of(options.deadline_hours, "deadline-hours"));
  NEAP_TRY(terms.changeover_s, seconds_of(options.changeover_hours, "changeover-hours"));
  NEAP_TRY(const auto windows, simulation::parse_spot_windows(text, options.traces, options.trace));
  NEAP_TRY(const auto runs, simulation::simulate_spot(windows, terms, rule));
  return simulation::summarize_spot(runs);
}

class SimulateSpot final : public SimulateCommand {
 public:
  CLI::App* add_to(CLI::App& parent) override {
    auto* spot = parent.add_subcommand("spot", "Jobs with a deadline on recorded spot capacity");
    spot->add_option("--traces", options_.traces, "File of availability windows")->required();
    spot->add_option("--zones", options_.trace.zones, "Only these zones, like us-east-1a,us-east-1c")
        ->delimiter(',');
    spot->add_flag("--pinned", options_.trace.pins_zones, "Each zone's windows are jobs of their own");
    spot->add_option("--work-hours", options_.work_hours, "Work of a job")->required();
    spot->add_option("--deadline-hours", options_.deadline_hours, "Time it has")->required();
    spot->add_option("--changeover-hours", options_.changeover_hours, "Time lost when an instance starts")
        ->required();
    spot->add_option("--policy", options_.policy,
                     "on-demand, greedy, uniform-progress, markov, neap or optimum")
        ->capture_default_str();
    spot->add_option("--on-demand-price", options_.on_demand_price, "$/h")->capture_default_str();
    spot->add_option("--spot-price", options_.trace.spot_price, "$/h where the file has no prices")
        ->capture_default_str();
    spot->add_flag("--json", options_.prints_json, "One JSON object");
    return spot;
  }

  Task<Result<int>> run(Session& session) override {
    NEAP_CO_TRY(const auto text, session.runtime().files().read_file(options_.traces, 256U << 20));
    NEAP_CO_TRY(const auto summary,
                co_await session.runtime().offload([&] { return simulate(text, options_); }));
    if (options_.prints_json) {
      // JSON has no infinity: no cost where some window lets nobody be done in time.
      const auto amount = [](double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); };
      JsonObject object;
      object["runs"] = summary.runs;
      object["cost_mean"] = amount(summary.cost_mean);
      object["cost_std"] = amount(summary.cost_std);
      object["late"] = summary.late;
      session.print(to_text(Json(object)) + "\n");
      co_return 0;
    }
    session.print(render_table(
        {{"POLICY", "RUNS", "MEAN USD", "STD USD", "LATE"},
         {options_.policy, fmt::format("{}", summary.runs), fmt::format("{:.3f}", summary.cost_mean),
          fmt::format("{:.3f}", summary.cost_std), fmt::format("{}", summary.late)}}));
    co_return 0;
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<SimulateCommand> make_simulate_spot() { return std::make_unique<SimulateSpot>(); }

}  // namespace neap::cli
