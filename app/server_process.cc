#include "server_process.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "audit_events.h"
#include "border.h"
#include "console.h"
#include "derivation_admission.h"
#include "join_desk.h"
#include "neap/api/kind.h"
#include "neap/apiserver/leader_election.h"
#include "neap/apiserver/server.h"
#include "neap/auth/node_authorizer.h"
#include "neap/auth/rbac.h"
#include "neap/client/typed.h"
#include "neap/controllers/controller.h"
#include "neap/transfer/receiver.h"
#include "node_streams.h"
#include "oidc_console.h"
#include "plan_route.h"
#include "policy_admission.h"
#include "project_right.h"
#include "refusal_budget.h"
#include "registry_publisher.h"
#include "registry_route.h"
#include "sealed_store.h"
#include "server_authenticator.h"
#include "server_identity.h"
#include "server_peers.h"
#include "state_backup.h"
#include "usage_export.h"

namespace neap::app {
namespace {

// Issuer and audience of ServiceAccount tokens: they are for this installation's API and nothing else.
constexpr auto kTokenIssuer = "neap";
// The key whose revision is the term of the server that leads.
constexpr auto kFenceKey = "/leadership/controllers";

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

}  // namespace

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
  // What is on the disk is uncertain now; a fresh start reads it again.
  void storage_failed(const Error& error) {
    log.error("the disk failed a write; this process ends, a restart reads what is there",
              {telemetry::Field(error)});
    if (options.on_storage_failure) options.on_storage_failure();
  }
  Task<void> record(apiserver::AuditRecord entry);
  Task<Status> start_api();
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
  std::unique_ptr<OidcProvider> provider;
  PolicyAdmission policy_admission;
  DerivationAdmission derivation_admission{authorizer};
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

Task<Status> ServerProcess::Impl::open_state(const io::Endpoint& listen) {
  NEAP_CO_TRY_VOID(runtime.files().make_directories(options.state_directory, 0700));
  names = options.names;
  names.push_back(listen.host);
  if (listen.host == "127.0.0.1") names.push_back("localhost");
  if (!options.advertise.empty()) {
    NEAP_CO_TRY(const auto advertised, io::Endpoint::parse(options.advertise));
    names.push_back(advertised.host);
  }
  NEAP_CO_TRY(identity, load_identity());
  tokens.add(identity->admin_token,
             {.user = "admin",
              .groups = {std::string(auth::kMastersGroup), std::string(auth::kAuthenticatedGroup)},
              .node = {},
              .authenticated = true});
  NEAP_CO_TRY(auto opened, co_await open_server_store(
                               runtime, options.store, path("store"),
                               {crypto::sha256(identity->signing_key.public_key().to_pem()).to_string(),
                                identity->installation(), options.site},
                               [this](const Error& error) { storage_failed(error); }));
  store_lock = std::move(opened.lock);
  store = std::move(opened.store);
  NEAP_CO_TRY_VOID(co_await seal_secrets());
  if (!options.audit_policy_file.empty()) {
    NEAP_CO_TRY(audit_policy, load_audit_policy(runtime.files(), options.audit_policy_file));
  }
  if (options.oidc) {
    NEAP_CO_TRY_VOID(OidcProvider::check(*options.oidc));
    options.oidc->cache_path = path("oidc-keys.json");
    provider = std::make_unique<OidcProvider>(runtime, *options.oidc, log);
    provider->start();
    authenticator.use(provider.get());
  }
  co_return co_await open_ledgers();
}

Task<Status> ServerProcess::Impl::seal_secrets() {
  const bool is_given = !options.secrets_key_file.empty();
  // Beside the keys that servers of one installation share.
  const auto identity_at = options.identity_directory.empty() ? path("identity") : options.identity_directory;
  SealedStore::Options sealing;
  sealing.may_create_key = !is_given;
  NEAP_CO_TRY(auto opened,
              co_await SealedStore::open(runtime, std::move(store),
                                         is_given ? options.secrets_key_file : identity_at + "/secrets.key",
                                         std::move(sealing)));
  sealed = opened.get();
  store = std::move(opened);
  const auto& done = sealed->rewrapped_at_start();
  if (done.sealed + done.rewrapped > 0)
    log.info("secrets were sealed with the present key",
             {{"plain_before", done.sealed}, {"older_key_before", done.rewrapped}});
  co_return ok();
}

Task<Status> ServerProcess::Impl::open_ledgers() {
  const auto open = [this](std::string name) {
    return ledger::Ledger::open(runtime,
                                {.directory = path("ledger/" + name),
                                 .origin = "neap/" + options.site + "/" + name,
                                 .on_failure = [this](const Error& error) { storage_failed(error); }},
                                identity->signing_key);
  };
  NEAP_CO_TRY(audit, co_await open("audit"));
  NEAP_CO_TRY(usage, co_await open("usage"));
  NEAP_CO_TRY(decisions, co_await open("decisions"));
  NEAP_CO_TRY_VOID(co_await open_streams());
  auto append = [this](Json entry) -> Task<Status> {
    // What allocations held is billed by the server that leads, and by no other.
    const bool is_of_leader = fenced && get_int(entry, "until") > 0;
    auto appended = co_await (is_of_leader ? usage_stream->append_through(*fenced, std::move(entry))
                                           : usage_stream->append(std::move(entry)));
    if (!appended) co_return fail(std::move(appended).error(), "writing the usage ledger");
    co_return ok();
  };
  metering = std::make_unique<controllers::Metering>(std::move(append), runtime.clock());
  for (std::uint64_t at = 0; at < usage->size();) {
    NEAP_CO_TRY(const auto entries, co_await usage->read(at, 1000));
    for (const auto& entry : entries)
      NEAP_CO_TRY_VOID(metering->restore(entry.body, LedgerStream::recorded_at(entry.body, entry.time)));
    if (entries.empty()) break;
    at = entries.back().sequence + 1;
  }
  co_return ok();
}

// What other servers recorded while this one was away comes in before anything is read from the ledgers.
Task<Status> ServerProcess::Impl::open_streams() {
  store::Store* const shared = options.store.is_shared() ? store.get() : nullptr;
  if (shared) fenced.emplace(*store, kFenceKey);
  peers = std::make_unique<ServerPeers>(
      ServerPeers::Dependencies{.runtime = runtime, .store = *store, .log = log},
      ServerPeers::Options{.roots_pem = identity->authority.certificate_pem(),
                           .token = identity->admin_token,
                           .signing_key = identity->signing_key});
  if (fenced) authenticator.use(peers.get());
  const auto fetch = [this](std::string name, std::uint64_t from) {
    return peers->fetch_ledger(std::move(name), from);
  };
  const auto make = [&](ledger::Ledger& own, std::string name) {
    return std::make_unique<LedgerStream>(
        LedgerStream::Dependencies{.runtime = runtime,
                                   .own = own,
                                   .shared = shared,
                                   .log = log,
                                   .on_failure = [this](const Error& error) { storage_failed(error); }},
        std::move(name));
  };
  audit_stream = make(*audit, "audit");
  usage_stream = make(*usage, "usage");
  decision_stream = make(*decisions, "decisions");
  for (auto* stream : {&audit_stream, &usage_stream, &decision_stream})
    NEAP_CO_TRY_VOID(co_await (*stream)->open(fetch));
  co_return ok();
}

// Shares the fsync of the ledger's group commit with whatever else is recorded at the time.
Task<void> ServerProcess::Impl::record(apiserver::AuditRecord entry) {
  // What controllers and agents write is seen in the objects; all other writes and all refusals are audited,
  // and whatever a rule of the audit policy names.
  const std::string_view user = entry.who.user;
  const bool is_part_of_neap =
      user.starts_with("system:") && entry.who.authenticated && !user.starts_with("system:serviceaccount:");
  if (!border || (entry.status < 400 && is_part_of_neap && !entry.by_policy)) co_return;
  if (entry.status >= 400 && !entry.who.authenticated && !stranger_refusals.take(runtime.executor().now()))
    co_return;
  Json record = audit_entry(std::move(entry), runtime.random().uuid());
  if (const auto left_out = stranger_refusals.take_left_out())
    record.as_object()["refusalsNotRecorded"] = left_out;
  auto appended = co_await border->append(std::move(record));
  if (!appended) log.error("a request is not on record", {telemetry::Field(appended.error())});
}

Task<Status> ServerProcess::Impl::start_api() {
  store::Store* const of_leader = fenced ? &*fenced : nullptr;
  api = std::make_unique<apiserver::ApiServer>(
      apiserver::ApiServer::Dependencies{
          .runtime = runtime,
          .store = *store,
          .kinds = api::KindTable::standard(),
          .authenticator = authenticator,
          .authorizer = authorizer,
          .admission = {&policy_admission, &derivation_admission},
          .audit = [this](apiserver::AuditRecord entry) { return record(std::move(entry)); },
          .audit_policy = audit_policy ? &*audit_policy : nullptr,
          .upkeep = of_leader},
      apiserver::ApiServer::Options{
          .token_issuer = apiserver::TokenIssuer{identity->signing_key, kTokenIssuer, kTokenIssuer}});
  authenticator.use({identity->signing_key.public_key(), kTokenIssuer, kTokenIssuer});
  api->keep_rbac(rbac);
  api->do_upkeep(!fenced);
  NEAP_CO_TRY_VOID(co_await api->start());
  const auth::Identity own{.user = "system:controllers",
                           .groups = {std::string(auth::kMastersGroup)},
                           .node = {},
                           .authenticated = true};
  admin_client = api->local_client(own);
  leader_client = api->local_client(own, of_leader);
  co_return ok();
}

// The registry route has asked for all that a request's path names before it comes here.
Task<Status> ServerProcess::Impl::permit_mount(io::HttpExchange& exchange, std::string from,
                                               artifacts::RegistryAction action) {
  if (action != artifacts::RegistryAction::kPull || exchange.request().method != "POST") co_return ok();
  co_await authenticator.prepare(exchange.request());
  NEAP_CO_TRY(const auto who, authenticator.authenticate(exchange.request(), exchange.peer_certificate()));
  if (registry_route->may_pull(who, from)) co_return ok();
  co_return fail(Code::kPermissionDenied, "registry.mount",
                 fmt::format("{} may not get models in the project of {}", who.user, from));
}

Task<Status> ServerProcess::Impl::start_data_plane() {
  NEAP_CO_TRY(blobs, artifacts::ArtifactStore::open(
                         runtime, {.root = options.content_directory.empty() ? path("content")
                                                                             : options.content_directory}));
  repositories = std::make_unique<artifacts::RepositoryTable>(*blobs);
  registry = std::make_unique<artifacts::OciRegistry>(
      *blobs, *repositories, artifacts::OciRegistryOptions{},
      [this](io::HttpExchange& exchange, std::string repository, artifacts::RegistryAction action) {
        return permit_mount(exchange, std::move(repository), action);
      });
  auto decide_log = [this](Json entry) -> Task<Status> {
    auto appended = co_await (fenced ? decision_stream->append_through(*fenced, std::move(entry))
                                     : decision_stream->append(std::move(entry)));
    if (!appended) co_return fail(std::move(appended).error(), "writing the decisions ledger");
    co_return ok();
  };
  controllers::Options loop_options;
  loop_options.server_site = options.site;
  loop = std::make_unique<controllers::ControlLoop>(
      controllers::ControlLoop::Dependencies{.runtime = runtime,
                                             .client = *leader_client,
                                             .publisher = publisher_slot,
                                             .decisions = decide_log,
                                             .log = log,
                                             .spending = metering.get()},
      loop_options);
  border = std::make_unique<Border>(Border::Dependencies{.runtime = runtime,
                                                         .audit = *audit,
                                                         .stream = audit_stream.get(),
                                                         .metering = *metering,
                                                         .state = loop->state(),
                                                         .log = log},
                                    options.site);
  NEAP_CO_TRY_VOID(co_await border->restore());
  NEAP_CO_TRY_VOID(audit_stream->follow([this](const Json& entry, WallTime) { border->learn(entry); }));
  NEAP_CO_TRY_VOID(usage_stream->follow([this](const Json& entry, WallTime at) {
    if (auto learnt = metering->restore(entry, at); !learnt)
      log.error("a bill line of another server is not counted here", {telemetry::Field(learnt.error())});
  }));
  NEAP_CO_TRY_VOID(decision_stream->follow([](const Json&, WallTime) {}));
  publisher =
      std::make_unique<RegistryPublisher>(runtime, *blobs, *repositories, *border, identity->signing_key);
  publisher_slot.inner = publisher.get();
  registry_route = std::make_unique<RegistryRoute>(*registry, *border, authorizer);
  auto completed = [this](transfer::TransferOffer offer) -> Task<Status> {
    NEAP_CO_TRY_VOID(repositories->link_blob("neap/artifacts", offer.digest));
    api::DataLevel level = api::DataLevel::kL1;
    (void)api::parse_enum(offer.level, level);
    co_return co_await border->take_offered_level(offer.digest.to_string(), level, offer.was_here);
  };
  NEAP_CO_TRY(receiver, transfer::Receiver::create(*blobs, {.site = options.site}, {}, completed));
  join_desk = std::make_unique<JoinDesk>(
      JoinDesk::Dependencies{.runtime = runtime,
                             .store = *store,
                             .authority = identity->authority,
                             .client = *admin_client,
                             .signing_key_pem = identity->signing_key.public_key().to_pem(),
                             .site = options.site,
                             .server_names = names,
                             .record = [this](Json entry) { return border->append(std::move(entry)); },
                             .certificate_life = options.node_certificate_life});
  NEAP_CO_TRY_VOID(co_await join_desk->restore());
  if (const auto mark = options.state_directory + std::string(kRestoredMark); runtime.files().exists(mark)) {
    NEAP_CO_TRY(const auto ended, co_await join_desk->end_all("this state was restored from a backup"));
    log.info("join tokens of before the restore are good no more", {{"tokens", ended}});
    NEAP_CO_TRY_VOID(runtime.files().remove(mark));
  }
  co_return ok();
}

// The agent's waiting connection says where its node is reached.
Task<void> ServerProcess::Impl::serve_node(io::HttpExchange& exchange, const auth::Identity& who) {
  if (!who.node.empty()) co_await peers->note_node(who.node);
  co_await streams->serve(exchange, who);
}

Task<bool> ServerProcess::Impl::forward_stream(io::HttpExchange& exchange, const auth::Identity& who,
                                               const auth::Attributes& what) {
  // Forwarded once: where it is not here either, it is nowhere.
  if (const auto forwarded = peers->forwarded_by_peer(exchange.request()); !forwarded || *forwarded)
    co_return false;
  const auto object = co_await admin_client->get(
      exchange.context(), client::TypedClient<api::Allocation>::path(what.namespace_, what.name));
  const auto allocation =
      object ? api::from_json<api::Allocation>(*object) : Result<api::Allocation>(fail(object.error()));
  const auto address = allocation ? peers->server_of(allocation->spec.node) : std::string();
  if (address.empty()) co_return false;
  co_await peers->forward(exchange, who, address);
  co_return true;
}

// GET /neap/v1/ledgers/NAME?from=SEQUENCE -> {"entries": [...]}, for servers that were away.
Task<void> ServerProcess::Impl::serve_ledger(io::HttpExchange& exchange) {
  const auto name = exchange.request().path.substr(std::string_view("/neap/v1/ledgers/").size());
  std::uint64_t from = 0;
  const auto asked = exchange.request().query_value("from");
  std::from_chars(asked.data(), asked.data() + asked.size(), from);
  ledger::Ledger* const one = name == "audit"       ? audit.get()
                              : name == "usage"     ? usage.get()
                              : name == "decisions" ? decisions.get()
                                                    : nullptr;
  co_await reply_json(exchange, [one, from](Json) -> Task<Result<Json>> {
    if (!one) co_return fail(Code::kNotFound, "ledger.unknown", "the ledgers are audit, usage and decisions");
    NEAP_CO_TRY(auto entries, co_await one->read(from, ServerPeers::kLedgerPage));
    JsonArray bodies;
    for (auto& entry : entries) {
      if (entry.body.is_object() && !entry.body.get_object().contains("time"))
        entry.body.get_object()["time"] = format_rfc3339(entry.time, 3);
      bodies.push_back(std::move(entry.body));
    }
    co_return Json{{"entries", std::move(bodies)}};
  });
}

void ServerProcess::Impl::add_routes() {
  streams = std::make_unique<NodeStreams>(runtime, *admin_client);
  api->serve_logs(*streams);
  api->serve_sessions(*streams);
  using Who = const auth::Identity&;
  api->add_route({.prefix = "/v2", .authorize = false, .handler = [this](io::HttpExchange& e, Who who) {
                    return registry_route->handle(e, who);
                  }});
  api->add_route({.prefix = "/transfer/v1/", .authorize = true, .handler = [this](io::HttpExchange& e, Who) {
                    return receiver->handle(e);
                  }});
  api->add_route({.prefix = "/neap/v1/join-tokens",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who) { return join_desk->serve_tokens(e); }});
  api->add_route({.prefix = "/neap/v1/join", .authorize = false, .handler = [this](io::HttpExchange& e, Who) {
                    return join_desk->serve_join(e);
                  }});
  api->add_route(
      {.prefix = "/agent/v1/nodes/", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return NodeStreams::is_path(e.request().path) ? serve_node(e, who)
                                                       : join_desk->serve_renewal(e, who);
       }});
  if (fenced)
    api->forward_streams([this](io::HttpExchange& e, Who who, const auth::Attributes& what) {
      return forward_stream(e, who, what);
    });
  api->add_route({.prefix = "/neap/v1/console-codes",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who who) { return console->serve_codes(e, who); }});
  api->add_route({.prefix = "/console", .authorize = false, .handler = [this](io::HttpExchange& e, Who who) {
                    return console->serve(e, who);
                  }});
  api->add_route(
      {.prefix = "/neap/v1/cost", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string project(e.request().query_value("project"));
         auto right = std::make_shared<ProjectRight>(authorizer, who);
         return reply_json(e, [this, project, right](Json) -> Task<Result<Json>> {
           if (!project.empty()) NEAP_CO_TRY_VOID(right->check(project));
           co_return metering->report(loop->state(), project,
                                      [right](const std::string& p) { return right->may_read(p); });
         });
       }});
  api->add_route(
      {.prefix = "/neap/v1/plan", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return serve_plan(e, *loop, ProjectRight(authorizer, who));
       }});
  api->add_route(
      {.prefix = "/neap/v1/focus", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         return serve_usage_export(e, *usage, loop->state(), options.site, ProjectRight(authorizer, who));
       }});
  api->add_route(
      {.prefix = "/neap/v1/audit", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string type(e.request().query_value("type"));
         const bool as_events = e.request().query_value("format") == "k8s";
         auto right = std::make_shared<ProjectRight>(authorizer, who);
         return reply_json(e, [this, type, as_events, right](Json) -> Task<Result<Json>> {
           NEAP_CO_TRY(auto answer, co_await border->list(type, 10'000, [right](const std::string& p) {
             return right->may_read(p);
           }));
           if (as_events) co_return kubernetes_audit_events(answer.at("entries").as_array());
           co_return answer;
         });
       }});
  api->add_route({.prefix = "/neap/v1/ledgers/",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who) { return serve_ledger(e); }});
  api->add_route(
      {.prefix = "/ledger/v1/nodes/", .authorize = true, .handler = [this](io::HttpExchange& e, Who who) {
         std::string node = who.node;
         return reply_json(
             e, [this, node](Json body) { return border->take_shipment(node, std::move(body)); }, 8u << 20);
       }});
  const auto explain = [this](std::string plural) {
    return [this, plural](CallContext ctx, std::string ns, std::string name) -> Task<Result<Json>> {
      NEAP_CO_TRY(const auto object, co_await admin_client->get(ctx, {.group = "neap.dev",
                                                                      .version = "v1",
                                                                      .plural = plural,
                                                                      .namespace_ = ns,
                                                                      .name = name,
                                                                      .subresource = {}}));
      const auto* explanation = find_path(object, {"status", "explanation"});
      if (!explanation)
        co_return fail(Code::kNotFound, "explain.none",
                       fmt::format("no decision was made about {}/{} yet", plural, name));
      co_return *explanation;
    };
  };
  for (const auto* plural : {"trainingjobs", "inferenceservices"})
    api->add_subresource({.plural = plural, .subresource = "explain", .get = explain(plural)});
}

void ServerProcess::Impl::join_election() {
  if (!fenced) return;
  loop->lead(false);
  election = std::make_unique<apiserver::LeaderElection>(
      apiserver::LeaderElection::Dependencies{.runtime = runtime,
                                              .store = *store,
                                              .fence = *fenced,
                                              .changed =
                                                  [this](bool now_leads) {
                                                    log.info(now_leads ? "this server leads now"
                                                                       : "this server leads no more");
                                                    loop->lead(now_leads);
                                                    api->do_upkeep(now_leads);
                                                  }},
      apiserver::LeaderElection::Options{.holder = address + "_" + runtime.random().hex(8)});
  election->start();
}

Task<Status> ServerProcess::Impl::meet_peers() {
  if (!fenced) co_return ok();
  NEAP_CO_TRY_VOID(co_await peers->start());
  co_return co_await peers->announce(options.advertise.empty() ? address : options.advertise);
}

// One round of what the leader does beside its controllers.
Task<Status> ServerProcess::Impl::bill() {
  // What the leader before billed must be known.
  NEAP_CO_TRY_VOID(co_await usage_stream->catch_up(tasks.context()));
  NEAP_CO_TRY_VOID(co_await metering->bill_allocations(loop->state()));
  if (fenced)
    for (auto* stream : {&audit_stream, &usage_stream, &decision_stream})
      NEAP_CO_TRY_VOID(co_await (*stream)->forget_old(*fenced));
  co_return ok();
}

void ServerProcess::Impl::add_identity_routes() {
  using Who = const auth::Identity&;
  api->add_route({.prefix = "/neap/v1/oidc", .authorize = false, .handler = [this](io::HttpExchange& e, Who) {
                    return reply_json(e, [this](Json) -> Task<Result<Json>> {
                      if (provider) co_return provider->describe();
                      co_return fail(
                          Code::kNotFound, "oidc.none",
                          "this server has no identity provider; start it with --oidc-issuer-url and "
                          "--oidc-client-id, or use a kubeconfig with a token");
                    });
                  }});
  api->add_route({.prefix = "/neap/v1/secrets/rotate",
                  .authorize = true,
                  .handler = [this](io::HttpExchange& e, Who who) {
                    const bool is_post = e.request().method == "POST";
                    return reply_json(e, [this, is_post, user = who.user](Json) -> Task<Result<Json>> {
                      if (!is_post)
                        co_return fail(Code::kInvalidArgument, "secrets.rotate.method",
                                       "keys are rotated by POST");
                      NEAP_CO_TRY(const auto done, co_await sealed->rotate());
                      NEAP_CO_TRY_VOID(co_await border->append(Json{
                          {"type", "secrets-key-rotation"}, {"user", user}, {"rewrapped", done.rewrapped}}));
                      co_return Json{{"secrets", done.objects}, {"rewrapped", done.rewrapped}};
                    });
                  }});
  if (!provider) return;
  oidc_console = std::make_unique<OidcConsole>(runtime, *provider, *console,
                                               OidcConsole::Options{.public_url = "https://" + address});
  api->add_route({.prefix = std::string(OidcConsole::kPath),
                  .authorize = false,
                  .handler = [this](io::HttpExchange& e, Who) { return oidc_console->serve(e); }});
}

Task<void> ServerProcess::Impl::keep_metering() {
  for (;;) {
    if (leads()) {
      if (auto billed = co_await bill(); !billed && leads())
        log.warning("usage could not be billed", {telemetry::Field(billed.error())});
    } else {
      // Where the store cannot be asked, the next round does it.
      for (auto* stream : {&audit_stream, &usage_stream, &decision_stream})
        (void)co_await (*stream)->drop_forgotten();
    }
    if (!co_await sleep_for(runtime.executor(), tasks.context(), 2s)) co_return;
  }
}

// The server's own certificate is renewed where a restart would renew it, too.
Task<void> ServerProcess::Impl::keep_certificate() {
  while (co_await sleep_for(runtime.executor(), tasks.context(), std::chrono::hours(1))) {
    auto fresh = load_identity();
    if (fresh && fresh->certificate_pem == identity->certificate_pem) continue;
    auto status = fresh ? io::replace_identity(*tls, fresh->certificate_pem, fresh->private_key_pem)
                        : Status(fail(fresh.error()));
    if (status) {
      identity->certificate_pem = fresh->certificate_pem;
      log.info("the server's certificate was renewed");
    } else {
      log.error("the server's certificate could not be renewed", {telemetry::Field(status.error())});
    }
  }
}

Status ServerProcess::Impl::write_files(const io::Endpoint& listen) {
  auto& files = runtime.files();
  const auto url = "https://" + address;
  NEAP_TRY_VOID(files.write_file_atomic(path("ca.pem"), identity->authority.certificate_pem()));
  NEAP_TRY_VOID(files.write_file_atomic(path("admin.token"), identity->admin_token, 0600));
  NEAP_TRY_VOID(files.write_file_atomic(
      path("admin.kubeconfig"),
      kubeconfig_text(url, identity->authority.certificate_pem(), identity->admin_token), 0600));
  NEAP_TRY_VOID(
      files.write_file_atomic(path("endpoints.json"), to_pretty_text(Json{{"api", url},
                                                                          {"api_address", listen.to_string()},
                                                                          {"registry", url + "/v2/"},
                                                                          {"console", url + "/console/"}}) +
                                                          "\n"));
  return files.write_file_atomic(path("ready"), address);
}

ServerProcess::ServerProcess(io::Runtime& runtime, ServerOptions options)
    : impl_(std::make_unique<Impl>(runtime, std::move(options))) {}
ServerProcess::~ServerProcess() = default;
const std::string& ServerProcess::address() const { return impl_->address; }

Task<Status> ServerProcess::start() {
  auto& i = *impl_;
  NEAP_CO_TRY(auto listen, io::Endpoint::parse(i.options.listen));
  NEAP_CO_TRY_VOID(co_await i.open_state(listen));
  NEAP_CO_TRY_VOID(co_await i.start_api());
  NEAP_CO_TRY_VOID(co_await i.start_data_plane());
  NEAP_CO_TRY(i.tls,
              io::make_tls_server_context({.certificate_pem = i.identity->certificate_pem,
                                           .private_key_pem = i.identity->private_key_pem,
                                           .client_roots_pem = i.identity->authority.certificate_pem()}));
  NEAP_CO_TRY(auto listener, i.runtime.network().listen(listen));
  listen = listener->local();
  i.address = listen.to_string();
  i.console = std::make_unique<Console>(
      Console::Dependencies{.clock = i.runtime.clock(), .random = i.runtime.random()},
      Console::Options{.public_url = "https://" + i.address,
                       .sign_in_path = i.provider ? std::string(OidcConsole::kPath) : std::string()});
  i.authenticator.use(i.console.get());
  i.add_routes();
  i.add_identity_routes();
  io::HttpServerOptions http;
  http.tls = i.tls;
  i.http = std::make_unique<io::HttpServer>(i.runtime, std::move(listener), http, i.api->handler());
  i.http->start();
  i.loop->start();
  i.join_election();
  i.tasks.spawn(i.keep_metering());
  i.tasks.spawn(i.keep_certificate());
  NEAP_CO_TRY_VOID(i.write_files(listen));
  NEAP_CO_TRY_VOID(co_await i.meet_peers());
  i.log.info("serving", {{"address", i.address}, {"site", i.options.site}});
  co_return ok();
}

Task<void> ServerProcess::stop() {
  auto& i = *impl_;
  // A server that was refused because another one serves this directory leaves that one's file alone.
  if (!i.address.empty()) (void)i.runtime.files().remove(i.path("ready"));
  if (i.peers) co_await i.peers->withdraw();
  if (i.loop) co_await i.loop->stop();
  if (i.election) co_await i.election->stop();
  if (i.http) co_await i.http->stop();
  co_await i.tasks.stop();
  if (i.provider) co_await i.provider->stop();
  i.leader_client.reset();
  i.admin_client.reset();
  if (i.api) co_await i.api->stop();
  if (i.peers) co_await i.peers->stop();
  for (auto* stream : {&i.audit_stream, &i.usage_stream, &i.decision_stream})
    if (*stream) co_await (*stream)->stop();
  for (auto* ledger : {&i.audit, &i.usage, &i.decisions})
    if (*ledger) co_await (*ledger)->close();
  if (i.store) co_await i.store->close();
}

}  // namespace neap::app
