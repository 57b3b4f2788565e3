// What stock Kubernetes demands of a Deployment or Job and people leave out: filled in, and said so.
#pragma once

#include <string>
#include <vector>

#include "neap/base/json.h"

namespace neap::apiserver {

// Adds, where absent: labels of the pod template, the selector that matches them (Deployment), restartPolicy
// (Job: Never). What it adds depends on the object alone, so that a repeated
// write adds the same. One warning a field. Members of the wrong type are left to validation.
void complete_workload(Json& object, bool is_deployment, std::vector<std::string>& warnings);

}  // namespace neap::apiserver
