#include "internal/sockets.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace neap::io {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
};

std::unexpected<Error> socket_error(int number, std::string_view verb, const std::string& where) {
  Code code = Code::kUnavailable;
  std::string reason = "net.unavailable";
  if (number == ECONNREFUSED || number == ENOENT)
    reason = "net.refused";
  else if (number == ECONNRESET || number == EPIPE)
    reason = "net.reset";
  else if (number == ETIMEDOUT)
    reason = "net.timeout";
  else if (number == EADDRINUSE)
    code = Code::kAlreadyExists, reason = "net.address.in_use";
  else if (number == EACCES || number == EPERM)
    code = Code::kPermissionDenied, reason = "net.denied";
  else if (number == EMFILE || number == ENFILE)
    code = Code::kResourceExhausted, reason = "net.descriptors";
  return fail(code, std::move(reason), fmt::format("cannot {} {}: {}", verb, where, std::strerror(number)));
}

Result<Address> unix_address(const std::string& path) {
  Address out;
  auto* un = reinterpret_cast<sockaddr_un*>(&out.storage);
  if (path.size() >= sizeof(un->sun_path))
    return fail(Code::kInvalidArgument, "net.unix_path.too_long",
                fmt::format("the socket path {} is longer than {} bytes", path, sizeof(un->sun_path) - 1));
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  out.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return out;
}

std::optional<Address> literal_address(const std::string& host, std::uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.length = sizeof(sockaddr_in);
    return out;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.length = sizeof(sockaddr_in6);
    return out;
  }
  return std::nullopt;
}

Result<std::vector<Address>> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list); error != 0)
    return fail(Code::kUnavailable, "net.name.unresolved",
                fmt::format("the name {} does not resolve: {}", host, ::gai_strerror(error)));
  std::vector<Address> out;
  for (const addrinfo* at = list; at; at = at->ai_next) {
    Address address;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.length = at->ai_addrlen;
    out.push_back(address);
  }
  ::freeaddrinfo(list);
  return out;
}

Endpoint endpoint_of(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  Endpoint out;
  if (address.storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    out.host = text.data();
    out.port = ntohs(v4->sin_port);
  } else if (address.storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
    out.host = text.data();
    out.port = ntohs(v6->sin6_port);
  } else if (address.storage.ss_family == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&address.storage);
    out.unix_path = address.length > offsetof(sockaddr_un, sun_path) ? un->sun_path : "(client)";
  }
  return out;
}

using Side = Descriptor::Side;

// Connections that wait to be accepted: no more than are served before their clients give up waiting.
constexpr int kBacklog = 1024;

// After this many calls in a row that did not have to wait, a stream lets others run.
constexpr int kTurnsMax = 32;

std::unexpected<Error> closed_error() {
  return fail(Code::kCancelled, "net.closed", "the stream was closed on this side");
}

Task<Result<std::size_t>> receive(std::shared_ptr<Descriptor> socket, CallContext ctx, std::string& out,
                                  std::size_t max) {
  static thread_local std::array<char, 64u << 10> scratch;
  NEAP_CO_TRY_VOID(ctx.check(socket->loop().now()));
  if (++socket->turns > kTurnsMax) {
    socket->turns = 0;
    co_await yield_to(socket->loop());
  }
  for (;;) {
    if (socket->is_closed()) co_return closed_error();
    const ssize_t n = ::recv(socket->fd(), scratch.data(), std::min(max, scratch.size()), 0);
    if (n >= 0) {
      out.append(scratch.data(), static_cast<std::size_t>(n));
      co_return static_cast<std::size_t>(n);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) co_return socket_error(errno, "read from", "the peer");
    socket->turns = 0;
    NEAP_CO_TRY_VOID(co_await Descriptor::Ready(socket, Side::kRead, ctx));
  }
}

Task<Status> send(std::shared_ptr<Descriptor> socket, CallContext ctx, std::string_view data) {
  NEAP_CO_TRY_VOID(ctx.check(socket->loop().now()));
  while (!data.empty()) {
    if (socket->is_closed()) co_return closed_error();
    const ssize_t n = ::send(socket->fd(), data.data(), data.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) co_return socket_error(errno, "write to", "the peer");
    NEAP_CO_TRY_VOID(co_await Descriptor::Ready(socket, Side::kWrite, ctx));
  }
  co_return ok();
}

class SocketStream final : public Stream {
 public:
  SocketStream(EventLoop& loop, int fd, Endpoint peer)
      : SocketStream(std::make_shared<Descriptor>(loop, fd), std::move(peer)) {}
  SocketStream(std::shared_ptr<Descriptor> socket, Endpoint peer)
      : socket_(std::move(socket)), peer_(std::move(peer)) {}
  ~SocketStream() override { socket_->close(); }

  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    return receive(socket_, std::move(ctx), out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return send(socket_, std::move(ctx), data);
  }
  Task<Status> shutdown_write() override {
    if (!socket_->is_closed()) ::shutdown(socket_->fd(), SHUT_WR);
    co_return ok();
  }
  void close() override { socket_->close(); }
  Endpoint peer() const override { return peer_; }
  bool has_ended() const override {
    if (socket_->is_closed()) return true;
    // Also when there is something left to read before the end.
    pollfd asked{.fd = socket_->fd(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&asked, 1, 0) > 0;
  }

 private:
  std::shared_ptr<Descriptor> socket_;
  Endpoint peer_;
};

void set_no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

class SocketListener final : public Listener {
 public:
  SocketListener(EventLoop& loop, int fd, Endpoint local)
      : socket_(std::make_shared<Descriptor>(loop, fd)), local_(std::move(local)) {}
  ~SocketListener() override { close(); }

  Task<Result<std::unique_ptr<Stream>>> accept(CallContext ctx) override {
    return accept_on(socket_, std::move(ctx), local_);
  }
  Endpoint local() const override { return local_; }
  void close() override {
    if (socket_->is_closed()) return;
    socket_->close();
    if (!local_.unix_path.empty()) ::unlink(local_.unix_path.c_str());
  }

 private:
  static Task<Result<std::unique_ptr<Stream>>> accept_on(std::shared_ptr<Descriptor> socket, CallContext ctx,
                                                         Endpoint local) {
    NEAP_CO_TRY_VOID(ctx.check(socket->loop().now()));
    for (;;) {
      if (socket->is_closed()) co_return closed_error();
      Address address;
      address.length = sizeof(address.storage);
      const int fd = ::accept4(socket->fd(), address.raw(), &address.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        if (local.unix_path.empty()) set_no_delay(fd);
        co_return std::make_unique<SocketStream>(socket->loop(), fd, endpoint_of(address));
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        co_return socket_error(errno, "accept on", local.to_string());
      NEAP_CO_TRY_VOID(co_await Descriptor::Ready(socket, Side::kRead, ctx));
    }
  }
  std::shared_ptr<Descriptor> socket_;
  Endpoint local_;
};

Task<Result<std::unique_ptr<Stream>>> connect_to(EventLoop& loop, CallContext ctx, Address address,
                                                 Endpoint endpoint) {
  const int family = address.storage.ss_family;
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return socket_error(errno, "open a socket for", endpoint.to_string());
  if (family != AF_UNIX) set_no_delay(fd);
  auto socket = std::make_shared<Descriptor>(loop, fd);
  // The descriptor stays with the stream only on success.
  struct CloseUnlessKept {
    std::shared_ptr<Descriptor> socket;
    ~CloseUnlessKept() {
      if (socket) socket->close();
    }
  } guard{socket};
  if (::connect(fd, address.raw(), address.length) != 0) {
    if (errno != EINPROGRESS) co_return socket_error(errno, "connect to", endpoint.to_string());
    NEAP_CO_TRY_VOID(co_await Descriptor::Ready(socket, Side::kWrite, ctx));
    int number = 0;
    socklen_t size = sizeof(number);
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size);
    if (number != 0) co_return socket_error(number, "connect to", endpoint.to_string());
  }
  guard.socket.reset();
  co_return std::make_unique<SocketStream>(std::move(socket), std::move(endpoint));
}

}  // namespace

Task<Result<std::unique_ptr<Stream>>> SocketNetwork::connect(CallContext ctx, Endpoint endpoint) {
  NEAP_CO_TRY_VOID(ctx.check(loop_.now()));
  if (!endpoint.unix_path.empty()) {
    NEAP_CO_TRY(auto address, unix_address(endpoint.unix_path));
    co_return co_await connect_to(loop_, std::move(ctx), address, std::move(endpoint));
  }
  std::vector<Address> addresses;
  if (auto literal = literal_address(endpoint.host, endpoint.port)) {
    addresses.push_back(*literal);
  } else {
    Completion<Result<std::vector<Address>>> resolved(loop_);
    workers_.submit(
        [resolved, host = endpoint.host, port = endpoint.port] { resolved.complete(resolve(host, port)); });
    // The resolver cannot be interrupted: a deadline or a cancellation only stops the wait for it.
    const auto cancelled = ctx.cancel.on_cancel([resolved] {
      resolved.complete(fail(Code::kCancelled, "call.cancelled", "the call was cancelled"));
    });
    struct Timer {
      EventLoop& loop;
      std::optional<TimerId> id;
      ~Timer() {
        if (id) loop.cancel_timer(*id);
      }
    } timer{loop_, {}};
    if (ctx.deadline)
      timer.id = loop_.post_at(*ctx.deadline, [resolved] {
        resolved.complete(fail(Code::kDeadlineExceeded, "call.deadline", "the call's deadline has passed"));
      });
    NEAP_CO_TRY(addresses, co_await resolved.wait());
  }
  Result<std::unique_ptr<Stream>> last = fail(Code::kUnavailable, "net.name.unresolved",
                                              fmt::format("the name {} has no address", endpoint.host));
  for (const auto& address : addresses) {
    last = co_await connect_to(loop_, ctx, address, endpoint);
    if (last || last.error().code == Code::kCancelled || last.error().code == Code::kDeadlineExceeded) break;
  }
  co_return last;
}

Result<std::unique_ptr<Listener>> SocketNetwork::listen(Endpoint endpoint) {
  Address address;
  if (!endpoint.unix_path.empty()) {
    NEAP_TRY(address, unix_address(endpoint.unix_path));
    struct stat st{};
    if (::lstat(endpoint.unix_path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
      // A socket file that nobody answers on is left over from an earlier life.
      const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const bool stale =
          probe >= 0 && ::connect(probe, address.raw(), address.length) != 0 && errno == ECONNREFUSED;
      if (probe >= 0) ::close(probe);
      if (stale) ::unlink(endpoint.unix_path.c_str());
    }
  } else if (auto literal = literal_address(endpoint.host, endpoint.port)) {
    address = *literal;
  } else {
    // Only names like "localhost" make sense here, and those come from a local file.
    NEAP_TRY(auto addresses, resolve(endpoint.host, endpoint.port));
    if (addresses.empty())
      return fail(Code::kUnavailable, "net.name.unresolved",
                  fmt::format("the name {} has no address", endpoint.host));
    address = addresses.front();
  }
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return socket_error(errno, "open a socket for", endpoint.to_string());
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(fd, address.raw(), address.length) != 0 || ::listen(fd, kBacklog) != 0) {
    const int number = errno;
    ::close(fd);
    return socket_error(number, "listen on", endpoint.to_string());
  }
  if (endpoint.unix_path.empty()) {
    Address bound;
    bound.length = sizeof(bound.storage);
    ::getsockname(fd, bound.raw(), &bound.length);
    endpoint.port = endpoint_of(bound).port;
  }
  return std::make_unique<SocketListener>(loop_, fd, std::move(endpoint));
}

}  // namespace neap::io
