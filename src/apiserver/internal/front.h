// Front: HTTP in, Rest out. Credentials, limits and media types are its business; what a request means is
// Rest's.
//
// 1. A request is counted against one of two pools, the agents' or everyone else's, so that no crowd of
//    users can keep an agent from reporting. Watches are counted apart.
// 2. A body above the limit is refused without reading on, and its connection closes.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "internal/discovery.h"
#include "internal/rest.h"
#include "neap/apiserver/log_source.h"

namespace neap::apiserver {

struct LogRequest {
  LogQuery query;
  std::uint64_t bytes_max = std::numeric_limits<std::uint64_t>::max();
};

class Front {
 public:
  Front(Rest& rest, const Authenticator& authenticator, const Discovery& discovery,
        const ApiServer::Options& options)
      : rest_(rest), authenticator_(authenticator), discovery_(discovery), options_(options) {}
  void add_route(ExtraRoute route) { routes_.push_back(std::move(route)); }
  void set_ready(bool ready) { ready_ = ready; }
  void use(LogSource& logs) { logs_ = &logs; }
  Task<void> handle(io::HttpExchange& exchange);

 private:
  struct Pool {
    std::size_t in_flight = 0;
  };
  class Seat;
  const ExtraRoute* find_route(std::string_view path) const;
  Task<void> handle_resource(io::HttpExchange& exchange, RequestInfo info, auth::Identity who);
  Task<void> handle_watch(io::HttpExchange& exchange, Request request);
  // log_route.cc
  Task<void> handle_log(io::HttpExchange& exchange, Request request);
  // For whoever is authorized already and knows the allocation, under whatever path it was asked for.
  Task<void> stream_log(io::HttpExchange& exchange, const Request& request, LogRequest asked);
  Task<Outcome<Request>> read_request(io::HttpExchange& exchange, RequestInfo info, auth::Identity who);
  Task<Outcome<Json>> read_body(io::HttpExchange& exchange, const Request& request);
  Task<void> send_failure(io::HttpExchange& exchange, const Failure& failure, const Request& request);

  Rest& rest_;
  const Authenticator& authenticator_;
  const Discovery& discovery_;
  const ApiServer::Options& options_;
  std::vector<ExtraRoute> routes_;
  Pool nodes_, others_, watches_;
  bool ready_ = false;
  LogSource* logs_ = nullptr;
};

// Query parameters of a request; kInvalidArgument names the one that is wrong.
Result<Parameters> parse_parameters(const io::HttpRequest& request);
// Query of a log as kubectl spells it; whose log it is stays empty.
Result<LogRequest> parse_log_request(const io::HttpRequest& request);

}  // namespace neap::apiserver
