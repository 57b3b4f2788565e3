#pragma once

#include "internal/reconciler.h"

namespace neap::controllers {

// {"hours","currency","plan","variants":[{"variant","placed","places":[{"site","node","capacityType"}],
// "costPerHourMicros","egressMicros","totalMicros","why"}]} of a TrainingJob or InferenceService. Variants:
// now; all-private and all-public (the two ends of hybrid); spot, no-spot; idle (nothing else runs); without
// each rule. A `duration` of 0 is the object's own, else an hour. Reasons: `plan.kind`, `job.input.missing`,
// `placement.*`.
Result<Json> what_if(const Pass& pass, const Json& object, const std::string& project, Duration duration);

}  // namespace neap::controllers
