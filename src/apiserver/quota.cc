#include "internal/quota.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "neap/base/quantity.h"

namespace neap::apiserver {
namespace {

constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};
// Deletions come in crowds: one count for all of them.
constexpr Duration kRecountDelay = std::chrono::milliseconds(100);
constexpr std::int64_t kOne = 1000;

bool is_memory(std::string_view name) { return name == "memory" || name == "requests.memory"; }

std::int64_t amount_in(const Json& value, std::string_view name) {
  const auto text = value.is_string() ? std::string(value.get_string()) : to_text(value);
  return parse_quantity(text, is_memory(name) ? 1 : kOne).value_or(0);
}
std::string amount_text(std::int64_t amount, std::string_view name) {
  return is_memory(name) ? format_bytes(Bytes{amount}) : format_cores(MilliCores{amount});
}

std::string count_name(const api::KindEntry& kind) { return "count/" + qualified(kind); }

// The kind a limit counts; null for one that adds up resources or means nothing here.
const api::KindEntry* counted_kind(const api::KindTable& kinds, std::string_view limit) {
  const bool bare = !limit.starts_with("count/");
  if (!bare) limit.remove_prefix(6);
  for (const auto& kind : kinds.all())
    if (kind.namespaced && kind.view_of.empty() && (!bare || kind.group.empty()) && qualified(kind) == limit)
      return &kind;
  return nullptr;
}

// Amounts come from documents: one that wraps around would make room for everything else.
std::int64_t saturated_sum(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<std::int64_t>::max() : out;
}
std::int64_t saturated_product(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  return __builtin_mul_overflow(a, b, &out) ? std::numeric_limits<std::int64_t>::max() : out;
}

void add_resources(const Json* resources, std::int64_t replicas, Amounts& out) {
  if (!resources) return;
  const auto add = [&](const std::string& name, const Json& value) {
    auto& sum = out[name];
    sum = saturated_sum(sum, saturated_product(amount_in(value, name), replicas));
  };
  for (const auto* name : {"cpu", "memory"})
    if (const auto* value = find_path(*resources, {name})) {
      add(name, *value);
      add(fmt::format("requests.{}", name), *value);
    }
  if (const auto* accelerators = find_path(*resources, {"accelerators"});
      accelerators && accelerators->is_object())
    for (const auto& [model, value] : accelerators->get_object())
      add("requests." + std::string(model), value);
}

bool asks_for_resources(const api::KindEntry& kind) {
  return kind.group == "neap.dev" && (kind.plural == "trainingjobs" || kind.plural == "inferenceservices");
}

// What all objects of a project hold, of the names in `hard`, as far as the hub knows.
Amounts count_all(const Rest& rest, std::string_view ns, const JsonObject& hard) {
  const auto& deps = rest.dependencies();
  Amounts out, asked;
  for (const auto* plural : {"trainingjobs", "inferenceservices"})
    if (const auto* kind = deps.kinds.find("neap.dev", "v1", plural))
      deps.hub.for_each(list_prefix(*kind, ns), [&](const std::string&, const WatchHub::Known& known) {
        const auto object = parse_json(*known.text, kStoredLimits);
        if (!object) return;
        for (const auto& [name, amount] : amounts_of(*kind, &*object))
          asked[name] = saturated_sum(asked[name], amount);
      });
  for (const auto& [key, value] : hard) {
    const auto* kind = counted_kind(deps.kinds, key);
    auto& amount = out[std::string(key)];
    if (!kind) {
      const auto at = asked.find(std::string_view(key));
      amount = at == asked.end() ? 0 : at->second;
      continue;
    }
    deps.hub.for_each(list_prefix(*kind, ns),
                      [&](const std::string&, const WatchHub::Known&) { amount += kOne; });
  }
  return out;
}

JsonObject hard_of(const Json& quota) {
  const auto* hard = find_path(quota, {"spec", "hard"});
  return hard && hard->is_object() ? hard->get_object() : JsonObject();
}

bool is_known_limit(const api::KindTable& kinds, std::string_view name) {
  return counted_kind(kinds, name) || name == "cpu" || name == "memory" || name.starts_with("requests.");
}

JsonObject status_with(const api::KindTable& kinds, const JsonObject& hard, const Amounts& used) {
  JsonObject texts, kept;
  for (const auto& [key, value] : hard) {
    if (!is_known_limit(kinds, key)) continue;
    const auto at = used.find(std::string_view(key));
    kept[key] = value;
    texts[key] = amount_text(at == used.end() ? 0 : at->second, key);
  }
  JsonObject out;
  out["hard"] = std::move(kept);
  out["used"] = std::move(texts);
  return out;
}

Amounts used_of(const Rest& rest, std::string_view ns, const Json& quota, const JsonObject& hard) {
  const auto* counted = find_path(quota, {"status", "hard"});
  const auto* used = find_path(quota, {"status", "used"});
  if (!counted || !used || !used->is_object()) return count_all(rest, ns, hard);
  Amounts out;
  for (const auto& [key, value] : hard) {
    if (!is_known_limit(rest.dependencies().kinds, key)) continue;
    const auto* amount = used->get_object().if_contains(key);
    // A limit added since the last count.
    if (!amount) return count_all(rest, ns, hard);
    out[std::string(key)] = amount_in(*amount, key);
  }
  return out;
}

struct Excess {
  std::string requested, used, limited;
  void add(std::string_view name, std::int64_t want, std::int64_t have, std::int64_t most) {
    const auto append = [&](std::string& to, std::int64_t amount) {
      to += fmt::format("{}{}={}", to.empty() ? "" : ",", name, amount_text(amount, name));
    };
    append(requested, want);
    append(used, have);
    append(limited, most);
  }
};

}  // namespace

Amounts amounts_of(const api::KindEntry& kind, const Json* object) {
  Amounts out;
  if (!object) return out;
  out[count_name(kind)] = kOne;
  if (kind.group.empty()) out[kind.plural] = kOne;
  if (!asks_for_resources(kind)) return out;
  const auto* spec = find_path(*object, {"spec"});
  const auto* phase = find_path(*object, {"status", "phase"});
  const bool has_ended = phase && (*phase == "Succeeded" || *phase == "Failed");
  if (!spec || has_ended) return out;
  const auto replicas_of = [](const Json& of) {
    return find_path(of, {"replicas"}) ? get_int(of, "replicas") : 1;
  };
  if (kind.plural == "trainingjobs") {
    add_resources(find_path(*spec, {"resources"}), replicas_of(*spec), out);
  } else if (const auto* places = find_path(*spec, {"places"}); places && places->is_array()) {
    for (const auto& place : places->get_array())
      add_resources(find_path(*spec, {"resources"}), replicas_of(place), out);
  }
  return out;
}

std::vector<std::string> unenforced_limits(const api::KindTable& kinds, const Json& quota) {
  std::vector<std::string> out;
  for (const auto& [key, value] : hard_of(quota))
    if (!is_known_limit(kinds, key))
      out.push_back(
          fmt::format("spec.hard[{}] is kept and not enforced: limits here are count/PLURAL.GROUP, "
                      "requests.cpu, requests.memory and requests.MODEL",
                      std::string_view(key)));
  return out;
}

Task<Outcome<std::vector<store::Op>>> charge_quotas(const Rest& rest, const Request& request,
                                                    std::string name, const Json* before, const Json* after) {
  const auto& deps = rest.dependencies();
  const auto& kind = *request.kind;
  const auto* quota_kind = deps.kinds.find("", "v1", "resourcequotas");
  std::vector<store::Op> ops;
  if (!quota_kind || !kind.namespaced) co_return ops;
  const auto prefix = list_prefix(*quota_kind, request.what.namespace_);
  // Most projects have none, which costs no question to the store once the hub knows them all.
  bool any = !deps.hub.is_whole();
  deps.hub.for_each(prefix, [&](const std::string&, const WatchHub::Known&) { any = true; });
  if (!any) co_return ops;
  auto more = amounts_of(kind, after);
  for (const auto& [limit, amount] : amounts_of(kind, before)) more[limit] -= amount;
  std::erase_if(more, [](const auto& one) { return one.second <= 0; });
  if (more.empty()) co_return ops;
  NEAP_CO_TRY(const auto page, co_await deps.store.list(request.ctx, prefix,
                                                        {.limit = 500, .start_after = {}, .revision = {}}));
  // What there is may have to be counted. Whoever waited for that would hold a seat, and all of them the
  // seats.
  if (!page.items.empty() && !deps.hub.is_whole())
    co_return fail(Code::kResourceExhausted, "quota.uncounted",
                   fmt::format("this server still reads what there is in project {}, so its quota cannot be "
                               "judged yet; try again in a second",
                               request.what.namespace_));
  for (const auto& item : page.items) {
    NEAP_CO_TRY(auto quota, parse_json(item.value, kStoredLimits));
    const auto hard = hard_of(quota);
    auto used = used_of(rest, request.what.namespace_, quota, hard);
    Excess excess;
    bool touched = false;
    for (const auto& [limit, amount] : more) {
      const auto* most = hard.if_contains(limit);
      if (!most) continue;
      touched = true;
      const auto sum = saturated_sum(used[limit], amount);
      if (sum > amount_in(*most, limit)) excess.add(limit, amount, used[limit], amount_in(*most, limit));
      used[limit] = sum;
    }
    if (!excess.requested.empty())
      co_return fail(Code::kPermissionDenied, "quota.exceeded",
                     fmt::format("{} \"{}\" is forbidden: exceeded quota: {}, requested: {}, used: {}, "
                                 "limited: {}",
                                 qualified(kind), name, meta_string(quota, "name"), excess.requested,
                                 excess.used, excess.limited));
    if (!touched) continue;
    quota.get_object()["status"] = status_with(deps.kinds, hard, used);
    ops.push_back(store::Op::put(item.key, stored_text(quota), item.mod_revision));
  }
  co_return ops;
}

void QuotaKeeper::start() { tasks_.spawn(work()); }

void QuotaKeeper::learn(const std::string& key) {
  const auto parts = split_key(key);
  if (!parts.group.empty() || parts.plural != "resourcequotas") return;
  quotas_[std::string(parts.ns)].insert(key);
  enqueue(parts.ns);
}

void QuotaKeeper::set_active(bool on) {
  if (active_ == on) return;
  active_ = on;
  queued_.clear();
  for (const auto& [ns, keys] : quotas_) enqueue(ns);
}

void QuotaKeeper::enqueue(std::string_view ns) {
  if (!active_) return;
  if (queued_.emplace(ns).second) changed_.notify_all();
}

void QuotaKeeper::observe(const EventPtr& event) {
  const auto parts = split_key(event->key);
  const bool is_quota = parts.group.empty() && parts.plural == "resourcequotas";
  const bool is_gone = event->type == ObjectEvent::Type::kDeleted;
  if (is_quota) {
    auto& keys = quotas_[std::string(parts.ns)];
    is_gone ? (void)keys.erase(event->key) : (void)keys.insert(event->key);
    if (keys.empty()) quotas_.erase(std::string(parts.ns));
  }
  if (!quotas_.contains(parts.ns)) return;
  if (is_gone || is_quota) return enqueue(parts.ns);
  if (event->type != ObjectEvent::Type::kModified || parts.group != "neap.dev") return;
  const auto* kind = rest_.dependencies().kinds.find(parts.group, "v1", parts.plural);
  if (kind && asks_for_resources(*kind) &&
      amounts_of(*kind, &event->object()) != amounts_of(*kind, event->before()))
    enqueue(parts.ns);
}

Task<void> QuotaKeeper::work() {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    if (queued_.empty()) {
      if (!co_await changed_.wait(ctx, changed_.generation())) co_return;
      continue;
    }
    if (!co_await sleep_for(executor_, ctx, kRecountDelay)) co_return;
    if (!co_await rest_.dependencies().hub.whole(ctx)) co_return;
    for (const auto& ns : std::exchange(queued_, {}))
      if (!co_await recount(ns)) enqueue(ns);
  }
}

Task<bool> QuotaKeeper::recount(std::string ns) {
  const auto& deps = rest_.dependencies();
  const auto at = quotas_.find(ns);
  const auto keys = at == quotas_.end() ? std::set<std::string>() : at->second;
  bool done = true;
  for (const auto& key : keys) {
    // Read anew meanwhile: a count of a part would let too much in.
    if (!deps.hub.is_whole()) co_return false;
    const auto* known = deps.hub.find(key);
    if (!known) continue;
    auto quota = parse_json(*known->text, kStoredLimits);
    if (!quota) continue;
    const auto hard = hard_of(*quota);
    Json status = status_with(deps.kinds, hard, count_all(rest_, ns, hard));
    const auto* before = find_path(*quota, {"status"});
    if (before && *before == status) continue;
    quota->get_object()["status"] = std::move(status);
    const auto revision = known->revision;
    // Whoever charged the quota meanwhile moved its revision, and this count is void.
    const auto written = co_await deps.store.put(tasks_.context(), key, stored_text(*quota), revision);
    done = done && (written || written.error().code == Code::kNotFound);
  }
  co_return done;
}

}  // namespace neap::apiserver
