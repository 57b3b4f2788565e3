// `neap agent`: one node, wired together on one page.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/api/site.h"
#include "neap/base/task.h"
#include "neap/io/runtime.h"

namespace neap::app {

struct AgentProcessOptions {
  std::string state_directory, data_directory;
  std::string node, site, capacity_type = "owned";
  std::string server;      // https://host:port, or several, separated by commas
  std::string token_file;  // of the first start
  std::string listen = "127.0.0.1:0", peer_listen = "127.0.0.1:0";
  std::string advertise_host;           // where others reach both; empty: the addresses listened on
  std::string cpu = "0", memory = "0";  // 0: what the machine has
  std::string python = "/usr/bin/python3", python_path, onnxruntime;
  bool keep_exports = false;
  std::function<void()> on_storage_failure;  // as the server's
};

class AgentProcess {
 public:
  AgentProcess(io::Runtime& runtime, AgentProcessOptions options);
  ~AgentProcess();
  // Serves what it served before, with or without the server; STATE/ready is written then.
  Task<Status> start();
  Task<void> stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::app
