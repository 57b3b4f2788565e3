// DerivationAdmission: who writes a document of another tool needs the right to create what is derived of it.
// The document controller acts for everybody, so without this a right to write Deployments would be one to
// start InferenceServices.
//
// The DataPolicy that a strategy may bring along only forbids; it takes no right of its own.
#pragma once

#include "neap/apiserver/admission.h"

namespace neap::app {

class DerivationAdmission final : public apiserver::Admission {
 public:
  explicit DerivationAdmission(const auth::Authorizer& authorizer) : authorizer_(authorizer) {}
  // kPermissionDenied "derivation.right" names the kind. A write that changes neither spec nor annotations is
  // free.
  Task<Status> admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) override;

 private:
  const auth::Authorizer& authorizer_;
};

}  // namespace neap::app
