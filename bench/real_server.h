// A real `neap server` as a child process, for benchmarks: started, asked over TLS, measured from outside.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "neap/io/http.h"
#include "neap/io/real_runtime.h"

namespace neap::bench {

class RealServer {
 public:
  RealServer(io::RealRuntime& runtime, std::string program)
      : runtime_(runtime), program_(std::move(program)) {
    std::string name = std::filesystem::temp_directory_path() / "neap-bench-XXXXXX";
    if (!mkdtemp(name.data())) std::exit(1);
    state_ = name;
  }
  ~RealServer() { std::filesystem::remove_all(state_); }

  // From fork to the moment it says that it serves.
  Task<Duration> start() {
    std::filesystem::remove(path("ready"));
    io::ProcessSpec spec;
    spec.argv = {program_, "server", "--state", state_, "--listen", "127.0.0.1:" + std::to_string(port_)};
    spec.environment = {"PATH=/usr/bin:/bin"};
    spec.stdout_path = spec.stderr_path = path("log");
    spec.parent_death_signal = 9;
    const auto began = runtime_.executor().now();
    auto started = runtime_.subprocesses().start(spec);
    if (!started) fail_with("cannot start " + program_ + ": " + started.error().to_string());
    process_ = *std::move(started);
    while (!std::filesystem::exists(path("ready"))) {
      if (runtime_.executor().now() - began > std::chrono::minutes(2))
        fail_with("the server did not start: " + read("log"));
      (void)co_await sleep_for(runtime_.executor(), {}, 1ms);
    }
    const auto took = runtime_.executor().now() - began;
    const auto at = io::Endpoint::parse(read("ready"));
    if (!at) fail_with("the server says no address");
    endpoint_ = *at;
    port_ = at->port;
    ca_ = read("ca.pem");
    token_ = read("admin.token");
    co_return took;
  }
  Task<void> end(int signal) {
    (void)process_->signal(signal);
    (void)co_await process_->wait({});
    process_.reset();
  }

  const io::Endpoint& endpoint() const { return endpoint_; }
  const std::string& ca() const { return ca_; }
  std::string path(const std::string& name) const { return state_ + "/" + name; }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name));
    std::ostringstream out;
    out << file.rdbuf();
    return out.str();
  }
  // As the administrator.
  std::unique_ptr<io::HttpClient> client(std::size_t connections = 32) const {
    io::HttpClientOptions options;
    options.limits.body_bytes_max = 256u << 20;
    options.idle_connections_max = connections;
    options.tls = io::make_tls_client_context({.roots_pem = ca_, .server_name = endpoint_.host}).value();
    return std::make_unique<io::HttpClient>(runtime_, endpoint_, std::move(options));
  }
  io::HttpRequest request(std::string method, std::string target, std::string body = {}) const {
    io::HttpRequest out;
    out.method = std::move(method);
    out.target = std::move(target);
    out.body = std::move(body);
    out.headers.set("Authorization", "Bearer " + token_);
    out.headers.set("Content-Type", "application/json");
    return out;
  }
  double resident_mb(const char* field = "VmRSS:") const {
    std::ifstream file("/proc/" + std::to_string(process_->pid()) + "/status");
    for (std::string word; file >> word;)
      if (word == field) {
        double kib = 0;
        file >> kib;
        return kib / 1024;
      }
    return 0;
  }
  // User and system time since it began.
  double cpu_seconds() const {
    std::ifstream file("/proc/" + std::to_string(process_->pid()) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream rest(text.substr(text.rfind(')') + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) rest >> skip;
    double user = 0, system = 0;
    rest >> user >> system;
    return (user + system) / double(sysconf(_SC_CLK_TCK));
  }

  [[noreturn]] static void fail_with(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
  }

 private:
  io::RealRuntime& runtime_;
  std::string program_, state_, ca_, token_;
  std::uint16_t port_ = 0;
  io::Endpoint endpoint_;
  std::unique_ptr<io::Process> process_;
};

}  // namespace neap::bench
