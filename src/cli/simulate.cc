// simulate: the list of its subcommands; each stands in a file of its own.
#include "internal/simulate.h"

namespace neap::cli {

std::vector<std::unique_ptr<SimulateCommand>> make_simulate_commands() {
  std::vector<std::unique_ptr<SimulateCommand>> commands;
  commands.push_back(make_simulate_burst());
  commands.push_back(make_simulate_jobs());
  commands.push_back(make_simulate_placement());
  commands.push_back(make_simulate_run());
  commands.push_back(make_simulate_spot());
  return commands;
}

}  // namespace neap::cli
