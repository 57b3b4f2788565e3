#include "neap/client/kubeconfig.h"

#include "tests/sim_run.h"

namespace neap::client {
namespace {

TEST(Kubeconfig, what_is_saved_loads_back_equal) {
  SimRun sim;
  auto& files = sim.runtime().files();
  ASSERT_TRUE(files.make_directories("/home"));
  for (const std::size_t length : {0u, 1u, 2u, 3u, 4u, 100u}) {
    ClusterAccess access{.name = "lab",
                         .server = "https://hq:6443",
                         .tls_server_name = "neap",
                         .roots_pem = std::string(length, '\xff'),
                         .token = "t: yes",
                         .certificate_pem = "CERT\n",
                         .private_key_pem = "KEY\n",
                         .namespace_ = "team-a"};
    ASSERT_TRUE(save_kubeconfig(files, "/home/config", access));
    const auto read = load_kubeconfig(files, "/home/config");
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(to_kubeconfig(*read), to_kubeconfig(access));
    EXPECT_EQ(read->roots_pem, access.roots_pem);
    EXPECT_EQ(read->token, "t: yes");
  }
}

TEST(Kubeconfig, picks_a_context_and_reads_files_beside_it) {
  SimRun sim;
  auto& files = sim.runtime().files();
  ASSERT_TRUE(files.make_directories("/home"));
  ASSERT_TRUE(files.write_file_atomic("/home/ca.pem", "ROOTS"));
  ASSERT_TRUE(files.write_file_atomic("/home/config", R"(
current-context: one
clusters: [{name: c1, cluster: {server: "http://a:1"}}, {name: c2, cluster: {server: "https://b", certificate-authority: ca.pem}}]
users: [{name: u, user: {token: secret}}, {name: cloud, user: {exec: {command: get-token}}}]
contexts: [{name: one, context: {cluster: c1}}, {name: two, context: {cluster: c2, user: u, namespace: n}}, {name: three, context: {cluster: c2, user: cloud}}]
)"));
  const auto one = load_kubeconfig(files, "/home/config");
  ASSERT_TRUE(one) << one.error().to_string();
  EXPECT_EQ(one->server, "http://a:1");
  EXPECT_EQ(one->namespace_, "default");
  const auto two = load_kubeconfig(files, "/home/config", "two");
  ASSERT_TRUE(two) << two.error().to_string();
  EXPECT_EQ(two->roots_pem, "ROOTS");
  EXPECT_EQ(two->token, "secret");
  EXPECT_EQ(load_kubeconfig(files, "/home/config", "three").error().code, Code::kUnimplemented);
  EXPECT_EQ(load_kubeconfig(files, "/home/config", "four").error().code, Code::kNotFound);
  EXPECT_EQ(load_kubeconfig(files, "/home/absent").error().code, Code::kNotFound);
}

TEST(Kubeconfig, says_what_is_wrong) {
  const auto reason = [](std::string_view text) { return parse_kubeconfig(text).error().reason; };
  EXPECT_EQ(reason(""), "kubeconfig.format");
  EXPECT_EQ(reason("{a: b}"), "kubeconfig.context");
  EXPECT_EQ(reason("{current-context: x}"), "kubeconfig.entry");
  EXPECT_EQ(reason("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, "
                   "cluster: {}}]}"),
            "kubeconfig.server");
  EXPECT_EQ(reason("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, "
                   "cluster: {server: s, certificate-authority-data: 'a*'}}]}"),
            "kubeconfig.base64");
  EXPECT_EQ(reason("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, "
                   "cluster: {server: s, certificate-authority: /etc/passwd}}]}"),
            "kubeconfig.file");
}

TEST(Kubeconfig, connect_checks_the_server_address) {
  SimRun sim;
  EXPECT_TRUE(connect(sim.runtime(), {.server = "http://hq:80"}));
  EXPECT_TRUE(connect(sim.runtime(), {.server = "http://hq/"}));
  EXPECT_FALSE(connect(sim.runtime(), {.server = "hq:80"}));
  EXPECT_FALSE(connect(sim.runtime(), {.server = "http://hq/path"}));
  EXPECT_FALSE(connect(sim.runtime(), {.server = "https://hq", .roots_pem = "not pem"}));
}

}  // namespace
}  // namespace neap::client
