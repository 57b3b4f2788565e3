// The parts of reading a scenario, in the order they run: objects, prices, nodes, load.
#pragma once

#include <string>

#include "internal/fields.h"
#include "neap/base/draw.h"
#include "neap/simulation/scenario.h"

namespace neap::simulation {

struct ScenarioReading {
  Scenario& out;
  Problems& problems;
  const ReadScenarioFile& read_file;
  const ScenarioLimits& limits;

  const scheduler::Site* find_site(std::string_view name) const;
};

// An API document of a kind that a scenario takes; refuses the others by name.
Status read_object(ScenarioReading& reading, const Json& document);
// spec.prices and spec.egress.
Status read_prices(ScenarioReading& reading, Fields& spec);
// spec.nodes.
Status read_nodes(ScenarioReading& reading, Fields& spec);
// spec.workloads.
Status read_workloads(ScenarioReading& reading, Fields& spec);

scheduler::ReplicaResources read_resources(Fields fields);

}  // namespace neap::simulation
