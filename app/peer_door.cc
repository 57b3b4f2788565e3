#include "peer_door.h"

#include <algorithm>

#include "neap/auth/auth.h"

namespace neap::app {
namespace {

Task<void> refuse(io::HttpExchange& exchange) {
  (void)co_await exchange.reply(io::json_error(
      {.code = Code::kPermissionDenied,
       .reason = "peer.not_a_node",
       .message = "only other nodes may ask here; clients of the site use the inference listener"}));
}

}  // namespace

io::HttpHandler for_nodes_only(io::HttpHandler inner) {
  return [inner = std::move(inner)](io::HttpExchange& exchange) {
    const auto* peer = exchange.peer_certificate();
    const bool is_node =
        peer && std::ranges::find(peer->organizations, auth::kNodesGroup) != peer->organizations.end();
    return is_node ? inner(exchange) : refuse(exchange);
  };
}

}  // namespace neap::app
