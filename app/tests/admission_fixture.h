// What tests of admission plug-ins share: rules of RBAC, and a write by somebody.
#pragma once

#include <gtest/gtest.h>

#include "neap/apiserver/admission.h"
#include "neap/auth/rbac.h"
#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {

inline Json object_of(std::string_view text) { return parse_json(text).value(); }

struct Write {
  std::string group, resource, subresource;
  std::string after, before;  // JSON; no `before`: a create
  std::string user = "alice";
  std::string namespace_ = "team-a";
  bool is_dry_run = false;
};

class AdmissionTest : public testing::Test {
 protected:
  // Of a role `rules` in team-a that is bound to `user`; cluster-wide with no namespace.
  void grant(std::string_view user, std::string_view rules, std::string_view ns = "team-a") {
    const auto name = std::string(user) + std::to_string(++grants_);
    const auto metadata = R"("metadata":{"name":")" + name + R"(","namespace":")" + std::string(ns) + "\"}";
    const std::string prefix = ns.empty() ? "Cluster" : "";
    rbac_.set(object_of(R"({"kind":")" + prefix + R"(Role",)" + metadata + R"(,"rules":[)" +
                        std::string(rules) + "]}"));
    rbac_.set(object_of(R"({"kind":")" + prefix + R"(RoleBinding",)" + metadata + R"(,"roleRef":{"kind":")" +
                        prefix + R"(Role","name":")" + name + R"("},"subjects":[{"kind":"User","name":")" +
                        std::string(user) + R"("}]})"));
  }
  // "root" is in system:masters, "system:node:N" the agent of node N.
  Status admitted(apiserver::Admission& admission, const Write& write) {
    auto after = object_of(write.after);
    const auto before = write.before.empty() ? Json() : object_of(write.before);
    const auto who =
        auth::identity_of_certificate(write.user, {write.user == "root"                     ? "system:masters"
                                                   : write.user.starts_with("system:node:") ? "system:nodes"
                                                                                            : "dev"});
    auth::Attributes what;
    what.is_resource = true;
    what.verb = write.before.empty() ? "create" : "update";
    what.group = write.group;
    what.version = "v1";
    what.resource = write.resource;
    what.subresource = write.subresource;
    what.namespace_ = write.namespace_;
    what.name = "x";
    Status out = fail(Code::kInternal, "test.hung", "it did not end");
    TaskGroup tasks(world_.machine("hq").runtime().executor());
    warnings_.clear();
    tasks.spawn([](apiserver::Admission& a, apiserver::AdmissionRequest r, std::vector<std::string>& w,
                   Status& result) -> Task<void> {
      result = co_await a.admit(r, w);
    }(admission,
                                   {.who = who,
                                    .what = what,
                                    .before = write.before.empty() ? nullptr : &before,
                                    .after = &after,
                                    .dry_run = write.is_dry_run},
                                   warnings_, out));
    world_.run_for(1min, [&] { return tasks.running() == 0; });
    return out;
  }

  AdmissionTest() { world_.add_machine("hq"); }
  io::SimWorld world_{1};
  auth::RbacAuthorizer rbac_;
  // What the last admitted() told the client.
  std::vector<std::string> warnings_;
  int grants_ = 0;
};

}  // namespace neap::app
