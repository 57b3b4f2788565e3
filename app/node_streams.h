// NodeStreams: what the server asks of nodes that it cannot reach: it puts the wish down, the node's agent,
// which dials out, comes for it and opens a connection of its own for the answer.
//
//   GET /agent/v1/nodes/NAME/streams     waits up to 20 s; {"streams": [{"id", "kind", ...}]}
//   GET /agent/v1/nodes/NAME/streams/ID  upgrade: one line of JSON (how it went), then the bytes
//
// 1. A wish is handed out once, to its node only, and forgotten when its reader goes.
// 2. A node that does not come within kPresenceGrace is out of reach, and the reader is told so.
// 3. Bounded: streams_per_node and streams_max at once; a slow reader holds up its own connection only.
// 4. Of several servers, the one a node is connected to is asked: others forward before it comes to this
//    (server_peers.h).
// Belongs to the runtime's executor; streams must not outlive it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "neap/apiserver/log_source.h"
#include "neap/apiserver/session_source.h"
#include "neap/auth/auth.h"
#include "neap/base/task_group.h"
#include "neap/client/resource_client.h"
#include "neap/io/http.h"

namespace neap::app {

class NodeStreams final : public apiserver::LogSource, public apiserver::SessionSource {
 public:
  struct Options {
    Duration poll = 20s;
    Duration presence_grace = 5s;
    Duration open_within = 15s;
    std::size_t streams_per_node = 64, streams_max = 512;
  };
  NodeStreams(io::Runtime& runtime, client::ResourceClient& client, Options options);
  NodeStreams(io::Runtime& runtime, client::ResourceClient& client)
      : NodeStreams(runtime, client, Options{}) {}
  ~NodeStreams() override;
  // True for the paths above.
  static bool is_path(std::string_view path);
  Task<void> serve(io::HttpExchange& exchange, const auth::Identity& who);
  Task<Result<std::unique_ptr<apiserver::LogStream>>> open_log(CallContext ctx,
                                                               apiserver::LogQuery query) override;
  Task<Result<std::unique_ptr<io::Stream>>> open_session(CallContext ctx,
                                                         apiserver::SessionQuery query) override;
  // Nodes that are remembered: who asks now, asked lately or is asked for something.
  std::size_t desk_count() const { return desks_.size(); }

 private:
  struct Wish;
  struct NodeDesk;
  class Place;
  class LogReading;
  class Session;
  Task<void> hand_out(io::HttpExchange& exchange, std::string node);
  Task<void> attach(io::HttpExchange& exchange, std::string node, std::string id);
  Task<Status> wait_for_node(CallContext ctx, std::shared_ptr<NodeDesk> desk, std::string node);
  Task<Result<std::string>> node_of(CallContext ctx, std::string ns, std::string allocation);
  // `ask` names namespace and allocation; its node has answered when this returns.
  Task<Result<std::unique_ptr<Place>>> ask_node(CallContext ctx, Json ask);
  std::shared_ptr<NodeDesk> desk_of(const std::string& node);
  void forget_unused_desks();

  io::Runtime& runtime_;
  client::ResourceClient& client_;
  Options options_;
  std::map<std::string, std::shared_ptr<NodeDesk>> desks_;
  MonoTime next_sweep_{};
  std::shared_ptr<std::size_t> open_ = std::make_shared<std::size_t>(0);
};

}  // namespace neap::app
