// simulate burst: what does the cloud behind a private cluster cost, and how much longer do jobs take?
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "internal/output.h"
#include "internal/simulate.h"
#include "neap/simulation/burst.h"

namespace neap::cli {
namespace {

class SimulateBurst final : public SimulateCommand {
 public:
  CLI::App* add_to(CLI::App& simulate) override {
    auto* command =
        simulate.add_subcommand("burst", "Training jobs of a trace on a private cluster and a cloud");
    command->add_option("--format", format_, "Format of the trace")
        ->check(CLI::IsMember(std::vector<std::string>{"muri"}));
    command->add_option("--trace", trace_, "CSV file, a row a job")->required();
    command->add_option("--capacity-ratio", ratio_, "Private accelerators over the mean load of the trace");
    command
        ->add_option(
            "--policy", policy_,
            "zero-wait, starburst: published; drift: nobody waits, running jobs come home; neap: wait while "
            "the forecast start is worth it, and come home")
        ->check(CLI::IsMember(std::vector<std::string>{"zero-wait", "starburst", "drift", "neap"}));
    command->add_flag("--json", json_, "One JSON object");
    return command;
  }

  Task<Result<int>> run(Session& session) override {
    NEAP_CO_TRY(const auto text, session.runtime().files().read_file(trace_));
    NEAP_CO_TRY(const auto trace, simulation::parse_muri(text, trace_));
    const simulation::BurstOptions options{.policy = policy(), .capacity_ratio = ratio_};
    NEAP_CO_TRY(const auto report, co_await session.runtime().offload(
                                       [&] { return simulation::simulate_burst(trace, options); }));
    if (json_) {
      const Json answer = JsonObject{{"cloud_bill", report.cloud_gpu_hours},
                                     {"jct_average_s", report.jct_average_s},
                                     {"moves", report.moves}};
      session.print(to_text(answer) + "\n");
    } else {
      session.print(fmt::format("{:<8}{:>18}{:>20}{:>16}{:>8}\n{:<8}{:>18.0f}{:>20.0f}{:>16.0f}{:>8}\n",
                                "NODES", "CLOUD GPU-HOURS", "PRIVATE GPU-HOURS", "JCT AVERAGE s", "MOVES",
                                report.nodes, report.cloud_gpu_hours, report.private_gpu_hours,
                                report.jct_average_s, report.moves));
    }
    co_return 0;
  }

 private:
  simulation::BurstOptions::Policy policy() const {
    using Policy = simulation::BurstOptions::Policy;
    if (policy_ == "zero-wait") return Policy::kZeroWait;
    if (policy_ == "starburst") return Policy::kStarburst;
    return policy_ == "drift" ? Policy::kDrift : Policy::kNeap;
  }

  std::string format_ = "muri", trace_, policy_ = "neap";
  double ratio_ = 1.2;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<SimulateCommand> make_simulate_burst() { return std::make_unique<SimulateBurst>(); }

}  // namespace neap::cli
