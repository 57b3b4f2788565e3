// The subcommands of `neap simulate`. Each reads its files, runs the simulation on one of the runtime's
// workers and prints a table, or one JSON object with --json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "internal/session.h"

namespace CLI {
class App;
}

namespace neap::cli {

class SimulateCommand {
 public:
  virtual ~SimulateCommand() = default;
  // Adds the subcommand with its options bound to this object; its callback must be left alone.
  virtual CLI::App* add_to(CLI::App& simulate) = 0;
  virtual Task<Result<int>> run(Session& session) = 0;
};

std::unique_ptr<SimulateCommand> make_simulate_burst();
std::unique_ptr<SimulateCommand> make_simulate_jobs();
std::unique_ptr<SimulateCommand> make_simulate_placement();
std::unique_ptr<SimulateCommand> make_simulate_run();
std::unique_ptr<SimulateCommand> make_simulate_spot();

// For an option that is a seed: empty, or what is wrong. The parser of options takes -1 and what is too large
// as the largest number.
std::string check_seed(const std::string& text);

// One of each.
std::vector<std::unique_ptr<SimulateCommand>> make_simulate_commands();

}  // namespace neap::cli
