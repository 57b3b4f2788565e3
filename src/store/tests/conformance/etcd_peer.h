// A real etcd of one member on free loopback ports, for as long as the object lives.
#pragma once

#include <memory>
#include <string>

#include "neap/io/real_runtime.h"

namespace neap::store::conformance {

inline constexpr const char* kEtcdProgram = "/usr/bin/etcd";

class EtcdPeer {
 public:
  EtcdPeer();
  ~EtcdPeer();
  // Kills it and starts it again on the same data and port.
  void restart();
  void stop();
  const std::string& url() const { return url_; }

 private:
  void start();

  std::string directory_, url_, peer_url_;
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
  std::unique_ptr<io::Process> process_;
};

}  // namespace neap::store::conformance
