#include "neap/agent/egress_gate.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/api/resource.h"

namespace neap::agent {
namespace {

constexpr std::string_view kKnownKey = "egress/known";
constexpr std::string_view kShippedKey = "egress/shipped";
constexpr std::string_view kLedgerKey = "egress/ledger";
constexpr std::size_t kShipmentEntriesMax = 500;
constexpr Bytes kViewBytesMax{std::int64_t(1) << 40};

std::string label_of(const ExportIntent& intent, const char* key) {
  const auto it = intent.labels.find(key);
  return it == intent.labels.end() ? std::string{} : it->second;
}

}  // namespace

EgressGate::EgressGate(Dependencies deps, std::string node, std::string site)
    : deps_(deps),
      node_(std::move(node)),
      site_(std::move(site)),
      appended_(deps.runtime.executor()),
      tasks_(deps.runtime.executor()) {}

Task<Status> EgressGate::start() {
  NEAP_CO_TRY(const auto known, co_await deps_.store.get({}, std::string(kKnownKey)));
  if (known) {
    NEAP_CO_TRY(const auto json, parse_json(known->value));
    const auto *sites = find_path(json, {"sites"}), *policies = find_path(json, {"policies"});
    if (sites && policies) NEAP_CO_TRY_VOID(learn(*sites, *policies));
  }
  NEAP_CO_TRY(const auto named, co_await deps_.store.get({}, std::string(kLedgerKey)));
  ledger_ = named ? named->value : deps_.runtime.random().hex(16);
  if (!named) NEAP_CO_TRY_VOID(co_await deps_.store.put({}, std::string(kLedgerKey), ledger_));
  tasks_.spawn(keep_fresh());
  tasks_.spawn(ship());
  tasks_.spawn(flush_sums());
  co_return ok();
}
Task<void> EgressGate::stop() { co_await tasks_.stop(); }
void EgressGate::abandon() { tasks_.abandon(); }

Status EgressGate::learn(const Json& sites, const Json& policies) {
  Known next;
  if (sites.is_array())
    for (const auto& item : sites.get_array()) {
      NEAP_TRY(const auto site, api::from_json<api::Site>(item));
      next.places[site.metadata.name] = {.site = SiteName(site.metadata.name),
                                         .tier = site.spec.tier,
                                         .jurisdiction = site.spec.jurisdiction,
                                         .domain = {}};
    }
  if (policies.is_array())
    for (const auto& item : policies.get_array()) {
      NEAP_TRY(const auto policy, api::from_json<api::DataPolicy>(item));
      next.policies[policy.metadata.namespace_].append(policy.spec);
    }
  if (const auto defaults = next.policies.find("default"); defaults != next.policies.end())
    for (auto& [project, table] : next.policies)
      if (project != "default") table.inherit(defaults->second);
  known_ = std::move(next);
  if (observer_) observer_(known_);
  return ok();
}

void EgressGate::set_observer(std::function<void(const Known&)> observer) {
  observer_ = std::move(observer);
  if (observer_) observer_(known_);
}

Task<Status> EgressGate::refresh() {
  const auto ctx = tasks_.context().with_deadline(deps_.runtime.executor().now() + 20s);
  const auto path = [](std::string plural) {
    return client::ResourcePath{.group = std::string(api::kGroup),
                                .version = std::string(api::kVersion),
                                .plural = std::move(plural),
                                .namespace_ = {},
                                .name = {},
                                .subresource = {}};
  };
  NEAP_CO_TRY(const auto sites, co_await deps_.client.list(ctx, path("sites"), {}));
  NEAP_CO_TRY(const auto policies, co_await deps_.client.list(ctx, path("datapolicies"), {}));
  const auto *site_items = find_path(sites, {"items"}), *policy_items = find_path(policies, {"items"});
  if (!site_items || !policy_items)
    co_return fail(Code::kInternal, "egress.refresh", "the server's lists hold no items");
  NEAP_CO_TRY_VOID(learn(*site_items, *policy_items));
  auto saved = co_await deps_.store.put(tasks_.context(), std::string(kKnownKey),
                                        to_text(Json{{"sites", *site_items}, {"policies", *policy_items}}));
  if (!saved) co_return fail(std::move(saved).error());
  co_return ok();
}

Task<void> EgressGate::keep_fresh() {
  for (;;) {
    const auto status = co_await refresh();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(),
                            status ? Duration(10s) : Duration(1s)))
      co_return;
  }
}

dataguard::Place EgressGate::place_of(const std::string& site) const {
  if (const auto it = known_.places.find(site); it != known_.places.end()) return it->second;
  return {.site = SiteName(site), .tier = api::Tier::kPublic, .jurisdiction = "unknown", .domain = {}};
}

const dataguard::DataPolicyTable& EgressGate::policies(const std::string& project) const {
  static const dataguard::DataPolicyTable kNone;
  for (const auto& name : {project, std::string("default")})
    if (const auto it = known_.policies.find(name); it != known_.policies.end()) return it->second;
  return kNone;
}

Result<dataguard::ExportPermit> EgressGate::permit(const Export& request) {
  dataguard::ExportRequest ask;
  ask.source = place_of(site_);
  ask.destination = place_of(request.to_site);
  ask.data.level = request.level;
  ask.data.declassified_by = request.declassification;
  ask.purpose = request.purpose;
  ask.encrypted = ask.logged = true;
  ask.content = request.content;
  ask.bytes_max = request.bytes;
  ask.expires = deps_.runtime.clock().wall() + std::chrono::hours(1);
  return dataguard::permit_export(ask, policies(request.project));
}

Result<std::string> EgressGate::permit_view(const ExportIntent& intent, const std::string& to_site,
                                            const std::string& user) {
  const auto named = intent.purpose + "/" + user;
  if (intent.level != api::DataLevel::kL3) {
    const auto& rules = policies(intent.project).rules();
    const bool is_named = std::ranges::any_of(rules, [&](const api::DataRule& rule) {
      return rule.effect == "allow" && rule.level == intent.level &&
             std::ranges::find(rule.purposes, named) != rule.purposes.end();
    });
    if (!is_named)
      return fail(
          Code::kPermissionDenied, "egress.view.unnamed",
          fmt::format("it works on {} data and no policy of project {} names user {} as a reader; add an "
                      "allow rule for {} with the purpose \"{}\" to a DataPolicy",
                      api::enum_name(intent.level), intent.project, user, api::enum_name(intent.level),
                      named));
  }
  const bool is_public = intent.level == api::DataLevel::kL3;
  NEAP_TRY(const auto allowed, permit({.to_site = to_site,
                                       .project = intent.project,
                                       .level = intent.level,
                                       .declassification = intent.declassification,
                                       .purpose = is_public ? intent.purpose : named,
                                       .content = std::nullopt,
                                       .bytes = kViewBytesMax}));
  return allowed.rule();
}

Task<Status> EgressGate::record_crossing(std::string to_site, std::string rule, ExportIntent intent,
                                         std::string digest, std::uint64_t bytes) {
  auto appended = co_await deps_.audit.append(Json{{"time", format_rfc3339(deps_.runtime.clock().wall(), 3)},
                                                   {"type", "crossing"},
                                                   {"from", site_},
                                                   {"to", to_site},
                                                   {"node", node_},
                                                   {"level", api::enum_name(intent.level)},
                                                   {"purpose", intent.purpose},
                                                   {"rule", rule},
                                                   {"declassification", intent.declassification},
                                                   {"bytes", bytes},
                                                   {"digest", digest},
                                                   {"project", intent.project},
                                                   {"owner", intent.owner},
                                                   {"team", label_of(intent, "team")},
                                                   {"model", label_of(intent, "model")}});
  if (!appended) co_return fail(std::move(appended).error(), "recording a crossing");
  appended_.notify_all();
  co_return ok();
}

Task<Status> EgressGate::record_refusal(ExportIntent intent, std::string to_site, std::string reason) {
  auto appended = co_await deps_.audit.append(Json{{"time", format_rfc3339(deps_.runtime.clock().wall(), 3)},
                                                   {"type", "refusal"},
                                                   {"from", site_},
                                                   {"to", to_site},
                                                   {"node", node_},
                                                   {"level", api::enum_name(intent.level)},
                                                   {"purpose", intent.purpose},
                                                   {"declassification", intent.declassification},
                                                   {"project", intent.project},
                                                   {"owner", intent.owner},
                                                   {"team", label_of(intent, "team")},
                                                   {"model", label_of(intent, "model")},
                                                   {"reason", reason}});
  if (!appended) co_return fail(std::move(appended).error(), "recording a refusal");
  appended_.notify_all();
  co_return ok();
}

Task<Status> EgressGate::record_session(Json entry) {
  auto& fields = entry.get_object();
  fields["time"] = format_rfc3339(deps_.runtime.clock().wall(), 3);
  fields["node"] = node_;
  fields["from"] = site_;
  auto appended = co_await deps_.audit.append(std::move(entry));
  if (!appended) co_return fail(std::move(appended).error(), "recording a session");
  appended_.notify_all();
  co_return ok();
}

Task<Status> EgressGate::record_declassification(ExportIntent intent, std::string rule, Json counts) {
  auto appended = co_await deps_.audit.append(Json{{"time", format_rfc3339(deps_.runtime.clock().wall(), 3)},
                                                   {"type", "declassification"},
                                                   {"from", site_},
                                                   {"node", node_},
                                                   {"rule", rule},
                                                   {"project", intent.project},
                                                   {"owner", intent.owner},
                                                   {"counts", std::move(counts)}});
  if (!appended) co_return fail(std::move(appended).error(), "recording a declassification");
  appended_.notify_all();
  co_return ok();
}

void EgressGate::add_sum(JsonObject entry, std::uint64_t bytes) {
  auto& sum = sums_[to_text(entry)];
  if (sum.requests == 0) sum.entry = std::move(entry);
  ++sum.requests;
  sum.bytes += bytes;
}

JsonObject EgressGate::entry_of(std::string_view type, const gateway::RouteAttempt& attempt) const {
  return {{"type", type},
          {"from", site_},
          {"to", attempt.site.str()},
          {"node", node_},
          {"toNode", attempt.node.str()},
          {"level", api::enum_name(attempt.level)},
          {"purpose", "infer"},
          {"project", attempt.project},
          {"owner", "InferenceService/" + attempt.service},
          {"model", attempt.model}};
}

void EgressGate::count_crossing(const gateway::CrossingRecord& record) {
  auto entry = entry_of("crossing", record);
  entry["rule"] = record.rule;
  add_sum(std::move(entry), record.bytes_out);
}

void EgressGate::count_refusal(const gateway::RefusalRecord& record) {
  auto entry = entry_of("refusal", record);
  entry["reason"] = record.reason;
  add_sum(std::move(entry), 0);
}

Task<void> EgressGate::flush_sums() {
  for (;;) {
    const bool goes_on = (co_await sleep_for(deps_.runtime.executor(), tasks_.context(), 1s)).has_value();
    for (auto& [key, sum] : std::exchange(sums_, {})) {
      auto& entry = sum.entry;
      entry["time"] = format_rfc3339(deps_.runtime.clock().wall(), 3);
      entry["requests"] = sum.requests;
      entry["bytes"] = sum.bytes;
      if (!co_await deps_.audit.append(std::move(sum.entry)))
        deps_.log.error("the audit ledger refused an entry");
      appended_.notify_all();
    }
    if (!goes_on) co_return;
  }
}

// Sends one batch; the sequence the server wants next.
Task<Result<std::uint64_t>> EgressGate::ship_from(std::uint64_t next) {
  NEAP_CO_TRY(const auto entries, co_await deps_.audit.read(next, kShipmentEntriesMax));
  if (entries.empty()) co_return next;
  JsonArray bodies;
  for (const auto& entry : entries) bodies.push_back(entry.body);
  io::HttpRequest request;
  request.method = "POST";
  request.target = "/ledger/v1/nodes/" + node_ + "/audit";
  request.headers.set("Content-Type", "application/json");
  request.body =
      to_text(Json{{"ledger", ledger_}, {"first", entries.front().sequence}, {"entries", std::move(bodies)}});
  NEAP_CO_TRY(const auto reply,
              co_await deps_.server.call(tasks_.context().with_deadline(deps_.runtime.executor().now() + 20s),
                                         std::move(request)));
  if (reply.status != 200)
    co_return fail(code_of_http_status(reply.status), "egress.ship",
                   fmt::format("the server answered {}: {}", reply.status, reply.body));
  NEAP_CO_TRY(const auto answer, parse_json(reply.body));
  const auto confirmed = std::uint64_t(get_int(answer, "next"));
  auto saved =
      co_await deps_.store.put(tasks_.context(), std::string(kShippedKey), std::to_string(confirmed));
  if (!saved) co_return fail(std::move(saved).error());
  co_return confirmed;
}

Task<void> EgressGate::ship() {
  std::uint64_t next = 0;
  if (auto saved = co_await deps_.store.get(tasks_.context(), std::string(kShippedKey)); saved && *saved)
    next = std::strtoull((*saved)->value.c_str(), nullptr, 10);
  Duration backoff = 500ms;
  for (;;) {
    const auto seen = appended_.generation();
    bool failed = false;
    while (next < deps_.audit.size()) {
      auto shipped = co_await ship_from(next);
      if (tasks_.context().cancel.is_cancelled()) co_return;
      failed = !shipped || *shipped == next;
      if (failed) break;
      next = *shipped;  // also back: a server restored from a backup asks for what it forgot
      backoff = 500ms;
    }
    if (failed) {
      if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(), backoff)) co_return;
      backoff = std::min<Duration>(backoff * 2, 10s);
      continue;
    }
    if (!co_await appended_.wait(tasks_.context(), seen)) co_return;
  }
}

}  // namespace neap::agent
