// neap: one program; see docs/ and `neap --help`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "agent_process.h"
#include "lab.h"
#include "neap/cli/command.h"
#include "secrets_key.h"
#include "server_process.h"
#include "state_backup.h"

extern char** environ;

namespace neap::app {
namespace {

// Certificates count in whole seconds.
constexpr Duration kCertificateLifeMin = 5s, kCertificateLifeMax = std::chrono::hours(8760);

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}
std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

// The folder of python/neap: beside an installed program, or in the source tree a build stands in.
std::string find_python_path() {
  const std::filesystem::path program = own_program();
  for (const auto& candidate :
       {program.parent_path() / "../share/neap/python", program.parent_path() / "../../python"})
    if (std::filesystem::exists(candidate / "neap/__init__.py")) return absolute(candidate.string());
  return {};
}
std::string find_python() {
  const auto venv = std::filesystem::path(own_program()).parent_path() / "../deps/venv/bin/python";
  return std::filesystem::exists(venv) ? absolute(venv.string()) : "/usr/bin/python3";
}

// Starts a service, waits for SIGTERM, SIGINT or a failed disk, stops it.
template <class Service, class Options>
int serve(io::RealRuntime& runtime, Options options) {
  return runtime.run_task([](io::RealRuntime& r, Options o) -> Task<int> {
    Event end(r.executor());
    int status = 0;
    for (const int signal : {SIGTERM, SIGINT}) r.on_signal(signal, [&end] { end.set(); });
    if constexpr (requires { o.on_storage_failure; })
      o.on_storage_failure = [&end, &status] {
        status = kExitStorageFailed;
        end.set();
      };
    Service s(r, std::move(o));
    const auto started = co_await s.start();
    if (!started) {
      std::fprintf(stderr, "neap: %s\n", started.error().to_string().c_str());
      if (status == 0) status = 1;
    } else {
      (void)co_await end.wait({});
    }
    co_await s.stop();
    co_return status;
  }(runtime, std::move(options)));
}

// As a Kubernetes API server calls them, where it has them.
struct OidcFlags {
  OidcProviderOptions options;
  std::string username_prefix, ca_file, client_secret_file, config_file;
  std::vector<std::string> required_claims;
};

void add_oidc_flags(CLI::App& app, OidcFlags& flags) {
  auto& claims = flags.options.claims;
  auto* issuer =
      app.add_option("--oidc-issuer-url", claims.issuer_url,
                     "Identity provider whose ID tokens are taken; to the letter as it calls itself");
  const auto add = [&](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->needs(issuer);
  };
  auto* client = add("--oidc-client-id", claims.client_id, "What this installation is to the provider");
  issuer->needs(client);
  add("--oidc-username-claim", claims.username_claim, "Claim that names the user")->capture_default_str();
  add("--oidc-username-prefix", flags.username_prefix,
      "Before every user's name (else the issuer and '#'; '-' for none)");
  add("--oidc-groups-claim", claims.groups_claim, "Claim that names the user's groups");
  add("--oidc-groups-prefix", claims.groups_prefix, "Before every group's name");
  add("--oidc-required-claim", flags.required_claims, "NAME=VALUE that a token must have; may be repeated");
  add("--oidc-ca-file", flags.ca_file, "PEM file: who signed the provider's certificate");
  app.add_option("--oidc-client-secret-file", flags.client_secret_file,
                 "File with the client's secret, if it has one");
  app.add_option("--oidc-scope", flags.options.scopes, "Asked for at sign-in; may be repeated")
      ->capture_default_str();
  app.add_option("--authentication-config", flags.config_file,
                 "AuthenticationConfiguration with several identity providers; the first signs people in")
      ->excludes(issuer);
}

bool take_oidc_flags(OidcFlags& flags, ServerOptions& options) {
  if (flags.options.claims.issuer_url.empty() && flags.config_file.empty()) return true;
  if (!flags.username_prefix.empty()) flags.options.claims.username_prefix = flags.username_prefix;
  for (const auto& claim : flags.required_claims) {
    const auto equal = claim.find('=');
    if (equal == std::string::npos || equal == 0) {
      std::fprintf(stderr, "neap: --oidc-required-claim \"%s\" must be NAME=VALUE\n", claim.c_str());
      return false;
    }
    flags.options.claims.required_claims.emplace_back(claim.substr(0, equal), claim.substr(equal + 1));
  }
  const auto runtime = io::RealRuntime::create();
  std::string config;
  for (const auto& [path, text] :
       {std::pair(&flags.config_file, &config), std::pair(&flags.ca_file, &flags.options.ca_pem),
        std::pair(&flags.client_secret_file, &flags.options.client_secret)}) {
    if (path->empty()) continue;
    auto read = runtime->files().read_file(*path, 1u << 20);
    if (!read) {
      std::fprintf(stderr, "neap: %s\n", read.error().to_string().c_str());
      return false;
    }
    *text = *std::move(read);
  }
  auto& secret = flags.options.client_secret;
  while (secret.ends_with('\n') || secret.ends_with('\r')) secret.pop_back();
  options.oidc = {flags.options};
  if (flags.config_file.empty()) return true;
  auto read = parse_authentication_config(config, flags.config_file);
  if (!read) {
    std::fprintf(stderr, "neap: %s\n", read.error().to_string().c_str());
    return false;
  }
  options.oidc = *std::move(read);
  options.oidc.front().client_secret = flags.options.client_secret;
  options.oidc.front().scopes = flags.options.scopes;
  return true;
}

// What a server opens beside connections: its store, ledgers, blobs, other servers.
constexpr std::size_t kOwnFiles = 256;
// Some limits of open files are no limits: at 54 KB each, memory is.
constexpr std::size_t kConnectionsMin = 16, kConnectionsUsual = 65'536;

int run_server(int argc, char** argv) {
  CLI::App app("Serves the control plane, registry and console of one installation.", "neap server");
  ServerOptions options;
  const auto files = io::raise_open_files_limit();
  const auto connections_able =
      std::max(kConnectionsMin, files > 2 * kOwnFiles ? files - kOwnFiles : files / 2);
  options.connections_max = std::min(connections_able, kConnectionsUsual);
  app.add_option("--state", options.state_directory, "Directory that holds everything the server keeps")
      ->required();
  app.add_option("--listen", options.listen, "ADDRESS:PORT")->capture_default_str();
  app.add_option("--site", options.site, "Site the server belongs to")->capture_default_str();
  app.add_option("--name", options.names, "Further DNS name or IP address for the server certificate");
  app.add_option(
      "--identity", options.identity_directory,
      "Directory of the installation's keys, where several servers share them (default: STATE/identity)");
  app.add_option(
      "--content", options.content_directory,
      "Directory of the registry's blobs, on a file system that all servers see (default: STATE/content)");
  app.add_option("--advertise", options.advertise,
                 "HOST:PORT under which other servers reach this one, where it differs from --listen");
  std::string life = "720h";
  app.add_option("--node-certificate-life", life,
                 "How long a node's certificate is good; nodes renew theirs at two thirds of it")
      ->capture_default_str();
  std::string store = "sqlite";
  app.add_option("--store", store,
                 "Where objects are kept: sqlite (in the state directory) or etcd (3.4 or newer)")
      ->capture_default_str()
      ->check(CLI::IsMember({"sqlite", "etcd"}));
  auto* endpoints = app.add_option("--etcd-endpoints", options.store.etcd_endpoints,
                                   "http(s)://HOST:PORT of each member, separated by commas")
                        ->delimiter(',');
  app.add_option("--etcd-prefix", options.store.etcd_prefix, "Before every key")
      ->capture_default_str()
      ->needs(endpoints);
  app.add_option("--etcd-ca", options.store.etcd_ca, "PEM file: who signed etcd's certificates")
      ->needs(endpoints);
  auto* key = app.add_option("--etcd-key", options.store.etcd_key, "PEM file: key of --etcd-cert");
  app.add_option("--etcd-cert", options.store.etcd_certificate, "PEM file: certificate to show to etcd")
      ->needs(key);
  OidcFlags oidc;
  add_oidc_flags(app, oidc);
  app.add_option("--secrets-key-file", options.secrets_key_file,
                 "File with the keys that Secrets are sealed with (else the server makes its own)");
  app.add_option("--audit-policy-file", options.audit_policy_file,
                 "audit.k8s.io/v1 Policy: what of which requests is recorded");
  app.add_option("--connections", options.connections_max,
                 "Connections at once; one more takes the place of one that rests between two requests "
                 "(default: what the limit of open files allows, 65536 at most)")
      ->check(CLI::Range(kConnectionsMin, connections_able));
  CLI11_PARSE(app, argc, argv);
  if (!take_oidc_flags(oidc, options)) return 2;
  if ((store == "etcd") == options.store.etcd_endpoints.empty()) {
    std::fprintf(stderr, "neap: --store etcd and --etcd-endpoints go together; give both or none\n");
    return 2;
  }
  options.state_directory = absolute(options.state_directory);
  for (auto* directory : {&options.identity_directory, &options.content_directory})
    if (!directory->empty()) *directory = absolute(*directory);
  const auto parsed = parse_duration(life);
  if (!parsed || *parsed < kCertificateLifeMin || *parsed > kCertificateLifeMax) {
    std::fprintf(stderr, "neap: --node-certificate-life \"%s\" must be a duration from 5s to 8760h\n",
                 life.c_str());
    return 2;
  }
  options.node_certificate_life = *parsed;
  auto runtime = io::RealRuntime::create();
  return serve<ServerProcess>(*runtime, options);
}

int run_agent(int argc, char** argv) {
  CLI::App app("Runs one node: allocations, models, data at the edge. Dials out only.", "neap agent");
  AgentProcessOptions options;
  app.add_option("--state", options.state_directory, "Directory that holds everything the agent keeps")
      ->required();
  app.add_option("--data", options.data_directory, "Root of the node's raw datasets");
  app.add_option("--node", options.node, "Name of this node")->required();
  app.add_option("--site", options.site, "Site this node stands in")->required();
  app.add_option("--capacity-type", options.capacity_type, "owned, reserved, on-demand or spot")
      ->capture_default_str();
  app.add_option("--server", options.server, "https://HOST:PORT, or several, separated by commas")
      ->required();
  app.add_option("--token-file", options.token_file, "File with a join token; needed for the first start");
  app.add_option("--listen", options.listen, "ADDRESS:PORT for inference clients of the site")
      ->capture_default_str();
  app.add_option("--peer-listen", options.peer_listen, "ADDRESS:PORT for other nodes (mutual TLS)")
      ->capture_default_str();
  app.add_option("--advertise", options.advertise_host,
                 "HOST under which clients and other nodes reach this one, where it differs from --listen");
  app.add_option("--cpu", options.cpu, "Cores to offer; 0 is all");
  app.add_option("--memory", options.memory, "Memory to offer; 0 is all");
  app.add_option("--python", options.python, "Interpreter that {python} in commands stands for");
  app.add_option("--python-path", options.python_path, "Folder of the neap package for training scripts");
  app.add_option("--onnxruntime", options.onnxruntime, "libonnxruntime.so to load at the first model");
  app.add_flag("--keep-exports", options.keep_exports,
               "Keep every plain byte that leaves under STATE/exports");
  options.python = find_python();
  options.python_path = find_python_path();
  CLI11_PARSE(app, argc, argv);
  options.state_directory = absolute(options.state_directory);
  if (!options.data_directory.empty()) options.data_directory = absolute(options.data_directory);
  auto runtime = io::RealRuntime::create();
  return serve<AgentProcess>(*runtime, options);
}

int run_up(int argc, char** argv) {
  CLI::App app(
      "Starts everything on this machine: control plane, registry, console, and a lab of five agents.",
      "neap up");
  UpOptions options;
  bool no_lab = false;
  app.add_option("--state", options.state_directory, "Directory that holds everything")->required();
  app.add_option("--listen", options.listen, "ADDRESS:PORT of API, registry and console")
      ->capture_default_str();
  app.add_flag("--no-lab", no_lab, "Without agents");
  app.add_option("--python", options.python, "Interpreter for jobs");
  app.add_option("--onnxruntime", options.onnxruntime, "libonnxruntime.so");
  CLI11_PARSE(app, argc, argv);
  options.with_lab = !no_lab;
  options.state_directory = absolute(options.state_directory);
  options.program = own_program();
  auto runtime = io::RealRuntime::create();
  return serve<Lab>(*runtime, options);
}

// Opens no store and serves nothing: two commands on files.
int copy_state(const std::function<Result<BackupSummary>(io::Runtime&)>& copy, std::string_view what,
               const std::string& result) {
  auto runtime = io::RealRuntime::create();
  const auto done = runtime->run_task(runtime->offload([&] { return copy(*runtime); }));
  if (!done) {
    std::fprintf(stderr, "neap: %s\n", done.error().to_string().c_str());
    return 1;
  }
  fmt::print("{} {}: revision {}, {} files, {} bytes, {}\n", what, result, to_number(done->revision),
             done->files, done->bytes, done->digest.to_string());
  return 0;
}

int run_backup(int argc, char** argv) {
  CLI::App app(
      "Copies everything a server keeps into one file, also while it runs and writes: objects, ledgers, "
      "registry, "
      "and its private keys. Keep the file as safe as the server.",
      "neap backup");
  std::string state, to;
  app.add_option("--state", state, "Directory of `neap server --state`")->required();
  app.add_option("--to", to, "File to make; it must not exist")->required();
  CLI11_PARSE(app, argc, argv);
  return copy_state([&](io::Runtime& r) { return write_state_backup(r, absolute(state), absolute(to)); },
                    "backed up", to);
}

int run_restore(int argc, char** argv) {
  CLI::App app(
      "Makes a state directory from a backup; then start `neap server --state DIR` and stop the old one for "
      "good.",
      "neap restore");
  std::string from, state;
  app.add_option("--from", from, "File that `neap backup` wrote")->required();
  app.add_option("--state", state, "Directory to make; absent or empty")->required();
  CLI11_PARSE(app, argc, argv);
  return copy_state([&](io::Runtime& r) { return restore_state_backup(r, absolute(from), absolute(state)); },
                    "restored", state);
}

int run_make_secrets_key() {
  fmt::print("{}", SecretsKeyFile::to_text({make_secrets_key()}));
  return 0;
}

int run_cli(int argc, char** argv) {
  auto runtime = io::RealRuntime::create();
  return runtime->run_task(cli::run_command(cli::make_process_context(*runtime, environ),
                                            std::vector<std::string>(argv + 1, argv + argc)));
}

}  // namespace
}  // namespace neap::app

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "server") return neap::app::run_server(argc - 1, argv + 1);
  if (command == "agent") return neap::app::run_agent(argc - 1, argv + 1);
  if (command == "up") return neap::app::run_up(argc - 1, argv + 1);
  if (command == "backup") return neap::app::run_backup(argc - 1, argv + 1);
  if (command == "restore") return neap::app::run_restore(argc - 1, argv + 1);
  // Needs no server: for a file that `neap server --secrets-key-file` is given.
  if (command == "secrets" && argc == 3 && std::string_view(argv[2]) == "make-key")
    return neap::app::run_make_secrets_key();
  return neap::app::run_cli(argc, argv);
}
