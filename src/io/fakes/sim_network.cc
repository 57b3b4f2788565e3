#include "fakes/sim_core.h"

namespace neap::io::sim {
namespace {

// Bytes on their way and unread, per direction; a writer waits above it.
constexpr std::size_t kWindow = 256u << 10;
constexpr int kConnectTriesMax = 30;
constexpr Duration kConnectRetry = 1s;
constexpr std::size_t kBacklogMax = 1024;

std::unexpected<Error> reset_error() {
  return fail(Code::kUnavailable, "net.reset", "the connection was reset by the peer");
}
std::unexpected<Error> closed_error() {
  return fail(Code::kCancelled, "net.closed", "the stream was closed on this side");
}

}  // namespace

struct Pipe {
  Pipe(Machine& from_in, Machine& to_in) : from(from_in), to(to_in), readable(to_in), writable(from_in) {}
  struct Segment {
    MonoTime at;
    std::string data;
    bool end = false;
    bool reset = false;
  };
  Machine& from;
  Machine& to;
  std::deque<Segment> flight;
  std::size_t flight_bytes = 0;
  MonoTime last{};
  std::string unread;
  bool ended = false, was_reset = false;
  bool writer_gone = false, reader_gone = false;  // the stream object on that side was closed
  bool write_shut = false;
  Notifier readable, writable;
};

struct Connection : std::enable_shared_from_this<Connection> {
  Connection(Wires& w, Machine& client, Machine& server)
      : wires(w), pipes{Pipe(client, server), Pipe(server, client)} {}
  Wires& wires;
  Pipe pipes[2];  // [0] from the client to the server

  void send(int direction, std::string data, bool end, bool reset) {
    Pipe& pipe = pipes[direction];
    Link& link = wires.link_;
    const MonoTime at =
        std::max(pipe.last, link.schedule.now + link.delay(pipe.from.index(), pipe.to.index()));
    pipe.last = at;
    pipe.flight_bytes += data.size();
    pipe.flight.push_back({at, std::move(data), end, reset});
    link.schedule.add(kWorldItself, at, [self = shared_from_this(), direction] { self->deliver(direction); });
  }
  void deliver(int direction) {
    Pipe& pipe = pipes[direction];
    Link& link = wires.link_;
    if (link.is_cut(pipe.from.index(), pipe.to.index())) return;  // healed() comes back for it
    while (!pipe.flight.empty() && pipe.flight.front().at <= link.schedule.now) {
      auto segment = std::move(pipe.flight.front());
      pipe.flight.pop_front();
      pipe.flight_bytes -= segment.data.size();
      link.schedule.mix(segment.data.size());
      if (segment.reset) {
        pipe.was_reset = true;
        pipes[1 - direction].was_reset = true;
        pipes[1 - direction].writable.notify_all();
      } else if (pipe.reader_gone) {
        if (!segment.data.empty() && !pipe.was_reset) {
          pipe.was_reset = true;
          send(1 - direction, {}, false, true);
        }
      } else {
        pipe.unread += segment.data;
        pipe.ended = pipe.ended || segment.end;
      }
      pipe.readable.notify_all();
    }
  }
  // Both ends at once, without waiting for anything on the way.
  void tear() {
    for (auto& pipe : pipes) {
      pipe.was_reset = true;
      pipe.flight.clear();
      pipe.flight_bytes = 0;
      pipe.readable.notify_all();
      pipe.writable.notify_all();
    }
  }
};

struct Backlog {
  explicit Backlog(Machine& machine) : arrived(machine) {}
  std::deque<std::unique_ptr<Stream>> waiting;
  bool closed = false;
  Notifier arrived;
};

namespace {

class SimStream final : public Stream {
 public:
  SimStream(std::shared_ptr<Connection> connection, int side, Endpoint peer)
      : connection_(std::move(connection)), side_(side), peer_(std::move(peer)) {}
  ~SimStream() override { close(); }

  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    return read_from(connection_, 1 - side_, std::move(ctx), out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return write_to(connection_, side_, std::move(ctx), data);
  }
  Task<Status> shutdown_write() override { return shut(connection_, side_); }
  void close() override {
    Pipe& out = connection_->pipes[side_];
    Pipe& in = connection_->pipes[1 - side_];
    if (out.writer_gone) return;
    const bool lost_bytes = !in.unread.empty();
    out.writer_gone = true;
    in.reader_gone = true;
    in.unread.clear();
    if (!out.was_reset && (!out.write_shut || lost_bytes)) connection_->send(side_, {}, true, lost_bytes);
    in.readable.notify_all();
    out.writable.notify_all();
    in.writable.notify_all();
  }
  Endpoint peer() const override { return peer_; }
  bool has_ended() const override {
    const Pipe& in = connection_->pipes[1 - side_];
    return in.reader_gone || in.was_reset || (in.ended && in.unread.empty());
  }

 private:
  static Task<Result<std::size_t>> read_from(std::shared_ptr<Connection> connection, int direction,
                                             CallContext ctx, std::string& out, std::size_t max) {
    Pipe& pipe = connection->pipes[direction];
    for (;;) {
      if (pipe.reader_gone) co_return closed_error();
      NEAP_CO_TRY_VOID(ctx.check(pipe.to.now()));
      if (!pipe.unread.empty()) {
        const std::size_t n = std::min(max, pipe.unread.size());
        out.append(pipe.unread, 0, n);
        pipe.unread.erase(0, n);
        pipe.writable.notify_all();
        co_return n;
      }
      // Like a kernel: what had arrived before the reset can still be read.
      if (pipe.was_reset) co_return reset_error();
      if (pipe.ended) co_return std::size_t{0};
      NEAP_CO_TRY_VOID(co_await pipe.readable.wait(ctx, pipe.readable.generation()));
    }
  }
  static Task<Status> write_to(std::shared_ptr<Connection> connection, int direction, CallContext ctx,
                               std::string_view data) {
    Pipe& pipe = connection->pipes[direction];
    Link& link = connection->wires.link();
    if (link.dice.chance(link.faults.disconnect_probability)) connection->tear();
    while (!data.empty()) {
      if (pipe.writer_gone) co_return closed_error();
      NEAP_CO_TRY_VOID(ctx.check(pipe.from.now()));
      if (pipe.was_reset || pipe.write_shut) co_return reset_error();
      const std::size_t used = pipe.flight_bytes + pipe.unread.size();
      if (used >= kWindow) {
        NEAP_CO_TRY_VOID(co_await pipe.writable.wait(ctx, pipe.writable.generation()));
        continue;
      }
      const auto step = data.substr(0, std::min<std::size_t>(kWindow - used, 64u << 10));
      connection->send(direction, std::string(step), false, false);
      data.remove_prefix(step.size());
    }
    co_return ok();
  }
  static Task<Status> shut(std::shared_ptr<Connection> connection, int direction) {
    Pipe& pipe = connection->pipes[direction];
    if (!pipe.write_shut && !pipe.writer_gone && !pipe.was_reset) {
      pipe.write_shut = true;
      connection->send(direction, {}, true, false);
    }
    co_return ok();
  }
  std::shared_ptr<Connection> connection_;
  int side_;  // the direction it writes to
  Endpoint peer_;
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<Backlog> backlog, Endpoint local)
      : backlog_(std::move(backlog)), local_(std::move(local)) {}
  ~SimListener() override { close(); }
  Task<Result<std::unique_ptr<Stream>>> accept(CallContext ctx) override {
    return accept_from(backlog_, std::move(ctx));
  }
  Endpoint local() const override { return local_; }
  void close() override {
    backlog_->closed = true;
    backlog_->waiting.clear();
    backlog_->arrived.notify_all();
  }

 private:
  static Task<Result<std::unique_ptr<Stream>>> accept_from(std::shared_ptr<Backlog> backlog,
                                                           CallContext ctx) {
    for (;;) {
      if (backlog->closed) co_return closed_error();
      if (!backlog->waiting.empty()) {
        auto out = std::move(backlog->waiting.front());
        backlog->waiting.pop_front();
        co_return out;
      }
      NEAP_CO_TRY_VOID(co_await backlog->arrived.wait(ctx, backlog->arrived.generation()));
    }
  }
  std::shared_ptr<Backlog> backlog_;
  Endpoint local_;
};

class SimNetwork final : public Network {
 public:
  SimNetwork(Wires& wires, Machine& machine) : wires_(wires), machine_(machine) {}
  Task<Result<std::unique_ptr<Stream>>> connect(CallContext ctx, Endpoint endpoint) override {
    return wires_.connect(machine_, std::move(ctx), std::move(endpoint));
  }
  Result<std::unique_ptr<Listener>> listen(Endpoint endpoint) override {
    return wires_.listen(machine_, std::move(endpoint));
  }

 private:
  Wires& wires_;
  Machine& machine_;
};

bool is_own_host(const std::string& host) {
  return host == "127.0.0.1" || host == "localhost" || host == "::1" || host == "0.0.0.0" || host == "::";
}

std::string key_of(const Endpoint& endpoint) {
  return endpoint.unix_path.empty() ? std::to_string(endpoint.port) : "unix:" + endpoint.unix_path;
}

}  // namespace

std::unique_ptr<Network> make_network(Wires& wires, Machine& machine) {
  return std::make_unique<SimNetwork>(wires, machine);
}

Task<Result<std::unique_ptr<Stream>>> Wires::connect(Machine& from, CallContext ctx, Endpoint endpoint) {
  Machine* to =
      !endpoint.unix_path.empty() || is_own_host(endpoint.host) ? &from : find_machine(endpoint.host);
  if (!to)
    co_return fail(Code::kUnavailable, "net.name.unresolved",
                   fmt::format("the name {} does not resolve", endpoint.host));
  const int a = from.index(), b = to->index();
  for (int tries = 0;; ++tries) {
    NEAP_CO_TRY_VOID(co_await sleep_for(from, ctx, link_.delay(a, b)));
    if (!link_.is_cut(a, b) && !link_.is_cut(b, a)) break;
    if (tries == kConnectTriesMax)
      co_return fail(Code::kUnavailable, "net.timeout",
                     fmt::format("{} does not answer", endpoint.to_string()));
    NEAP_CO_TRY_VOID(co_await sleep_for(from, ctx, kConnectRetry));
  }
  const auto it = listeners_.find({b, key_of(endpoint)});
  auto backlog = it == listeners_.end() ? nullptr : it->second.lock();
  const bool refused = !backlog || backlog->closed || backlog->waiting.size() >= kBacklogMax ||
                       link_.dice.chance(link_.faults.connect_refused_probability);
  std::unique_ptr<Stream> own;
  if (!refused) {
    auto connection = std::make_shared<Connection>(*this, from, *to);
    const std::uint64_t id = ++last_connection_;
    std::erase_if(connections_, [](const auto& c) { return c.second.expired(); });
    connections_.emplace(id, connection);
    own = std::make_unique<SimStream>(connection, 0, endpoint);
    backlog->waiting.push_back(std::make_unique<SimStream>(
        connection, 1, Endpoint{from.name(), static_cast<std::uint16_t>(40'000 + id % 20'000), {}}));
    backlog->arrived.notify_all();
  }
  NEAP_CO_TRY_VOID(co_await sleep_for(from, ctx, link_.delay(b, a)));
  if (refused)
    co_return fail(Code::kUnavailable, "net.refused",
                   fmt::format("{} refuses connections", endpoint.to_string()));
  co_return own;
}

Result<std::unique_ptr<Listener>> Wires::listen(Machine& on, Endpoint endpoint) {
  if (endpoint.unix_path.empty()) {
    if (endpoint.port == 0) endpoint.port = ++last_port_;
    if (!is_own_host(endpoint.host) && endpoint.host != on.name())
      return fail(Code::kUnavailable, "net.unavailable",
                  fmt::format("{} is not an address of the machine {}", endpoint.host, on.name()));
    endpoint.host = on.name();
  }
  const auto key = std::pair{on.index(), key_of(endpoint)};
  if (const auto it = listeners_.find(key); it != listeners_.end())
    if (auto other = it->second.lock(); other && !other->closed)
      return fail(Code::kAlreadyExists, "net.address.in_use",
                  fmt::format("something listens on {} already", endpoint.to_string()));
  auto backlog = std::make_shared<Backlog>(on);
  listeners_[key] = backlog;
  return std::make_unique<SimListener>(std::move(backlog), std::move(endpoint));
}

void Wires::crash(int machine) {
  for (auto& [key, weak] : listeners_)
    if (auto backlog = weak.lock(); backlog && key.first == machine) {
      backlog->closed = true;
      backlog->waiting.clear();
    }
  for (auto& [id, weak] : connections_) {
    auto connection = weak.lock();
    if (!connection) continue;
    for (int side = 0; side < 2; ++side) {
      Pipe& out = connection->pipes[side];
      Pipe& in = connection->pipes[1 - side];
      if (out.from.index() != machine) continue;
      in.unread.clear();
      in.reader_gone = true;
      if (!out.writer_gone) connection->send(side, {}, false, true);
      out.writer_gone = true;
    }
  }
}

void Wires::healed(int from, int to) {
  for (auto& [id, weak] : connections_) {
    auto connection = weak.lock();
    if (!connection) continue;
    for (int direction = 0; direction < 2; ++direction) {
      const Pipe& pipe = connection->pipes[direction];
      if (pipe.from.index() != from || pipe.to.index() != to || pipe.flight.empty()) continue;
      link_.schedule.add(kWorldItself,
                         std::max(pipe.flight.back().at, link_.schedule.now + link_.delay(from, to)),
                         [connection, direction] { connection->deliver(direction); });
    }
  }
}

}  // namespace neap::io::sim
