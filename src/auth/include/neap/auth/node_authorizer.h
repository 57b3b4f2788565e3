// NodeAuthorizer: what the agent of one node may do, and nothing else.
//
// 1. It writes only: its own Node's status, its own Lease (namespace neap-node-lease, named like the
//    node), the status of allocations placed on it, new Events, and paths below its own name.
// 2. It lists and watches allocations only with the field selector spec.node=<its node>.
// 3. It reads sites, links, nodes and policies, which it needs to decide while it is offline, and gets
//    single owners, datasets, models and their versions by name; it lists none of those.
// Pure; thread-safe.
#pragma once

#include "neap/auth/auth.h"

namespace neap::auth {

class NodeAuthorizer : public Authorizer {
 public:
  Decision authorize(const Identity& who, const Attributes& what) const override;
  Decision authorize_object(const Identity& who, const Attributes& what, const Json* before,
                            const Json* after) const override;
  bool judges_objects(const Identity&) const override { return true; }
  JsonArray rules_for(const Identity& who, std::string_view namespace_) const override;
};

}  // namespace neap::auth
