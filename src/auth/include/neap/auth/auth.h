// Who calls, and may they: identities, join tokens, bearer tokens, certificates, authorization.
//
// Deciding is pure; state is handed in. Thread safety: immutable tables are shared freely, the rest
// belongs to one executor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::auth {

struct Identity {
  std::string user;                 // "admin", "system:node:hq-1", "system:anonymous"
  std::vector<std::string> groups;  // "system:masters", "system:nodes", ...
  std::string node;                 // set for agents: the node they are limited to
  bool authenticated = false;
};

// What is asked of the API: resource requests, or plain paths ("nonResource").
struct Attributes {
  std::string verb;  // get, list, watch, create, update, patch, delete, deletecollection
  std::string group, version, resource, subresource, namespace_, name;
  std::string path;  // non-resource requests
  bool is_resource = false;
};

struct Decision {
  bool allowed = false;
  std::string reason;  // shown to the caller and in audit
};

class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual Decision authorize(const Identity& who, const Attributes& what) const = 0;
};

}  // namespace neap::auth
