// A small server for real clients to talk to: the API over a store, with TLS and bearer tokens.
//
//   api_server_test_main DIRECTORY [memory|sqlite] [plain]
// Writes DIRECTORY/ca.pem and DIRECTORY/endpoint ("https://127.0.0.1:PORT"), then serves until SIGTERM.
// Tokens: "admin-token" (system:masters), "viewer-token" (user viewer, whose rights come from RBAC objects),
// "node-token" (the agent of node press-7).
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "neap/apiserver/server.h"
#include "neap/auth/certificate_authority.h"
#include "neap/auth/node_authorizer.h"
#include "neap/io/real_runtime.h"
#include "neap/store/memory_store.h"
#include "neap/store/sqlite_store.h"

namespace neap {
namespace {

struct Arguments {
  std::string directory;
  bool sqlite = false, plain = false;
};

Result<std::shared_ptr<io::TlsServerContext>> make_tls(io::Runtime& runtime, const std::string& directory) {
  const auto now = runtime.clock().wall();
  NEAP_TRY(const auto authority, auth::CertificateAuthority::create("neap test", now, 24h));
  NEAP_TRY(const auto request, crypto::make_key_and_csr({"neap-server", {}}));
  NEAP_TRY(const auto certificate,
           authority.issue_server(request.request_pem, {"localhost"}, {"127.0.0.1"}, now));
  NEAP_TRY_VOID(runtime.files().write_file_atomic(directory + "/ca.pem", authority.certificate_pem()));
  return io::make_tls_server_context({.certificate_pem = certificate,
                                      .private_key_pem = request.private_key_pem,
                                      .client_roots_pem = authority.certificate_pem()});
}

// What a progress display would want from the server; here it proves that subresources reach their owner.
Task<Result<Json>> explain(CallContext, std::string ns, std::string name) {
  co_return JsonObject{
      {"kind", "Explanation"}, {"apiVersion", "neap.dev/v1"}, {"namespace", ns}, {"name", name}};
}

Task<Status> serve(io::RealRuntime& runtime, Arguments arguments, Event& ended) {
  std::unique_ptr<store::Store> store;
  if (arguments.sqlite) {
    NEAP_CO_TRY(store,
                co_await store::SqliteStore::open(runtime, {.directory = arguments.directory + "/store"}));
  } else {
    store = std::make_unique<store::MemoryStore>(runtime.executor());
  }
  auth::BearerTokenTable tokens;
  tokens.add("admin-token",
             {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  tokens.add("viewer-token", {.user = "viewer", .groups = {}, .node = {}, .authenticated = true});
  tokens.add("node-token", auth::identity_of_certificate("system:node:press-7", {"system:nodes"}));
  const apiserver::StandardAuthenticator authenticator(runtime.clock(), tokens, {});
  auth::RbacAuthorizer rbac;
  const auth::NodeAuthorizer nodes;
  const auth::AuthorizerChain authorizer(nodes, rbac);
  apiserver::ApiServer server({.runtime = runtime,
                               .store = *store,
                               .kinds = api::KindTable::standard(),
                               .authenticator = authenticator,
                               .authorizer = authorizer,
                               .admission = {},
                               .audit = {}},
                              {.version = "v1.33.0-neap"});
  server.keep_rbac(rbac);
  server.add_subresource({"trainingjobs", "explain", explain});
  NEAP_CO_TRY_VOID(co_await server.start());
  io::HttpServerOptions options;
  if (!arguments.plain) {
    NEAP_CO_TRY(options.tls, make_tls(runtime, arguments.directory));
  }
  NEAP_CO_TRY(auto listener, runtime.network().listen({"127.0.0.1", 0, {}}));
  io::HttpServer http(runtime, std::move(listener), options, server.handler());
  http.start();
  const auto endpoint = fmt::format("{}://{}", arguments.plain ? "http" : "https", http.local().to_string());
  NEAP_CO_TRY_VOID(runtime.files().write_file_atomic(arguments.directory + "/endpoint", endpoint));
  (void)co_await ended.wait({});
  co_await http.stop(200ms);
  co_await server.stop();
  co_await store->close();
  co_return ok();
}

int run(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "sqlite")
      arguments.sqlite = true;
    else if (word == "plain")
      arguments.plain = true;
    else if (word != "memory")
      arguments.directory = word;
  }
  if (arguments.directory.empty()) {
    fmt::print(stderr, "usage: {} DIRECTORY [memory|sqlite] [plain]\n", argv[0]);
    return 2;
  }
  auto runtime = io::RealRuntime::create();
  Event ended(runtime->executor());
  runtime->on_signal(15, [&ended] { ended.set(); });
  runtime->on_signal(2, [&ended] { ended.set(); });
  const auto done = runtime->run_task(serve(*runtime, arguments, ended));
  if (!done) fmt::print(stderr, "{}\n", done.error().to_string());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace neap

int main(int argc, char** argv) { return neap::run(argc, argv); }
