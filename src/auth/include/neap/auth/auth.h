// Who calls, and may they: identities, join tokens, bearer tokens, certificates, authorization.
//
// Deciding is pure; state is handed in. Thread safety: immutable tables are shared freely, the rest
// belongs to one executor.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::auth {

// The object a token was made for besides its ServiceAccount, in the account's namespace: "Allocation" (a Pod
// is its view) or "Secret". The token ends with it.
struct BoundObject {
  std::string kind, name, uid;
};

struct Identity {
  std::string user;                 // "admin", "system:node:hq-1", "system:anonymous"
  std::vector<std::string> groups;  // "system:masters", "system:nodes", ...
  std::string node;                 // set for agents: the node they are limited to
  bool authenticated = false;
  std::string uid = {};  // of the ServiceAccount object a token was issued for
  std::optional<BoundObject> bound = {};
};

// What is asked of the API: resource requests, or plain paths ("nonResource").
struct Attributes {
  std::string verb;  // get, list, watch, create, update, patch, delete, deletecollection
  std::string group, version, resource, subresource, namespace_, name;
  std::string field_selector;  // list, watch, deletecollection: as asked
  std::string path;            // non-resource requests
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
  // Second question, once the object is known: `before` is null on create, `after` on get and delete.
  // Asked only when authorize() allowed the request.
  virtual Decision authorize_object(const Identity&, const Attributes&, const Json* /*before*/,
                                    const Json* /*after*/) const {
    return {true, {}};
  }
  // False where authorize_object() would allow everything: objects need not be read for it.
  virtual bool judges_objects(const Identity&) const { return false; }
  // What `who` may do in a namespace, as SelfSubjectRulesReview lists it: an array of
  // {verbs, apiGroups, resources, resourceNames} and of {verbs, nonResourceURLs}.
  virtual JsonArray rules_for(const Identity&, std::string_view /*namespace_*/) const { return {}; }
};

inline constexpr std::string_view kMastersGroup = "system:masters";
inline constexpr std::string_view kNodesGroup = "system:nodes";
inline constexpr std::string_view kAuthenticatedGroup = "system:authenticated";
inline constexpr std::string_view kUnauthenticatedGroup = "system:unauthenticated";
inline constexpr std::string_view kNodeUserPrefix = "system:node:";
// Where agents keep their Leases: one per node, named like it.
inline constexpr std::string_view kNodeLeaseNamespace = "neap-node-lease";

bool is_member(const Identity& who, std::string_view group);
// "system:node:NAME" in system:nodes: the agent of that node. Adds system:authenticated.
Identity identity_of_certificate(std::string_view common_name, const std::vector<std::string>& organizations);
Identity anonymous();

}  // namespace neap::auth
