// describe: one object for people: head, spec, status, conditions, events.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/documents.h"
#include "internal/output.h"
#include "neap/api/codec.h"
#include "neap/api/printing.h"

namespace neap::cli {
namespace {

constexpr std::size_t kLabelWidth = 14;

std::string line(std::string_view label, std::string_view value) {
  return fmt::format("{:<{}}{}\n", fmt::format("{}:", label), kLabelWidth, printable(value));
}

std::string pairs(std::string_view label, const Json* map) {
  std::vector<std::string> values;
  if (map && map->is_object())
    for (const auto& member : map->get_object()) {
      const std::string_view key = member.key();
      if (key == kLastAppliedAnnotation) continue;
      const auto value =
          member.value().is_string() ? std::string(member.value().get_string()) : to_text(member.value());
      values.push_back(printable(fmt::format("{}={}", key, value)));
    }
  return line(label, values.empty() ? "<none>" : fmt::format("{}", fmt::join(values, ", ")));
}

std::string indented(const Json& value) {
  std::string out;
  const auto text = printable(api::to_yaml(value), true);
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    if (end > at) out += "  " + text.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return out;
}

std::string section(const Json& object, std::string_view name,
                    std::initializer_list<std::string_view> left_out) {
  const auto* part = find_path(object, {name});
  if (!part || !part->is_object()) return {};
  Json shown = *part;
  for (const auto key : left_out) shown.get_object().erase(key);
  if (shown.get_object().empty()) return {};
  std::string title(name);
  title[0] = char(title[0] - 'a' + 'A');
  return title + ":\n" + indented(shown);
}

std::string conditions(const Json& object) {
  const auto* list = find_path(object, {"status", "conditions"});
  if (!list || !list->is_array() || list->get_array().empty()) return {};
  std::vector<std::vector<std::string>> rows{{"  Type", "Status", "Reason", "Message"}};
  for (const auto& one : list->get_array())
    rows.push_back({fmt::format("  {}", get_string(one, "type")), std::string(get_string(one, "status")),
                    or_dash(get_string(one, "reason")), or_dash(get_string(one, "message"))});
  return "Conditions:\n" + render_table(rows);
}

std::string events(const Json& list, WallTime now) {
  std::vector<std::vector<std::string>> rows{{"  Type", "Reason", "Age", "Message"}};
  const auto* items = find_path(list, {"items"});
  if (items && items->is_array())
    for (const auto& event : items->get_array()) {
      auto when = parse_rfc3339(get_string(event, "lastTimestamp"));
      if (!when) when = parse_rfc3339(get_string(event, "eventTime"));
      rows.push_back({fmt::format("  {}", get_string(event, "type")), or_dash(get_string(event, "reason")),
                      when ? api::format_age(now - *when) : "-", or_dash(get_string(event, "message"))});
    }
  return rows.size() == 1 ? line("Events", "<none>") : "Events:\n" + render_table(rows);
}

}  // namespace

Task<Result<int>> run_describe(Session& session, DescribeOptions options) {
  NEAP_CO_TRY(const auto targets, parse_targets(options.words));
  bool is_first = true;
  for (const auto& target : targets) {
    std::vector<Json> objects;
    if (target.name.empty()) {
      NEAP_CO_TRY(auto list,
                  co_await fetch_list(session, path_of(*target.kind, session.namespace_name(), ""), {}));
      for (auto& item : list.get_object()["items"].get_array()) objects.push_back(std::move(item));
    } else {
      NEAP_CO_TRY(auto object,
                  co_await session.client().get(
                      session.call(), path_of(*target.kind, session.namespace_name(), target.name)));
      objects.push_back(std::move(object));
    }
    for (const auto& object : objects) {
      const auto* metadata = find_path(object, {"metadata"});
      if (!metadata) continue;
      const std::string name(get_string(*metadata, "name")), ns(get_string(*metadata, "namespace"));
      std::string out = is_first ? "" : "\n";
      is_first = false;
      out += line("Name", name);
      if (!ns.empty()) out += line("Namespace", ns);
      out += pairs("Labels", find_path(*metadata, {"labels"}));
      out += pairs("Annotations", find_path(*metadata, {"annotations"}));
      out += line("API Version", target.kind->api_version());
      out += line("Kind", target.kind->kind);
      out += line("Created", get_string(*metadata, "creationTimestamp"));
      out += section(object, "spec", {});
      // The explanation has a command of its own that puts it into words.
      out += section(object, "status", {"conditions", "explanation"});
      out += conditions(object);
      session.print(out);
      client::ListOptions selection;
      selection.field_selector =
          fmt::format("involvedObject.kind={},involvedObject.name={}", target.kind->kind, name);
      // A reader may lack the right to see events; the rest is still worth showing.
      const auto found = co_await session.client().list(
          session.call(), {"", "v1", "events", ns.empty() ? "default" : ns, "", ""}, selection);
      if (found) session.print(events(*found, session.now()));
    }
  }
  co_return 0;
}

}  // namespace neap::cli
