#include "agent_identity.h"

#include <gtest/gtest.h>

#include "neap/auth/certificate_authority.h"
#include "neap/base/task_group.h"
#include "neap/crypto/x509.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

TEST(AgentIdentity, a_certificate_that_has_ended_asks_for_a_new_token_instead_of_being_used) {
  io::SimWorld world(3);
  auto& runtime = world.add_machine("edge-1").runtime();
  const auto authority =
      auth::CertificateAuthority::create("test", runtime.clock().wall(), std::chrono::hours(100)).value();
  const auto made = crypto::make_key_and_csr(auth::node_subject("edge-1")).value();
  ASSERT_TRUE(runtime.files().make_directories("/identity", 0700));
  EXPECT_FALSE(has_good_certificate(runtime, "/identity"));
  ASSERT_TRUE(runtime.files().write_file_atomic(
      "/identity/cert.pem",
      authority.issue_node(made.request_pem, "edge-1", {}, runtime.clock().wall()).value()));
  EXPECT_TRUE(has_good_certificate(runtime, "/identity"));
  world.run_for(std::chrono::hours(25));
  EXPECT_FALSE(has_good_certificate(runtime, "/identity"));

  std::string reason;
  TaskGroup group(runtime.executor());
  group.spawn([](io::Runtime& r, std::string& out) -> Task<void> {
    const auto identity =
        co_await load_or_join(r, {.directory = "/identity", .node = "edge-1", .token_file = "/spent"});
    out = identity ? "ok" : identity.error().reason;
  }(runtime, reason));
  world.run_for(std::chrono::minutes(1));
  EXPECT_EQ(reason, "agent.certificate.ended");
}

}  // namespace
}  // namespace neap::app
