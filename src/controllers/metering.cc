#include "neap/controllers/metering.h"

#include <fmt/format.h>

#include "neap/base/saturate.h"
#include "neap/controllers/prices.h"

namespace neap::controllers {
namespace {

// Increments shorter than this wait for the next round, but for an allocation that has ended.
constexpr std::int64_t kIncrementMin = 5000;
// What an agent says that something ran counts up to a hundred years.
constexpr std::int64_t kRunMax_ms = 876'000 * std::int64_t(3'600'000);

finops::Attribution attribution_of(const api::ObjectMeta& meta) {
  const auto label = [&](const char* key) {
    const auto it = meta.labels.find(key);
    return it == meta.labels.end() ? std::string{} : it->second;
  };
  return {.project = meta.namespace_, .team = label("team"), .model = label("model")};
}

template <class E, std::size_t N>
Result<E> parse_word(std::string_view text, const std::pair<E, std::string_view> (&words)[N]) {
  for (const auto& [value, word] : words)
    if (word == text) return value;
  return fail(Code::kDataLoss, "usage.entry.word",
              fmt::format("the usage ledger holds an unknown word \"{}\"", text));
}

}  // namespace

Json to_json(const finops::UsageLine& line) {
  return Json{{"project", line.owner.project},
              {"team", line.owner.team},
              {"model", line.owner.model},
              {"kind", finops::line_kind_name(line.kind)},
              {"meter", finops::meter_name(line.meter)},
              {"site", line.site},
              {"to", line.to_site},
              {"capacityType", finops::capacity_type_name(line.capacity_type)},
              {"allocation", line.allocation},
              {"accelerator", line.accelerator_model},
              {"units", line.units},
              {"milliseconds", line.milliseconds},
              {"quantity", line.quantity},
              {"unit", line.quantity_unit},
              {"price", line.unit_price.value},
              {"micros", line.amount.value}};
}

Result<finops::UsageLine> usage_line_from_json(const Json& value) {
  using finops::LineKind;
  using finops::Meter;
  static constexpr std::pair<LineKind, std::string_view> kKinds[] = {
      {LineKind::kCompute, "compute"}, {LineKind::kEgress, "egress"}, {LineKind::kStorage, "storage"}};
  finops::UsageLine out;
  out.owner = {.project = std::string(get_string(value, "project")),
               .team = std::string(get_string(value, "team")),
               .model = std::string(get_string(value, "model"))};
  NEAP_TRY(out.kind, parse_word(get_string(value, "kind"), kKinds));
  for (const auto meter :
       {Meter::kCores, Meter::kMemory, Meter::kAccelerators, Meter::kBytesMoved, Meter::kBytesStored})
    if (finops::meter_name(meter) == get_string(value, "meter")) out.meter = meter;
  if (const auto type = finops::parse_capacity_type(get_string(value, "capacityType")))
    out.capacity_type = *type;
  out.site = get_string(value, "site");
  out.to_site = get_string(value, "to");
  out.allocation = get_string(value, "allocation");
  out.accelerator_model = get_string(value, "accelerator");
  out.units = get_int(value, "units");
  out.milliseconds = get_int(value, "milliseconds");
  out.quantity = get_string(value, "quantity");
  out.quantity_unit = get_string(value, "unit");
  out.unit_price = {get_int(value, "price")};
  out.amount = {get_int(value, "micros")};
  return out;
}

MoneyMicros Metering::spent(const std::string& project, WallTime start, WallTime end) const {
  MoneyMicros out;
  const auto found = spend_.find(project);
  if (found == spend_.end()) return out;
  const auto& daily = found->second.daily;
  const auto past = daily.lower_bound(finops::day_of(end));
  for (auto day = daily.lower_bound(finops::day_of(start)); day != past; ++day) out += day->second;
  return out;
}

finops::Outlook Metering::outlook(const std::string& project, const finops::PeriodBounds& period,
                                  WallTime now) const {
  const auto found = spend_.find(project);
  return finops::forecast_period(found == spend_.end() ? finops::DailySpend() : found->second.daily, period,
                                 now);
}

void Metering::count(const finops::UsageLine& line, std::int64_t day) {
  auto& project = spend_[line.owner.project];
  project.daily[day] += line.amount;
  for (const auto& [what, name] :
       {std::pair{"site", &line.site}, {"model", &line.owner.model}, {"team", &line.owner.team}})
    if (!name->empty()) project.parts[fmt::format("{} {}", what, *name)][day] += line.amount;
}

std::int64_t Metering::billed_milliseconds(const std::string& allocation_uid) const {
  const auto found = billed_ms_.find(allocation_uid);
  return found == billed_ms_.end() ? 0 : found->second;
}

Status Metering::restore(const Json& entry, WallTime at) {
  const auto* lines = find_path(entry, {"lines"});
  if (!lines || !lines->is_array())
    return fail(Code::kDataLoss, "usage.entry", "a usage ledger entry holds no lines");
  for (const auto& item : lines->get_array()) {
    NEAP_TRY(auto line, usage_line_from_json(item));
    count(line, finops::day_of(at));
    lines_.push_back(std::move(line));
  }
  const std::string key(get_string(entry, "key"));
  if (const auto until = get_int(entry, "until"); until > 0)
    billed_ms_[key] = until;
  else
    transfers_.insert(key);
  return ok();
}

Task<Status> Metering::record(std::vector<finops::UsageLine> lines, std::string key, std::int64_t until) {
  JsonArray items;
  for (const auto& line : lines) items.push_back(to_json(line));
  Json entry{{"key", key}, {"until", until}, {"lines", std::move(items)}};
  NEAP_CO_TRY_VOID(co_await append_(entry));
  co_return restore(entry, clock_.wall());
}

Task<Status> Metering::bill_allocations(const ClusterState& state) {
  const auto book = price_book_of(state);
  std::vector<std::pair<std::string, finops::AllocationUsage>> due;
  for (const auto& [key, allocation] : state.all<api::Allocation>()) {
    const auto now_ms = whole_within(allocation.status.runSeconds * 1000, 0, kRunMax_ms);
    const auto before =
        billed_ms_.contains(allocation.metadata.uid) ? billed_ms_[allocation.metadata.uid] : 0;
    if (now_ms <= before || (now_ms - before < kIncrementMin && !is_ended(allocation))) continue;
    const auto* node = state.find<api::Node>("", allocation.spec.node);
    finops::AllocationUsage usage;
    usage.owner = attribution_of(allocation.metadata);
    usage.allocation = key.namespace_ + "/" + key.name;
    usage.site = allocation.spec.site;
    usage.capacity_type = node ? to_finops(node->spec.capacityType) : finops::CapacityType::kOwned;
    usage.held.cores = allocation.spec.resources.cpu;
    usage.held.memory = allocation.spec.resources.memory;
    for (const auto& [model, amount] : allocation.spec.resources.accelerators) {
      usage.held.accelerator_model = model;
      usage.held.accelerators = amount;
    }
    usage.milliseconds = now_ms - before;
    due.emplace_back(allocation.metadata.uid, std::move(usage));
  }
  for (auto& [uid, usage] : due) {
    NEAP_CO_TRY(auto lines, finops::price_allocation(book, usage));
    const auto before = billed_ms_.contains(uid) ? billed_ms_[uid] : 0;
    NEAP_CO_TRY_VOID(co_await record(std::move(lines), uid, before + usage.milliseconds));
  }
  co_return ok();
}

Task<Status> Metering::bill_transfer(const ClusterState& state, finops::TransferUsage usage) {
  if (usage.from_site == usage.to_site || usage.moved.value <= 0 || transfers_.contains(usage.transfer))
    co_return ok();
  NEAP_CO_TRY(auto line, finops::price_egress(price_book_of(state), usage));
  std::vector<finops::UsageLine> lines;
  lines.push_back(std::move(line));
  co_return co_await record(std::move(lines), usage.transfer, 0);
}

void Metering::report_trends(JsonObject& out, std::string_view project, const MayRead& may_read) const {
  const auto now = clock_.wall();
  const auto month = finops::compute_period(finops::BudgetPeriod::kMonth, now);
  JsonArray outlooks, anomalies;
  for (const auto& [name, spend] : spend_) {
    if ((!project.empty() && name != project) || (may_read && !may_read(name))) continue;
    const auto outlook = finops::forecast_period(spend.daily, month, now);
    outlooks.push_back(Json{{"project", name},
                            {"so_far_micros", outlook.so_far.value},
                            {"expected_micros", outlook.expected.value},
                            {"low_micros", outlook.low.value},
                            {"high_micros", outlook.high.value},
                            {"days", outlook.days}});
    for (const auto& found : finops::find_anomalies(spend.daily, spend.parts, now))
      anomalies.push_back(Json{{"project", name},
                               {"day", format_rfc3339(WallTime(std::chrono::days(found.day))).substr(0, 10)},
                               {"amount_micros", found.amount.value},
                               {"expected_micros", found.expected.value},
                               {"cause", found.cause},
                               {"sentence", found.sentence}});
  }
  out["outlook"] = std::move(outlooks);
  out["anomalies"] = std::move(anomalies);
}

Result<Json> Metering::report(const ClusterState& state, std::string_view project,
                              const MayRead& may_read) const {
  std::vector<finops::UsageLine> chosen;
  for (const auto& line : lines_)
    if ((project.empty() || line.owner.project == project) && (!may_read || may_read(line.owner.project)))
      chosen.push_back(line);
  const auto book = price_book_of(state);
  NEAP_TRY(const auto total, finops::sum_amounts(chosen));
  std::map<std::tuple<std::string, std::string, std::string, std::string>, std::int64_t> groups;
  JsonArray usage;
  for (const auto& line : chosen) {
    groups[{line.owner.project, line.owner.team, line.owner.model,
            std::string(finops::line_kind_name(line.kind))}] += line.amount.value;
    usage.push_back(to_json(line));
  }
  JsonArray lines;
  for (const auto& [key, micros] : groups) {
    const auto& [p, team, model, kind] = key;
    lines.push_back(
        Json{{"project", p}, {"team", team}, {"model", model}, {"kind", kind}, {"micros", micros}});
  }
  JsonObject out{{"currency", book.currency()}, {"total_micros", total.value}, {"lines", std::move(lines)}};
  finops::ComparisonSites sites;
  for (const auto& [key, site] : state.all<api::Site>()) {
    if (site.spec.tier == api::Tier::kPublic && sites.public_site.empty()) sites.public_site = key.name;
    if (site.spec.tier == api::Tier::kPrivate && sites.private_site.empty()) sites.private_site = key.name;
  }
  if (!sites.public_site.empty() && !sites.private_site.empty()) {
    NEAP_TRY(const auto comparison, finops::compare(chosen, book, sites));
    out["all_public_micros"] = comparison.all_public.value;
    out["all_private_micros"] = comparison.all_private.value;
    out["comparison"] = finops::to_json(comparison);
  }
  report_trends(out, project, may_read);
  out["usage"] = std::move(usage);
  return Json(std::move(out));
}

}  // namespace neap::controllers
