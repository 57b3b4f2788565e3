#include "internal/server_link.h"

#include <fmt/format.h>

#include "neap/client/typed.h"

namespace neap::agent {
namespace {

constexpr Duration kBackoffFirst = 200ms;
constexpr Duration kBackoffMax = 5s;
constexpr std::string_view kLeaseNamespace = "neap-node-lease";

client::ResourcePath lease_path(const std::string& node) {
  return {.group = "coordination.k8s.io",
          .version = "v1",
          .plural = "leases",
          .namespace_ = std::string(kLeaseNamespace),
          .name = node,
          .subresource = {}};
}

}  // namespace

ServerLink::ServerLink(const Agent::Dependencies& deps, const AgentOptions& options, AllocationTable& table)
    : deps_(deps),
      options_(options),
      table_(table),
      born_(deps.runtime.executor().now()),
      lease_changed_(deps.runtime.executor()),
      node_changed_(deps.runtime.executor()),
      tasks_(deps.runtime.executor()) {}

void ServerLink::start() {
  tasks_.spawn(keep_node());
  tasks_.spawn(keep_lease());
  tasks_.spawn(follow_allocations());
  tasks_.spawn(send_statuses());
}
Task<void> ServerLink::stop() { co_await tasks_.stop(); }
void ServerLink::abandon() { tasks_.abandon(); }

bool ServerLink::lease_is_valid() const {
  // Work that was adopted gets one lease's time to reach the server.
  return deps_.runtime.executor().now() < renewed_.value_or(born_) + options_.lease_duration;
}

void ServerLink::set_notice(std::string condition, std::string reason, std::string message) {
  auto& notice = notices_[std::move(condition)];
  if (notice.reason == reason && notice.message == message) return;
  notice = {std::move(reason), std::move(message)};
  node_changed_.notify_all();
}

// Waits a jittered, growing while; false when the agent stops.
Task<bool> ServerLink::pause(Duration& backoff) {
  const auto jitter =
      Duration(std::int64_t(deps_.runtime.random().below(std::uint64_t(backoff.count() / 2 + 1))));
  const auto status = co_await sleep_for(deps_.runtime.executor(), tasks_.context(), backoff / 2 + jitter);
  backoff = std::min(backoff * 2, kBackoffMax);
  co_return status.has_value();
}

api::NodeStatus ServerLink::node_status() const {
  api::NodeStatus out;
  out.capacity = out.allocatable = options_.capacity;
  out.agentVersion = options_.version;
  out.limits = options_.limits;
  out.runtimes = options_.runtimes;
  out.inferenceEndpoint = options_.inference_endpoint;
  out.peerEndpoint = options_.peer_endpoint;
  return out;
}

Task<Status> ServerLink::write_node() {
  client::TypedClient<api::Node> client(deps_.client);
  auto node = co_await client.get(tasks_.context(), "", options_.node);
  if (!node) co_return fail(std::move(node).error());
  auto next = node_status();
  next.conditions = node->status.conditions;
  const auto now = deps_.runtime.clock().wall();
  api::set_condition(
      next.conditions,
      {.type = "Ready", .status = "True", .reason = "AgentRuns", .message = "the agent reports"}, now);
  for (const auto& [type, notice] : notices_)
    if (notice.message.empty())
      std::erase_if(next.conditions, [&](const auto& c) { return c.type == type; });
    else
      api::set_condition(next.conditions,
                         {.type = type, .status = "True", .reason = notice.reason, .message = notice.message},
                         now);
  node->status = std::move(next);
  auto written = co_await client.update_status(tasks_.context(), *std::move(node));
  if (!written) co_return fail(std::move(written).error());
  co_return ok();
}

// Writes the node at start, on change, and each time the server took it for lost.
Task<void> ServerLink::keep_node() {
  Duration backoff = kBackoffFirst;
  for (;;) {
    const auto seen = node_changed_.generation();
    auto status = co_await write_node();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (!status) {
      if (!co_await pause(backoff)) co_return;
      continue;
    }
    backoff = kBackoffFirst;
    (void)co_await node_changed_.wait(tasks_.context().with_deadline(deps_.runtime.executor().now() + 60s),
                                      seen);
    if (tasks_.context().cancel.is_cancelled()) co_return;
  }
}

Task<Status> ServerLink::renew_lease() {
  const auto asked = deps_.runtime.executor().now();
  const auto ctx = tasks_.context().with_deadline(asked + options_.lease_renew * 2);
  const auto path = lease_path(options_.node);
  const Json spec{{"holderIdentity", options_.node},
                  {"leaseDurationSeconds",
                   std::chrono::duration_cast<std::chrono::seconds>(options_.lease_duration).count()},
                  {"renewTime", format_rfc3339(deps_.runtime.clock().wall(), 6)}};
  auto patched = co_await deps_.client.patch(ctx, path, client::PatchType::kMerge, Json{{"spec", spec}}, {});
  if (!patched && patched.error().code == Code::kNotFound) {
    auto collection = path;
    collection.name.clear();
    patched = co_await deps_.client.create(
        ctx, collection,
        Json{{"apiVersion", "coordination.k8s.io/v1"},
             {"kind", "Lease"},
             {"metadata", {{"name", options_.node}, {"namespace", kLeaseNamespace}}},
             {"spec", spec}},
        {});
  }
  if (!patched) co_return fail(std::move(patched).error());
  lease_was_renewed(asked);
  co_return ok();
}

void ServerLink::lease_was_renewed(MonoTime asked) {
  const auto now = deps_.runtime.executor().now();
  if (!lease_is_valid()) {
    ++lapses_;
    in_step_ = false;
    if (round_) round_->cancel();
  }
  // The server may have taken the node for lost.
  if (now >= renewed_.value_or(born_) + options_.lease_duration / 2) node_changed_.notify_all();
  renewed_ = asked;  // the server may count from its own clock: the earlier instant is the safe one
  // Not synced: programs that outlive this one outlive it on the same boot.
  if (auto file = deps_.runtime.files().open(options_.state_directory + "/lease", io::OpenMode::kCreate))
    (void)(*file)->write_at(0, format_rfc3339(deps_.runtime.clock().wall() - (now - asked), 6));
  lease_changed_.notify_all();
}

void ServerLink::restore_lease() {
  const auto text = deps_.runtime.files().read_file(options_.state_directory + "/lease", 64);
  if (!text) return;  // nothing ran here before
  const auto renewed = parse_rfc3339(*text);
  const auto age = renewed ? deps_.runtime.clock().wall() - *renewed : options_.lease_duration;
  // A clock that went back tells nothing: the lease counts as over.
  born_ = deps_.runtime.executor().now() -
          (age < Duration{0} ? options_.lease_duration : std::min<Duration>(age, options_.lease_duration));
}

Task<void> ServerLink::keep_lease() {
  for (;;) {
    auto status = co_await renew_lease();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (connected_ != status.has_value()) {
      connected_ = status.has_value();
      if (status)
        deps_.log.info("in touch with the server");
      else
        deps_.log.warning("the server cannot be reached; serving goes on",
                          {telemetry::Field(status.error())});
    }
    // Spread: agents that came back together would else renew together from then on.
    const auto spread = [this](Duration up_to) {
      return Duration(std::int64_t(deps_.runtime.random().below(std::uint64_t(up_to.count() + 1))));
    };
    const auto renew = options_.lease_renew;
    if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(),
                            status ? renew - spread(renew / 8) : renew / 4 + spread(renew / 8)))
      co_return;
  }
}

Task<Status> ServerLink::list_and_watch() {
  // The lease first: what is listed under it cannot have been given away meanwhile.
  while (!lease_is_renewed()) {
    const auto seen = lease_changed_.generation();
    NEAP_CO_TRY_VOID(co_await lease_changed_.wait(tasks_.context(), seen));
  }
  const auto lapses = lapses_;
  round_.emplace(tasks_.context().cancel);
  const auto ctx = tasks_.context().with_cancel(round_->token());
  auto path = client::TypedClient<api::Allocation>::path("", "");
  client::ListOptions options;
  options.field_selector = "spec.node=" + options_.node;
  NEAP_CO_TRY(const auto list, co_await deps_.client.list(ctx, path, options));
  std::set<std::pair<std::string, std::string>> names;
  if (const auto* items = find_path(list, {"items"}); items && items->is_array())
    for (const auto& item : items->get_array()) {
      NEAP_CO_TRY(const auto allocation, api::from_json<api::Allocation>(item));
      names.emplace(allocation.metadata.namespace_, allocation.metadata.name);
      NEAP_CO_TRY_VOID(co_await table_.apply(ctx, allocation));
    }
  NEAP_CO_TRY_VOID(co_await table_.retain(ctx, names));
  if (lapses != lapses_) co_return ok();
  if (!std::exchange(in_step_, true)) lease_changed_.notify_all();
  const auto* metadata = find_path(list, {"metadata"});
  const std::string revision(metadata ? get_string(*metadata, "resourceVersion") : "");
  NEAP_CO_TRY(auto watch, co_await deps_.client.watch(ctx, path, options, revision));
  for (;;) {
    NEAP_CO_TRY(const auto event, co_await watch->next(ctx));
    if (!event) co_return ok();
    if (event->type == client::WatchEvent::Type::kBookmark) continue;
    NEAP_CO_TRY(const auto allocation, api::from_json<api::Allocation>(event->object));
    if (event->type == client::WatchEvent::Type::kDeleted) {
      NEAP_CO_TRY_VOID(co_await table_.remove(ctx, allocation.metadata.namespace_, allocation.metadata.name));
    } else {
      NEAP_CO_TRY_VOID(co_await table_.apply(ctx, allocation));
    }
  }
}

Task<void> ServerLink::follow_allocations() {
  Duration backoff = kBackoffFirst;
  for (;;) {
    auto status = co_await list_and_watch();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (status || status.error().code == Code::kOutOfRange) backoff = kBackoffFirst;
    if (!co_await pause(backoff)) co_return;
  }
}

Task<Status> ServerLink::send_one(api::Allocation allocation) {
  auto path = client::TypedClient<api::Allocation>::path(allocation.metadata.namespace_,
                                                         allocation.metadata.name, "status");
  const auto json = api::to_json(allocation);
  const auto* status = find_path(json, {"status"});
  // As a whole: a merge would keep what is no longer there, such as a condition that ended.
  JsonObject replace{{"op", "add"}, {"path", "/status"}, {"value", status ? *status : Json(JsonObject{})}};
  auto sent = co_await deps_.client.patch(tasks_.context(), path, client::PatchType::kJson,
                                          JsonArray{std::move(replace)}, {});
  if (!sent && sent.error().code != Code::kNotFound) co_return fail(std::move(sent).error());
  table_.confirm(allocation);
  co_return ok();
}

Task<void> ServerLink::send_statuses() {
  Duration backoff = kBackoffFirst;
  for (;;) {
    while (!in_step_) {
      const auto seen_lease = lease_changed_.generation();
      if (!co_await lease_changed_.wait(tasks_.context(), seen_lease)) co_return;
    }
    const auto seen = table_.changed().generation();
    bool all_sent = true;
    for (auto& allocation : table_.unsent()) {
      auto status = co_await send_one(std::move(allocation));
      if (tasks_.context().cancel.is_cancelled()) co_return;
      if (!status || !in_step_) {
        all_sent = false;
        break;
      }
    }
    if (!all_sent) {
      if (!co_await pause(backoff)) co_return;
      continue;
    }
    backoff = kBackoffFirst;
    if (!co_await table_.changed().wait(tasks_.context(), seen)) co_return;
    if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(), options_.status_interval)) co_return;
  }
}

}  // namespace neap::agent
