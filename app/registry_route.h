// The registry under /v2/ as the server offers it: who may pull and push, and what may leave to whom.
//
// Users pull with read access to models, push with write access. Nodes pull only, and whatever they read of
// a repository passes the Border: a permit before, a crossing record after.
#pragma once

#include "border.h"
#include "neap/apiserver/server.h"
#include "neap/artifacts/oci_registry.h"

namespace neap::app {

class RegistryRoute {
 public:
  RegistryRoute(artifacts::OciRegistry& registry, Border& border, const auth::Authorizer& authorizer)
      : registry_(registry), border_(border), authorizer_(authorizer) {}
  Task<void> handle(io::HttpExchange& exchange, const auth::Identity& who);
  // Asked for where a blob is mounted from: the path of such a request names only where it goes.
  bool may_pull(const auth::Identity& who, const std::string& repository) const;

 private:
  Task<void> serve_node(io::HttpExchange& exchange, std::string node);
  Task<void> describe_push(const io::HttpRequest& request, std::string repository, std::string user);
  artifacts::OciRegistry& registry_;
  Border& border_;
  const auth::Authorizer& authorizer_;
};

}  // namespace neap::app
