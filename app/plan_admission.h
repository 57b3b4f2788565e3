// PlanAdmission: a dry run of a TrainingJob or InferenceService says in a warning where it would run and what
// an hour would cost, or what it would wait for, decided as `neap plan` decides. Only those are told who may
// read the project's allocations; nothing is refused, and nothing of the object changes, so that what `diff`
// shows is what would be stored.
#pragma once

#include <functional>

#include "neap/apiserver/admission.h"

namespace neap::app {

class PlanAdmission final : public apiserver::Admission {
 public:
  // What ControlLoop::what_if answers for an object of a project.
  using Plan = std::function<Result<Json>(const Json& object, const std::string& project)>;
  PlanAdmission(const auth::Authorizer& authorizer, Plan plan)
      : authorizer_(authorizer), plan_(std::move(plan)) {}
  Task<Status> admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) override;

 private:
  const auth::Authorizer& authorizer_;
  Plan plan_;
};

}  // namespace neap::app
