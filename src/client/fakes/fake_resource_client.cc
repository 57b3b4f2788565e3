#include "neap/client/fake_resource_client.h"

#include <fmt/format.h>

#include <charconv>
#include <deque>
#include <map>

#include "neap/api/codec.h"
#include "neap/base/sync.h"

namespace neap::client {
namespace {

struct Change {
  std::uint64_t revision = 0;
  const api::KindEntry* kind = nullptr;
  Json before, after;  // null: absent
};

JsonObject& metadata_of(Json& object) { return sub_object(object.get_object(), "metadata"); }
std::string text_at(const Json& object, std::string_view key) {
  const Json* metadata = find_path(object, {"metadata"});
  return metadata ? std::string(get_string(*metadata, key)) : std::string();
}
bool has_finalizers(const Json& object) {
  const Json* list = find_path(object, {"metadata", "finalizers"});
  return list && list->is_array() && !list->get_array().empty();
}
// Equal but for what every write changes.
bool same_content(Json a, Json b) {
  for (Json* object : {&a, &b})
    for (const auto key : {"resourceVersion", "generation"}) metadata_of(*object).erase(key);
  return a == b;
}

}  // namespace

struct FakeResourceClient::State {
  State(io::Runtime& r, const api::KindTable& k) : runtime(r), kinds(k), changed(r.executor()) {}

  io::Runtime& runtime;
  const api::KindTable& kinds;
  std::map<const api::KindEntry*, std::map<std::string, Json>> objects;
  std::deque<Change> history;
  std::uint64_t revision = 0, compacted = 0, calls = 0;
  Notifier changed;
  std::uint64_t endings = 0;
  std::optional<Error> ending;
  std::uint64_t bookmarks = 0;
  int failing = 0;
  Error failure;

  Result<const api::KindEntry*> begin(const ResourcePath& path) {
    ++calls;
    if (failing > 0) {
      --failing;
      return fail(failure);
    }
    if (const auto* kind = kinds.find(path.group, path.version, path.plural)) return kind;
    return fail(Code::kNotFound, "api.kind.unknown", "the server could not find the requested resource");
  }
  static std::string key_of(const ResourcePath& path) {
    return path.namespace_.empty() ? path.name : path.namespace_ + "/" + path.name;
  }
  Result<Json*> find(const api::KindEntry* kind, const ResourcePath& path) {
    auto& all = objects[kind];
    const auto found = all.find(key_of(path));
    if (found != all.end()) return &found->second;
    return fail(Code::kNotFound, "api.object.absent",
                fmt::format("{} \"{}\" not found", kind->plural, path.name));
  }
  void record(const api::KindEntry* kind, Json before, Json after) {
    history.push_back({revision, kind, std::move(before), std::move(after)});
    changed.notify_all();
  }
  // Stores `after` in place of `before` (null on create) under a new version.
  Json commit(const api::KindEntry* kind, const std::string& key, const Json& before, Json after) {
    metadata_of(after)["resourceVersion"] = std::to_string(++revision);
    const bool gone = !text_at(after, "deletionTimestamp").empty() && !has_finalizers(after);
    if (gone)
      objects[kind].erase(key);
    else
      objects[kind][key] = after;
    record(kind, before, gone ? Json() : after);
    if (gone) history.back().before = after;  // the deletion carries the newest version
    return after;
  }
  Result<Json> replace(const api::KindEntry* kind, const ResourcePath& path, const Json& before, Json after,
                       const WriteOptions& options) {
    if (!after.is_object())
      return fail(Code::kInvalidArgument, "api.object.format", "the body must be an object");
    const auto wanted = text_at(after, "resourceVersion");
    if (!wanted.empty() && wanted != text_at(before, "resourceVersion"))
      return fail(Code::kAborted, "api.conflict",
                  fmt::format("Operation cannot be fulfilled on {} \"{}\": the object has been modified; "
                              "read it again and apply your changes to the latest version",
                              kind->plural, path.name));
    const bool of_status = path.subresource == "status";
    Json next = of_status ? before : after;
    const Json& kept = of_status ? after : before;
    if (const Json* status = find_path(kept, {"status"}))
      next.get_object()["status"] = *status;
    else
      next.get_object().erase("status");
    kind->apply_defaults(next);
    for (const auto field : {"uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion",
                             "namespace", "name"}) {
      if (const Json* value = find_path(before, {"metadata", field}))
        metadata_of(next)[field] = *value;
      else
        metadata_of(next).erase(field);
    }
    auto problems = kind->validate(next);
    for (auto& problem : kind->validate_update(before, next)) problems.push_back(std::move(problem));
    if (!problems.empty()) return std::unexpected(api::error_of_problems(problems));
    if (same_content(before, next)) return before;
    const Json* old_spec = find_path(before, {"spec"});
    const Json* new_spec = find_path(next, {"spec"});
    if ((old_spec ? *old_spec : Json()) != (new_spec ? *new_spec : Json()))
      metadata_of(next)["generation"] = get_int(before.at("metadata"), "generation") + 1;
    if (options.dry_run) return next;
    return commit(kind, key_of(path), before, std::move(next));
  }
};

namespace {

struct Filter {
  api::LabelSelector labels;
  api::FieldSelector fields;
  std::string ns;
  bool matches(const Json& object) const {
    return object.is_object() && labels.matches(object) && fields.matches(object) &&
           (ns.empty() || text_at(object, "namespace") == ns);
  }
};
Result<Filter> parse_filter(const api::KindEntry& kind, const ResourcePath& path,
                            const ListOptions& options) {
  NEAP_TRY(auto labels, api::LabelSelector::parse(options.label_selector));
  NEAP_TRY(auto fields, api::FieldSelector::parse(options.field_selector, kind.selectable_fields));
  return Filter{std::move(labels), std::move(fields), path.namespace_};
}

}  // namespace

FakeResourceClient::FakeResourceClient(io::Runtime& runtime, const api::KindTable& kinds)
    : state_(std::make_shared<State>(runtime, kinds)) {}
FakeResourceClient::~FakeResourceClient() = default;

Task<Result<Json>> FakeResourceClient::get(CallContext, ResourcePath path) {
  NEAP_CO_TRY(const auto* kind, state_->begin(path));
  NEAP_CO_TRY(const Json* found, state_->find(kind, path));
  co_return *found;
}

Task<Result<Json>> FakeResourceClient::list(CallContext, ResourcePath path, ListOptions options) {
  auto& s = *state_;
  NEAP_CO_TRY(const auto* kind, s.begin(path));
  NEAP_CO_TRY(const auto filter, parse_filter(*kind, path, options));
  JsonArray items;
  JsonObject metadata;
  metadata["resourceVersion"] = std::to_string(s.revision);
  const auto& all = s.objects[kind];
  std::string last;
  for (auto it = options.continue_token.empty() ? all.begin() : all.upper_bound(options.continue_token);
       it != all.end(); ++it) {
    if (!filter.matches(it->second)) continue;
    if (options.limit > 0 && std::int64_t(items.size()) == options.limit) {
      metadata["continue"] = last;
      break;
    }
    items.push_back(it->second);
    last = it->first;
  }
  JsonObject out;
  out["kind"] = kind->kind + "List";
  out["apiVersion"] = kind->api_version();
  out["metadata"] = std::move(metadata);
  out["items"] = std::move(items);
  co_return Json(std::move(out));
}

Task<Result<Json>> FakeResourceClient::create(CallContext, ResourcePath path, Json object,
                                              WriteOptions options) {
  auto& s = *state_;
  NEAP_CO_TRY(const auto* kind, s.begin(path));
  if (!object.is_object())
    co_return fail(Code::kInvalidArgument, "api.object.format", "the body must be an object");
  auto& metadata = metadata_of(object);
  if (text_at(object, "name").empty() && !text_at(object, "generateName").empty())
    metadata["name"] = text_at(object, "generateName") + s.runtime.random().hex(3);
  path.name = text_at(object, "name");
  if (!path.namespace_.empty()) metadata["namespace"] = path.namespace_;
  if (kind->has_status) object.get_object().erase("status");
  kind->apply_defaults(object);
  const auto problems = kind->validate(object);
  if (!problems.empty()) co_return std::unexpected(api::error_of_problems(problems));
  if (s.objects[kind].contains(State::key_of(path)))
    co_return fail(Code::kAlreadyExists, "api.object.exists",
                   fmt::format("{} \"{}\" already exists", kind->plural, path.name));
  metadata["uid"] = s.runtime.random().uuid();
  metadata["creationTimestamp"] = format_rfc3339(s.runtime.clock().wall());
  metadata["generation"] = 1;
  if (options.dry_run) co_return object;
  co_return s.commit(kind, State::key_of(path), Json(), std::move(object));
}

Task<Result<Json>> FakeResourceClient::update(CallContext, ResourcePath path, Json object,
                                              WriteOptions options) {
  NEAP_CO_TRY(const auto* kind, state_->begin(path));
  NEAP_CO_TRY(const Json* found, state_->find(kind, path));
  co_return state_->replace(kind, path, Json(*found), std::move(object), options);
}

Task<Result<Json>> FakeResourceClient::patch(CallContext, ResourcePath path, PatchType type, Json patch,
                                             WriteOptions options) {
  NEAP_CO_TRY(const auto* kind, state_->begin(path));
  auto found = state_->find(kind, path);
  if (!found && type == PatchType::kApply) {
    ResourcePath collection = path;
    collection.name.clear();
    co_return co_await create({}, collection, std::move(patch), options);
  }
  if (!found) co_return std::unexpected(found.error());
  Json next = **found;
  if (type == PatchType::kJson) {
    NEAP_CO_TRY_VOID(api::json_patch(next, patch));
  } else {
    api::merge_patch(next, patch);
  }
  co_return state_->replace(kind, path, Json(**found), std::move(next), options);
}

Task<Result<Json>> FakeResourceClient::remove(CallContext, ResourcePath path, WriteOptions options) {
  auto& s = *state_;
  NEAP_CO_TRY(const auto* kind, s.begin(path));
  NEAP_CO_TRY(const Json* found, s.find(kind, path));
  if (!options.dry_run && (text_at(*found, "deletionTimestamp").empty() || !has_finalizers(*found))) {
    const Json before = *found;
    Json after = before;
    metadata_of(after)["deletionTimestamp"] = format_rfc3339(s.runtime.clock().wall());
    (void)s.commit(kind, State::key_of(path), before, std::move(after));
  }
  co_return JsonObject{{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Success"}};
}

namespace {

template <class State>
class FakeWatch : public WatchStream {
 public:
  FakeWatch(std::shared_ptr<State> state, const api::KindEntry* kind, Filter filter, std::uint64_t position)
      : state_(std::move(state)),
        kind_(kind),
        filter_(std::move(filter)),
        position_(position),
        endings_(state_->endings),
        bookmarks_(state_->bookmarks) {}

  Task<Result<std::optional<WatchEvent>>> next(CallContext ctx) override {
    auto& s = *state_;
    for (;;) {
      NEAP_CO_TRY_VOID(ctx.check(s.runtime.executor().now()));
      if (endings_ != s.endings) {
        if (s.ending) co_return fail(*s.ending);
        co_return std::optional<WatchEvent>{};
      }
      if (position_ < s.compacted)
        co_return fail(Code::kOutOfRange, "store.compacted", "too old resource version; list again");
      for (const auto& change : s.history) {
        if (change.revision <= position_) continue;
        position_ = change.revision;
        if (change.kind != kind_) continue;
        const bool was = filter_.matches(change.before), is = filter_.matches(change.after);
        if (!was && !is) continue;
        WatchEvent event;
        event.type = !was ? WatchEvent::Type::kAdded
                     : is ? WatchEvent::Type::kModified
                          : WatchEvent::Type::kDeleted;
        event.object = is ? change.after : change.before;
        metadata_of(event.object)["resourceVersion"] = std::to_string(change.revision);
        co_return std::optional<WatchEvent>(std::move(event));
      }
      if (bookmarks_ != s.bookmarks) {
        bookmarks_ = s.bookmarks;
        WatchEvent event;
        event.type = WatchEvent::Type::kBookmark;
        event.object = JsonObject{{"kind", kind_->kind},
                                  {"apiVersion", kind_->api_version()},
                                  {"metadata", JsonObject{{"resourceVersion", std::to_string(position_)}}}};
        co_return std::optional<WatchEvent>(std::move(event));
      }
      NEAP_CO_TRY_VOID(co_await s.changed.wait(ctx, s.changed.generation()));
    }
  }

 private:
  std::shared_ptr<State> state_;
  const api::KindEntry* kind_;
  Filter filter_;
  std::uint64_t position_, endings_, bookmarks_;
};

}  // namespace

Task<Result<std::unique_ptr<WatchStream>>> FakeResourceClient::watch(CallContext, ResourcePath path,
                                                                     ListOptions options,
                                                                     std::string version) {
  NEAP_CO_TRY(const auto* kind, state_->begin(path));
  NEAP_CO_TRY(auto filter, parse_filter(*kind, path, options));
  std::uint64_t position = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), position);
  if (error != std::errc{} || end != version.data() + version.size())
    co_return fail(Code::kInvalidArgument, "api.version",
                   fmt::format("\"{}\" is not a resource version", version));
  if (position < state_->compacted)
    co_return fail(Code::kOutOfRange, "store.compacted", "too old resource version; list again");
  co_return std::unique_ptr<WatchStream>(
      std::make_unique<FakeWatch<State>>(state_, kind, std::move(filter), position));
}

void FakeResourceClient::fail_next(int count, Error error) {
  state_->failing = count;
  state_->failure = std::move(error);
}
void FakeResourceClient::end_watches(std::optional<Error> error) {
  ++state_->endings;
  state_->ending = std::move(error);
  state_->changed.notify_all();
}
void FakeResourceClient::compact() {
  state_->compacted = state_->revision;
  state_->history.clear();
}
void FakeResourceClient::send_bookmarks() {
  ++state_->bookmarks;
  state_->changed.notify_all();
}
std::uint64_t FakeResourceClient::calls() const { return state_->calls; }

namespace {

ResourcePath parse_path(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    text.remove_prefix(1);
    const auto end = text.find('/');
    parts.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end);
  }
  ResourcePath out;
  std::size_t at = 0;
  const auto take = [&] { return at < parts.size() ? parts[at++] : std::string(); };
  if (take() == "apis") out.group = take();
  out.version = take();
  if (at + 2 < parts.size() && parts[at] == "namespaces") {
    take();
    out.namespace_ = take();
  }
  out.plural = take();
  out.name = take();
  out.subresource = take();
  return out;
}

io::HttpResponse json_reply(int status, const Json& body) {
  io::HttpResponse out;
  out.status = status;
  out.headers.set("Content-Type", "application/json");
  out.body = to_text(body);
  return out;
}

Task<void> serve_watch(FakeResourceClient& api, io::HttpExchange& x, ResourcePath path, ListOptions options) {
  auto stream =
      co_await api.watch(x.context(), path, options, std::string(x.request().query_value("resourceVersion")));
  if (!stream) {
    const Json status = api::status_object(stream.error());
    (void)co_await x.reply(json_reply(int(get_int(status, "code")), status));
    co_return;
  }
  io::HttpResponse head;
  head.headers.set("Content-Type", "application/json");
  if (auto started = co_await x.start(std::move(head)); !started) co_return;
  for (;;) {
    auto event = co_await (*stream)->next(x.context());
    if (event && !*event) break;
    JsonObject line;
    if (event) {
      static constexpr std::array<std::string_view, 4> kTypes{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
      line["type"] = kTypes[std::size_t((*event)->type)];
      line["object"] = std::move((*event)->object);
    } else {
      line["type"] = "ERROR";
      line["object"] = api::status_object(event.error());
    }
    const std::string text = to_text(Json(std::move(line))) + "\n";
    if (auto written = co_await x.write(text); !written || !event) break;
  }
  (void)co_await x.finish();
}

Task<void> serve(FakeResourceClient& api, io::HttpExchange& x) {
  const auto& request = x.request();
  const ResourcePath path = parse_path(request.path);
  ListOptions list{std::string(request.query_value("labelSelector")),
                   std::string(request.query_value("fieldSelector")),
                   std::string(request.query_value("continue")), 0};
  const auto limit = request.query_value("limit");
  std::from_chars(limit.data(), limit.data() + limit.size(), list.limit);
  if (request.method == "GET" && request.query_value("watch") == "true") {
    co_await serve_watch(api, x, path, list);
    co_return;
  }
  const WriteOptions write{std::string(request.query_value("fieldManager")),
                           request.query_value("dryRun") == "All"};
  auto body = co_await x.body().read_all(x.context(), 8u << 20);
  if (!body) co_return;
  Json sent;
  if (!body->empty()) {
    auto parsed = parse_json(*body);
    if (parsed) sent = std::move(*parsed);
  }
  Result<Json> result = fail(Code::kUnimplemented, "api.method", "the method is not supported");
  const auto type = request.headers.get("Content-Type");
  if (request.method == "GET") {
    if (path.name.empty())
      result = co_await api.list(x.context(), path, list);
    else
      result = co_await api.get(x.context(), path);
  } else if (request.method == "POST") {
    result = co_await api.create(x.context(), path, std::move(sent), write);
  } else if (request.method == "PUT") {
    result = co_await api.update(x.context(), path, std::move(sent), write);
  } else if (request.method == "PATCH") {
    const auto patch_type = type.starts_with("application/json-patch")    ? PatchType::kJson
                            : type.starts_with("application/apply-patch") ? PatchType::kApply
                                                                          : PatchType::kMerge;
    result = co_await api.patch(x.context(), path, patch_type, std::move(sent), write);
  } else if (request.method == "DELETE") {
    result = co_await api.remove(x.context(), path, write);
  }
  if (result) {
    (void)co_await x.reply(json_reply(request.method == "POST" ? 201 : 200, *result));
  } else {
    const Json status = api::status_object(result.error(), path.plural, path.name, path.group);
    (void)co_await x.reply(json_reply(int(get_int(status, "code")), status));
  }
}

}  // namespace

io::HttpHandler FakeResourceClient::handler() {
  return [this](io::HttpExchange& x) { return serve(*this, x); };
}

}  // namespace neap::client
