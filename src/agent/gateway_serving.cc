#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "neap/agent/data_plane.h"
#include "neap/gateway/export_guard.h"

namespace neap::agent {
namespace {

class Serving final : public GatewayServing, private gateway::GatewayEvents {
 public:
  // Requests to peers travel by mutual TLS, and the gate's ledger has them all.
  Serving(Dependencies deps, std::string node, std::string site)
      : deps_(std::move(deps)),
        guard_(deps_.runtime.clock(), {.here = SiteName(site), .encrypted = true, .logged = true}),
        upstream_(deps_.runtime, deps_.peer_options),
        host_({.runtime = deps_.runtime, .engine = deps_.engine}),
        gateway_({.executor = deps_.runtime.executor(),
                  .models = host_,
                  .guard = guard_,
                  .upstream = upstream_,
                  .events = *this},
                 options_of(std::move(node), std::move(site))) {
    deps_.gate.set_observer([this](const EgressGate::Known& known) {
      std::vector<dataguard::Place> places;
      for (const auto& [name, place] : known.places) places.push_back(place);
      guard_.set_places(std::move(places));
      guard_.set_policies(known.policies);
    });
  }
  ~Serving() override { deps_.gate.set_observer({}); }

  io::HttpHandler handler() override { return gateway_.handler(); }
  Task<void> stop() override {
    co_await gateway_.stop();
    co_await host_.stop();
  }

  void expect(const api::ServeWork& work) override {
    if (!gateway_.pipeline().find_route(work.model)) gateway_.pipeline().set_route(route_of(work));
  }

  Task<Status> load(CallContext ctx, std::string model, std::string version, std::string path) override {
    const auto known = host_.versions(model);
    if (std::ranges::find(known, version) != known.end()) co_return ok();
    inference::ModelOptions options;
    options.max_concurrency = limits_.contains(model) ? std::uint32_t(limits_[model].maxConcurrency) : 4;
    options.max_queue = limits_.contains(model) ? std::uint32_t(limits_[model].maxQueue) : 64;
    co_return co_await host_.load(ctx, {.name = model, .version = version, .path = path, .bytes = {}},
                                  options);
  }

  Task<Result<ProbeResult>> probe(CallContext ctx, std::string model, std::string version,
                                  std::string probe_path) override;
  Task<Status> activate(CallContext ctx, api::ServeWork work) override;
  Status set_shadow(const std::string& model, const std::string& version) override {
    const auto* current = gateway_.pipeline().find_route(model);
    if (!current)
      return fail(Code::kNotFound, "serving.route", fmt::format("model {} is not served here", model));
    auto route = *current;
    route.shadow_version = version;
    route.shadow_fraction = 1.0;
    gateway_.pipeline().set_route(std::move(route));
    return ok();
  }
  api::ShadowStatus shadow_report(const std::string& model) override {
    api::ShadowStatus out;
    if (const auto report = gateway_.pipeline().shadow_report(model)) {
      out.requests = std::int64_t(report->requests);
      out.agreed = std::int64_t(report->agreed);
      out.errors = std::int64_t(report->errors);
      out.labelled = std::int64_t(report->labelled_rows);
      out.correct = std::int64_t(report->shadow_correct);
    }
    return out;
  }
  double take_busy_seconds(const std::string& model) override {
    const auto busy = busy_.find(model);
    return busy == busy_.end() ? 0 : to_seconds(std::exchange(busy->second, Duration{}));
  }
  Task<Status> remove(CallContext ctx, std::string model) override {
    busy_.erase(model);
    gateway_.pipeline().remove_route(model);
    close_unused_connections();
    for (const auto& version : host_.versions(model)) (void)co_await host_.unload(ctx, model, version);
    co_return ok();
  }

 private:
  static gateway::Gateway::Options options_of(std::string node, std::string site) {
    gateway::Gateway::Options out;
    out.pipeline.site = SiteName(std::move(site));
    out.pipeline.node = NodeName(std::move(node));
    return out;
  }
  static gateway::Route route_of(const api::ServeWork& work);

  void close_unused_connections() {
    std::vector<gateway::UpstreamTarget> used;
    for (const auto& model : gateway_.pipeline().models())
      std::ranges::copy(gateway_.pipeline().find_route(model)->upstreams, std::back_inserter(used));
    upstream_.keep_only(used);
  }
  void on_crossing(const gateway::CrossingRecord& record) override { deps_.gate.count_crossing(record); }
  void on_refusal(const gateway::RefusalRecord& record) override { deps_.gate.count_refusal(record); }
  void on_served(const gateway::ServedRecord& record) override {
    if (record.local) busy_[record.model] += record.took;
  }
  Dependencies deps_;
  std::map<std::string, api::ServeLimits> limits_;
  std::map<std::string, Duration> busy_;  // of requests, by model
  gateway::ExportGuard guard_;
  gateway::HttpUpstream upstream_;
  inference::ModelHost host_;
  gateway::Gateway gateway_;
};

gateway::Route Serving::route_of(const api::ServeWork& work) {
  gateway::Route route;
  route.project = work.repository.substr(0, work.repository.find('/'));
  route.service = work.service;
  route.model = work.model;
  route.level_default = work.defaultLevel;
  route.active_version = work.modelVersion;
  for (const auto& target : work.overflow) {
    auto endpoint = io::Endpoint::parse(target.endpoint);
    if (!endpoint) continue;
    gateway::UpstreamTarget upstream{.site = SiteName(target.site),
                                     .node = NodeName(target.node),
                                     .endpoint = *std::move(endpoint),
                                     .tier = target.tier,
                                     .levels = {api::DataLevel::kL3}};
    if (target.tier != api::Tier::kPublic) upstream.levels.push_back(api::DataLevel::kL2);
    route.upstreams.push_back(std::move(upstream));
  }
  return route;
}

// Rows of probe.json: {"scale", "samples": [{"label", "pixels": base64 of bytes}]}.
Task<Result<ProbeResult>> Serving::probe(CallContext ctx, std::string model, std::string version,
                                         std::string probe_path) {
  NEAP_CO_TRY(const auto text, deps_.runtime.files().read_file(probe_path, 16u << 20));
  NEAP_CO_TRY(const auto document, parse_json(text));
  const auto* samples = find_path(document, {"samples"});
  const auto* metadata = host_.find_metadata(model, version);
  if (!samples || !samples->is_array() || !metadata || metadata->inputs.size() != 1) co_return ProbeResult{};
  const auto input = metadata->inputs.front();
  const double scale = double(std::max<std::int64_t>(1, get_int(document, "scale", 255)));
  ProbeResult out;
  for (const auto& sample : samples->get_array()) {
    NEAP_CO_TRY(const auto pixels, crypto::from_base64(get_string(sample, "pixels")));
    inference::InferRequest request;
    request.model_name = model;
    request.model_version = version;
    inference::Tensor tensor{.name = input.name, .type = input.type, .shape = input.shape, .bytes = {}};
    for (auto& extent : tensor.shape)
      if (extent < 0) extent = 1;
    const auto wanted = inference::count_elements(tensor.shape, 64u << 20);
    if (!wanted || *wanted != pixels.size())
      co_return fail(Code::kFailedPrecondition, "serving.probe.shape",
                     fmt::format("row {} of probe.json has {} values, input \"{}\" takes [{}]; the file is "
                                 "another model's, or the probe is",
                                 out.rows + 1, pixels.size(), input.name, fmt::join(tensor.shape, ",")));
    tensor.bytes.resize(pixels.size() * sizeof(float));
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const float value = float(double(static_cast<unsigned char>(pixels[i])) / scale);
      std::memcpy(tensor.bytes.data() + i * sizeof(float), &value, sizeof(float));
    }
    request.inputs.push_back(std::move(tensor));
    NEAP_CO_TRY(const auto response, co_await host_.infer(ctx, std::move(request)));
    if (response.outputs.empty())
      co_return fail(Code::kFailedPrecondition, "serving.probe", "the model gives no output");
    const auto& logits = response.outputs.front().bytes;
    std::int64_t best = 0;
    float best_value = -1e30f;
    for (std::size_t i = 0; i * sizeof(float) < logits.size(); ++i) {
      float value = 0;
      std::memcpy(&value, logits.data() + i * sizeof(float), sizeof(float));
      if (value > best_value) {
        best_value = value;
        best = std::int64_t(i);
      }
    }
    ++out.rows;
    if (best == get_int(sample, "label", -1)) ++out.correct;
  }
  co_return out;
}

Task<Status> Serving::activate(CallContext ctx, api::ServeWork work) {
  limits_[work.model] = work.limits;
  NEAP_CO_TRY_VOID(host_.activate(work.model, work.modelVersion));
  auto route = route_of(work);
  if (const auto* current = gateway_.pipeline().find_route(work.model);
      current && current->shadow_version == work.shadowModelVersion) {
    route.shadow_version = current->shadow_version;
    route.shadow_fraction = current->shadow_fraction;
  }
  gateway_.pipeline().set_route(std::move(route));
  close_unused_connections();
  for (const auto& version : host_.versions(work.model))
    if (version != work.modelVersion && version != work.shadowModelVersion)
      (void)co_await host_.unload(ctx, work.model, version);
  co_return ok();
}

}  // namespace

std::unique_ptr<GatewayServing> GatewayServing::create(Dependencies deps, std::string node,
                                                       std::string site) {
  return std::make_unique<Serving>(std::move(deps), std::move(node), std::move(site));
}

}  // namespace neap::agent
