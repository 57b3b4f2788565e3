// Runs side by side, with ratios to the first; and what it takes until bought machines have paid for
// themselves.
//
// Threads: pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "neap/simulation/run.h"

namespace neap::simulation {

struct ComparisonRow {
  std::string key;      // stable, of the JSON
  std::string measure;  // for people
  std::vector<double> values;
  std::vector<std::string> texts;
  std::vector<std::optional<double>> ratios;  // to the first run; absent where that is 0
};
std::vector<ComparisonRow> compare_runs(std::span<const RunReport> runs);

// Years until what `with` invests in machines is saved by its lower running cost (rented, egress, operation;
// no write-off) against `without`, at the run's rate; absent where nothing is invested more, or nothing
// saved.
std::optional<double> payback_years(const RunReport& with, const RunReport& without);

// {"runs": [...], "ratios": {key: [...]}, "payback_years": {...}}: payback of each run against the run that
// invests least.
Json to_json(std::span<const RunReport> runs);

}  // namespace neap::simulation
