#include "internal/job_socket.h"

#include <fmt/format.h>

#include "neap/io/json_reply.h"

namespace neap::agent {

JobSocket::JobSocket(io::Runtime& runtime, std::string path, std::string allowed_directory,
                     JobCallbacks callbacks)
    : runtime_(runtime),
      path_(std::move(path)),
      allowed_(std::move(allowed_directory)),
      callbacks_(std::move(callbacks)) {}
JobSocket::~JobSocket() = default;

Status JobSocket::start() {
  (void)runtime_.files().remove(path_);
  io::Endpoint endpoint;
  endpoint.unix_path = path_;
  NEAP_TRY(auto listener, runtime_.network().listen(endpoint));
  io::HttpServerOptions options;
  options.limits.body_bytes_max = 1u << 20;
  options.limits.connections_max = 256;
  server_ = std::make_unique<io::HttpServer>(runtime_, std::move(listener), options,
                                             [this](io::HttpExchange& exchange) { return serve(exchange); });
  server_->start();
  return ok();
}

Task<void> JobSocket::stop() {
  if (server_) co_await server_->stop(200ms);
  server_.reset();
  (void)runtime_.files().remove(path_);
}

Task<void> JobSocket::serve(io::HttpExchange& exchange) {
  co_await io::reply_json(
      exchange, [this, &exchange](Json body) { return answer(exchange.request(), std::move(body)); });
}

Result<std::string> JobSocket::checked_path(const Json& body) const {
  const std::string path(get_string(body, "path"));
  if (!path.starts_with(allowed_ + "/") || path.find("/../") != std::string::npos || path.ends_with("/.."))
    return fail(Code::kInvalidArgument, "agent.job.path",
                fmt::format("\"path\" must name a file below {}, is \"{}\"", allowed_, path));
  return path;
}

Task<Result<Json>> JobSocket::answer(const io::HttpRequest& request, Json body) {
  if (request.path == "/v1/job" && request.method == "GET") {
    const auto rank = request.query_value("rank");
    co_return callbacks_.job(rank.empty() ? 0 : std::strtoll(std::string(rank).c_str(), nullptr, 10));
  }
  if (request.method != "POST")
    co_return fail(Code::kNotFound, "agent.job.path",
                   fmt::format("{} {} is not served here", request.method, request.path));
  if (request.path == "/v1/progress") {
    const auto* metrics = find_path(body, {"metrics"});
    callbacks_.first_step(get_int(body, "first_step", -1));
    callbacks_.progress(get_int(body, "step", -1), metrics ? *metrics : Json{});
    co_return Json{{"state", "noted"}};
  }
  if (request.path == "/v1/checkpoint") {
    NEAP_CO_TRY(auto path, checked_path(body));
    NEAP_CO_TRY(const auto state, co_await callbacks_.checkpoint(std::move(path), get_int(body, "step", -1)));
    co_return Json{{"state", state}};
  }
  if (request.path == "/v1/outputs") {
    NEAP_CO_TRY(auto path, checked_path(body));
    const auto* metadata = find_path(body, {"metadata"});
    NEAP_CO_TRY_VOID(co_await callbacks_.output(std::string(get_string(body, "name")), std::move(path),
                                                metadata ? *metadata : Json{}));
    co_return Json{{"state", "durable"}};
  }
  if (request.path == "/v1/metrics") {
    callbacks_.metrics(body);
    co_return Json{{"state", "noted"}};
  }
  co_return fail(Code::kNotFound, "agent.job.path", fmt::format("POST {} is not served here", request.path));
}

}  // namespace neap::agent
