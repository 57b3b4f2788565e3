#include "lab_link.h"

namespace neap::app {

struct LabLink::Pair {
  std::unique_ptr<io::Stream> agent, server;
  int open = 2;
  void close() {
    if (agent) agent->close();
    if (server) server->close();
  }
};

LabLink::LabLink(io::Runtime& runtime, std::string name, io::Endpoint target)
    : runtime_(runtime), name_(std::move(name)), target_(std::move(target)), tasks_(runtime.executor()) {}
LabLink::~LabLink() = default;

Status LabLink::start() {
  NEAP_TRY(listener_, runtime_.network().listen({.host = "127.0.0.1", .port = 0, .unix_path = {}}));
  tasks_.spawn(accept_loop());
  return ok();
}
io::Endpoint LabLink::local() const { return listener_->local(); }

void LabLink::cut(std::uint64_t after_bytes, Duration down) {
  cut_after_ = bytes_up_ + after_bytes;
  cut_for_ = down;
  if (after_bytes == 0) break_all();
}

void LabLink::break_all() {
  cut_after_.reset();
  ++cuts_;
  down_until_ = runtime_.executor().now() + cut_for_;
  for (const auto& pair : pairs_) pair->close();
}

Task<void> LabLink::accept_loop() {
  for (;;) {
    auto stream = co_await listener_->accept(tasks_.context());
    if (!stream) {
      if (stream.error().code == Code::kCancelled) co_return;
      if (!co_await sleep_for(runtime_.executor(), tasks_.context(), 50ms)) co_return;
      continue;
    }
    if (runtime_.executor().now() < down_until_) continue;  // dropping it closes it
    auto pair = std::make_shared<Pair>();
    pair->agent = *std::move(stream);
    tasks_.spawn(serve(std::move(pair)));
  }
}

Task<void> LabLink::serve(std::shared_ptr<Pair> pair) {
  auto ctx = tasks_.context().with_deadline(runtime_.executor().now() + 5s);
  auto server = co_await runtime_.network().connect(ctx, target_);
  if (!server) co_return;
  pair->server = *std::move(server);
  pairs_.insert(pair);
  tasks_.spawn(pump(pair, true));
  tasks_.spawn(pump(pair, false));
}

Task<void> LabLink::pump(std::shared_ptr<Pair> pair, bool up) {
  auto& from = up ? *pair->agent : *pair->server;
  auto& to = up ? *pair->server : *pair->agent;
  std::string buffer;
  for (;;) {
    buffer.clear();
    auto got = co_await from.read_some(tasks_.context(), buffer, 64u << 10);
    if (!got || *got == 0) break;
    (up ? bytes_up_ : bytes_down_) += *got;
    if (up && cut_after_ && bytes_up_ >= *cut_after_) {
      break_all();
      break;
    }
    if (!co_await to.write_all(tasks_.context(), buffer)) break;
  }
  pair->close();
  if (--pair->open == 0) pairs_.erase(pair);
}

Task<void> LabLink::stop() {
  if (listener_) listener_->close();
  for (const auto& pair : pairs_) pair->close();
  co_await tasks_.stop();
}

}  // namespace neap::app
