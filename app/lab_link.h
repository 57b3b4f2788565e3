// LabLink: the wire between one lab agent and the server, as a TCP relay that can be cut.
//
// It passes bytes unread (TLS goes end to end), counts them, and cuts on demand: at once, or after so
// many more bytes have gone up, which is how the lab breaks an upload in the middle.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "neap/base/task_group.h"
#include "neap/io/runtime.h"

namespace neap::app {

class LabLink {
 public:
  LabLink(io::Runtime& runtime, std::string name, io::Endpoint target);
  ~LabLink();
  Status start();
  io::Endpoint local() const;
  // Ends every connection once `after_bytes` more have gone up, then refuses new ones for `down`.
  void cut(std::uint64_t after_bytes, Duration down);
  std::uint64_t bytes_up() const { return bytes_up_; }
  std::uint64_t bytes_down() const { return bytes_down_; }
  std::uint64_t cuts() const { return cuts_; }
  Task<void> stop();

 private:
  struct Pair;
  Task<void> accept_loop();
  Task<void> serve(std::shared_ptr<Pair> pair);
  Task<void> pump(std::shared_ptr<Pair> pair, bool up);
  void break_all();

  io::Runtime& runtime_;
  std::string name_;
  io::Endpoint target_;
  std::unique_ptr<io::Listener> listener_;
  std::set<std::shared_ptr<Pair>> pairs_;
  std::optional<std::uint64_t> cut_after_;
  Duration cut_for_{};
  MonoTime down_until_{};
  std::uint64_t bytes_up_ = 0, bytes_down_ = 0, cuts_ = 0;
  TaskGroup tasks_;
};

}  // namespace neap::app
