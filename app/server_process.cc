#include "server_process.h"

#include <fmt/format.h>

#include "audit_events.h"
#include "server_parts.h"
#include "state_backup.h"

namespace neap::app {
namespace {

// Issuer and audience of ServiceAccount tokens: they are for this installation's API and nothing else.
constexpr auto kTokenIssuer = "neap";
// The key whose revision is the term of the server that leads.
constexpr auto kFenceKey = "/leadership/controllers";

}  // namespace

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
  if (!options.oidc.empty()) {
    NEAP_CO_TRY_VOID(OidcProviders::check(options.oidc));
    providers = std::make_unique<OidcProviders>(runtime, options.oidc, options.state_directory, log);
    providers->start();
    authenticator.use(providers.get());
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

Task<Result<std::optional<Json>>> ServerProcess::Impl::find_priority_class(std::string name) {
  auto found = co_await admin_client->get({}, {.group = "scheduling.k8s.io",
                                               .version = "v1",
                                               .plural = "priorityclasses",
                                               .namespace_ = {},
                                               .name = std::move(name),
                                               .subresource = {}});
  if (found) co_return std::optional<Json>(*std::move(found));
  if (found.error().code == Code::kNotFound) co_return std::optional<Json>();
  co_return fail(std::move(found).error(), "asking what a PriorityClass is worth");
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
          .admission = {&policy_admission, &derivation_admission, &controller_admission, &priority_admission,
                        &plan_admission},
          .audit = [this](apiserver::AuditRecord entry) { return record(std::move(entry)); },
          .audit_policy = audit_policy ? &*audit_policy : nullptr,
          .on_failure = [this](const Error& error) { storage_failed(error); },
          .upkeep = of_leader},
      apiserver::ApiServer::Options{
          .token_issuer = apiserver::TokenIssuer{identity->signing_key, kTokenIssuer, kTokenIssuer}});
  authenticator.use({identity->signing_key.public_key(), kTokenIssuer, kTokenIssuer});
  api->keep_rbac(rbac);
  api->do_upkeep(!fenced);
  NEAP_CO_TRY_VOID(co_await api->start());
  const auth::Identity own{.user = std::string(auth::kControllersUser),
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
  tasks.spawn(restore_border());
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

Task<void> ServerProcess::Impl::restore_border() {
  const auto restored = co_await border->restore(tasks.context());
  if (!restored && !tasks.context().cancel.is_cancelled()) storage_failed(restored.error());
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

// Most are as they were at the last start: what is there already costs no fsync.
Status ServerProcess::Impl::write_file(const std::string& name, std::string text, unsigned mode) {
  auto& files = runtime.files();
  if (const auto known = files.read_file(path(name)); known && *known == text)
    return files.set_mode(path(name), mode);
  return files.write_file_atomic(path(name), text, mode);
}

Status ServerProcess::Impl::write_files(const io::Endpoint& listen) {
  const auto url = "https://" + address;
  NEAP_TRY_VOID(write_file("ca.pem", identity->authority.certificate_pem()));
  NEAP_TRY_VOID(write_file("admin.token", identity->admin_token, 0600));
  NEAP_TRY_VOID(write_file("admin.kubeconfig",
                           kubeconfig_text(url, identity->authority.certificate_pem(), identity->admin_token),
                           0600));
  NEAP_TRY_VOID(write_file("endpoints.json", to_pretty_text(Json{{"api", url},
                                                                 {"api_address", listen.to_string()},
                                                                 {"registry", url + "/v2/"},
                                                                 {"console", url + "/console/"}}) +
                                                 "\n"));
  return runtime.files().write_file_atomic(path("ready"), address);
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
                       .sign_in_path = i.providers ? std::string(OidcConsole::kPath) : std::string()});
  i.authenticator.use(i.console.get());
  i.add_routes();
  i.add_identity_routes();
  io::HttpServerOptions http;
  http.tls = i.tls;
  http.limits.connections_max = i.options.connections_max;
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
  if (i.border) i.border->give_up();  // the loop and requests may wait for it
  if (i.loop) co_await i.loop->stop();
  if (i.election) co_await i.election->stop();
  if (i.http) co_await i.http->stop();
  co_await i.tasks.stop();
  if (i.providers) co_await i.providers->stop();
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
