// The first byte says who speaks, the rest is what a peer sends: no handshake may succeed on it, and the
// side that listens must end it with a reason.
#include <cstdint>
#include <cstdlib>

#include "neap/io/tls.h"
#include "tests/test_certificates.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

// Says `input` in pieces, then ends; swallows what is written to it.
class Peer final : public Stream {
 public:
  Peer(std::string input, std::size_t piece) : input_(std::move(input)), piece_(piece) {}
  Task<Result<std::size_t>> read_some(CallContext, std::string& out, std::size_t max) override {
    const auto count = std::min({max, piece_, input_.size() - at_});
    out.append(input_, at_, count);
    at_ += count;
    co_return count;
  }
  Task<Status> write_all(CallContext, std::string_view) override { co_return ok(); }
  Task<Status> shutdown_write() override { co_return ok(); }
  void close() override {}
  Endpoint peer() const override { return {"peer", 1, {}}; }

 private:
  std::string input_;
  std::size_t at_ = 0, piece_;
};

struct Sides {
  TestIdentity authority = make_test_authority("neap fuzz authority");
  TestIdentity leaf = make_test_leaf(authority, "server", {}, "DNS:hq");
  std::shared_ptr<TlsServerContext> server =
      make_tls_server_context({.certificate_pem = leaf.certificate_pem,
                               .private_key_pem = leaf.private_key_pem,
                               .client_roots_pem = authority.certificate_pem,
                               .require_client_certificate = true})
          .value();
  std::shared_ptr<TlsClientContext> client =
      make_tls_client_context({.roots_pem = authority.certificate_pem, .server_name = "hq"}).value();
};

Task<void> listen_to(std::string input, std::uint8_t how, const Sides& sides) {
  const std::size_t piece = how & 2 ? 1 + (how >> 2) % 16 : input.size() + 1;
  auto peer = std::make_unique<Peer>(std::move(input), piece);
  auto done = how & 1 ? co_await tls_accept({}, std::move(peer), sides.server)
                      : co_await tls_connect({}, std::move(peer), sides.client);
  if (done || done.error().message.empty()) std::abort();
}

}  // namespace
}  // namespace neap::io

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace neap::io;
  static const Sides sides;
  static SimulatedWorld world;
  if (size == 0) return 0;
  world.run(listen_to({reinterpret_cast<const char*>(data + 1), size - 1}, data[0], sides));
  return 0;
}
