// PriorityAdmission: whose work may go before that of others. Work that names a PriorityClass needs the verb
// "use" on priorityclasses of scheduling.k8s.io with that name, in its project or everywhere, where the class
// is worth more than 0, or is not there: what it will be worth is not known then.
//
// Asked of whatever names one: neap.dev objects and the documents of other tools that become such. Who
// changes anything else of an object that names a class already is not asked. The class that counts for work
// which names none (globalDefault) may be named by everyone.
#pragma once

#include <functional>
#include <optional>

#include "neap/apiserver/admission.h"

namespace neap::app {

class PriorityAdmission final : public apiserver::Admission {
 public:
  // A PriorityClass by name; nothing where there is none.
  using FindClass = std::function<Task<Result<std::optional<Json>>>(std::string name)>;
  PriorityAdmission(const auth::Authorizer& authorizer, FindClass find_class)
      : authorizer_(authorizer), find_class_(std::move(find_class)) {}
  // kPermissionDenied "priority.use" names class and right.
  Task<Status> admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) override;

 private:
  Task<Status> check(const apiserver::AdmissionRequest& request, std::string name);
  const auth::Authorizer& authorizer_;
  FindClass find_class_;
};

}  // namespace neap::app
