#include "neap/gateway/gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "internal/route_state.h"

namespace neap::gateway {

namespace {

io::HttpResponse json_response(int status, std::string body) {
  io::HttpResponse response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "application/json");
  return response;
}

io::HttpResponse plain_error(int status, std::string_view text) {
  return json_response(
      status, inference::encode_error(
                  {.code = Code::kUnknown, .reason = {}, .message = std::string(text), .context = {}}));
}

io::HttpResponse not_found(std::string_view path) {
  return plain_error(404, fmt::format("{} is no path of the Open Inference Protocol", path));
}

io::HttpResponse not_allowed(std::string_view method, std::string_view allowed) {
  auto response = plain_error(405, fmt::format("method {} is not allowed here; use {}", method, allowed));
  response.headers.set("Allow", std::string(allowed));
  return response;
}

// /v2/models/M[/versions/V][/what]
struct ModelPath {
  std::string_view model;
  std::string_view version;
  std::string_view what;
};

std::optional<ModelPath> parse_model_path(std::string_view rest) {
  std::vector<std::string_view> parts;
  for (const auto part : std::views::split(rest, '/')) parts.emplace_back(part.begin(), part.end());
  if (parts.empty() || std::ranges::find(parts, "") != parts.end()) return std::nullopt;
  ModelPath out{.model = parts[0], .version = {}, .what = {}};
  std::size_t at = 1;
  if (parts.size() > at && parts[at] == "versions") {
    if (parts.size() == at + 1) return std::nullopt;
    out.version = parts[at + 1];
    at += 2;
  }
  if (parts.size() > at) out.what = parts[at++];
  if (parts.size() > at) return std::nullopt;
  return out;
}

class Reserved {
 public:
  Reserved(std::uint64_t& total, std::uint64_t bytes) : total_(total), bytes_(bytes) { total_ += bytes_; }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;
  ~Reserved() { total_ -= bytes_; }

 private:
  std::uint64_t& total_;
  std::uint64_t bytes_;
};

JsonObject duration_json(const inference::DurationTotal& total) {
  return {{"count", total.count}, {"ns", total.ns}};
}

}  // namespace

Gateway::Gateway(Pipeline::Dependencies dependencies, Options options)
    : models_(dependencies.models),
      options_(std::move(options)),
      pipeline_(dependencies, options_.pipeline),
      shadows_(dependencies.executor) {}
Gateway::~Gateway() = default;

io::HttpHandler Gateway::handler() {
  return [this](io::HttpExchange& exchange) { return serve(exchange); };
}

Task<void> Gateway::stop() { co_await shadows_.stop(); }
void Gateway::abandon() { shadows_.abandon(); }

Task<void> Gateway::serve(io::HttpExchange& exchange) {
  const io::HttpRequest& request = exchange.request();
  const bool is_get = request.method == "GET" || request.method == "HEAD";
  constexpr std::string_view kModels = "/v2/models/";
  const std::string_view path = request.path;
  io::HttpResponse response;
  if (path.starts_with(kModels)) {
    const auto parts = parse_model_path(path.substr(kModels.size()));
    if (!parts) {
      response = not_found(path);
    } else if (parts->what == "infer") {
      if (request.method == "POST") {
        co_await serve_infer(exchange, std::string(parts->model), std::string(parts->version));
        co_return;
      }
      response = not_allowed(request.method, "POST");
    } else if (!parts->what.empty() && parts->what != "ready" && parts->what != "stats") {
      response = not_found(path);
    } else {
      response =
          is_get ? answer_get(parts->model, parts->version, parts->what) : not_allowed(request.method, "GET");
    }
  } else if (path == "/v2/repository/index") {
    response = request.method == "POST" ? repository_index() : not_allowed(request.method, "POST");
  } else if (path == "/v2" || path == "/v2/" || path == "/v2/health/live" || path == "/v2/health/ready") {
    response = !is_get                    ? not_allowed(request.method, "GET")
               : path.ends_with("/live")  ? health(true)
               : path.ends_with("/ready") ? health(models_.are_all_ready())
                                          : server_metadata();
  } else {
    response = not_found(path);
  }
  (void)co_await exchange.reply(std::move(response));
}

Task<void> Gateway::serve_infer(io::HttpExchange& exchange, std::string model, std::string version) {
  const std::uint64_t limit = options_.pipeline.limits.body_bytes_max;
  const std::uint64_t reserve = std::min(exchange.body().declared_length().value_or(limit), limit);
  if (body_bytes_in_flight_ + reserve > options_.body_bytes_in_flight_max) {
    (void)co_await exchange.reply(
        error_response({Code::kUnavailable,
                        "gateway.memory",
                        "the requests being served fill the memory set aside for them; try again shortly",
                        {}}));
    co_return;
  }
  const Reserved reserved(body_bytes_in_flight_, reserve);
  auto body = co_await exchange.body().read_all(exchange.context(), limit);
  if (!body) {
    (void)co_await exchange.reply(error_response(body.error()));
    co_return;
  }
  Call call{std::move(model), std::move(version), exchange.request().headers, *std::move(body)};
  Outcome outcome = co_await pipeline_.run(exchange.context(), call);
  (void)co_await exchange.reply(std::move(outcome.response));
  if (outcome.shadow) shadows_.spawn(pipeline_.run_shadow(shadows_.context(), std::move(outcome.shadow)));
}

io::HttpResponse Gateway::answer_get(std::string_view model, std::string_view version,
                                     std::string_view what) const {
  const Route* route = pipeline_.find_route(model);
  const std::string_view wanted =
      version.empty() && route != nullptr ? std::string_view(route->active_version) : version;
  const auto* metadata = models_.find_metadata(model, wanted);
  if (what == "ready") {
    // A model that lives elsewhere is as ready as the places it may be sent to.
    const bool ready =
        metadata != nullptr || (route != nullptr && !route->local && !route->upstreams.empty());
    JsonObject body{{"name", model}, {"ready", ready}};
    auto response = json_response(ready ? 200 : route == nullptr ? 404 : 503, boost::json::serialize(body));
    if (response.status == 503) response.headers.set("Retry-After", "1");
    return response;
  }
  if (metadata == nullptr) {
    return error_response({Code::kNotFound,
                           "inference.model.unknown",
                           fmt::format("model \"{}\"{}{} is not on this node", model,
                                       version.empty() ? "" : " version ", version),
                           {}});
  }
  if (what == "stats") return statistics(model, version);
  return json_response(200, inference::encode_metadata(*metadata, models_.versions(model)));
}

io::HttpResponse Gateway::server_metadata() const {
  const JsonObject body{
      {"name", "neap"},
      {"version", options_.version},
      {"extensions", {"binary_tensor_data", "statistics", "parameters", "model_repository"}}};
  return json_response(200, boost::json::serialize(body));
}

io::HttpResponse Gateway::health(bool ready) const {
  const JsonObject body{{"live", true}, {"ready", ready}};
  auto response = json_response(ready ? 200 : 503, boost::json::serialize(body));
  if (!ready) response.headers.set("Retry-After", "1");
  return response;
}

io::HttpResponse Gateway::statistics(std::string_view model, std::string_view version) const {
  JsonArray list;
  for (const inference::ModelStatistics& s : models_.statistics(model)) {
    if (!version.empty() && s.version != version) continue;
    JsonObject totals{{"success", duration_json(s.success)},       {"fail", duration_json(s.failure)},
                      {"queue", duration_json(s.queue)},           {"compute_input", duration_json({})},
                      {"compute_infer", duration_json(s.compute)}, {"compute_output", duration_json({})}};
    JsonObject neap{{"overloaded", s.overloaded_count},
                    {"running", s.running},
                    {"waiting", s.waiting},
                    {"latency_p50_ns", s.latency_p50.count()},
                    {"latency_p99_ns", s.latency_p99.count()}};
    list.push_back(JsonObject{{"name", s.name},
                              {"version", s.version},
                              {"inference_count", s.inference_count},
                              {"execution_count", s.execution_count},
                              {"inference_stats", std::move(totals)},
                              {"batch_stats", JsonArray{}},
                              {"neap", std::move(neap)}});
  }
  return json_response(200, boost::json::serialize(JsonObject{{"model_stats", std::move(list)}}));
}

io::HttpResponse Gateway::repository_index() const {
  JsonArray list;
  for (const std::string& model : pipeline_.models()) {
    for (const std::string& version : models_.versions(model)) {
      list.push_back(JsonObject{{"name", model}, {"version", version}, {"state", "READY"}, {"reason", ""}});
    }
  }
  return json_response(200, boost::json::serialize(list));
}

}  // namespace neap::gateway
