// simulate placement: how much of a cluster is allocated after a list of tasks arrived.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "internal/output.h"
#include "internal/simulate.h"
#include "neap/simulation/placement.h"

namespace neap::cli {
namespace {

constexpr std::size_t kTraceBytesMax = 256u << 20;

using scheduler::PackingRule;
using simulation::PlacementClass;

class SimulatePlacement : public SimulateCommand {
 public:
  CLI::App* add_to(CLI::App& simulate) override {
    auto* command = simulate.add_subcommand(
        "placement", "How much of a cluster's accelerators is allocated after a list of tasks arrived");
    command->add_option("--format", format_, "Format of the two files")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"openb"}));
    command->add_option("--nodes", nodes_, "CSV file of the nodes")->required();
    command->add_option("--pods", tasks_, "CSV file of the tasks")->required();
    command->add_option("--ratio", options_.ratio, "Load to reach, over the cluster's accelerators (1.3)");
    command->add_option("--seed", options_.seed, "Draws the order of arrival (42)")->check(check_seed);
    command
        ->add_option("--class", class_,
                     "online: each at once or never; batched: --window at a time; repacked: others may move")
        ->check(CLI::IsMember(std::vector<std::string>{"online", "batched", "repacked"}));
    command->add_option("--policy", policy_, "neap, or a published rule: fgd, bestfit")
        ->check(CLI::IsMember(std::vector<std::string>{"neap", "fgd", "bestfit"}));
    command->add_option("--window", options_.window,
                        "batched: tasks seated together; 0, the default, is all");
    command->add_option("--moves", options_.room.moves_max,
                        "repacked: others that may leave their seat for one task (2)");
    command->add_flag("--moves-only", moves_only_, "repacked: move tasks, set none back to waiting");
    command->add_flag("--json", is_json_, "One JSON object instead of the table");
    return command;
  }

  Task<Result<int>> run(Session& session) override {
    auto& files = session.runtime().files();
    NEAP_CO_TRY(const auto nodes, files.read_file(nodes_, kTraceBytesMax));
    NEAP_CO_TRY(const auto tasks, files.read_file(tasks_, kTraceBytesMax));
    options_.placement_class = class_ == "batched"    ? PlacementClass::kBatched
                               : class_ == "repacked" ? PlacementClass::kRepacked
                                                      : PlacementClass::kOnline;
    options_.rule = policy_ == "fgd"       ? PackingRule::kGradient
                    : policy_ == "bestfit" ? PackingRule::kBestFit
                                           : PackingRule::kNeap;
    if (moves_only_) options_.room.set_back_gain_min.reset();
    const auto& clock = session.runtime().clock();
    NEAP_CO_TRY(const auto done,
                co_await session.runtime().offload([&] { return replay(nodes, tasks, clock); }));
    session.print(is_json_ ? json_of(done.result, done.seconds) : table_of(done.result, done.seconds));
    co_return 0;
  }

 private:
  struct Done {
    simulation::PlacementResult result;
    double seconds = 0;
  };
  // The time is that of the replay; reading the files is not in it.
  Result<Done> replay(const std::string& nodes, const std::string& tasks, const Clock& clock) const {
    NEAP_TRY(const auto trace, simulation::read_openb({nodes, nodes_}, {tasks, tasks_}));
    const auto start = clock.now();
    NEAP_TRY(auto result, simulation::replay_placement(trace, options_));
    return Done{std::move(result), to_seconds(clock.now() - start)};
  }
  std::vector<int> loads() const {
    std::vector<int> out{100};
    if (const auto last = int(std::lround(100 * options_.ratio)); last != 100) out.push_back(last);
    return out;
  }
  std::string json_of(const simulation::PlacementResult& result, double seconds) const {
    JsonObject allocated;
    for (const int load : loads()) {
      const auto found = result.allocated_percent.find(load);
      Json value;
      if (found != result.allocated_percent.end()) value = found->second;
      allocated[std::to_string(load)] = value;
    }
    JsonObject out;
    out["arrived"] = result.arrived;
    out["placed"] = result.placed;
    out["alloc_percent"] = std::move(allocated);
    out["moves"] = result.moved + result.set_back;
    out["set_back"] = result.set_back;
    out["seconds"] = seconds;
    return to_text(Json(std::move(out))) + "\n";
  }
  std::string table_of(const simulation::PlacementResult& result, double seconds) const {
    std::vector<std::string> head{"ARRIVED", "PLACED"},
        row{std::to_string(result.arrived), std::to_string(result.placed)};
    for (const int load : loads()) {
      const auto found = result.allocated_percent.find(load);
      head.push_back(fmt::format("ALLOCATED AT {} %", load));
      row.push_back(found == result.allocated_percent.end() ? "-" : fmt::format("{:.2f} %", found->second));
    }
    for (auto [name, value] : {std::pair{"MOVED", result.moved}, std::pair{"SET BACK", result.set_back}}) {
      head.emplace_back(name);
      row.push_back(std::to_string(value));
    }
    head.emplace_back("SECONDS");
    row.push_back(fmt::format("{:.3f}", seconds));
    return render_table({head, row});
  }

  std::string format_, nodes_, tasks_, class_ = "online", policy_ = "neap";
  simulation::PlacementOptions options_;
  bool moves_only_ = false, is_json_ = false;
};

}  // namespace

std::unique_ptr<SimulateCommand> make_simulate_placement() { return std::make_unique<SimulatePlacement>(); }

}  // namespace neap::cli
