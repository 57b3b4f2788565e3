// AuditPolicy: how much of a request is put on record, by the rules of an audit.k8s.io/v1 Policy.
//
// 1. The first rule that matches decides; where none does, nothing is recorded.
// 2. Requests that carry secrets (Secrets, TokenReviews, tokens of ServiceAccounts) are never recorded above
//    Metadata, whatever a rule says.
// Immutable; thread-safe. Source: k8s.io/apiserver, audit/v1 Policy as its reference documents it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/auth/auth.h"

namespace neap::auth {

enum class AuditLevel { kNone, kMetadata, kRequest, kRequestResponse };
std::string_view audit_level_name(AuditLevel level);  // "None", "Metadata", ...

class AuditPolicy {
 public:
  // kInvalidArgument "auth.audit.policy" names the rule and the member that is wrong; unknown members are
  // wrong, too: a misspelt one would record other things than its author thinks.
  static Result<AuditPolicy> parse(const Json& document);
  AuditLevel level_of(const Identity& who, const Attributes& what) const;
  bool omits_managed_fields(const Identity& who, const Attributes& what) const;

 private:
  struct Resources {
    std::string group;  // "*": all
    std::vector<std::string> resources, names;
  };
  struct Rule {
    AuditLevel level = AuditLevel::kNone;
    std::vector<std::string> users, groups, verbs, namespaces, paths;
    std::vector<Resources> resources;
    bool omits_managed_fields = false;
    bool matches(const Identity& who, const Attributes& what) const;
  };
  static Result<Rule> read_rule(const Json& value, bool omits_managed_fields);
  const Rule* rule_for(const Identity& who, const Attributes& what) const;
  std::vector<Rule> rules_;
};

// True for requests whose bodies hold what must not be on record.
bool carries_secrets(const Attributes& what);

}  // namespace neap::auth
