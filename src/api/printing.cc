#include "neap/api/printing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace neap::api {
namespace {

std::string plain_text(const Json& value) {
  if (value.is_string()) return std::string(value.get_string());
  std::string out;
  const auto join = [&out](std::string_view part) {
    if (!out.empty()) out += ',';
    out += part;
  };
  if (value.is_array()) {
    for (const auto& element : value.get_array()) join(plain_text(element));
  } else if (value.is_object()) {
    for (const auto& member : value.get_object())
      join(fmt::format("{}={}", std::string_view(member.key().data(), member.key().size()),
                       plain_text(member.value())));
  } else if (value.is_double()) {
    return fmt::format("{:g}", value.get_double());
  } else if (!value.is_null()) {
    return to_text(value);
  }
  return out;
}

const Json* element_where(const JsonArray& array, std::string_view key, std::string_view wanted) {
  for (const auto& element : array)
    if (get_string(element, key) == wanted) return &element;
  return nullptr;
}

// Null when the object has nothing there.
Json value_at(const Json& value, std::string_view path) {
  const Json* at = &value;
  while (!path.empty()) {
    const auto end = path.find('.');
    const auto step = path.substr(0, end);
    path = end == std::string_view::npos ? std::string_view{} : path.substr(end + 1);
    if (step == "*") {
      if (!at->is_array()) return {};
      JsonArray out;
      for (const auto& element : at->get_array())
        if (Json part = value_at(element, path); !part.is_null()) out.push_back(std::move(part));
      return out.empty() ? Json() : Json(std::move(out));
    }
    const auto bracket = step.find('[');
    at = find_path(*at, {step.substr(0, bracket)});
    if (!at) return {};
    if (bracket == std::string_view::npos) continue;
    const auto term = step.substr(bracket + 1, step.size() - bracket - 2);
    const auto equal = term.find('=');
    if (!at->is_array() || equal == std::string_view::npos) return {};
    at = element_where(at->get_array(), term.substr(0, equal), term.substr(equal + 1));
    if (!at) return {};
  }
  return *at;
}

Json cell_of(const Column& column, const Json& object, WallTime now) {
  if (const auto slash = column.path.find('/'); slash != std::string::npos) {
    const auto part = [&](std::string_view path) {
      const Json value = value_at(object, path);
      return value.is_null() ? std::string("0") : plain_text(value);
    };
    const std::string_view path = column.path;
    return Json(
        boost::json::string(fmt::format("{}/{}", part(path.substr(0, slash)), part(path.substr(slash + 1)))));
  }
  const Json value = value_at(object, column.path);
  if (value.is_null() || (value.is_string() && value.get_string().empty())) return column.missing;
  if (column.type == "date") {
    const auto when = parse_rfc3339(plain_text(value));
    return Json(boost::json::string(when ? format_age(now - *when) : "<invalid>"));
  }
  if (value.is_bool() || value.is_int64() || value.is_uint64()) return value;
  return Json(boost::json::string(plain_text(value)));
}

JsonObject column_definition(const Column& column) {
  JsonObject out;
  out["name"] = column.name;
  // A date cell already is text for people.
  out["type"] = column.type == "date" ? "string" : column.type;
  out["format"] = column.name == "Name" ? "name" : "";
  out["description"] = column.description;
  out["priority"] = column.priority;
  return out;
}

JsonObject partial_metadata(const Json& object, const std::string& version) {
  JsonObject out;
  out["kind"] = "PartialObjectMetadata";
  out["apiVersion"] = "meta.k8s.io/" + version;
  if (const Json* metadata = find_path(object, {"metadata"})) out["metadata"] = *metadata;
  return out;
}

}  // namespace

std::string format_age(Duration age) {
  using namespace std::chrono;
  const std::int64_t s = duration_cast<seconds>(age).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  if (s < 120) return fmt::format("{}s", s);
  const std::int64_t m = s / 60, h = s / 3600, d = s / 86400;
  const auto two = [](std::int64_t a, char unit, std::int64_t b, char small) {
    return b == 0 ? fmt::format("{}{}", a, unit) : fmt::format("{}{}{}{}", a, unit, b, small);
  };
  if (m < 10) return two(m, 'm', s % 60, 's');
  if (h < 3) return fmt::format("{}m", m);
  if (h < 8) return two(h, 'h', m % 60, 'm');
  if (h < 48) return fmt::format("{}h", h);
  if (d < 8) return two(d, 'd', h % 24, 'h');
  if (d < 730) return fmt::format("{}d", d);
  if (d < 8 * 365) return two(d / 365, 'y', d % 365, 'd');
  return fmt::format("{}y", d / 365);
}

Json to_table(const KindEntry& kind, const Json& object_or_list, const TableOptions& options) {
  std::vector<Column> columns;
  columns.push_back({"Name", "string", "metadata.name", "Unique within its namespace (or the cluster).", 0});
  columns.insert(columns.end(), kind.columns.begin(), kind.columns.end());
  // Events say when they were last seen; every other kind how old it is.
  if (!(kind.group.empty() && kind.kind == "Event"))
    columns.push_back({"Age", "date", "metadata.creationTimestamp", "Time since creation.", 0});
  JsonArray definitions, rows;
  for (const auto& column : columns) definitions.push_back(column_definition(column));

  const auto add_row = [&](const Json& object) {
    JsonArray cells;
    for (const auto& column : columns) cells.push_back(cell_of(column, object, options.now));
    JsonObject row;
    row["cells"] = std::move(cells);
    if (options.rows == TableOptions::Rows::kMetadata)
      row["object"] = partial_metadata(object, options.version);
    if (options.rows == TableOptions::Rows::kObject) row["object"] = object;
    rows.push_back(std::move(row));
  };
  JsonObject metadata;
  const Json* items = find_path(object_or_list, {"items"});
  if (items && items->is_array()) {
    for (const auto& item : items->get_array()) add_row(item);
    if (const Json* list = find_path(object_or_list, {"metadata"}); list && list->is_object())
      metadata = list->get_object();
  } else {
    add_row(object_or_list);
    if (const auto version = get_string(object_or_list.at("metadata"), "resourceVersion"); !version.empty())
      metadata["resourceVersion"] = version;
  }
  JsonObject out;
  out["kind"] = "Table";
  out["apiVersion"] = "meta.k8s.io/" + options.version;
  out["metadata"] = std::move(metadata);
  out["columnDefinitions"] = std::move(definitions);
  out["rows"] = std::move(rows);
  return Json(std::move(out));
}

namespace {

constexpr std::size_t kCellWidthMax = 60;

// One line of printable text: an object's message must not steer the reader's terminal.
std::string terminal_cell(const Json& cell) {
  std::string text = plain_text(cell), out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return out;
}
std::size_t width_of(std::string_view text) {
  return std::size_t(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string table_text(const Json& table, const TextTableOptions& options) {
  const Json* definitions = find_path(table, {"columnDefinitions"});
  const Json* rows = find_path(table, {"rows"});
  if (!definitions || !definitions->is_array() || !rows || !rows->is_array()) return {};
  std::vector<std::vector<std::string>> lines;
  std::vector<std::size_t> shown;
  std::vector<std::string> head;
  if (options.with_namespace) head.push_back("NAMESPACE");
  for (std::size_t i = 0; i < definitions->get_array().size(); ++i) {
    const Json& definition = definitions->get_array()[i];
    if (!options.wide && get_int(definition, "priority") > 0) continue;
    shown.push_back(i);
    std::string name(get_string(definition, "name"));
    for (char& c : name) c = c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
    head.push_back(std::move(name));
  }
  if (options.headers) lines.push_back(std::move(head));
  for (const auto& row : rows->get_array()) {
    std::vector<std::string> line;
    if (options.with_namespace) {
      const Json* ns = find_path(row, {"object", "metadata", "namespace"});
      line.push_back(ns ? terminal_cell(*ns) : "");
    }
    const Json* cells = find_path(row, {"cells"});
    for (const std::size_t i : shown)
      line.push_back(cells && cells->is_array() && i < cells->get_array().size()
                         ? terminal_cell(cells->get_array()[i])
                         : "");
    lines.push_back(std::move(line));
  }
  std::vector<std::size_t> widths(shown.size() + (options.with_namespace ? 1 : 0), 0);
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], std::min(width_of(line[i]), kCellWidthMax));
  std::string out;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      out += line[i];
      if (i + 1 == line.size()) break;
      const std::size_t width = width_of(line[i]);
      out.append(width < widths[i] ? widths[i] - width + 2 : 2, ' ');
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  }
  return out;
}

}  // namespace neap::api
