// PolicyAdmission: a SchedulingPolicy whose rules do not compile is refused when it is written, not found out
// when a placement waits for it. Both surfaces: neap.dev/v1, and ai.hybridcloud/v1 by translation.
#pragma once

#include "neap/apiserver/admission.h"

namespace neap::app {

class PolicyAdmission final : public apiserver::Admission {
 public:
  // kInvalidArgument with the field (spec.rules[2].condition) and what the compiler says of it.
  Task<Status> admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) override;
};

}  // namespace neap::app
