#include "agent_process.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "certificate_renewal.h"
#include "neap/agent/agent.h"
#include "neap/agent/data_plane.h"
#include "neap/agent/stream_relay.h"
#include "neap/client/http_client.h"
#include "neap/crypto/digest.h"
#include "neap/inference/onnx_engine.h"
#include "neap/store/sqlite_store.h"
#include "peer_door.h"

namespace neap::app {
namespace {

api::Resources machine_capacity() {
  api::Resources out;
  out.cpu = MilliCores{::sysconf(_SC_NPROCESSORS_ONLN) * 1000};
  out.memory = Bytes{::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGE_SIZE)};
  return out;
}

Result<io::Endpoint> parse_server(std::string_view url) {
  if (url.starts_with("https://")) url.remove_prefix(8);
  while (url.ends_with('/')) url.remove_suffix(1);
  return io::Endpoint::parse(url);
}
// In an order of the node's own, so that the nodes of an installation spread over its servers.
Result<std::vector<io::Endpoint>> parse_servers(std::string_view urls, std::string_view node) {
  std::vector<io::Endpoint> out;
  while (!urls.empty()) {
    const auto comma = std::min(urls.find(','), urls.size());
    NEAP_TRY(auto one, parse_server(urls.substr(0, comma)));
    out.push_back(std::move(one));
    urls.remove_prefix(std::min(comma + 1, urls.size()));
  }
  if (out.empty())
    return fail(Code::kInvalidArgument, "agent.server", "--server is empty; give https://HOST:PORT");
  const std::uint8_t first = std::uint8_t(crypto::sha256(node).to_string().back());
  std::ranges::rotate(out, out.begin() + std::ptrdiff_t(first % out.size()));
  return out;
}

// "10.0.0.7:8443" as others reach it.
std::string advertised(io::Endpoint local, const std::string& host) {
  if (!host.empty()) local.host = host;
  return local.to_string();
}
bool is_wildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

}  // namespace

struct AgentProcess::Impl {
  Impl(io::Runtime& r, AgentProcessOptions o)
      : runtime(r), options(std::move(o)), sink(telemetry::LogFormat::kKeyValue), log(sink, r.clock()) {}

  Task<Status> open_state();
  // What is on the disk is uncertain now; a fresh start reads it again. Programs outlive it.
  void storage_failed(const Error& error) {
    log.error("the disk failed a write; this process ends, a restart reads what is there",
              {telemetry::Field(error)});
    if (options.on_storage_failure) options.on_storage_failure();
  }
  Task<Status> connect();
  Status listen();
  Result<io::HttpClientOptions> peer_options(const gateway::UpstreamTarget& target);
  Result<agent::AgentOptions> agent_options();
  std::string path(std::string_view name) const { return options.state_directory + "/" + std::string(name); }

  io::Runtime& runtime;
  AgentProcessOptions options;
  telemetry::StderrSink sink;
  telemetry::Logger log;
  std::optional<NodeCredentials> credentials;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<ledger::Ledger> audit;
  std::unique_ptr<artifacts::ArtifactStore> blobs;
  std::unique_ptr<artifacts::RepositoryTable> repositories;
  std::unique_ptr<client::HttpResourceClient> api;
  std::unique_ptr<io::HttpClient> server;  // registry, transfers, shipments
  std::unique_ptr<agent::EgressGate> gate;
  std::unique_ptr<inference::OnnxEngine> engine;
  std::unique_ptr<agent::GatewayServing> serving;
  std::unique_ptr<agent::Collector> collector;
  std::unique_ptr<agent::BlobExchange> exchange;
  std::unique_ptr<executor::ResourceLimiter> limiter;
  std::unique_ptr<executor::ProcessDriver> processes;
  std::unique_ptr<agent::Agent> agent;
  std::unique_ptr<CertificateRenewal> renewal;
  std::unique_ptr<agent::StreamRelay> streams;
  std::unique_ptr<io::HttpServer> clients, peers;
};

Task<Status> AgentProcess::Impl::open_state() {
  NEAP_CO_TRY_VOID(runtime.files().make_directories(options.state_directory, 0700));
  NEAP_CO_TRY(const auto servers, parse_servers(options.server, options.node));
  Result<AgentIdentity> joined = fail(Code::kUnavailable, "agent.join", "no server was asked");
  for (const auto& address : servers) {
    joined = co_await load_or_join(runtime, {.directory = path("identity"),
                                             .node = options.node,
                                             .site = options.site,
                                             .capacity_type = options.capacity_type,
                                             .token_file = options.token_file,
                                             .server = address});
    if (joined || joined.error().code != Code::kUnavailable) break;
  }
  NEAP_CO_TRY(auto identity, std::move(joined));
  credentials.emplace(std::move(identity));
  store::SqliteStoreOptions store_options;
  store_options.directory = path("store");
  store_options.history_revisions = 100;
  store_options.on_failure = [this](const Error& error) { storage_failed(error); };
  NEAP_CO_TRY(store, co_await store::SqliteStore::open(runtime, store_options));
  const auto key_path = path("identity/ledger.key");
  if (!runtime.files().exists(key_path)) {
    NEAP_CO_TRY(const auto made, crypto::PrivateKey::generate(crypto::KeyKind::kEd25519));
    NEAP_CO_TRY_VOID(runtime.files().write_file_atomic(key_path, made.to_pem(), 0600));
  }
  NEAP_CO_TRY(const auto key_pem, runtime.files().read_file(key_path));
  NEAP_CO_TRY(auto key, crypto::PrivateKey::from_pem(key_pem));
  NEAP_CO_TRY(audit, co_await ledger::Ledger::open(
                         runtime,
                         {.directory = path("ledger/audit"),
                          .origin = "neap/node/" + options.node + "/audit",
                          .on_failure = [this](const Error& error) { storage_failed(error); }},
                         std::move(key)));
  NEAP_CO_TRY(blobs, artifacts::ArtifactStore::open(runtime, {.root = path("content")}));
  repositories = std::make_unique<artifacts::RepositoryTable>(*blobs);
  co_return ok();
}

Task<Status> AgentProcess::Impl::connect() {
  NEAP_CO_TRY(const auto servers, parse_servers(options.server, options.node));
  const auto& address = servers.front();
  io::HttpClientOptions http;
  // A server that thousands come back to at once is slow, not gone: who gives up early only comes again.
  http.connect_timeout = 10s;
  NEAP_CO_TRY(http.tls, credentials->client_context(address.host));
  for (std::size_t i = 1; i < servers.size(); ++i) {
    NEAP_CO_TRY(auto other, credentials->client_context(servers[i].host));
    http.alternates.push_back({servers[i], std::move(other)});
  }
  api = std::make_unique<client::HttpResourceClient>(runtime, address, http, "");
  server = std::make_unique<io::HttpClient>(runtime, address, http);
  gate = std::make_unique<agent::EgressGate>(agent::EgressGate::Dependencies{.runtime = runtime,
                                                                             .store = *store,
                                                                             .client = *api,
                                                                             .audit = *audit,
                                                                             .server = *server,
                                                                             .log = log},
                                             options.node, options.site);
  engine = std::make_unique<inference::OnnxEngine>(
      inference::OnnxEngineOptions{.library_path = options.onnxruntime});
  serving = agent::GatewayServing::create(
      {.runtime = runtime,
       .engine = *engine,
       .gate = *gate,
       .peer_options = [this](const gateway::UpstreamTarget& target) { return peer_options(target); },
       .log = log},
      options.node, options.site);
  collector = agent::make_masking_collector(runtime, *gate);
  agent::BlobExchangeOptions exchange_options;
  exchange_options.server_site = credentials->identity().server_site;
  if (options.keep_exports) {
    exchange_options.export_log_directory = path("exports");
    NEAP_CO_TRY_VOID(runtime.files().make_directories(exchange_options.export_log_directory, 0700));
  }
  NEAP_CO_TRY(auto trusted, crypto::PublicKey::from_pem(credentials->identity().signing_key_pem));
  exchange_options.trusted_keys.push_back(std::move(trusted));
  exchange =
      agent::make_registry_exchange(runtime, *gate, *server, *blobs, *repositories, exchange_options, log);
  co_return co_await gate->start();
}

// Each node is verified under its own name, which its certificate holds whatever address it is reached at.
Result<io::HttpClientOptions> AgentProcess::Impl::peer_options(const gateway::UpstreamTarget& target) {
  NEAP_TRY(auto tls, credentials->client_context(target.node.str()));
  return io::HttpClientOptions{.tls = std::move(tls)};
}

Status AgentProcess::Impl::listen() {
  NEAP_TRY(const auto client_address, io::Endpoint::parse(options.listen));
  NEAP_TRY(const auto peer_address, io::Endpoint::parse(options.peer_listen));
  NEAP_TRY(auto client_listener, runtime.network().listen(client_address));
  NEAP_TRY(auto peer_listener, runtime.network().listen(peer_address));
  NEAP_TRY(auto tls, credentials->server_context());
  io::HttpServerOptions plain, mutual;
  mutual.tls = tls;
  clients = std::make_unique<io::HttpServer>(runtime, std::move(client_listener), plain, serving->handler());
  peers = std::make_unique<io::HttpServer>(runtime, std::move(peer_listener), mutual,
                                           for_nodes_only(serving->handler()));
  clients->start();
  peers->start();
  return ok();
}

Result<agent::AgentOptions> AgentProcess::Impl::agent_options() {
  agent::AgentOptions out;
  out.node = options.node;
  out.site = options.site;
  out.state_directory = options.state_directory;
  out.data_directory = options.data_directory;
  out.python = options.python;
  out.python_path = options.python_path;
  if (!options.advertise_host.empty()) out.advertise_host = options.advertise_host;
  out.inference_endpoint = advertised(clients->local(), options.advertise_host);
  out.peer_endpoint = advertised(peers->local(), options.advertise_host);
  if (options.advertise_host.empty() &&
      (is_wildcard(clients->local().host) || is_wildcard(peers->local().host)))
    log.warning("others cannot reach this node at the address it listens on; give --advertise HOST",
                {{"inference", out.inference_endpoint}, {"peer", out.peer_endpoint}});
  out.limits = limiter->description();
  out.capacity = machine_capacity();
  NEAP_TRY(const auto cpu, parse_cores(options.cpu));
  NEAP_TRY(const auto memory, parse_bytes(options.memory));
  if (cpu.value > 0) out.capacity.cpu = cpu;
  if (memory.value > 0) out.capacity.memory = memory;
  utsname name{};
  if (::uname(&name) == 0) out.runtimes["kernel"] = name.release;
  return out;
}

AgentProcess::AgentProcess(io::Runtime& runtime, AgentProcessOptions options)
    : impl_(std::make_unique<Impl>(runtime, std::move(options))) {}
AgentProcess::~AgentProcess() = default;

Task<Status> AgentProcess::start() {
  auto& i = *impl_;
  NEAP_CO_TRY_VOID(co_await i.open_state());
  NEAP_CO_TRY_VOID(co_await i.connect());
  NEAP_CO_TRY_VOID(i.listen());
  i.limiter = std::make_unique<executor::ResourceLimiter>(
      executor::ResourceLimiter::detect(i.runtime.files(), i.options.node));
  if (i.limiter->layout() == executor::ResourceLimiter::Layout::kNone)
    i.log.warning("limits are not enforced", {{"why", i.limiter->description()}});
  i.processes = std::make_unique<executor::ProcessDriver>(i.runtime, *i.limiter, executor::DriverOptions{});
  NEAP_CO_TRY(const auto options, i.agent_options());
  i.agent = std::make_unique<agent::Agent>(agent::Agent::Dependencies{.runtime = i.runtime,
                                                                      .store = *i.store,
                                                                      .client = *i.api,
                                                                      .processes = *i.processes,
                                                                      .blobs = *i.exchange,
                                                                      .collector = *i.collector,
                                                                      .serving = *i.serving,
                                                                      .log = i.log},
                                           options);
  NEAP_CO_TRY_VOID(co_await i.agent->start());
  i.renewal = std::make_unique<CertificateRenewal>(
      CertificateRenewal::Dependencies{.runtime = i.runtime,
                                       .server = *i.server,
                                       .credentials = *i.credentials,
                                       .log = i.log,
                                       .notice =
                                           [&i](std::string reason, std::string message) {
                                             i.agent->set_notice("CertificateEnding", std::move(reason),
                                                                 std::move(message));
                                           }},
      i.path("identity"), i.options.node);
  i.renewal->start();
  i.streams = std::make_unique<agent::StreamRelay>(
      agent::StreamRelay::Dependencies{
          .runtime = i.runtime,
          .server = *i.server,
          .gate = *i.gate,
          .processes = *i.processes,
          .log = i.log,
          .find = [&i](const std::string& ns,
                       const std::string& name) { return i.agent->find_work(ns, name); }},
      i.options.node, i.credentials->identity().server_site);
  i.streams->start();
  NEAP_CO_TRY_VOID(i.runtime.files().write_file_atomic(
      i.path("endpoints.json"),
      to_pretty_text(Json{{"inference", options.inference_endpoint}, {"peer", options.peer_endpoint}}) +
          "\n"));
  NEAP_CO_TRY_VOID(i.runtime.files().write_file_atomic(i.path("ready"), options.inference_endpoint));
  i.log.info("agent runs",
             {{"node", i.options.node}, {"site", i.options.site}, {"inference", options.inference_endpoint}});
  co_return ok();
}

Task<void> AgentProcess::stop() {
  auto& i = *impl_;
  (void)i.runtime.files().remove(i.path("ready"));
  if (i.clients) co_await i.clients->stop();
  if (i.peers) co_await i.peers->stop();
  if (i.renewal) co_await i.renewal->stop();
  if (i.streams) co_await i.streams->stop();
  if (i.agent) co_await i.agent->stop();
  if (i.gate) co_await i.gate->stop();
  if (i.serving) co_await i.serving->stop();
  if (i.processes) co_await i.processes->close();
  if (i.audit) co_await i.audit->close();
  if (i.store) co_await i.store->close();
}

}  // namespace neap::app
