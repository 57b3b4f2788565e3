// ProjectRight: which projects a caller may read in answers that are about several: those whose Allocations
// (neap.dev) they may list. Lives for one request.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>

#include "neap/auth/auth.h"

namespace neap::app {

class ProjectRight {
 public:
  ProjectRight(const auth::Authorizer& authorizer, const auth::Identity& who)
      : authorizer_(authorizer), who_(who) {}
  bool may_read_all() { return may_read(""); }
  // Empty: what belongs to no project, and all of them.
  bool may_read(std::string_view project) {
    const auto known = known_.find(project);
    if (known != known_.end()) return known->second;
    auth::Attributes what;
    what.is_resource = true;
    what.verb = "list";
    what.group = "neap.dev";
    what.version = "v1";
    what.resource = "allocations";
    what.namespace_ = project;
    return known_[std::string(project)] = authorizer_.authorize(who_, what).allowed;
  }
  // For a request that names its project.
  Status check(std::string_view project) {
    if (may_read(project)) return ok();
    return fail(
        Code::kPermissionDenied, "project.read",
        fmt::format("{} may not read project \"{}\": that takes the right to list allocations of neap.dev "
                    "in it",
                    who_.user, project));
  }

 private:
  const auth::Authorizer& authorizer_;
  const auth::Identity who_;
  std::map<std::string, bool, std::less<>> known_;
};

}  // namespace neap::app
