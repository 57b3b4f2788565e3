#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "internal/pod_view.h"
#include "internal/rest.h"
#include "internal/table.h"
#include "neap/crypto/digest.h"

namespace neap::apiserver {
namespace {

constexpr JsonLimits kStoredLimits{.bytes_max = store::kValueBytesMax, .depth_max = 256};

struct ContinueToken {
  Revision revision{};
  std::string start_after;
  std::int64_t remaining = 0;  // after it, by the first page's count; 0: not counted
};

std::string write_token(const ContinueToken& token) {
  return crypto::to_base64url(to_text(JsonObject{
      {"v", 1}, {"rv", to_number(token.revision)}, {"start", token.start_after}, {"left", token.remaining}}));
}
Result<ContinueToken> read_token(std::string_view text, std::string_view prefix) {
  const auto bytes = crypto::from_base64url(text);
  const auto json =
      bytes ? parse_json(*bytes, {.bytes_max = 4096, .depth_max = 4}) : Result<Json>(fail(bytes.error()));
  ContinueToken out;
  if (json) {
    out.revision = Revision(get_int(*json, "rv"));
    out.start_after = get_string(*json, "start");
    out.remaining = std::max<std::int64_t>(0, get_int(*json, "left"));
  }
  if (!json || out.revision == Revision{} || !out.start_after.starts_with(prefix))
    return bad_request("api.continue.syntax",
                       "continue key is not valid: it was not made for this list; list without it");
  return out;
}

Result<std::uint64_t> read_revision(std::string_view text) {
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size())
    return bad_request("api.revision.syntax",
                       fmt::format("resourceVersion: Invalid value: \"{}\": must be a number this API gave",
                                   text.substr(0, 32)));
  return out;
}

// Which combinations of version, match and token mean something (Kubernetes API concepts, "resource
// versions").
Outcome<void> check_version(const Parameters& parameters) {
  const auto& match = parameters.resource_version_match;
  const auto& version = parameters.resource_version;
  const auto refuse = [](std::string_view field, std::string_view why) {
    return std::unexpected(
        Failure(Error{Code::kFailedPrecondition,
                      "api.list.options",
                      fmt::format("ListOptions.meta.k8s.io \"\" is invalid: {}: Forbidden: {}", field, why),
                      {}}));
  };
  if (!parameters.continue_token.empty() && !version.empty() && version != "0")
    return bad_request("api.continue.version",
                       "specifying resource version is not allowed when using continue");
  if (match.empty()) return {};
  if (!parameters.continue_token.empty())
    return refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  if (version.empty())
    return refuse("resourceVersionMatch",
                  "resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (match == "Exact" && version == "0")
    return refuse("resourceVersionMatch",
                  "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  return {};
}

std::unexpected<Failure> expired_continue() {
  return std::unexpected(
      Failure(Error{Code::kOutOfRange,
                    "api.continue.expired",
                    "The provided continue parameter is too old to display a consistent list result. "
                    "You can start a new list without the continue parameter.",
                    {}}));
}

}  // namespace

Outcome<Selection> Rest::selection_of(const Request& request) const {
  const auto& kind = *request.kind;
  const auto& stored = stored_kind(deps_.kinds, kind);
  Selection out;
  NEAP_TRY(out.labels, api::LabelSelector::parse(request.parameters.label_selector));
  auto allowed = kind.selectable_fields;
  allowed.emplace_back("metadata.name");
  allowed.emplace_back("metadata.namespace");
  NEAP_TRY(out.fields, api::FieldSelector::parse(request.parameters.field_selector, allowed));
  // namespaces/NS selects the namespace object itself, not what is in it.
  const auto ns = kind.namespaced ? std::string_view(request.what.namespace_) : std::string_view();
  out.prefix = list_prefix(stored, ns);
  auto name = out.fields.required_value("metadata.name");
  if (!request.what.name.empty()) name = request.what.name;  // watch of one object by its path
  if (name && (!kind.namespaced || !ns.empty())) out.key = object_key(stored, ns, *name);
  if (kind.view_of.empty() && out.key.empty())
    for (const auto& path : kind.selectable_fields)
      if (auto value = out.fields.required_value(path); value && out.interest.path.empty())
        out.interest = {path, *std::move(value)};
  return out;
}

Task<Outcome<Reply>> Rest::get(const Request& request) {
  const auto& kind = *request.kind;
  const auto& what = request.what;
  if (!what.subresource.empty() && what.subresource != "status" && what.subresource != "scale") {
    for (const auto& extra : deps_.subresources)
      if (extra.plural == what.resource && extra.subresource == what.subresource) {
        NEAP_CO_TRY(auto body, co_await extra.get(request.ctx, what.namespace_, what.name));
        co_return Reply{.status = 200, .body = std::move(body), .text = {}, .warnings = {}};
      }
    co_return fail(Code::kNotFound, "api.subresource.unknown",
                   "the server could not find the requested resource");
  }
  NEAP_CO_TRY(const auto found,
              co_await deps_.store.get(
                  request.ctx, object_key(stored_kind(deps_.kinds, kind), what.namespace_, what.name)));
  if (!found) co_return not_found(kind, what.name);
  Reply out;
  const bool plain = what.subresource != "scale" && !request.parameters.table &&
                     !request.parameters.partial && kind.view_of.empty();
  if (plain && !deps_.authorizer.judges_objects(request.who)) {
    out.text = text_with_revision(found->value, found->mod_revision);
    co_return out;
  }
  NEAP_CO_TRY(auto object, parse_json(found->value, kStoredLimits));
  if (const auto decision = deps_.authorizer.authorize_object(request.who, what, &object, nullptr);
      !decision.allowed)
    co_return forbidden(request.who, what, decision.reason);
  object = with_revision(shown_as(kind, std::move(object)), found->mod_revision);
  if (what.subresource == "scale") {
    if (!kind.has_scale)
      co_return fail(Code::kNotFound, "api.subresource.unknown",
                     "the server could not find the requested resource");
    out.body = scale_of(kind, object);
  } else if (request.parameters.table) {
    out.body = table_of(kind, std::vector{std::move(object)}, found->mod_revision, {},
                        *request.parameters.table, deps_.runtime.clock().wall());
  } else {
    out.body = request.parameters.partial ? partial_of(object) : std::move(object);
  }
  co_return out;
}

Task<std::optional<store::ListPage>> Rest::list_indexed(const Request& request, const Selection& selection) {
  const auto& parameters = request.parameters;
  if (selection.interest.path.empty() || !parameters.continue_token.empty() || parameters.limit > 0 ||
      parameters.resource_version_match == "Exact")
    co_return std::nullopt;
  // Any read of the store says how far it has come, for all who write it.
  if (!co_await deps_.store.get(request.ctx, std::string(kRegistry))) co_return std::nullopt;
  if (!co_await deps_.hub.reach(request.ctx, deps_.store.current_revision())) co_return std::nullopt;
  if (!deps_.hub.is_whole()) co_return std::nullopt;
  store::ListPage page;
  page.revision = deps_.hub.position();
  const auto& keys = deps_.hub.keys_with(kind_prefix(*request.kind), selection.interest);
  for (auto key = keys.lower_bound(selection.prefix); key != keys.end() && key->starts_with(selection.prefix);
       ++key)
    if (const auto* known = deps_.hub.find(*key))
      page.items.push_back({*key, *known->text, Revision{}, known->revision});
  co_return page;
}

Task<bool> Rest::reach(CallContext ctx, Revision revision) {
  // A read brings a store that others write, too, up to what they were told.
  if (revision > deps_.store.current_revision()) (void)co_await deps_.store.get(ctx, std::string(kRegistry));
  co_return revision <= deps_.store.current_revision();
}

Task<Outcome<Reply>> Rest::list(const Request& request) {
  const auto& kind = *request.kind;
  const auto& parameters = request.parameters;
  NEAP_CO_TRY(const auto selection, selection_of(request));
  store::ListOptions options;
  if (auto checked = check_version(parameters); !checked) co_return std::unexpected(checked.error());
  std::int64_t remaining = 0;
  if (!parameters.continue_token.empty()) {
    NEAP_CO_TRY(auto token, read_token(parameters.continue_token, selection.prefix));
    options.revision = token.revision;
    options.start_after = std::move(token.start_after);
    remaining = token.remaining;
  } else if (!parameters.resource_version.empty()) {
    NEAP_CO_TRY(const auto revision, read_revision(parameters.resource_version));
    // A page of a named version is of exactly that version, as the pages after it will be.
    const auto& match = parameters.resource_version_match;
    if (match == "Exact" || (match.empty() && parameters.limit > 0 && revision > 0))
      options.revision = Revision(revision);
    if (!co_await reach(request.ctx, Revision(revision))) {
      Failure failure(Error{Code::kDeadlineExceeded,
                            "api.revision.future",
                            fmt::format("Too large resource version: {}, current: {}", revision,
                                        to_number(deps_.store.current_revision())),
                            {}});
      failure.retry_after_seconds = 1;
      failure.causes.push_back(
          JsonObject{{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}});
      co_return std::unexpected(std::move(failure));
    }
  }
  const auto limit = parameters.limit > 0 ? std::size_t(parameters.limit) : std::size_t(-1);
  const bool plain = selection.is_all() && !parameters.table && !parameters.partial && kind.view_of.empty();
  std::string items;
  std::vector<Json> objects;
  std::size_t count = 0;
  bool more = false;
  std::string last_key;
  auto indexed = co_await list_indexed(request, selection);
  while (count < limit) {
    options.limit = std::min<std::size_t>(limit - count, 500);
    Result<store::ListPage> page = store::ListPage();
    if (indexed)
      page = *std::move(indexed);
    else
      page = co_await deps_.store.list(request.ctx, selection.prefix, options);
    if (!page && page.error().code == Code::kOutOfRange && !parameters.continue_token.empty())
      co_return expired_continue();
    if (!page) co_return std::unexpected(std::move(page).error());
    options.revision = page->revision;
    for (auto& item : page->items) {
      last_key = item.key;
      if (!selection.key.empty() && item.key != selection.key) continue;
      if (plain) {
        if (!items.empty()) items += ',';
        items += text_with_revision(item.value, item.mod_revision);
      } else {
        NEAP_CO_TRY(auto object, parse_json(item.value, kStoredLimits));
        object = shown_as(kind, std::move(object));
        if (!selection.matches(object)) continue;
        if (parameters.partial) object = partial_of(object);
        objects.push_back(with_revision(std::move(object), item.mod_revision));
      }
      ++count;
    }
    more = page->more;
    options.start_after = last_key;
    if (!more) break;
  }
  const bool is_countable = more && parameters.label_selector.empty() && parameters.field_selector.empty();
  if (is_countable && remaining > 0) {
    // Counted once, at the first page; a list that changes meanwhile makes it an estimate, as clients expect.
    remaining = std::max<std::int64_t>(1, remaining - std::int64_t(count));
  } else if (is_countable && deps_.hub.is_whole()) {
    remaining = deps_.hub.count_after(selection.prefix, last_key);
  } else {
    remaining = 0;
  }
  const auto token = more ? write_token({options.revision, last_key, remaining}) : std::string();
  Reply out;
  if (parameters.table) {
    out.body = table_of(kind, std::move(objects), options.revision, token, *parameters.table,
                        deps_.runtime.clock().wall());
    if (remaining > 0) sub_object(out.body.get_object(), "metadata")["remainingItemCount"] = remaining;
    co_return out;
  }
  for (const auto& object : objects) {
    if (!items.empty()) items += ',';
    items += to_text(object);
  }
  auto token_member = token.empty() ? std::string() : fmt::format(",\"continue\":\"{}\"", token);
  if (remaining > 0) token_member += fmt::format(",\"remainingItemCount\":{}", remaining);
  out.text = fmt::format(
      "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"{}}},\"items\":[{"
      "}]}}",
      parameters.partial ? "PartialObjectMetadata" : kind.kind,
      parameters.partial ? "meta.k8s.io/v1" : kind.api_version(), to_number(options.revision), token_member,
      items);
  co_return out;
}

namespace {
// An event of a stored object as one of the kind that shows it.
EventPtr shown_event(const api::KindEntry& kind, EventPtr event) {
  if (kind.view_of.empty()) return event;
  const auto text = [&](const Json& stored) {
    return std::make_shared<const std::string>(stored_text(shown_as(kind, stored)));
  };
  return std::make_shared<const ObjectEvent>(event->type, event->key, event->revision, text(event->object()),
                                             event->before() ? text(*event->before()) : nullptr);
}
}  // namespace

Task<Outcome<std::unique_ptr<WatchSession>>> Rest::watch(Request request) {
  const auto decision = deps_.authorizer.authorize(request.who, request.what);
  if (!decision.allowed) {
    co_await audit(request, 403, decision.reason);
    co_return forbidden(request.who, request.what, decision.reason);
  }
  const auto& kind = *request.kind;
  const auto& parameters = request.parameters;
  if (find_review_kind(kind.group, kind.version, kind.plural))
    co_return fail(Code::kUnimplemented, "api.method", "a review cannot be watched");
  NEAP_CO_TRY(auto selection, selection_of(request));
  std::uint64_t revision = 0;
  if (!parameters.resource_version.empty()) {
    NEAP_CO_TRY(revision, read_revision(parameters.resource_version));
  }
  const bool initial = parameters.send_initial_events.value_or(revision == 0);
  if (parameters.send_initial_events.value_or(false) && parameters.resource_version_match != "NotOlderThan")
    co_return std::unexpected(Failure(Error{
        Code::kFailedPrecondition,
        "api.watch.initial",
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents requires "
        "resourceVersionMatch=NotOlderThan",
        {}}));
  std::vector<WatchItem> items;
  auto after = Revision(revision);
  if (initial) {
    store::ListOptions options{.limit = 500, .start_after = {}, .revision = {}};
    auto indexed = co_await list_indexed(request, selection);
    for (;;) {
      Result<store::ListPage> listed = store::ListPage();
      if (indexed)
        listed = *std::move(indexed);
      else
        listed = co_await deps_.store.list(request.ctx, selection.prefix, options);
      NEAP_CO_TRY(auto page, std::move(listed));
      after = options.revision = page.revision;
      if (!page.items.empty()) options.start_after = page.items.back().key;
      for (auto& item : page.items) {
        if (!selection.key.empty() && item.key != selection.key) continue;
        EventPtr event = std::make_shared<const ObjectEvent>(
            ObjectEvent::Type::kAdded, std::move(item.key), item.mod_revision,
            std::make_shared<const std::string>(std::move(item.value)), nullptr);
        event = shown_event(kind, std::move(event));
        if (!selection.is_all() && !selection.matches(event->object())) continue;
        items.push_back({WatchItem::Type::kAdded, std::move(event), {}});
      }
      if (!page.more) break;
    }
  } else if (parameters.send_initial_events && revision == 0) {
    after = deps_.store.current_revision();
  }
  (void)co_await reach(request.ctx, after);
  NEAP_CO_TRY(auto watcher, deps_.hub.watch(selection.key.empty() ? selection.prefix : selection.key, after,
                                            selection.interest));
  auto session = std::make_unique<WatchSession>(kind, std::move(selection), std::move(watcher));
  session->initial_ = std::move(items);
  if (parameters.send_initial_events.value_or(false)) {
    Json end = session->bookmark(true);
    sub_object(end.get_object(), "metadata")["resourceVersion"] = fmt::format("{}", to_number(after));
    session->initial_.push_back({WatchItem::Type::kBookmark, nullptr, std::move(end)});
  }
  co_return session;
}

Task<Result<std::vector<WatchItem>>> WatchSession::next(CallContext ctx) {
  if (!initial_.empty()) co_return std::exchange(initial_, {});
  for (;;) {
    NEAP_CO_TRY(auto events, co_await watcher_->take(ctx));
    std::vector<WatchItem> out;
    out.reserve(events.size());
    for (auto& event : events) {
      if (!selection_.key.empty() && event->key != selection_.key) continue;
      event = shown_event(kind_, std::move(event));
      auto type = WatchItem::Type(int(event->type));
      if (!selection_.is_all()) {
        const bool is = event->type != ObjectEvent::Type::kDeleted && selection_.matches(event->object());
        const bool was = event->before() && selection_.matches(*event->before());
        if (!is && !was) continue;
        type = is ? (was ? WatchItem::Type::kModified : WatchItem::Type::kAdded) : WatchItem::Type::kDeleted;
      }
      out.push_back({type, std::move(event), {}});
    }
    if (!out.empty()) co_return out;
  }
}

Json WatchSession::bookmark(bool initial_end) const {
  JsonObject metadata{{"resourceVersion", fmt::format("{}", to_number(watcher_->position()))}};
  // Clients decode a bookmark as an object of the kind.
  metadata["creationTimestamp"] = nullptr;
  if (initial_end) metadata["annotations"] = JsonObject{{"k8s.io/initial-events-end", "true"}};
  return JsonObject{
      {"kind", kind_.kind}, {"apiVersion", kind_.api_version()}, {"metadata", std::move(metadata)}};
}

}  // namespace neap::apiserver
