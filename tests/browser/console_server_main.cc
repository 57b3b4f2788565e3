// The console before the real API server, for the browser test: no agents, no controllers, objects as the
// test writes them.
//
//   neap_console_server DIRECTORY
// Writes DIRECTORY/ca.pem and DIRECTORY/endpoint, answers the cost and audit documents from
// DIRECTORY/cost.json and DIRECTORY/audit.json, and serves until SIGTERM. "admin-token" is an administrator.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "console.h"
#include "neap/apiserver/server.h"
#include "neap/auth/certificate_authority.h"
#include "neap/auth/node_authorizer.h"
#include "neap/io/real_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

// Console sessions first, then what the standard authenticator knows.
class ConsoleFirst : public apiserver::Authenticator {
 public:
  ConsoleFirst(const Console& console, const apiserver::Authenticator& next)
      : console_(console), next_(next) {}
  Result<auth::Identity> authenticate(const io::HttpRequest& request,
                                      const io::PeerCertificate* certificate) const override {
    if (auto who = console_.identify(request)) return *who;
    return next_.authenticate(request, certificate);
  }

 private:
  const Console& console_;
  const apiserver::Authenticator& next_;
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

Task<void> serve_file(io::HttpExchange& exchange, io::Runtime& runtime, std::string path) {
  auto text = runtime.files().read_file(path);
  if (!text) {
    (void)co_await exchange.reply(io::json_error(text.error()));
    co_return;
  }
  io::HttpResponse response{.status = 200, .headers = {}, .body = std::move(*text)};
  response.headers.set("Content-Type", "application/json");
  (void)co_await exchange.reply(std::move(response));
}
Task<Result<Json>> explain(client::ResourceClient& client, CallContext ctx, std::string ns,
                           std::string name) {
  NEAP_CO_TRY(const auto job,
              co_await client.get(std::move(ctx), {"neap.dev", "v1", "trainingjobs", ns, name, {}}));
  const auto* explanation = find_path(job, {"status", "explanation"});
  if (!explanation) co_return fail(Code::kNotFound, "explain.absent", name + " has no explanation yet");
  co_return *explanation;
}

Task<Status> serve(io::RealRuntime& runtime, std::string directory, Event& ended) {
  store::MemoryStore store(runtime.executor());
  io::HttpServerOptions options;
  NEAP_CO_TRY(options.tls, make_tls(runtime, directory));
  NEAP_CO_TRY(auto listener, runtime.network().listen({"127.0.0.1", 0, {}}));
  const auto url = "https://" + listener->local().to_string();

  Console console({runtime.clock(), runtime.random()}, {.public_url = url});
  auth::BearerTokenTable tokens;
  tokens.add("admin-token",
             {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  const apiserver::StandardAuthenticator standard(runtime.clock(), tokens, {});
  const ConsoleFirst authenticator(console, standard);
  auth::RbacAuthorizer rbac;
  const auth::NodeAuthorizer nodes;
  const auth::AuthorizerChain authorizer(nodes, rbac);
  apiserver::ApiServer server({.runtime = runtime,
                               .store = store,
                               .kinds = api::KindTable::standard(),
                               .authenticator = authenticator,
                               .authorizer = authorizer,
                               .admission = {},
                               .audit = {}},
                              {});
  server.keep_rbac(rbac);
  const auto client =
      server.local_client({.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  server.add_subresource(
      {"trainingjobs", "explain", [&client](CallContext ctx, std::string ns, std::string name) {
         return explain(*client, std::move(ctx), std::move(ns), std::move(name));
       }});
  server.add_route({"/console", false, [&console](io::HttpExchange& x, const auth::Identity& who) {
                      return console.serve(x, who);
                    }});
  server.add_route(
      {"/neap/v1/console-codes", true,
       [&console](io::HttpExchange& x, const auth::Identity& who) { return console.serve_codes(x, who); }});
  for (const std::string name : {"cost", "audit"})
    server.add_route(
        {"/neap/v1/" + name, true,
         [&runtime, path = directory + "/" + name + ".json"](io::HttpExchange& x, const auth::Identity&) {
           return serve_file(x, runtime, path);
         }});
  NEAP_CO_TRY_VOID(co_await server.start());
  io::HttpServer http(runtime, std::move(listener), options, server.handler());
  http.start();
  NEAP_CO_TRY_VOID(runtime.files().write_file_atomic(directory + "/endpoint", url));
  (void)co_await ended.wait({});
  co_await http.stop(200ms);
  co_await server.stop();
  co_await store.close();
  co_return ok();
}

int run(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} DIRECTORY\n", argv[0]);
    return 2;
  }
  auto runtime = io::RealRuntime::create();
  Event ended(runtime->executor());
  runtime->on_signal(15, [&ended] { ended.set(); });
  const auto done = runtime->run_task(serve(*runtime, argv[1], ended));
  if (!done) fmt::print(stderr, "{}\n", done.error().to_string());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace neap::app

int main(int argc, char** argv) { return neap::app::run(argc, argv); }
