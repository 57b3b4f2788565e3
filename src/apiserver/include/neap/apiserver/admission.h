// Admission: what app/ wires into the write path after validation and before the store.
#pragma once

#include <string>

#include "neap/auth/auth.h"
#include "neap/base/json.h"
#include "neap/base/task.h"

namespace neap::apiserver {

struct AdmissionRequest {
  const auth::Identity& who;
  const auth::Attributes& what;
  const Json* before = nullptr;  // null on create
  Json* after = nullptr;         // null on delete; may be changed
  bool dry_run = false;
};

class Admission {
 public:
  virtual ~Admission() = default;
  // An error refuses the write with its code, reason and sentence; `warnings` reach the client.
  virtual Task<Status> admit(AdmissionRequest request, std::vector<std::string>& warnings) = 0;
};

}  // namespace neap::apiserver
