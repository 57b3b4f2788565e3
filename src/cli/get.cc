// get: kubectl's tables and formats; with -w the changes as they come.
#include <fmt/format.h>

#include <algorithm>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/api/printing.h"

namespace neap::cli {
namespace {

bool is_structured(const GetOptions& options) { return options.output == "json" || options.output == "yaml"; }

void print_rows(Session& session, const api::KindEntry& kind, const Json& object_or_list,
                const GetOptions& options, bool headers) {
  api::TextTableOptions text;
  text.wide = options.output == "wide";
  text.headers = headers && !options.no_headers;
  text.with_namespace = options.all_namespaces && kind.namespaced;
  session.print(api::table_text(api::to_table(kind, object_or_list, {.now = session.now()}), text));
}

std::string name_of(const Json& object) {
  const auto* metadata = find_path(object, {"metadata"});
  return std::string(metadata ? get_string(*metadata, "name") : std::string_view{});
}

void print_one(Session& session, const api::KindEntry& kind, const Json& object, const GetOptions& options,
               bool headers) {
  if (options.output == "name") {
    session.print(short_name(kind, name_of(object)) + "\n");
  } else if (is_structured(options)) {
    session.print((options.output == "yaml" ? "---\n" : "") +
                  structured_text(without_managed_fields(object), options.output));
  } else {
    print_rows(session, kind, object, options, headers);
  }
}

// Items of a list lack what their list says for them.
void fill_kind(const api::KindEntry& kind, Json& list) {
  for (auto& item : list.at("items").as_array())
    if (auto* members = item.if_object()) {
      if (!members->contains("apiVersion")) (*members)["apiVersion"] = kind.api_version();
      if (!members->contains("kind")) (*members)["kind"] = kind.kind;
    }
}

// Named objects, or the whole kind, as one list.
Task<Result<Json>> fetch_objects(Session& session, const api::KindEntry& kind, std::vector<std::string> names,
                                 const GetOptions& options) {
  const std::string ns = options.all_namespaces ? "" : session.namespace_name();
  if (names.empty()) {
    NEAP_CO_TRY(auto list, co_await fetch_list(session, path_of(kind, ns, ""),
                                               {.label_selector = options.label_selector,
                                                .field_selector = options.field_selector}));
    fill_kind(kind, list);
    co_return list;
  }
  if (options.all_namespaces && kind.namespaced)
    co_return fail(Code::kInvalidArgument, "cli.usage",
                   "a name and -A do not go together; say the namespace with -n");
  JsonArray items;
  for (auto& name : names) {
    NEAP_CO_TRY(auto object, co_await session.client().get(session.call(), path_of(kind, ns, name)));
    items.push_back(std::move(object));
  }
  co_return JsonObject{
      {"apiVersion", "v1"}, {"kind", "List"}, {"metadata", JsonObject{}}, {"items", std::move(items)}};
}

Task<Result<int>> watch_kind(Session& session, Target target, GetOptions options) {
  const std::string ns = options.all_namespaces ? "" : session.namespace_name();
  const auto path = path_of(*target.kind, ns, "");
  client::ListOptions selection{.label_selector = options.label_selector,
                                .field_selector = options.field_selector};
  if (!target.name.empty()) selection.field_selector = "metadata.name=" + target.name;
  NEAP_CO_TRY(auto list, co_await fetch_list(session, path, selection));
  fill_kind(*target.kind, list);
  if (options.output.empty() || options.output == "wide") {
    print_rows(session, *target.kind, list, options, true);
  } else {
    for (const auto& item : list.at("items").as_array())
      print_one(session, *target.kind, item, options, false);
  }
  std::string version(get_string(list.at("metadata"), "resourceVersion"));
  for (;;) {
    NEAP_CO_TRY(auto stream, co_await session.client().watch(session.call(), path, selection, version));
    for (;;) {
      auto event = co_await stream->next(session.call());
      if (!event && event.error().code == Code::kCancelled) co_return 0;
      if (!event) co_return fail(std::move(event).error());
      if (!*event) break;  // a regular end: go on from the last version seen
      if (const auto* metadata = find_path((*event)->object, {"metadata"}))
        version = get_string(*metadata, "resourceVersion");
      if ((*event)->type == client::WatchEvent::Type::kBookmark) continue;
      print_one(session, *target.kind, (*event)->object, options, false);
    }
    NEAP_CO_TRY_VOID(co_await sleep_for(session.runtime().executor(), session.call(), 200ms));
  }
}

struct Group {
  const api::KindEntry* kind = nullptr;
  std::vector<std::string> names;
};
std::vector<Group> by_kind(std::vector<Target> targets) {
  std::vector<Group> out;
  for (auto& target : targets) {
    auto it = std::ranges::find(out, target.kind, &Group::kind);
    if (it == out.end()) it = out.insert(out.end(), Group{target.kind, {}});
    if (!target.name.empty()) it->names.push_back(std::move(target.name));
  }
  return out;
}

}  // namespace

Task<Result<int>> run_get(Session& session, GetOptions options) {
  NEAP_CO_TRY(auto targets, parse_targets(options.words));
  if (options.watches) {
    if (targets.size() != 1)
      co_return fail(Code::kInvalidArgument, "cli.usage", "-w watches one kind or one object; name one");
    co_return co_await watch_kind(session, std::move(targets[0]), std::move(options));
  }
  const bool is_single = targets.size() == 1 && !targets[0].name.empty();
  const auto groups = by_kind(std::move(targets));
  JsonArray all;
  bool is_first = true;
  std::size_t shown = 0;
  for (const auto& group : groups) {
    NEAP_CO_TRY(auto list, co_await fetch_objects(session, *group.kind, group.names, options));
    auto& items = list.get_object()["items"].get_array();
    if (items.empty()) continue;
    shown += items.size();
    if (is_structured(options)) {
      for (auto& item : items) all.push_back(without_managed_fields(std::move(item)));
    } else if (options.output == "name") {
      for (const auto& item : items) print_one(session, *group.kind, item, options, false);
    } else {
      if (!is_first) session.print("\n");
      print_rows(session, *group.kind, list, options, true);
      is_first = false;
    }
  }
  if (is_structured(options)) {
    session.print(structured_text(
        is_single ? all.at(0)
                  : Json(JsonObject{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(all)}}),
        options.output));
  } else if (shown == 0) {
    const bool in_namespace = !options.all_namespaces && groups[0].kind->namespaced;
    session.warn(in_namespace ? fmt::format("No resources found in {} namespace.\n", session.namespace_name())
                              : "No resources found\n");
  }
  co_return 0;
}

}  // namespace neap::cli
