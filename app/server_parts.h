// What a server process is made of: its stores, ledgers, doors and loops, in the order they are made. Shared
// by the files that start and end it (server_process.cc) and that say what it answers (server_routes.cc).
#pragma once

#include <optional>

#include "border.h"
#include "console.h"
#include "controller_admission.h"
#include "derivation_admission.h"
#include "join_desk.h"
#include "neap/api/kind.h"
#include "neap/apiserver/leader_election.h"
#include "neap/apiserver/server.h"
#include "neap/auth/node_authorizer.h"
#include "neap/auth/rbac.h"
#include "neap/controllers/controller.h"
#include "neap/transfer/receiver.h"
#include "node_streams.h"
#include "oidc_console.h"
#include "plan_admission.h"
#include "policy_admission.h"
#include "priority_admission.h"
#include "refusal_budget.h"
#include "registry_publisher.h"
#include "registry_route.h"
#include "sealed_store.h"
#include "server_authenticator.h"
#include "server_identity.h"
#include "server_peers.h"
#include "server_process.h"

namespace neap::app {

// The loop needs a publisher at birth, the publisher the border, the border the loop's state.
class LatePublisher final : public controllers::ModelPublisher {
 public:
  controllers::ModelPublisher* inner = nullptr;
  Task<Result<controllers::PublishedModel>> publish(CallContext ctx,
                                                    controllers::PublishRequest request) override {
    NEAP_ASSERT(inner);
    return inner->publish(std::move(ctx), std::move(request));
  }
};

struct ServerProcess::Impl {
  Impl(io::Runtime& r, ServerOptions o)
      : runtime(r),
        options(std::move(o)),
        sink(telemetry::LogFormat::kKeyValue),
        log(sink, r.clock()),
        authenticator(r.clock(), tokens),
        authorizer(node_authorizer, rbac),
        tasks(r.executor()) {}

  Task<Status> open_state(const io::Endpoint& address);
  Result<ServerIdentity> load_identity() {
    const auto shared = options.identity_directory.empty() ? path("identity") : options.identity_directory;
    return ServerIdentity::load_or_create(runtime, shared, path("identity"), names);
  }
  Task<Status> seal_secrets();
  Task<Status> open_ledgers();
  Task<Status> open_streams();
  // What is on the disk is uncertain now; a fresh start reads it again, and refuses what is damaged.
  void storage_failed(const Error& error) {
    const bool is_damaged = error.code == Code::kDataLoss && error.reason != "file.io";
    log.error(is_damaged ? "what lies on the disk is damaged; this process ends, a restart says what it finds"
                         : "the disk failed a write; this process ends, a restart reads what is there",
              {telemetry::Field(error)});
    if (options.on_storage_failure) options.on_storage_failure();
  }
  Task<void> record(apiserver::AuditRecord entry);
  Task<Status> start_api();
  Task<Result<std::optional<Json>>> find_priority_class(std::string name);
  Task<Status> start_data_plane();
  // A server with a store of its own always leads.
  bool leads() const { return !election || election->leads(); }
  void join_election();
  Task<Status> meet_peers();
  Task<Status> permit_mount(io::HttpExchange& exchange, std::string from, artifacts::RegistryAction action);
  void add_routes();
  Task<void> serve_ledger(io::HttpExchange& exchange);
  Task<void> serve_node(io::HttpExchange& exchange, const auth::Identity& who);
  Task<bool> forward_stream(io::HttpExchange& exchange, const auth::Identity& who,
                            const auth::Attributes& what);
  Task<Status> bill();
  void add_identity_routes();
  Task<void> keep_metering();
  Task<void> keep_certificate();
  Task<void> restore_border();
  Status write_file(const std::string& name, std::string text, unsigned mode = 0644);
  Status write_files(const io::Endpoint& address);
  std::string path(std::string_view name) const { return options.state_directory + "/" + std::string(name); }

  io::Runtime& runtime;
  ServerOptions options;
  telemetry::StderrSink sink;
  telemetry::Logger log;
  std::optional<ServerIdentity> identity;
  // Last to go: it also keeps the ledgers to one process.
  std::unique_ptr<store::DirectoryLock> store_lock;
  std::unique_ptr<store::Store> store;
  SealedStore* sealed = nullptr;             // the same, as what it is
  std::optional<store::FencedStore> fenced;  // where the store is one that others may share
  std::unique_ptr<ledger::Ledger> audit, usage, decisions;
  std::unique_ptr<LedgerStream> audit_stream, usage_stream, decision_stream;
  std::unique_ptr<ServerPeers> peers;
  auth::BearerTokenTable tokens;
  auth::NodeAuthorizer node_authorizer;
  auth::RbacAuthorizer rbac;
  ServerAuthenticator authenticator;
  auth::AuthorizerChain authorizer;
  std::optional<auth::AuditPolicy> audit_policy;
  std::unique_ptr<OidcProviders> providers;
  PolicyAdmission policy_admission;
  DerivationAdmission derivation_admission{authorizer};
  ControllerAdmission controller_admission{authorizer};
  PriorityAdmission priority_admission{
      authorizer, [this](std::string name) { return find_priority_class(std::move(name)); }};
  // The loop starts after the API: until it is there, a dry run says nothing of places.
  PlanAdmission plan_admission{authorizer,
                               [this](const Json& object, const std::string& project) -> Result<Json> {
                                 if (!loop)
                                   return fail(Code::kUnavailable, "plan.starting", "the server is starting");
                                 return loop->what_if(object, project, {});
                               }};
  std::unique_ptr<apiserver::ApiServer> api;
  std::unique_ptr<client::ResourceClient> admin_client;
  std::unique_ptr<client::ResourceClient> leader_client;  // writes while this server leads
  std::unique_ptr<artifacts::ArtifactStore> blobs;
  std::unique_ptr<artifacts::RepositoryTable> repositories;
  std::unique_ptr<artifacts::OciRegistry> registry;
  std::unique_ptr<controllers::Metering> metering;
  LatePublisher publisher_slot;
  std::unique_ptr<controllers::ControlLoop> loop;
  std::unique_ptr<apiserver::LeaderElection> election;
  std::unique_ptr<Border> border;
  std::unique_ptr<RegistryPublisher> publisher;
  std::unique_ptr<RegistryRoute> registry_route;
  std::unique_ptr<transfer::Receiver> receiver;
  std::unique_ptr<JoinDesk> join_desk;
  std::unique_ptr<NodeStreams> streams;
  std::unique_ptr<Console> console;
  std::unique_ptr<OidcConsole> oidc_console;
  std::shared_ptr<io::TlsServerContext> tls;
  std::unique_ptr<io::HttpServer> http;
  std::string address;
  std::vector<std::string> names;  // in the server's certificate
  RefusalBudget stranger_refusals{600};
  TaskGroup tasks;
};

}  // namespace neap::app
