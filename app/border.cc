#include "border.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace neap::app {
namespace {

constexpr std::size_t kShipmentEntriesMax = 1000;
constexpr std::size_t kReadBackEntries = 4096;
constexpr Bytes kListingBytesMax{8 << 20};
constexpr std::size_t kLedgerIdMax = 64;
constexpr std::ptrdiff_t kLedgersOfNodeMax = 100;

api::DataLevel level_of(std::string_view word) {
  api::DataLevel level = api::DataLevel::kL1;
  (void)api::parse_enum(word, level);  // an unknown word stays the strictest
  return level;
}

BlobFacts facts_from(const Json& entry) {
  return {.level = level_of(get_string(entry, "level")),
          .project = std::string(get_string(entry, "project")),
          .team = std::string(get_string(entry, "team")),
          .model = std::string(get_string(entry, "model")),
          .owner = std::string(get_string(entry, "owner"))};
}

// Calls of the API are most of what is recorded, and say nothing about blobs. Written by app/audit_events.cc,
// with the type first; a call that a node shipped before shipments were checked counts in its sequence.
bool may_teach(std::string_view body) {
  return !body.starts_with("{\"type\":\"api\"") || body.contains("\"shippedBy\"");
}

bool may_be_shipped(std::string_view type) {
  return type == "crossing" || type == "refusal" || type == "declassification" || type == "session-start" ||
         type == "session-end";
}

}  // namespace

void Border::learn_crossing(const Json& entry) {
  const std::string digest(get_string(entry, "digest"));
  if (digest.empty()) return;
  auto said = facts_from(entry);
  auto& known = blobs_[digest];  // L2 where it is new: the word of a node makes nothing laxer
  known.level = std::min(known.level, said.level);
  for (auto field : {&BlobFacts::project, &BlobFacts::team, &BlobFacts::model, &BlobFacts::owner})
    if ((known.*field).empty()) known.*field = std::move(said.*field);
}

// An older entry must not have the last word.
void Border::learn(const Json& entry) {
  if (get_string(entry, "type") == "api" && !find_path(entry, {"shippedBy"})) return;  // teaches nothing
  restore_ == Restore::kDone ? learn_now(entry) : unlearnt_.push_back(entry);
}

void Border::learn_now(const Json& entry) {
  const auto type = get_string(entry, "type");
  const bool is_own = !entry.is_object() || !entry.get_object().contains("shippedBy");
  if (type == "crossing" && get_string(entry, "to") == site_) learn_crossing(entry);
  // A ledger from before shipments were checked may hold such entries of nodes, too.
  if (type == "blob" && is_own && !get_string(entry, "digest").empty())
    blobs_[std::string(get_string(entry, "digest"))] = facts_from(entry);
  if (type == "model" && is_own)
    repositories_[std::string(get_string(entry, "repository"))] = facts_from(entry);
  if (const auto* node = find_path(entry, {"shippedBy"}); node && node->is_string())
    next_[{std::string(node->get_string()), std::string(get_string(entry, "shippedLedger"))}] =
        std::uint64_t(get_int(entry, "shippedSequence")) + 1;
}

Task<Status> Border::restore(CallContext ctx) {
  auto done = co_await read_back(std::move(ctx));
  if (done)
    for (const auto& entry : std::exchange(unlearnt_, {})) learn_now(entry);
  if (restore_ == Restore::kUnderWay) restore_ = done ? Restore::kDone : Restore::kFailed;
  restored_.notify_all();
  co_return done;
}

void Border::give_up() {
  if (restore_ != Restore::kUnderWay) return;
  restore_ = Restore::kFailed;
  restored_.notify_all();
}

Task<Status> Border::read_back(CallContext ctx) {
  const auto size = deps_.audit.size();
  for (std::uint64_t at = 0; at < size;) {
    NEAP_CO_TRY_VOID(ctx.check(deps_.runtime.executor().now()));
    NEAP_CO_TRY(const auto page, co_await deps_.audit.select(at, kReadBackEntries, may_teach));
    for (const auto& entry : page.entries) learn_now(entry.body);
    at = page.next;
  }
  co_return ok();
}

Task<Status> Border::restored() {
  while (restore_ == Restore::kUnderWay)
    NEAP_CO_TRY_VOID(co_await restored_.wait({}, restored_.generation()));
  if (restore_ == Restore::kDone) co_return ok();
  co_return fail(Code::kUnavailable, "audit.restore",
                 "the audit ledger could not be read, so nothing is known of what may leave; restart the "
                 "server, or restore it from a backup");
}

Task<Status> Border::append(Json entry) {
  if (entry.is_object() && !entry.get_object().contains("time"))
    entry.get_object()["time"] = format_rfc3339(deps_.runtime.clock().wall(), 3);
  learn(entry);
  Status recorded = ok();
  if (deps_.stream) {
    recorded = co_await deps_.stream->append(std::move(entry));
  } else if (auto appended = co_await deps_.audit.append(std::move(entry)); !appended) {
    recorded = fail(std::move(appended).error());
  }
  if (!recorded) co_return fail(std::move(recorded).error(), "writing the audit ledger");
  co_return ok();
}

Task<Status> Border::describe_blob(std::string digest, BlobFacts facts) {
  co_return co_await append(Json{{"type", "blob"},
                                 {"digest", digest},
                                 {"level", api::enum_name(facts.level)},
                                 {"project", facts.project},
                                 {"team", facts.team},
                                 {"model", facts.model},
                                 {"owner", facts.owner}});
}

Task<Status> Border::describe_push(std::string digest, BlobFacts facts) {
  NEAP_CO_TRY_VOID(co_await restored());
  if (const auto known = blobs_.find(digest);
      known != blobs_.end() && known->second.project != facts.project) {
    const auto said = facts.level;
    facts = known->second;
    facts.level = std::min(facts.level, said);
  }
  co_return co_await describe_blob(std::move(digest), std::move(facts));
}

Task<Status> Border::take_offered_level(std::string digest, api::DataLevel offered, bool was_here) {
  NEAP_CO_TRY_VOID(co_await restored());
  auto facts = facts_of(digest);
  const bool is_known = was_here || blobs_.contains(digest);
  facts.level = is_known ? std::min(facts.level, offered) : offered;
  co_return co_await describe_blob(std::move(digest), std::move(facts));
}

BlobFacts Border::facts_of(const std::string& digest) const {
  const auto it = blobs_.find(digest);
  return it == blobs_.end() ? BlobFacts{} : it->second;
}

BlobFacts Border::facts_in(const std::string& digest, const std::string& repository) const {
  const auto blob = blobs_.find(digest);
  const auto home = repositories_.find(repository);
  if (blob == blobs_.end()) return home == repositories_.end() ? BlobFacts{} : home->second;
  auto facts = blob->second;
  if (home != repositories_.end()) facts.level = std::min(facts.level, home->second.level);
  return facts;
}

Task<Status> Border::describe_repository(std::string repository, BlobFacts facts,
                                         std::string manifest_digest) {
  co_return co_await append(Json{{"type", "model"},
                                 {"repository", repository},
                                 {"manifest", manifest_digest},
                                 {"level", api::enum_name(facts.level)},
                                 {"project", facts.project},
                                 {"team", facts.team},
                                 {"model", facts.model},
                                 {"owner", facts.owner}});
}

dataguard::DataPolicyTable Border::policies(const std::string& project) const {
  dataguard::DataPolicyTable table;
  for (const auto& [key, policy] : deps_.state.all<api::DataPolicy>())
    if (key.namespace_ == project) table.append(policy.spec);
  // A project without a policy of its own follows the default project's.
  dataguard::DataPolicyTable fallback;
  for (const auto& [key, policy] : deps_.state.all<api::DataPolicy>())
    if (key.namespace_ == "default") fallback.append(policy.spec);
  table.inherit(fallback);
  return table;
}

dataguard::Place Border::place_of(const std::string& name) const {
  dataguard::Place place{
      .site = SiteName(name), .tier = api::Tier::kPublic, .jurisdiction = {}, .domain = {}};
  if (const auto* site = deps_.state.find<api::Site>("", name)) {
    place.tier = site->spec.tier;
    place.jurisdiction = site->spec.jurisdiction;
  }
  return place;
}

Task<Result<dataguard::ExportPermit>> Border::permit_download(std::string digest, std::string node,
                                                              std::string repository) {
  NEAP_CO_TRY_VOID(co_await restored());
  const auto facts = facts_in(digest, repository);
  const auto* who = deps_.state.find<api::Node>("", node);
  const auto destination = who ? who->spec.site : std::string("unknown");
  dataguard::ExportRequest request;
  request.source = place_of(site_);
  request.destination = place_of(destination);
  request.data.level = facts.level;
  request.purpose = "store";
  request.encrypted = request.logged = true;
  request.bytes_max = kListingBytesMax;
  if (auto parsed = crypto::Digest::parse(digest)) request.content = *parsed;
  request.expires = deps_.runtime.clock().wall() + std::chrono::hours(1);
  const auto project = facts.project.empty() ? repository.substr(0, repository.find('/')) : facts.project;
  auto permit = dataguard::permit_export(request, policies(project));
  if (!permit) {
    NEAP_CO_TRY_VOID(co_await append(Json{{"type", "refusal"},
                                          {"from", site_},
                                          {"to", destination},
                                          {"node", node},
                                          {"level", api::enum_name(facts.level)},
                                          {"purpose", "download"},
                                          {"digest", digest},
                                          {"project", project},
                                          {"reason", permit.error().message}}));
    co_return fail(std::move(permit).error());
  }
  co_return *std::move(permit);
}

// What nobody attributed yet (its sender's ledger is still on its way, or a gateway that knows no teams) is
// for the work on the node that fetched or sent it.
void Border::attribute(BlobFacts& facts, const std::string& node) const {
  if (!facts.team.empty()) return;
  for (const auto& [key, allocation] : deps_.state.all<api::Allocation>()) {
    const auto label = [&](const char* name) {
      const auto it = allocation.metadata.labels.find(name);
      return it == allocation.metadata.labels.end() ? std::string{} : it->second;
    };
    if (allocation.spec.node != node || label("team").empty()) continue;
    if (!facts.model.empty() && facts.model != label("model")) continue;
    facts.project = key.namespace_;
    facts.team = label("team");
    facts.model = label("model");
    if (!controllers::is_ended(allocation)) return;
  }
}

Task<Status> Border::record_download(dataguard::ExportPermit permit, std::string digest,
                                     std::string repository, std::string node, std::uint64_t bytes) {
  auto facts = facts_in(digest, repository);
  attribute(facts, node);
  const auto to = permit.request().destination.site.str();
  if (to == site_ || bytes == 0) co_return ok();
  // Several may be on their way before the ledger grows: each is billed.
  const auto id = fmt::format("download-{}-{}-{}", node, deps_.audit.size(), downloads_++);
  Json entry{{"type", "crossing"},
             {"id", id},
             {"from", site_},
             {"to", to},
             {"node", node},
             {"level", api::enum_name(facts.level)},
             {"purpose", "download"},
             {"rule", permit.rule()},
             {"bytes", bytes},
             {"digest", digest},
             {"project", facts.project},
             {"team", facts.team},
             {"model", facts.model},
             {"owner", facts.owner}};
  NEAP_CO_TRY_VOID(co_await append(entry));
  co_return co_await bill(std::move(entry), id);
}

Task<Status> Border::bill(Json entry, std::string id) {
  finops::TransferUsage usage;
  usage.owner = {.project = std::string(get_string(entry, "project")),
                 .team = std::string(get_string(entry, "team")),
                 .model = std::string(get_string(entry, "model"))};
  usage.transfer = std::move(id);
  usage.from_site = get_string(entry, "from");
  usage.to_site = get_string(entry, "to");
  usage.moved = Bytes{std::max<std::int64_t>(0, get_int(entry, "bytes"))};
  auto billed = co_await deps_.metering.bill_transfer(deps_.state, std::move(usage));
  // A route without a price must not stop the audit trail; it is said, and the bytes stay on record.
  if (!billed) deps_.log.warning("a transfer could not be billed", {telemetry::Field(billed.error())});
  co_return ok();
}

Task<Result<Json>> Border::take_shipment(std::string node, Json shipment) {
  const auto first = std::uint64_t(get_int(shipment, "first"));
  const auto* entries = find_path(shipment, {"entries"});
  if (!entries || !entries->is_array() || entries->get_array().size() > kShipmentEntriesMax)
    co_return fail(Code::kInvalidArgument, "audit.shipment",
                   fmt::format("a shipment holds \"first\" and at most {} \"entries\"", kShipmentEntriesMax));
  const auto* who = deps_.state.find<api::Node>("", node);
  // Without its Node nobody can say whose site it speaks for; after a start that is known in a moment.
  if (!who)
    co_return fail(Code::kUnavailable, "audit.shipment.node",
                   fmt::format("node \"{}\" is not known here (yet); send the entries again", node));
  const std::string site = who->spec.site;
  // Not held until then: nodes send again, and what they send is large.
  if (restore_ == Restore::kUnderWay)
    co_return fail(Code::kUnavailable, "audit.restore",
                   "the audit ledger is still being read; send the entries again");
  NEAP_CO_TRY_VOID(co_await restored());
  // The node may have shipped to another server before.
  if (deps_.stream) NEAP_CO_TRY_VOID(co_await deps_.stream->catch_up({}));
  // A node that was set up anew under its name counts from the beginning again.
  const std::pair stream(node, std::string(get_string(shipment, "ledger").substr(0, kLedgerIdMax)));
  if (!next_.contains(stream) && std::ranges::count(next_, node, [](const auto& known) {
                                   return known.first.first;
                                 }) >= kLedgersOfNodeMax)
    co_return fail(Code::kResourceExhausted, "audit.shipment.ledgers",
                   fmt::format("node \"{}\" has begun {} ledgers already; give the machine another name",
                               node, kLedgersOfNodeMax));
  // This server was restored from a backup: what it forgot is still in the node's ledger.
  if (first > next_[stream]) co_return Json{{"next", next_[stream]}};
  std::uint64_t sequence = first;
  for (const auto& item : entries->get_array()) {
    const auto at = sequence++;
    if (at < next_[stream]) continue;  // sent again after a lost answer
    if (!item.is_object())
      co_return fail(Code::kInvalidArgument, "audit.shipment", "an entry of the shipment is not an object");
    Json entry = item;
    // Kept as a trace instead of being answered with an error: what comes after it must not be lost.
    if (const auto type = get_string(item, "type"); !may_be_shipped(type))
      entry = Json{{"type", "shipment-refusal"},
                   {"offered", type.substr(0, 64)},
                   {"reason", "nodes ship crossings, refusals, declassifications and sessions only"}};
    auto& fields = entry.get_object();
    fields["shippedBy"] = node;
    fields["node"] = node;
    fields["shippedSequence"] = at;
    fields["shippedLedger"] = stream.second;
    fields["from"] = site;  // a node speaks only for its own site
    if (get_string(entry, "type") == "crossing") {
      BlobFacts facts{.project = std::string(get_string(entry, "project")),
                      .team = std::string(get_string(entry, "team")),
                      .model = std::string(get_string(entry, "model"))};
      attribute(facts, node);
      fields["project"] = facts.project;
      fields["team"] = facts.team;
      fields["model"] = facts.model;
    }
    if (auto kept = co_await append(entry); !kept) {
      // Not on record after all: the node sends it again.
      next_[stream] = std::min(next_[stream], at);
      co_return fail(std::move(kept).error());
    }
    if (get_string(entry, "type") == "crossing")
      NEAP_CO_TRY_VOID(co_await bill(entry, fmt::format("{}-{}{}", node, stream.second, at)));
  }
  co_return Json{{"next", next_[stream]}};
}

Task<Result<Json>> Border::list(std::string type, std::size_t max,
                                std::function<bool(const std::string&)> may_read) {
  if (deps_.stream) NEAP_CO_TRY_VOID(co_await deps_.stream->catch_up({}));
  std::deque<Json> newest;
  const auto size = deps_.audit.size();
  for (std::uint64_t at = 0; at < size;) {
    NEAP_CO_TRY(const auto entries, co_await deps_.audit.read(at, 1000));
    if (entries.empty()) break;
    for (const auto& entry : entries) {
      const auto kind = get_string(entry.body, "type");
      if (!type.empty() ? kind != type : (kind == "blob" || kind == "model")) continue;
      const std::string project(get_string(entry.body, "project", get_string(entry.body, "namespace")));
      if (may_read && !may_read(project)) continue;
      Json item = entry.body;
      item.get_object()["sequence"] = entry.sequence;
      newest.push_back(std::move(item));
      if (newest.size() > max) newest.pop_front();
    }
    at = entries.back().sequence + 1;
  }
  auto verified = co_await deps_.audit.verify();
  JsonArray entries;
  for (auto& entry : newest) entries.push_back(std::move(entry));
  JsonObject answer{{"log_verified", verified.has_value()}, {"entries", std::move(entries)}};
  if (verified) {
    answer["size"] = verified->size;
    answer["root"] = verified->root.to_string();
    answer["checkpoint_size"] = verified->checkpoint_size;
  } else {
    answer["error"] = verified.error().to_string();
  }
  co_return Json(std::move(answer));
}

}  // namespace neap::app
