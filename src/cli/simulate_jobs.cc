// simulate jobs: how long do people wait for their training jobs, by rule?
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "internal/output.h"
#include "internal/simulate.h"
#include "neap/simulation/jobs.h"

namespace neap::cli {
namespace {

class SimulateJobs final : public SimulateCommand {
 public:
  CLI::App* add_to(CLI::App& simulate) override {
    auto* command = simulate.add_subcommand("jobs", "Training jobs of a trace on one private cluster");
    command->add_option("--format", format_, "Format of the trace")
        ->check(CLI::IsMember(std::vector<std::string>{"muri"}));
    command->add_option("--trace", trace_, "CSV file, a row a job")->required();
    command->add_option("--gpus", gpus_, "Accelerators, on nodes of 8");
    command
        ->add_option("--policy", policy_,
                     "srtf, srsf: published, know durations; muri-l: published, shares without knowing them; "
                     "neap: as --class says")
        ->check(CLI::IsMember(std::vector<std::string>{"srtf", "srsf", "muri-l", "neap"}));
    command
        ->add_option(
            "--class", class_,
            "known: durations known, each job alone; blind: unknown, alone; sharing: up to four interleave")
        ->check(CLI::IsMember(std::vector<std::string>{"known", "blind", "sharing"}));
    command->add_option("--durations", durations_, "With --class sharing: are durations known?")
        ->check(CLI::IsMember(std::vector<std::string>{"known", "unknown"}));
    command->add_flag("--without-event-overhead", without_overhead_,
                      "Do not charge the published start overhead at every event");
    command->add_flag("--json", json_, "One JSON object");
    return command;
  }

  Task<Result<int>> run(Session& session) override {
    NEAP_CO_TRY(const auto text, session.runtime().files().read_file(trace_));
    NEAP_CO_TRY(const auto trace, simulation::parse_muri(text, trace_));
    const simulation::JobsOptions options{
        .policy = policy(), .gpus = gpus_, .event_overhead = !without_overhead_};
    NEAP_CO_TRY(const auto report, co_await session.runtime().offload(
                                       [&] { return simulation::simulate_jobs(trace, options); }));
    if (json_) {
      const Json answer = JsonObject{{"jobs", report.jobs},
                                     {"jct_average_s", report.jct_average_s},
                                     {"jct_p99_s", report.jct_p99_s},
                                     {"makespan_s", report.makespan_s}};
      session.print(to_text(answer) + "\n");
    } else {
      session.print(fmt::format("{:<12}{:>16}{:>16}{:>16}\n{:<12}{:>16.0f}{:>16.0f}{:>16.0f}\n", "JOBS",
                                "JCT AVERAGE s", "JCT P99 s", "MAKESPAN s", report.jobs, report.jct_average_s,
                                report.jct_p99_s, report.makespan_s));
    }
    co_return 0;
  }

 private:
  simulation::JobsOptions::Policy policy() const {
    using Policy = simulation::JobsOptions::Policy;
    if (policy_ == "srtf") return Policy::kSrtf;
    if (policy_ == "srsf") return Policy::kSrsf;
    if (policy_ == "muri-l") return Policy::kMuriL;
    if (class_ == "known") return Policy::kKnown;
    if (class_ == "blind") return Policy::kBlind;
    return durations_ == "known" ? Policy::kSharingKnown : Policy::kSharingBlind;
  }

  std::string format_ = "muri", trace_, policy_ = "neap", class_ = "known", durations_ = "known";
  int gpus_ = 64;
  bool without_overhead_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<SimulateCommand> make_simulate_jobs() { return std::make_unique<SimulateJobs>(); }

}  // namespace neap::cli
