// simulate: the list of its subcommands; each stands in a file of its own.
#include "internal/simulate.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <limits>

namespace neap::cli {

std::string check_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error == std::errc{} && end == text.data() + text.size()) return "";
  return fmt::format("{} is no seed; give a whole number from 0 to {}", text,
                     std::numeric_limits<std::uint64_t>::max());
}

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
