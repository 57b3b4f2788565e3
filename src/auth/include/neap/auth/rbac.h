// RbacAuthorizer: Role, ClusterRole and their bindings (rbac.authorization.k8s.io/v1) as a decision.
//
// 1. Nothing is allowed that no rule allows; there are no denying rules.
// 2. system:masters may do everything.
// 3. Everyone who is authenticated may discover the API and ask about their own rights.
// 4. Nobody writes a role that holds more than they do (unless they may `escalate` it), nor binds one (unless
//    they may `bind` it); who is refused is told which rights are missing.
// 5. The verb "override" is held by whom a rule names it for, never by "*" or system:masters: nobody writes
// by
//    hand what controllers decide without having said so in a role.
// Belongs to one executor; feed it with set() and erase() as objects change.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "neap/auth/auth.h"

namespace neap::auth {

inline constexpr std::string_view kOverrideVerb = "override";
// Who the server's own loops are; nobody may act as one of them.
inline constexpr std::string_view kControllersUser = "system:controllers";
inline constexpr std::string_view kUpkeepUser = "system:apiserver";

class RbacAuthorizer : public Authorizer {
 public:
  RbacAuthorizer();
  // A Role, ClusterRole, RoleBinding or ClusterRoleBinding object; others are ignored. Members that
  // are malformed grant nothing.
  void set(const Json& object);
  void erase(std::string_view kind, std::string_view namespace_, std::string_view name);

  Decision authorize(const Identity& who, const Attributes& what) const override;
  Decision authorize_object(const Identity& who, const Attributes& what, const Json* before,
                            const Json* after) const override;
  JsonArray rules_for(const Identity& who, std::string_view namespace_) const override;

 private:
  struct Rule {
    std::set<std::string, std::less<>> verbs, groups, resources, names, paths;
    bool allows(const Attributes& what) const;
    // --- escalation.cc
    std::size_t grants() const;  // single rights in it
    std::string to_string() const;
    void split(std::vector<Rule>& out) const;
    bool covers(const Rule& one) const;  // `one` comes from split()
  };
  struct Role {
    std::vector<Rule> rules;
    Json labels;           // for aggregation
    JsonArray aggregates;  // matchLabels objects of an aggregated ClusterRole
  };
  struct Subject {
    std::string kind, name;  // User, Group; a ServiceAccount becomes its user name
  };
  struct Binding {
    bool cluster_role = false;
    std::string role;
    std::vector<Subject> subjects;
  };
  using Key = std::pair<std::string, std::string>;  // namespace ("" for cluster), name
  static Role role_of(const Json& object);
  Decision check_covered(const Identity& who, std::string_view ns,
                         const std::vector<const Rule*>& wanted) const;
  Decision check_role(const Identity& who, const Attributes& what, const Json* before,
                      const Json& after) const;
  Decision check_binding(const Identity& who, const Attributes& what, const Json* before,
                         const Json& after) const;
  static bool is_bound(const Binding& binding, const Identity& who);
  void collect(const Role& role, std::vector<const Rule*>& out) const;
  // Rules that hold for `who` in the namespace, with the binding they come from.
  std::vector<std::pair<const Rule*, const std::string*>> rules_of(const Identity& who,
                                                                   std::string_view ns) const;

  std::map<Key, Role> roles_;
  std::map<Key, Binding> bindings_;
};

// Agents are judged by the node authorizer alone, everyone else by the other: no role a user is given can
// widen what a node may do.
class AuthorizerChain : public Authorizer {
 public:
  AuthorizerChain(const Authorizer& nodes, const Authorizer& others) : nodes_(nodes), others_(others) {}
  Decision authorize(const Identity& who, const Attributes& what) const override {
    return of(who).authorize(who, what);
  }
  Decision authorize_object(const Identity& who, const Attributes& what, const Json* before,
                            const Json* after) const override {
    return of(who).authorize_object(who, what, before, after);
  }
  bool judges_objects(const Identity& who) const override { return of(who).judges_objects(who); }
  JsonArray rules_for(const Identity& who, std::string_view namespace_) const override {
    return of(who).rules_for(who, namespace_);
  }

 private:
  const Authorizer& of(const Identity& who) const { return who.node.empty() ? others_ : nodes_; }
  const Authorizer& nodes_;
  const Authorizer& others_;
};

}  // namespace neap::auth
