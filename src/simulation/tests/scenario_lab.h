// A scenario of two sites, of which a test states what matters to it.
#pragma once

#include <map>
#include <string>

#include "neap/simulation/run.h"

namespace neap::simulation {

struct ScenarioLab {
  std::string spec;       // lines of spec, each with its line end
  std::string nodes;      // the first entry in flow style; further lines begin with "  - "
  std::string workloads;  // likewise
  std::string documents;  // each begins with "---"
  std::string own_prices = "[{capacityType: owned, perAcceleratorHour: {a100: 1000000}}]";
  std::map<std::string, std::string> files;

  // An accelerator costs 1 an hour at hq, 4 in the cloud and 0.5 as spot; a GB to or from the cloud 0.02.
  std::string text() const {
    return "apiVersion: neap.dev/v1\nkind: Simulation\nmetadata: {name: lab}\nspec:\n" + spec +
           "  nodes:\n  - " + nodes + "\n  workloads:\n  - " + workloads +
           "\n---\napiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: hq}\nspec: {tier: private, "
           "jurisdiction: DE, prices: " +
           own_prices +
           "}\n---\napiVersion: "
           "neap.dev/v1\nkind: Site\n"
           "metadata: {name: cloud}\nspec: {tier: public, jurisdiction: DE, prices: [{capacityType: "
           "on-demand, "
           "perAcceleratorHour: {a100: 4000000}}, {capacityType: spot, perAcceleratorHour: {a100: "
           "500000}}]}\n---\n"
           "apiVersion: neap.dev/v1\nkind: Link\nmetadata: {name: out}\nspec: {from: hq, to: cloud, "
           "bandwidthMbps: 8000, "
           "egressPerGB: 20000}\n---\napiVersion: neap.dev/v1\nkind: Link\nmetadata: {name: in}\nspec: "
           "{from: cloud, to: hq, "
           "bandwidthMbps: 8000, egressPerGB: 20000}\n" +
           documents;
  }
  Result<std::string> file(const std::string& path) const {
    const auto found = files.find(path);
    if (found == files.end()) return fail(Code::kNotFound, "test.absent", path + " is not there");
    return found->second;
  }
  Result<Scenario> read(const ScenarioLimits& limits = {}) const {
    return read_scenario(
        text(), "s.yaml", [this](const std::string& path) { return file(path); }, {}, limits);
  }
  Result<RunReport> run() const {
    NEAP_TRY(const auto scenario, read());
    return run_scenario(scenario);
  }
};

}  // namespace neap::simulation
