// ControllerAdmission: what is decided here is written by those who decide it. The status of TrainingJobs and
// InferenceServices (phases, nodes, nominations) and Allocations as a whole are written by the server's own
// controllers and, within the node authorizer's limits, by agents; a right to write jobs is none to say where
// they run.
//
// Whoever must mend such an object by hand needs the verb "override" on it, named in a rule of a role they
// are bound to: "*" and system:masters do not hold it (auth::kOverrideVerb).
#pragma once

#include "neap/apiserver/admission.h"

namespace neap::app {

class ControllerAdmission final : public apiserver::Admission {
 public:
  explicit ControllerAdmission(const auth::Authorizer& authorizer) : authorizer_(authorizer) {}
  // kPermissionDenied "controllers.own" says which right is missing.
  Task<Status> admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) override;

 private:
  const auth::Authorizer& authorizer_;
};

}  // namespace neap::app
