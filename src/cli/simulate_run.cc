// simulate run: a scenario of places, prices, rules and load, replayed through the engine that decides.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <span>

#include "internal/output.h"
#include "internal/simulate.h"
#include "neap/simulation/comparison.h"
#include "neap/simulation/html_report.h"
#include "neap/simulation/run.h"

namespace neap::cli {
namespace {

constexpr std::uint64_t kScenarioBytesMax = 4u << 20, kTraceBytesMax = 256u << 20;
constexpr int kRunsMax = 8;

using simulation::RunReport;
using simulation::Spread;

std::string hours_text(double seconds) { return fmt::format("{:.2f} h", seconds / 3600); }
std::string spread_text(const Spread& value) {
  return fmt::format("mean {}, p50 {}, p99 {}", hours_text(value.mean), hours_text(value.p50),
                     hours_text(value.p99));
}

std::string table_of(const RunReport& report, double seconds) {
  const auto& currency = report.cost.currency;
  const auto money = [&](MoneyMicros amount) { return money_text(amount.value, currency); };
  std::vector<std::vector<std::string>> rows{{"MEASURE", "VALUE"}};
  const auto add = [&](std::string name, std::string value) {
    rows.push_back({std::move(name), std::move(value)});
  };
  add("scenario", fmt::format("{} ({}, seed {})", report.name, report.variant, report.seed));
  add("simulated", fmt::format("{:.1f} h, {} nodes, {:g} accelerators", report.simulated_h, report.nodes,
                               report.accelerators));
  add("jobs", fmt::format("{} came, {} ended, {} run, {} wait", report.arrived, report.ended, report.running,
                          report.waiting));
  add("completion time", spread_text(report.jct_s));
  add("waiting time", spread_text(report.wait_s));
  if (report.with_deadline > 0)
    add("late", fmt::format("{} of {} with a deadline", report.late, report.with_deadline));
  add("accelerators in use",
      fmt::format("{:.1f} % of {:g} owned or reserved", 100 * report.accelerators_own.share(),
                  report.accelerators_own.capacity / 1000));
  add("accelerators rented", fmt::format("{:.2f} on average", report.accelerators_rented.used / 1000));
  add("fragmentation", fmt::format("{:.1f} % of what is idle", 100 * report.fragmentation));
  add("moves, preemptions", fmt::format("{}, {}", report.moves, report.preemptions));
  add("reclaims, failures",
      fmt::format("{}, {}; {:.1f} h of work lost", report.reclaims, report.failures, report.lost_work_h));
  for (const auto& queue : report.queues)
    add("queue " + (queue.name.empty() ? std::string("(none)") : queue.name),
        fmt::format(
            "{:.1f} % of all, {:.1f} accelerator-hours, {:.1f} borrowed; {} backfilled, {} gave back, {} "
            "took back; waited {:.2f} h on average",
            100 * queue.share, queue.accelerator_h, queue.borrowed_h, queue.backfilled, queue.gave_back,
            queue.took_back, queue.wait_s.mean / 3600));
  for (const auto& service : report.services)
    add("service " + service.name,
        fmt::format("{:.0f} requests, {:.1f} replica-hours wanted, {:.2f} % short", service.requests,
                    service.wanted_h, service.wanted_h > 0 ? 100 * service.short_h / service.wanted_h : 0));
  add("cost", money(report.cost.total));
  for (const auto& [project, amount] : report.cost.by_project) add("  project " + project, money(amount));
  if (report.ownership.total.value > 0)
    add("cost of ownership",
        fmt::format("{}: rented {}, egress {}, hardware {}, operation {}", money(report.ownership.total),
                    money(report.ownership.rented), money(report.ownership.egress),
                    money(report.ownership.hardware), money(report.ownership.operation)));
  if (!report.cost.carbon_kg_by_site.empty()) {
    double kg = 0;
    for (const auto& [site, part] : report.cost.carbon_kg_by_site) kg += part;
    const auto unknown = report.cost.carbon_unknown.size();
    add("carbon",
        fmt::format("{:.1f} kg CO2e at full power{}", kg,
                    unknown > 0 ? fmt::format("; {} sites state no carbonIntensity", unknown) : ""));
  }
  add("replay", fmt::format("{} events, {} decisions in {:.2f} s ({:.0f} events/s)", report.events,
                            report.decisions, seconds, seconds > 0 ? double(report.events) / seconds : 0));
  auto out = render_table(rows);
  for (std::size_t i = 0; i < std::min<std::size_t>(report.waiting_jobs.size(), 5); ++i)
    out += printable(fmt::format("waits: {} ({}): {}", report.waiting_jobs[i].name,
                                 report.waiting_jobs[i].project, report.waiting_jobs[i].reason)) +
           "\n";
  for (const auto& route : report.cost.unpriced)
    out += printable(fmt::format(
               "no egress price from {}: counted as nothing; write it in a Link or in spec.egress", route)) +
           "\n";
  return out;
}

std::string comparison_of(const std::vector<RunReport>& runs) {
  std::vector<std::vector<std::string>> rows{{"MEASURE"}};
  for (const auto& run : runs) rows.front().push_back(fmt::format("{} ({})", run.name, run.variant));
  for (const auto& row : simulation::compare_runs(runs)) {
    std::vector<std::string> cells{row.measure};
    for (std::size_t i = 0; i < row.texts.size(); ++i)
      cells.push_back(i > 0 && row.ratios[i] ? fmt::format("{} (x {:.2f})", row.texts[i], *row.ratios[i])
                                             : row.texts[i]);
    rows.push_back(std::move(cells));
  }
  const auto least =
      std::ranges::min_element(runs, {}, [](const RunReport& run) { return run.ownership.invested.value; });
  std::vector<std::string> payback{"Machines paid for after"};
  for (const auto& run : runs) {
    const auto years = simulation::payback_years(run, *least);
    payback.push_back(years ? fmt::format("{:.2f} years", *years) : "-");
  }
  rows.push_back(std::move(payback));
  return render_table(rows);
}

class SimulateRun final : public SimulateCommand {
 public:
  CLI::App* add_to(CLI::App& simulate) override {
    auto* command = simulate.add_subcommand("run", "A scenario of places, prices, rules and load");
    auto* file =
        command
            ->add_option("-f,--file", files_, "YAML file: one Simulation and the Sites, Queues, ... it uses")
            ->expected(1);
    auto* compare =
        command->add_option("--compare", files_, "Several such files, side by side with ratios to the first")
            ->expected(2, kRunsMax);
    file->excludes(compare);
    command
        ->add_option(
            "--policy", placings_,
            "hybrid: all places; private: none at public sites; public: nothing else. Several are compared")
        ->delimiter(',')
        ->check(CLI::IsMember(std::vector<std::string>{"hybrid", "private", "public"}));
    command->add_option("--seed", seed_, "Draws arrivals, durations, failures; instead of the file's")
        ->check(check_seed);
    command->add_option("--html", html_,
                        "Also write the answer with charts to this file, which needs nothing else");
    command->add_flag("--json", is_json_, "One JSON object instead of the table");
    return command;
  }

  Task<Result<int>> run(Session& session) override {
    if (files_.empty())
      co_return fail(Code::kInvalidArgument, "cli.usage",
                     "no scenario is named; write -f FILE, or --compare FILE FILE");
    if (placings_.empty()) placings_.emplace_back("hybrid");
    if (files_.size() * placings_.size() > kRunsMax)
      co_return fail(Code::kInvalidArgument, "cli.usage",
                     fmt::format("at most {} runs are compared; name fewer", kRunsMax));
    auto& files = session.runtime().files();
    const auto& clock = session.runtime().clock();
    NEAP_CO_TRY(const auto done,
                co_await session.runtime().offload([&] { return replay_all(files, clock); }));
    if (!html_.empty()) NEAP_CO_TRY_VOID(files.write_file_atomic(html_, simulation::render_html(done.runs)));
    if (done.runs.size() == 1)
      session.print(is_json_ ? to_text(simulation::to_json(done.runs.front())) + "\n"
                             : table_of(done.runs.front(), done.seconds));
    else
      session.print(is_json_ ? to_text(simulation::to_json(std::span<const RunReport>(done.runs))) + "\n"
                             : comparison_of(done.runs));
    co_return 0;
  }

 private:
  struct Done {
    std::vector<RunReport> runs;
    double seconds = 0;  // of the replays; reading is not in it
  };
  Result<Done> replay_all(io::FileSystem& files, const Clock& clock) const {
    Done done;
    for (const auto& file : files_) {
      NEAP_TRY(const auto scenario, read(files, file));
      for (const auto& word : placings_) {
        auto variant = scenario;
        NEAP_TRY_VOID(simulation::restrict_places(variant, *simulation::parse_placing(word)));
        const auto begin = clock.now();
        NEAP_TRY(auto report, simulation::run_scenario(variant));
        done.seconds += to_seconds(clock.now() - begin);
        report.variant = word;
        done.runs.push_back(std::move(report));
      }
    }
    return done;
  }
  Result<simulation::Scenario> read(io::FileSystem& files, const std::string& file) const {
    NEAP_TRY(const auto text, files.read_file(file, kScenarioBytesMax));
    const auto slash = file.rfind('/');
    const auto folder = slash == std::string::npos ? std::string() : file.substr(0, slash + 1);
    const auto read_beside = [&](const std::string& path) {
      return files.read_file(path.starts_with('/') ? path : folder + path, kTraceBytesMax);
    };
    return simulation::read_scenario(text, file, read_beside, seed_);
  }

  std::vector<std::string> files_, placings_;
  std::string html_;
  std::optional<std::uint64_t> seed_;
  bool is_json_ = false;
};

}  // namespace

std::unique_ptr<SimulateCommand> make_simulate_run() { return std::make_unique<SimulateRun>(); }

}  // namespace neap::cli
