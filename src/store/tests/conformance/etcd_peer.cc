#include "tests/conformance/etcd_peer.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace neap::store::conformance {
namespace {

// Free now: etcd cannot be told to choose one itself and say which.
std::uint16_t free_port(io::Runtime& runtime) {
  return runtime.network().listen({"127.0.0.1", 0, {}}).value()->local().port;
}

}  // namespace

EtcdPeer::EtcdPeer() {
  std::string name = std::filesystem::temp_directory_path() / "neap-etcd-XXXXXX";
  if (!mkdtemp(name.data())) std::abort();
  directory_ = name;
  url_ = fmt::format("http://127.0.0.1:{}", free_port(*runtime_));
  peer_url_ = fmt::format("http://127.0.0.1:{}", free_port(*runtime_));
  start();
}

void EtcdPeer::start() {
  io::ProcessSpec spec;
  spec.argv = {kEtcdProgram,
               "--data-dir=" + directory_ + "/data",
               "--listen-client-urls=" + url_,
               "--advertise-client-urls=" + url_,
               "--listen-peer-urls=" + peer_url_,
               "--initial-advertise-peer-urls=" + peer_url_,
               "--initial-cluster=default=" + peer_url_,
               "--max-txn-ops=512",
               "--max-request-bytes=33554432"};
  spec.environment = {"PATH=/usr/bin:/bin"};
  spec.stdout_path = spec.stderr_path = directory_ + "/log";
  spec.parent_death_signal = SIGKILL;
  process_ = runtime_->subprocesses().start(spec).value();
}

void EtcdPeer::stop() {
  if (!process_) return;
  (void)process_->signal(SIGKILL);
  runtime_->run_task([](io::Process& process) -> Task<void> { (void)co_await process.wait({}); }(*process_));
  process_.reset();
}
void EtcdPeer::restart() {
  stop();
  start();
}
EtcdPeer::~EtcdPeer() {
  stop();
  std::filesystem::remove_all(directory_);
}

}  // namespace neap::store::conformance
