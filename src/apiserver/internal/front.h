// Front: HTTP in, Rest out. Credentials, limits and media types are its business; what a request means is
// Rest's.
//
// 1. A request needs a seat in one of two pools, the agents' or everyone else's, so that no crowd of users
// can
//    keep an agent from reporting; within a pool seats are shared out fairly among users (fair_queue.h).
//    Watches are counted apart.
// 2. A body above the limit is refused without reading on, and its connection closes.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "internal/discovery.h"
#include "internal/fair_queue.h"
#include "internal/rest.h"
#include "neap/apiserver/log_source.h"
#include "neap/apiserver/session_source.h"

namespace neap::apiserver {

struct LogRequest {
  LogQuery query;
  std::uint64_t bytes_max = std::numeric_limits<std::uint64_t>::max();
};

class Front {
 public:
  Front(Rest& rest, const Authenticator& authenticator, const Discovery& discovery,
        const std::vector<StreamSubresource>& streams, const ApiServer::Options& options)
      : rest_(rest),
        authenticator_(authenticator),
        discovery_(discovery),
        streams_(streams),
        options_(options),
        nodes_(rest.dependencies().runtime.executor(), pool_of(options.node_requests_max)),
        others_(rest.dependencies().runtime.executor(), pool_of(options.requests_max)),
        watches_(rest.dependencies().runtime.executor(), watch_pool_of(options.watches_max)) {}
  void add_route(ExtraRoute route) { routes_.push_back(std::move(route)); }
  void set_ready(bool ready) { ready_ = ready; }
  void use(LogSource& logs) { logs_ = &logs; }
  void use(StreamForward forward) { forward_ = std::move(forward); }
  void use(SessionSource& sessions) { sessions_ = &sessions; }
  Task<void> handle(io::HttpExchange& exchange);

 private:
  // No flow takes more than half of a pool.
  static FairQueue::Options pool_of(std::size_t seats) {
    return {.seats = seats, .flow_seats = (seats + 1) / 2};
  }
  // A watch that finds no seat is told so at once: it would hold one for minutes.
  static FairQueue::Options watch_pool_of(std::size_t seats) {
    return {.seats = seats, .flow_seats = (seats + 1) / 2, .flow_waiting_max = 0};
  }
  const ExtraRoute* find_route(std::string_view path) const;
  const StreamSubresource* find_stream(const auth::Attributes& what) const;
  Task<void> handle_stream(io::HttpExchange& exchange, const StreamSubresource& stream, Request request);
  Task<void> handle_resource(io::HttpExchange& exchange, RequestInfo info, auth::Identity who);
  Task<void> handle_watch(io::HttpExchange& exchange, Request request);
  // log_route.cc
  Task<void> handle_log(io::HttpExchange& exchange, Request request);
  // For whoever is authorized already and knows the allocation, under whatever path it was asked for.
  Task<void> stream_log(io::HttpExchange& exchange, const Request& request, LogRequest asked);
  // session_route.cc
  bool is_session(const auth::Attributes& what) const;
  Task<void> handle_session(io::HttpExchange& exchange, Request request);
  Task<Status> check_session(const Request& request);
  Task<Outcome<Request>> read_request(io::HttpExchange& exchange, RequestInfo info, auth::Identity who);
  Task<Outcome<Json>> read_body(io::HttpExchange& exchange, const Request& request);
  Task<void> refuse_credentials(io::HttpExchange& exchange, const Error& error, const Request& request);
  Task<void> send_failure(io::HttpExchange& exchange, const Failure& failure, const Request& request);

  Rest& rest_;
  const Authenticator& authenticator_;
  const Discovery& discovery_;
  const std::vector<StreamSubresource>& streams_;
  const ApiServer::Options& options_;
  std::vector<ExtraRoute> routes_;
  FairQueue nodes_, others_, watches_;
  std::size_t open_watches_ = 0;
  bool ready_ = false;
  LogSource* logs_ = nullptr;
  StreamForward forward_;
  SessionSource* sessions_ = nullptr;
};

// Query parameters of a request; kInvalidArgument names the one that is wrong.
Outcome<Parameters> parse_parameters(const io::HttpRequest& request);
// Query of a log as kubectl spells it; whose log it is stays empty.
Result<LogRequest> parse_log_request(const io::HttpRequest& request);

}  // namespace neap::apiserver
