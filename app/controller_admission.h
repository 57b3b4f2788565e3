// ControllerAdmission: what is decided here is written by those who decide it. The status of TrainingJobs and
// InferenceServices (phases, nodes, nominations) and Allocations as a whole are written by the server's own
// controllers and, within the node authorizer's limits, by agents; a right to write jobs is none to say where
// they run.
//
// Of an Allocation's metadata, what acts is guarded and what only describes is free, as people know it from
// Pods, where anybody with `update` labels and annotates and nobody is expected to touch the rest:
// 1. ownerReferences say whose it is. Without them it outlives its job, and nobody takes its place back.
// 2. finalizers, added or taken away: one more keeps it, and the place it stands on, for ever. `kubectl
// delete
//    --cascade=foreground` still works; its finalizer is the server's own doing.
// 3. The labels team and model say who pays (metering) and whose traffic it is (border). They come from the
//    job or service: who wants others labels that.
// All other labels and all annotations are free.
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
