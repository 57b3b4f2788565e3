// `neap server`: control plane, registry and console of one installation, wired together on one page.
#pragma once

#include <memory>
#include <string>

#include "neap/base/task.h"
#include "neap/io/runtime.h"

namespace neap::app {

struct ServerOptions {
  std::string state_directory;
  std::string listen = "127.0.0.1:8443";
  std::string site = "hq";
  std::vector<std::string> names;  // further addresses for the server certificate
};

class ServerProcess {
 public:
  ServerProcess(io::Runtime& runtime, ServerOptions options);
  ~ServerProcess();
  // Serves when it returns; STATE/ready and STATE/endpoints.json are written then.
  Task<Status> start();
  Task<void> stop();
  const std::string& address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::app
