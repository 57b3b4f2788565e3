#include "lab.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>

#include "agent_identity.h"
#include "lab_cluster.h"
#include "neap/io/json_reply.h"
#include "neap/io/tls.h"
#include "server_process.h"

namespace neap::app {
namespace {

constexpr Duration kRestartPauseMax = 10s;
constexpr Duration kSteadyAfter = 60s;  // a child that ran this long is started again without delay

std::vector<std::string> child_environment() {
  std::vector<std::string> out;
  for (const char* name : {"PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "ASAN_OPTIONS"})
    if (const char* value = std::getenv(name)) out.push_back(fmt::format("{}={}", name, value));
  return out;
}

}  // namespace

Lab::Lab(io::RealRuntime& runtime, UpOptions options)
    : runtime_(runtime), options_(std::move(options)), tasks_(runtime.executor()) {}
Lab::~Lab() = default;

std::string Lab::agent_directory(const std::string& node) const {
  return options_.state_directory + "/agents/" + node;
}

Task<Status> Lab::start() {
  NEAP_CO_TRY_VOID(runtime_.files().make_directories(options_.state_directory + "/agents", 0700));
  NEAP_CO_TRY_VOID(co_await start_server());
  if (options_.with_lab) {
    NEAP_CO_TRY_VOID(co_await apply_lab_cluster([this](std::string method, std::string path, Json body) {
      return call_server(std::move(method), std::move(path), std::move(body));
    }));
    for (auto& node : lab_nodes()) NEAP_CO_TRY_VOID(co_await add_node(node));
  }
  NEAP_CO_TRY_VOID(write_endpoints());
  io::Endpoint socket;
  socket.unix_path = options_.state_directory + "/lab.sock";
  (void)runtime_.files().remove(socket.unix_path);
  NEAP_CO_TRY(auto listener, runtime_.network().listen(socket));
  NEAP_CO_TRY_VOID(runtime_.files().set_mode(socket.unix_path, 0600));
  control_ =
      std::make_unique<io::HttpServer>(runtime_, std::move(listener), io::HttpServerOptions{},
                                       [this](io::HttpExchange& exchange) { return control(exchange); });
  control_->start();
  std::printf("ready https://%s\n", api_.c_str());
  std::fflush(stdout);
  co_return ok();
}

Task<Status> Lab::start_server() {
  auto& child = children_["server"];
  const auto directory = options_.state_directory + "/server";
  NEAP_CO_TRY_VOID(runtime_.files().make_directories(directory, 0700));
  // A port that was chosen once is kept: agents and kubeconfigs name it.
  std::string listen = options_.listen;
  if (const auto old = runtime_.files().read_file(directory + "/endpoints.json"))
    if (const auto json = parse_json(*old); json && listen.ends_with(":0"))
      listen = std::string(get_string(*json, "api_address", listen));
  child.argv = {options_.program, "server", "--state", directory, "--listen", listen, "--site", "hq"};
  child.log = options_.state_directory + "/server.log";
  (void)runtime_.files().remove(directory + "/ready");
  NEAP_CO_TRY_VOID(co_await spawn_child("server"));
  NEAP_CO_TRY_VOID(co_await wait_ready("server", directory + "/ready", 30s));
  NEAP_CO_TRY(const auto text, runtime_.files().read_file(directory + "/endpoints.json"));
  NEAP_CO_TRY(const auto endpoints, parse_json(text));
  api_ = std::string(get_string(endpoints, "api_address"));
  NEAP_CO_TRY(const auto kubeconfig, runtime_.files().read_file(directory + "/admin.kubeconfig"));
  co_return runtime_.files().write_file_atomic(options_.state_directory + "/admin.kubeconfig", kubeconfig,
                                               0600);
}

Task<Status> Lab::add_node(LabNode node) {
  const auto directory = agent_directory(node.name);
  NEAP_CO_TRY_VOID(runtime_.files().make_directories(directory + "/data", 0700));
  NEAP_CO_TRY(const auto server, io::Endpoint::parse(api_));
  if (!links_.contains(node.name)) {
    auto link = std::make_unique<LabLink>(runtime_, node.name, server);
    NEAP_CO_TRY_VOID(link->start());
    links_[node.name] = std::move(link);
  }
  auto& child = children_[node.name];
  // Ports that were chosen once are kept: clients and peers know them.
  std::string listen = "127.0.0.1:0", peer_listen = "127.0.0.1:0";
  if (const auto old = runtime_.files().read_file(directory + "/state/endpoints.json"))
    if (const auto json = parse_json(*old)) {
      listen = get_string(*json, "inference", listen);
      peer_listen = get_string(*json, "peer", peer_listen);
    }
  child.log = options_.state_directory + "/agents/" + node.name + ".log";
  child.argv = {options_.program,  "agent",
                "--state",         directory + "/state",
                "--data",          directory + "/data",
                "--node",          node.name,
                "--site",          node.site,
                "--capacity-type", node.capacity_type,
                "--cpu",           node.cpu,
                "--memory",        node.memory,
                "--server",        "https://" + links_[node.name]->local().to_string(),
                "--listen",        listen,
                "--peer-listen",   peer_listen};
  if (!options_.python.empty()) child.argv.insert(child.argv.end(), {"--python", options_.python});
  if (!options_.onnxruntime.empty())
    child.argv.insert(child.argv.end(), {"--onnxruntime", options_.onnxruntime});
  if (options_.keep_exports) child.argv.push_back("--keep-exports");
  if (!has_good_certificate(runtime_, directory + "/state/identity")) {
    NEAP_CO_TRY(const auto token, co_await call_server("POST", "/neap/v1/join-tokens",
                                                       Json{{"node", node.name},
                                                            {"site", node.site},
                                                            {"capacityType", node.capacity_type},
                                                            {"ttl", "10m"}}));
    NEAP_CO_TRY_VOID(
        runtime_.files().write_file_atomic(directory + "/join-token", get_string(token, "token"), 0600));
    child.argv.insert(child.argv.end(), {"--token-file", directory + "/join-token"});
  }
  nodes_[node.name] = node;
  (void)runtime_.files().remove(directory + "/state/ready");
  NEAP_CO_TRY_VOID(co_await spawn_child(node.name));
  co_return co_await wait_ready(node.name, directory + "/state/ready", 30s);
}

Task<Status> Lab::spawn_child(std::string name) {
  auto& child = children_[name];
  io::ProcessSpec spec;
  spec.argv = child.argv;
  spec.environment = child_environment();
  spec.stdout_path = spec.stderr_path = child.log;
  // A lab that is killed leaves nothing behind that holds its ports and its state.
  spec.parent_death_signal = SIGTERM;
  NEAP_CO_TRY(child.process, runtime_.subprocesses().start(spec));
  child.wanted = child.running = true;
  child.started = runtime_.executor().now();
  tasks_.spawn(watch_child(name, child.process->pid()));
  co_return ok();
}

// A child that ends unasked is started again, slower each time: what systemd would do.
Task<void> Lab::watch_child(std::string name, std::int64_t pid) {
  auto& child = children_[name];
  const auto exit = co_await child.process->wait(tasks_.context());
  if (!child.process || child.process->pid() != pid) co_return;
  child.running = false;
  if (!child.wanted || tasks_.context().cancel.is_cancelled()) co_return;
  ++child.restarts;
  child.fast_ends = runtime_.executor().now() - child.started > kSteadyAfter ? 1 : child.fast_ends + 1;
  std::string how = "ended unasked";
  if (exit && exit->signal != 0)
    how = fmt::format("was ended by signal {}", exit->signal);
  else if (exit)
    how = fmt::format("ended with status {}{}", exit->code,
                      exit->code == kExitStorageFailed ? " (its disk failed a write)" : "");
  std::fprintf(stderr, "neap up: %s %s, see %s; starting it again\n", name.c_str(), how.c_str(),
               child.log.c_str());
  if (!co_await sleep_for(runtime_.executor(), tasks_.context(),
                          std::min<Duration>(kRestartPauseMax, 500ms * child.fast_ends)))
    co_return;
  if (child.wanted && !child.running) (void)co_await spawn_child(name);
}

Task<Status> Lab::end_child(std::string name, int signal) {
  const auto it = children_.find(name);
  if (it == children_.end())
    co_return fail(Code::kNotFound, "lab.child", fmt::format("the lab has no process named {}", name));
  auto& child = it->second;
  child.wanted = false;
  if (!child.running) co_return ok();
  (void)child.process->signal(signal);
  for (int i = 0; i < 200 && child.running; ++i)
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), {}, 50ms));
  if (child.running) (void)child.process->signal(SIGKILL);
  for (int i = 0; i < 100 && child.running; ++i)
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), {}, 50ms));
  co_return ok();
}

Task<Status> Lab::wait_ready(std::string what, std::string path, Duration limit) {
  const auto until = runtime_.executor().now() + limit;
  while (!runtime_.files().exists(path)) {
    if (runtime_.executor().now() > until)
      co_return fail(Code::kDeadlineExceeded, "lab.not_ready",
                     fmt::format("{} was not ready within {}; its log is {}", what, format_duration(limit),
                                 children_[what].log));
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), tasks_.context(), 20ms));
  }
  co_return ok();
}

Task<Result<Json>> Lab::call_server(std::string method, std::string path, Json body) {
  const auto directory = options_.state_directory + "/server";
  NEAP_CO_TRY(const auto ca, runtime_.files().read_file(directory + "/ca.pem"));
  NEAP_CO_TRY(const auto token, runtime_.files().read_file(directory + "/admin.token"));
  NEAP_CO_TRY(auto tls, io::make_tls_client_context({.roots_pem = ca, .server_name = "127.0.0.1"}));
  NEAP_CO_TRY(const auto endpoint, io::Endpoint::parse(api_));
  io::HttpClient client(runtime_, endpoint, {.tls = tls});
  io::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(path);
  request.headers.set("Authorization", "Bearer " + token);
  request.headers.set("Content-Type", "application/json");
  if (!body.is_null()) request.body = to_text(body);
  NEAP_CO_TRY(const auto reply,
              co_await client.call(tasks_.context().with_deadline(runtime_.executor().now() + 30s),
                                   std::move(request)));
  if (reply.status >= 400)
    co_return fail(code_of_http_status(reply.status), "lab.server",
                   fmt::format("the server answered {}: {}", reply.status, reply.body));
  if (reply.body.empty()) co_return Json{};
  co_return parse_json(reply.body);
}

Status Lab::write_endpoints() {
  JsonObject gateways;
  for (const auto& [name, node] : nodes_) {
    const auto text = runtime_.files().read_file(agent_directory(name) + "/state/endpoints.json");
    if (!text) continue;
    if (auto json = parse_json(*text))
      gateways[name] = "http://" + std::string(get_string(*json, "inference"));
  }
  Json out{{"api", "https://" + api_},
           {"registry", "https://" + api_ + "/v2/"},
           {"console", "https://" + api_ + "/console/"},
           {"gateways", std::move(gateways)},
           {"lab", options_.state_directory + "/lab.sock"}};
  return runtime_.files().write_file_atomic(options_.state_directory + "/endpoints.json",
                                            to_pretty_text(out) + "\n");
}

Json Lab::describe() {
  JsonObject children;
  for (const auto& [name, child] : children_) {
    JsonObject entry{{"running", child.running},
                     {"pid", child.process ? child.process->pid() : 0},
                     {"restarts", child.restarts}};
    if (const auto link = links_.find(name); link != links_.end()) {
      entry["bytes_up"] = link->second->bytes_up();
      entry["bytes_down"] = link->second->bytes_down();
      entry["cuts"] = link->second->cuts();
    }
    children[name] = std::move(entry);
  }
  return Json{{"processes", std::move(children)}};
}

// Verbs: GET /v1/state; POST /v1/{stop,kill,start,reclaim,cut,add}/NAME.
Task<void> Lab::control(io::HttpExchange& exchange) {
  co_await io::reply_json(
      exchange, [this, &exchange](Json body) { return answer(exchange.request(), std::move(body)); },
      64u << 10);
}

Task<Result<Json>> Lab::answer(const io::HttpRequest& request, Json body) {
  std::string_view path = request.path;
  if (path.starts_with("/v1/")) {
    path.remove_prefix(4);
    const auto slash = path.find('/');
    const std::string verb(path.substr(0, slash));
    const std::string name(slash == std::string_view::npos ? "" : path.substr(slash + 1));
    if (verb == "state" && request.method == "GET") co_return describe();
    if (request.method == "POST") co_return co_await act(verb, name, std::move(body));
  }
  co_return fail(Code::kNotFound, "lab.verb",
                 "unknown verb; see GET /v1/state, POST /v1/{stop,kill,start,reclaim,cut,add}/NAME");
}

Task<Result<Json>> Lab::act(std::string verb, std::string name, Json body) {
  if (verb == "add") {
    LabNode node{.name = name,
                 .site = std::string(get_string(body, "site")),
                 .capacity_type = std::string(get_string(body, "capacityType", "owned"))};
    if (node.name.empty() || node.site.empty())
      co_return fail(Code::kInvalidArgument, "lab.add", "say POST /v1/add/NAME with {\"site\": ...}");
    node.cpu = get_string(body, "cpu", node.cpu);
    node.memory = get_string(body, "memory", node.memory);
    NEAP_CO_TRY_VOID(co_await add_node(std::move(node)));
    NEAP_CO_TRY_VOID(write_endpoints());
    co_return describe();
  }
  if (!children_.contains(name))
    co_return fail(Code::kNotFound, "lab.child", fmt::format("the lab has no process named \"{}\"", name));
  if (verb == "stop") {
    NEAP_CO_TRY_VOID(co_await end_child(name, SIGTERM));
  } else if (verb == "kill") {
    NEAP_CO_TRY_VOID(co_await end_child(name, SIGKILL));
  } else if (verb == "start") {
    if (name == "server") {
      NEAP_CO_TRY_VOID(co_await start_server());
    } else {
      NEAP_CO_TRY_VOID(co_await add_node(nodes_.at(name)));
    }
    NEAP_CO_TRY_VOID(write_endpoints());
  } else if (verb == "reclaim") {
    const auto grace = get_int(body, "graceSeconds", 15);
    const Json notice{
        {"action", "terminate"}, {"graceSeconds", grace}, {"reason", "spot capacity reclaimed"}};
    NEAP_CO_TRY_VOID(runtime_.files().write_file_atomic(agent_directory(name) + "/state/interruption.json",
                                                        to_text(notice)));
    tasks_.spawn([](Lab& self, std::string node, Duration wait) -> Task<void> {
      if (!co_await sleep_for(self.runtime_.executor(), self.tasks_.context(), wait)) co_return;
      (void)co_await self.end_child(node, SIGKILL);
    }(*this, name, std::chrono::seconds(grace)));
  } else if (verb == "cut") {
    const auto link = links_.find(name);
    if (link == links_.end()) co_return fail(Code::kNotFound, "lab.link", "that process has no link");
    link->second->cut(std::uint64_t(get_int(body, "afterBytes")),
                      std::chrono::milliseconds(get_int(body, "downMillis", 2000)));
  } else {
    co_return fail(Code::kNotFound, "lab.verb", fmt::format("unknown verb \"{}\"", verb));
  }
  co_return describe();
}

Task<void> Lab::stop() {
  if (control_) co_await control_->stop(100ms);
  for (auto& [name, child] : children_)
    if (name != "server") child.wanted = false;
  for (auto& [name, child] : children_)
    if (name != "server" && child.running) (void)child.process->signal(SIGTERM);
  for (auto& [name, child] : children_)
    if (name != "server") (void)co_await end_child(name, SIGTERM);
  (void)co_await end_child("server", SIGTERM);
  for (auto& [name, link] : links_) co_await link->stop();
  co_await tasks_.stop();
  (void)runtime_.files().remove(options_.state_directory + "/lab.sock");
}

}  // namespace neap::app
