// Between a client's connection and a node's stream: kubectl's protocols on the one side, what nodes speak
// on the other.
#pragma once

#include <functional>
#include <memory>

#include "neap/apiserver/session_source.h"
#include "neap/io/channel_stream.h"
#include "neap/io/runtime.h"

namespace neap::apiserver {

// What the client asked to have: each is a channel of its own.
struct CommandChannels {
  bool input = false, output = false, errors = false, terminal = false;
};

// A session is looked at this often: whether its user still may, whether its client is still there.
inline constexpr Duration kSessionCheck = std::chrono::seconds(15);
// An error says why the session is to end.
using SessionCheck = std::function<Task<Status>()>;

// A client of exec or attach, in one of kubectl's protocols.
class CommandClient {
 public:
  virtual ~CommandClient() = default;
  // Takes what it sends to the node, until it has gone.
  virtual Task<void> pump_to(CallContext ctx, io::ChannelStream& node) = 0;
  virtual Task<Status> write(CallContext ctx, io::Channel channel, std::string_view bytes) = 0;
  // Fails, at the second time if not at the first, once the client has gone, also while what it sent fills
  // every buffer and nobody reads its end.
  virtual Task<Status> keep_alive(CallContext ctx) = 0;
  // Nothing more is written.
  virtual Task<void> finish(CallContext ctx) = 0;
};

// `has_end`: v5.channel.k8s.io, whose clients say when their input ends.
std::unique_ptr<CommandClient> make_websocket_client(io::Runtime& runtime, std::unique_ptr<io::Stream> stream,
                                                     bool has_end);
std::unique_ptr<CommandClient> make_spdy_client(io::Runtime& runtime, std::unique_ptr<io::Stream> stream,
                                                CommandChannels channels);

// Until either side has ended, or `still_allowed` refuses, which the client is told.
Task<void> bridge_command(CallContext ctx, io::Runtime& runtime, CommandClient& client, io::Stream& node,
                          SessionCheck still_allowed);

// Serves kubectl's port-forward on `transport`, SPDY from its first byte. `allowed`: the node's word that
// ports of this work may be reached, whose end ends everything, as a refusal of `still_allowed` does. `query`
// names the work; each connection is opened with its port.
Task<void> forward_ports(CallContext ctx, io::Runtime& runtime, SessionSource& source, SessionQuery query,
                         std::unique_ptr<io::Stream> allowed, std::unique_ptr<io::Stream> transport,
                         SessionCheck still_allowed);

}  // namespace neap::apiserver
