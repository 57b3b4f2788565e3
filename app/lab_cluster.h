// The lab's sites, links, prices and data policy, as the API objects a user would apply.
#pragma once

#include <functional>
#include <vector>

#include "lab.h"

namespace neap::app {

std::vector<LabNode> lab_nodes();
using CallServer = std::function<Task<Result<Json>>(std::string method, std::string path, Json body)>;
// Creates what is absent; leaves what is there as the user made it.
Task<Status> apply_lab_cluster(CallServer call);

}  // namespace neap::app
