// Rules of kube-apiserver that a schema cannot say: about metadata, ConfigMaps, Secrets, Namespaces and RBAC
// (k8s.io/kubernetes, pkg/apis/{core,rbac}/validation; k8s.io/apimachinery, api/validation).
#pragma once

#include <vector>

#include "neap/api/kind.h"
#include "neap/base/json.h"

namespace neap::apiserver {

// What is wrong with `after`; `before` is what is stored, null for a creation. What an update leaves as it
// was is not judged again. Pure; never fails for any shape of the documents.
std::vector<api::FieldProblem> check_object_rules(const api::KindEntry& kind, const Json* before,
                                                  const Json& after);

}  // namespace neap::apiserver
