#include "world.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "neap/agent/agent.h"
#include "neap/apiserver/server.h"
#include "neap/auth/node_authorizer.h"
#include "neap/auth/rbac.h"
#include "neap/base/task_group.h"
#include "neap/client/http_client.h"
#include "neap/controllers/controller.h"
#include "neap/store/sqlite_store.h"

namespace neap::world {
namespace {

constexpr std::uint16_t kPort = 8443;
constexpr Duration kSilenceMax = 15s;  // a job may say nothing for this long after the server saw it
constexpr std::int64_t kFirstPid = 100;

// "Bearer admin" is the desk, "Bearer node:NAME" an agent: what certificates say in the real thing.
class NameAuthenticator final : public apiserver::Authenticator {
 public:
  Result<auth::Identity> authenticate(const io::HttpRequest& request,
                                      const io::PeerCertificate*) const override {
    constexpr std::string_view kAgent = "Bearer node:";
    const auto header = request.headers.get("Authorization");
    if (header == "Bearer admin")
      return auth::Identity{
          .user = "admin", .groups = {std::string(auth::kMastersGroup)}, .node = {}, .authenticated = true};
    if (header.starts_with(kAgent))
      return auth::identity_of_certificate(
          std::string(auth::kNodeUserPrefix) + std::string(header.substr(kAgent.size())),
          {std::string(auth::kNodesGroup)});
    return fail(Code::kUnauthenticated, "world.identity", "nobody known");
  }
};

class WorldSink final : public telemetry::LogSink {
 public:
  explicit WorldSink(const io::SimWorld& sim) : sim_(sim) {}
  void write(const telemetry::Record& record) override {
    if (!is_on) return;
    fmt::print(stderr, "{:9.3f} {}\n", to_seconds(sim_.now().time_since_epoch()) - 1000,
               telemetry::format_record(record, telemetry::LogFormat::kKeyValue));
  }
  bool is_on = std::getenv("NEAP_WORLD_LOG") != nullptr;

 private:
  const io::SimWorld& sim_;
};

std::string variable(const io::ProcessSpec& spec, std::string_view name) {
  for (const auto& entry : spec.environment)
    if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
      return entry.substr(name.size() + 1);
  return {};
}

bool is_terminal(const api::TrainingJob& job) {
  return job.status.phase == "Succeeded" || job.status.phase == "Failed";
}

}  // namespace

struct World::Server {
  Server(io::Runtime& r, telemetry::LogSink& sink)
      : runtime(r),
        log(telemetry::Logger(sink, r.clock()).with({{"at", "server"}})),
        authorizer(nodes, rbac),
        tasks(r.executor()) {}
  ~Server() {
    if (loop) loop->abandon();
    if (http) http->abandon();
    tasks.abandon();
    if (api) api->abandon();
    loop.reset();
    http.reset();
    local.reset();
    api.reset();
    store.reset();
  }
  Task<Status> open() {
    NEAP_CO_TRY(store,
                co_await store::SqliteStore::open(runtime, {.directory = "/neap/store", .use_io_vfs = true}));
    api = std::make_unique<apiserver::ApiServer>(
        apiserver::ApiServer::Dependencies{.runtime = runtime,
                                           .store = *store,
                                           .kinds = api::KindTable::standard(),
                                           .authenticator = authenticator,
                                           .authorizer = authorizer,
                                           .admission = {},
                                           .audit = {}},
        apiserver::ApiServer::Options{});
    api->keep_rbac(rbac);
    NEAP_CO_TRY_VOID(co_await api->start());
    local = api->local_client({.user = "system:controllers",
                               .groups = {std::string(auth::kMastersGroup)},
                               .node = {},
                               .authenticated = true});
    controllers::Options options;
    options.server_site = "hq";
    loop = std::make_unique<controllers::ControlLoop>(
        controllers::ControlLoop::Dependencies{.runtime = runtime,
                                               .client = *local,
                                               .publisher = publisher,
                                               .decisions = [](Json) -> Task<Status> { co_return ok(); },
                                               .log = log},
        options);
    NEAP_CO_TRY(auto listener, runtime.network().listen({.host = "0.0.0.0", .port = kPort, .unix_path = {}}));
    http = std::make_unique<io::HttpServer>(runtime, std::move(listener), io::HttpServerOptions{},
                                            api->handler());
    http->start();
    loop->start();
    log.info("the server serves");
    co_return ok();
  }
  io::Runtime& runtime;
  telemetry::Logger log;
  NameAuthenticator authenticator;
  auth::NodeAuthorizer nodes;
  auth::RbacAuthorizer rbac;
  auth::AuthorizerChain authorizer;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<apiserver::ApiServer> api;
  std::unique_ptr<client::ResourceClient> local;
  SimPublisher publisher;
  std::unique_ptr<controllers::ControlLoop> loop;
  std::unique_ptr<io::HttpServer> http;
  TaskGroup tasks;
  bool is_open = false;
  std::string failure;
};

struct World::Node {
  Node(io::SimMachine& m, telemetry::LogSink& s, std::string node_site, MilliCores node_cpu)
      : machine(m), sink(s), site(std::move(node_site)), cpu(node_cpu) {}

  struct Life {
    Life(io::Runtime& r, telemetry::LogSink& sink, const std::string& name)
        : runtime(r), log(telemetry::Logger(sink, r.clock()).with({{"at", name}})), tasks(r.executor()) {}
    ~Life() {
      if (agent) agent->abandon();
      if (processes) processes->abandon();
      tasks.abandon();
      agent.reset();
      processes.reset();
      store.reset();
    }
    io::Runtime& runtime;
    telemetry::Logger log;
    std::unique_ptr<store::Store> store;
    std::unique_ptr<client::HttpResourceClient> client;
    std::unique_ptr<SimBlobs> blobs;
    SimCollector collector;
    std::unique_ptr<SimServing> serving;
    std::unique_ptr<executor::ResourceLimiter> limiter;
    std::unique_ptr<executor::ProcessDriver> processes;
    std::unique_ptr<agent::Agent> agent;
    TaskGroup tasks;
  };
  Task<Status> open(World& world) {
    auto& l = *life;
    auto& runtime = machine.runtime();
    const auto& name = machine.name();
    NEAP_CO_TRY(l.store,
                co_await store::SqliteStore::open(
                    runtime, {.directory = "/neap/store", .history_revisions = 100, .use_io_vfs = true}));
    l.client = std::make_unique<client::HttpResourceClient>(
        runtime, io::Endpoint{.host = "server", .port = kPort, .unix_path = {}}, io::HttpClientOptions{},
        "node:" + name);
    l.blobs = std::make_unique<SimBlobs>(runtime, *l.client, "/neap/content");
    l.serving =
        std::make_unique<SimServing>(runtime, served, [&world](std::string what) { world.complain(what); });
    l.limiter =
        std::make_unique<executor::ResourceLimiter>(executor::ResourceLimiter::detect(runtime.files(), name));
    l.processes = std::make_unique<executor::ProcessDriver>(runtime, *l.limiter, executor::DriverOptions{});
    agent::AgentOptions options;
    options.node = name;
    options.site = site;
    options.state_directory = "/neap";
    options.data_directory = "/data";
    options.advertise_host = name;
    options.inference_endpoint = name + ":9000";
    options.peer_endpoint = name + ":9001";
    options.capacity.cpu = cpu;
    options.capacity.memory = Bytes{8ll << 30};
    l.agent = std::make_unique<agent::Agent>(agent::Agent::Dependencies{.runtime = runtime,
                                                                        .store = *l.store,
                                                                        .client = *l.client,
                                                                        .processes = *l.processes,
                                                                        .blobs = *l.blobs,
                                                                        .collector = l.collector,
                                                                        .serving = *l.serving,
                                                                        .log = l.log},
                                             options);
    co_return co_await l.agent->start();
  }

  io::SimMachine& machine;
  telemetry::LogSink& sink;
  std::string site;
  MilliCores cpu;
  std::map<std::string, ServingRecord> served;
  std::unique_ptr<Life> life;
  std::vector<std::int64_t> pids;  // as last seen
};

struct World::Desk {
  explicit Desk(io::Runtime& r)
      : runtime(r),
        client(r, {.host = "server", .port = kPort, .unix_path = {}}, {}, "admin", {.call_timeout = 8s}),
        tasks(r.executor()) {}
  ~Desk() { tasks.abandon(); }
  io::Runtime& runtime;
  client::HttpResourceClient client;
  TaskGroup tasks;
};

World::World(std::uint64_t seed)
    : sim_(seed),
      is_loud_(std::getenv("NEAP_WORLD_LOG") != nullptr),
      sink_(std::make_unique<WorldSink>(sim_)) {
  sim_.add_machine("server");
  desk_ = std::make_unique<Desk>(sim_.add_machine("desk").runtime());
}
World::~World() {
  desk_.reset();
  nodes_.clear();
  server_.reset();
}

void World::complain(std::string what) {
  if (violations_.size() >= 20 || !complained_.insert(what).second) return;
  violations_.push_back(
      fmt::format("at {:.3f} s: {}", to_seconds(sim_.now().time_since_epoch()) - 1000, what));
  if (is_loud_) fmt::print(stderr, "VIOLATION {}\n", violations_.back());
}

void World::add_node(const std::string& name, const std::string& site, MilliCores cpu) {
  auto& machine = sim_.add_machine(name);
  machine.set_behaviour([this, name](const io::ProcessSpec& spec) { return started(name, spec); });
  nodes_.emplace(name, std::make_unique<Node>(machine, *sink_, site, cpu));
}

void World::start_server() {
  server_ = std::make_unique<Server>(sim_.machine("server").runtime(), *sink_);
  server_->tasks.spawn([](Server& server) -> Task<void> {
    auto status = co_await server.open();
    server.is_open = status.has_value();
    if (!status) server.failure = status.error().to_string();
  }(*server_));
}

void World::end_server(Fall fall) {
  server_.reset();
  silent_since_.clear();
  fall == Fall::kMachine ? sim_.crash("server") : sim_.kill_program("server");
}

bool World::server_is_healthy() const { return server_ && server_->is_open; }

void World::start_agent(const std::string& name) {
  auto& node = *nodes_.at(name);
  node.life = std::make_unique<Node::Life>(node.machine.runtime(), *sink_, name);
  node.life->tasks.spawn([](World& world, Node& n) -> Task<void> {
    if (auto status = co_await n.open(world); !status)
      world.complain(
          fmt::format("the agent {} could not start: {}", n.machine.name(), status.error().to_string()));
  }(*this, node));
}

void World::end_agent(const std::string& name, Fall fall) {
  nodes_.at(name)->life.reset();
  fall == Fall::kMachine ? sim_.crash(name) : sim_.kill_program(name);
}

void World::cut(const std::string& node, bool is_cut) {
  sim_.set_partition(node, "server", is_cut);
  sim_.set_partition("server", node, is_cut);
}

bool World::run(Duration at_most, const std::function<bool()>& done) {
  bool reached = false;
  sim_.run_for(at_most, [&] {
    check();
    return done && (reached = done());
  });
  return !done || reached;
}

void World::finish(Task<void> task) {
  bool done = false;
  desk_->tasks.spawn([](Task<void> inner, bool& flag) -> Task<void> {
    co_await std::move(inner);
    flag = true;
  }(std::move(task), done));
  EXPECT_TRUE(run(10min, [&] { return done; })) << "the desk got no answer within ten simulated minutes";
}

void World::create_at(client::ResourcePath path, Json object) {
  if (path.plural == "trainingjobs") {
    const auto job = api::from_json<api::TrainingJob>(object);
    ASSERT_TRUE(job);
    cpu_of_job_[job->metadata.name] = job->spec.resources.cpu;
  }
  finish([](World& world, client::ResourcePath at, Json what) -> Task<void> {
    for (int tries = 0;; ++tries) {
      auto made = co_await world.desk_->client.create({}, at, what, {});
      if (made) {
        const auto* metadata = find_path(*made, {"metadata"});
        at.name = get_string(*metadata, "name");
        const auto revision = std::atoll(std::string(get_string(*metadata, "resourceVersion")).c_str());
        world.acknowledged_[client::target_of(at)] = revision;
        world.acknowledged_revision_ = std::max<std::int64_t>(world.acknowledged_revision_, revision);
        co_return;
      }
      if (made.error().code == Code::kAlreadyExists && tries > 0) co_return;
      const auto code = made.error().code;
      if (code != Code::kUnavailable && code != Code::kDeadlineExceeded) {
        ADD_FAILURE() << made.error().to_string();
        co_return;
      }
      (void)co_await sleep_for(world.desk_->runtime.executor(), {}, 500ms);
    }
  }(*this, std::move(path), std::move(object)));
}

void World::patch(client::ResourcePath path, Json change) {
  finish([](World& world, client::ResourcePath at, Json what) -> Task<void> {
    for (;;) {
      auto made = co_await world.desk_->client.patch({}, at, client::PatchType::kMerge, what, {});
      if (made) co_return;
      (void)co_await sleep_for(world.desk_->runtime.executor(), {}, 500ms);
    }
  }(*this, std::move(path), std::move(change)));
}

void World::keep_writing() {
  desk_->tasks.spawn([](World& world) -> Task<void> {
    client::TypedClient<api::Model> models(world.desk_->client);
    for (int n = 0;; ++n) {
      api::Model note;
      note.metadata.name = fmt::format("note-{}", n);
      note.metadata.namespace_ = "default";
      auto made = co_await models.create({}, note);
      if (made) {
        const auto revision = std::atoll(made->metadata.resourceVersion.c_str());
        world.acknowledged_[client::target_of(models.path("default", note.metadata.name))] = revision;
        world.acknowledged_revision_ = std::max<std::int64_t>(world.acknowledged_revision_, revision);
      }
      if (!co_await sleep_for(world.desk_->runtime.executor(), world.desk_->tasks.context(), 1s)) co_return;
    }
  }(*this));
}

std::vector<std::string> World::find_lost_writes() {
  std::vector<std::string> lost;
  auto wanted = acknowledged_;
  finish([](World& world, std::map<std::string, std::int64_t> writes,
            std::vector<std::string>& out) -> Task<void> {
    for (const auto& [path, revision] : writes) {
      io::HttpRequest request;
      request.method = "GET";
      request.target = path;
      auto reply = co_await world.desk_->client.raw({}, request);
      if (!reply || reply->status != 200) {
        out.push_back(
            fmt::format("{}: {}", path, reply ? std::to_string(reply->status) : reply.error().message));
        continue;
      }
      const auto object = parse_json(reply->body);
      const auto* metadata = object ? find_path(*object, {"metadata"}) : nullptr;
      if (!metadata || std::atoll(std::string(get_string(*metadata, "resourceVersion")).c_str()) < revision)
        out.push_back(path + ": older than what was acknowledged");
    }
  }(*this, std::move(wanted), lost));
  return lost;
}

const controllers::ClusterState& World::state() const { return server_->loop->state(); }
const api::TrainingJob* World::job(const std::string& name) const {
  return server_is_healthy() ? state().find<api::TrainingJob>("default", name) : nullptr;
}
const api::InferenceService* World::service(const std::string& name) const {
  return server_is_healthy() ? state().find<api::InferenceService>("default", name) : nullptr;
}
const ServingRecord& World::serving(const std::string& node, const std::string& model) {
  return nodes_.at(node)->served[model];
}

Result<io::SimProgram> World::started(const std::string& machine, const io::ProcessSpec& spec) {
  NEAP_TRY(const auto text,
           sim_.machine(machine).runtime().files().read_file(variable(spec, "NEAP_JOB_FILE")));
  NEAP_TRY(const auto document, parse_json(text));
  LivingProcess p;
  p.machine = machine;
  p.job = get_string(document, "name");
  p.epoch = get_int(document, "epoch");
  p.rank = get_int(document, "rank");
  p.cpu = cpu_of_job_[p.job];
  p.pid = kFirstPid + ++starts_[machine];
  started_[{machine, p.pid}] = p;
  return scripts_[p.job];
}

void World::check() {
  note_processes();
  check_server();
}

void World::note_processes() {
  bool changed = false;
  for (auto& [name, node] : nodes_) {
    auto now = node->machine.running_processes();
    if (now == node->pids) continue;
    node->pids = std::move(now);
    changed = true;
  }
  if (!changed) return;
  living_.clear();
  for (const auto& [name, node] : nodes_)
    for (const auto pid : node->pids)
      if (const auto it = started_.find({name, pid}); it != started_.end()) living_.push_back(it->second);
  check_gangs();
  check_capacity();
}

void World::check_gangs() {
  std::map<std::string, const LivingProcess*> first;
  std::set<std::tuple<std::string, std::int64_t, std::int64_t>> ranks;
  for (const auto& p : living_) {
    const auto [it, added] = first.emplace(p.job, &p);
    if (!added && it->second->epoch != p.epoch)
      complain(fmt::format("epochs {} (on {}) and {} (on {}) of {} live at once", it->second->epoch,
                           it->second->machine, p.epoch, p.machine, p.job));
    if (!ranks.emplace(p.job, p.epoch, p.rank).second)
      complain(fmt::format("rank {} of {} epoch {} lives twice", p.rank, p.job, p.epoch));
  }
}

void World::check_capacity() {
  std::map<std::string, std::int64_t> used;
  for (const auto& p : living_) used[p.machine] += p.cpu.value;
  for (const auto& [name, millicores] : used)
    if (millicores > nodes_.at(name)->cpu.value)
      complain(fmt::format("{} runs {} of its {} millicores", name, millicores, nodes_.at(name)->cpu.value));
}

void World::trace_phases() {
  for (const auto& [key, allocation] : state().all<api::Allocation>()) {
    auto now = fmt::format("{} {} {} {} {}", allocation.spec.node, allocation.spec.desired,
                           allocation.spec.committedEpoch, allocation.status.phase, allocation.status.reason);
    auto& before = traced_[key.name];
    if (before != now)
      fmt::print(stderr, "{:9.3f} {}: {}\n", to_seconds(sim_.now().time_since_epoch()) - 1000, key.name, now);
    before = std::move(now);
  }
  for (const auto& [key, job] : state().all<api::TrainingJob>()) {
    auto now = fmt::format("epoch {} committed {} {}: {}", job.status.epoch, job.status.committedEpoch,
                           job.status.phase, job.status.message);
    auto& before = traced_[key.name];
    if (before != now)
      fmt::print(stderr, "{:9.3f} {}: {}\n", to_seconds(sim_.now().time_since_epoch()) - 1000, key.name, now);
    before = std::move(now);
  }
}

void World::check_server() {
  if (!server_is_healthy()) return;
  if (is_loud_) trace_phases();
  if (std::int64_t(server_->store->current_revision()) < acknowledged_revision_)
    complain(fmt::format("the store is at revision {}, {} was acknowledged",
                         std::int64_t(server_->store->current_revision()), acknowledged_revision_));
  std::map<std::string, std::int64_t> held;
  for (const auto& [key, allocation] : state().all<api::Allocation>())
    if (controllers::holds_resources(allocation))
      held[allocation.spec.node] += allocation.spec.resources.cpu.value;
  for (const auto& [name, millicores] : held)
    if (const auto it = nodes_.find(name); it != nodes_.end() && millicores > it->second->cpu.value)
      complain(fmt::format("allocations hold {} of the {} millicores of {}", millicores,
                           it->second->cpu.value, name));
  for (const auto& [key, job] : state().all<api::TrainingJob>()) {
    const bool speaks = is_terminal(job) || job.status.phase == "Running" || !job.status.message.empty();
    if (speaks) {
      silent_since_.erase(key.name);
      continue;
    }
    const auto since = silent_since_.emplace(key.name, sim_.now()).first->second;
    if (sim_.now() - since > kSilenceMax) {
      complain(fmt::format("job {} is {} and does not say why", key.name, job.status.phase));
      silent_since_.erase(key.name);
    }
  }
}

std::string World::unfinished() const {
  if (!server_is_healthy()) return "the server is down";
  for (const auto& [key, job] : state().all<api::TrainingJob>())
    if (job.status.phase != "Succeeded")
      return fmt::format("{} is {}: {}", key.name, job.status.phase, job.status.message);
  for (const auto& [key, service] : state().all<api::InferenceService>())
    if (service.status.phase != "Complete")
      return fmt::format("{} is {}: {}", key.name, service.status.phase, service.status.message);
  return {};
}

std::string World::disagreement() const {
  if (!server_is_healthy()) return "the server is down";
  for (const auto& p : living_) {
    const auto* j = job(p.job);
    if (!j || j->status.committedEpoch != p.epoch || is_terminal(*j))
      return fmt::format("{} runs rank {} of {} epoch {}, which nobody wants", p.machine, p.rank, p.job,
                         p.epoch);
  }
  for (const auto& [key, allocation] : state().all<api::Allocation>()) {
    if (!controllers::holds_resources(allocation) || !allocation.spec.process) continue;
    const auto* j = job(allocation.spec.ownerName);
    if (!j || is_terminal(*j) || j->status.epoch != allocation.spec.epoch)
      return fmt::format("{} is {} though its epoch is over", key.name, allocation.status.phase);
  }
  return {};
}

}  // namespace neap::world
