// Lab: `neap up`: a server and a handful of agents as child processes of one supervisor.
//
// The supervisor only starts, ends and restarts processes, posts reclaim notices and cuts links; all
// work happens in the children, which are the same programs a real installation runs. It is steered
// over HTTP on the Unix socket DIR/lab.sock (see control() for the verbs).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lab_link.h"
#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "neap/io/http.h"
#include "neap/io/real_runtime.h"

namespace neap::app {

struct LabNode {
  std::string name, site, capacity_type;
  std::string cpu = "2", memory = "4Gi";  // what the node offers
};

struct UpOptions {
  std::string state_directory;
  std::string listen = "127.0.0.1:0";
  std::string program;  // this executable
  std::string python;   // interpreter for {python} in commands; empty: /usr/bin/python3
  std::string onnxruntime;
  bool with_lab = true;
  bool keep_exports = true;
};

class Lab {
 public:
  Lab(io::RealRuntime& runtime, UpOptions options);
  ~Lab();
  // Brings everything up; prints progress to stderr and the line `ready URL` to stdout.
  Task<Status> start();
  Task<void> stop();

 private:
  struct Child {
    std::vector<std::string> argv;
    std::string log;
    std::unique_ptr<io::Process> process;
    bool wanted = false;
    int restarts = 0;
    int fast_ends = 0;  // in a row, each soon after its start
    MonoTime started{};
    bool running = false;
  };

  Task<Status> start_server();
  Task<Status> add_node(LabNode node);
  Task<Status> spawn_child(std::string name);
  Task<Status> end_child(std::string name, int signal);
  Task<void> watch_child(std::string name, std::int64_t pid);
  Task<Status> wait_ready(std::string what, std::string path, Duration limit);
  Task<Result<Json>> call_server(std::string method, std::string path, Json body);
  Status write_endpoints();
  Task<void> control(io::HttpExchange& exchange);
  Task<Result<Json>> answer(const io::HttpRequest& request, Json body);
  Task<Result<Json>> act(std::string verb, std::string name, Json body);
  Json describe();
  std::string agent_directory(const std::string& node) const;

  io::RealRuntime& runtime_;
  UpOptions options_;
  std::map<std::string, Child> children_;  // "server" and node names
  std::map<std::string, LabNode> nodes_;
  std::map<std::string, std::unique_ptr<LabLink>> links_;
  std::unique_ptr<io::HttpServer> control_;
  std::string api_;  // host:port of the server
  TaskGroup tasks_;
};

}  // namespace neap::app
