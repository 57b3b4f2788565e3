// Events: what a controller tells people about an object, read by `kubectl describe` and `neap describe`.
#pragma once

#include <string>

#include "internal/reconciler.h"

namespace neap::controllers {

struct ObjectEvent {
  // A name that says the same for the same news: a pass over the same picture then tells it once.
  std::string name;
  std::string component, reason, message;
  bool is_warning = false;
  // Of the object it is about.
  std::string api_version, kind, namespace_, object, uid;
};
// What was told before is no error.
Task<Status> tell(const Pass& pass, ObjectEvent event);

}  // namespace neap::controllers
