// explain: why an object is where it is (KIND/NAME), or what the fields of a kind mean (KIND[.field...]).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/client/typed.h"
#include "neap/scheduler/plan.h"

namespace neap::cli {
namespace {

bool is_decision(const Json& value) { return find_path(value, {"sites"}) || find_path(value, {"placed"}); }

// An answer is one decision, a list of them, a plan, or a map from places to decisions.
void collect_decisions(const Json& value, std::vector<const Json*>& out, int depth = 0) {
  if (depth > 4) return;
  if (value.is_array()) {
    for (const auto& one : value.get_array()) collect_decisions(one, out, depth + 1);
  } else if (value.is_object() && is_decision(value)) {
    out.push_back(&value);
  } else if (value.is_object()) {
    for (const auto& member : value.get_object()) collect_decisions(member.value(), out, depth + 1);
  }
}

Task<Result<Json>> fetch_explanation(Session& session, Target target) {
  const auto ns = session.namespace_name();
  auto asked =
      co_await session.client().get(session.call(), path_of(*target.kind, ns, target.name, "explain"));
  if (asked) co_return *std::move(asked);
  const auto code = asked.error().code;
  if (code != Code::kNotFound && code != Code::kUnimplemented) co_return fail(std::move(asked).error());
  NEAP_CO_TRY(const auto object,
              co_await session.client().get(session.call(), path_of(*target.kind, ns, target.name)));
  if (const auto* kept = find_path(object, {"status", "explanation"}); kept && !kept->is_null())
    co_return *kept;
  const auto name = short_name(*target.kind, target.name);
  const auto* status = find_path(object, {"status"});
  const auto phase = status ? get_string(*status, "phase") : std::string_view{};
  co_return fail(
      Code::kNotFound, "cli.explain.absent",
      fmt::format("no decision is recorded for {}{}; see `neap describe {}`", name,
                  phase.empty() ? std::string() : fmt::format(", whose phase is {}", phase), name));
}

// How the queue stands that a decision speaks of; empty where there is none, or the reader may not see it.
Task<std::string> fetch_queue_line(Session& session, const Json& decision) {
  const auto* queue = find_path(decision, {"queue"});
  const std::string name(queue ? get_string(*queue, "name") : std::string_view{});
  if (name.empty()) co_return std::string{};
  const auto found =
      co_await session.client().get(session.call(), client::TypedClient<api::Queue>::path("", name));
  const auto* status = found ? find_path(*found, {"status"}) : nullptr;
  if (!status) co_return std::string{};
  std::vector<std::string> held;
  for (const auto* resource : {"cpu", "memory", "accelerators"}) {
    const auto* used = find_path(*status, {"used", resource});
    const auto* borrowed = find_path(*status, {"borrowed", resource});
    const auto word = [](const Json* value) {
      return value && value->is_string() ? std::string(value->get_string()) : std::string("0");
    };
    if (word(used) == "0") continue;
    held.push_back(word(borrowed) == "0"
                       ? fmt::format("{} {}", word(used), resource)
                       : fmt::format("{} {} ({} borrowed)", word(used), resource, word(borrowed)));
  }
  const auto* share = find_path(*status, {"sharePercent"});
  co_return fmt::format("queue {} holds {}: {:.1f} % of all there is; running {}, waiting {}\n", name,
                        held.empty() ? "nothing" : fmt::format("{}", fmt::join(held, ", ")),
                        share && share->is_number() ? share->to_number<double>() : 0.0,
                        get_int(*status, "running", 0), get_int(*status, "waiting", 0));
}

std::string type_word(const Json& schema) {
  if (get_bool(schema, "x-kubernetes-int-or-string")) return "quantity";
  if (get_bool(schema, "x-kubernetes-preserve-unknown-fields")) return "anything";
  const auto type = get_string(schema, "type");
  if (const auto* items = find_path(schema, {"items"})) return "[]" + type_word(*items);
  if (const auto* element = find_path(schema, {"additionalProperties"}); element && element->is_object())
    return "map[string]" + type_word(*element);
  if (const auto format = get_string(schema, "format"); format == "date-time" || format == "duration")
    return std::string(format);
  return type.empty() ? "Object" : type == "object" ? "Object" : std::string(type);
}

const Json* inner_object(const Json& schema) {
  if (find_path(schema, {"properties"})) return &schema;
  for (const auto* step : {"items", "additionalProperties"})
    if (const auto* inner = find_path(schema, {step}); inner && inner->is_object())
      return inner_object(*inner);
  return nullptr;
}

std::string field_lines(const Json& schema) {
  const auto* object = inner_object(schema);
  if (!object) return {};
  const auto* required = find_path(*object, {"required"});
  std::string out = "\nFIELDS:\n";
  for (const auto& member : object->at("properties").get_object()) {
    const std::string_view name = member.key();
    bool is_required = false;
    if (required && required->is_array())
      for (const auto& one : required->get_array())
        is_required = is_required || (one.is_string() && std::string_view(one.get_string()) == name);
    out += fmt::format("  {}\t<{}>{}\n", name, type_word(member.value()), is_required ? " -required-" : "");
    if (const auto* names = find_path(member.value(), {"enum"}); names && names->is_array()) {
      std::vector<std::string> words;
      for (const auto& one : names->get_array())
        words.push_back(one.is_string() ? std::string(one.get_string()) : to_text(one));
      out += fmt::format("    enum: {}\n", fmt::join(words, ", "));
    }
    if (const auto text = get_string(member.value(), "description"); !text.empty())
      out += fmt::format("    {}\n", text);
    out += "\n";
  }
  return out;
}

std::string kind_list() {
  std::vector<std::vector<std::string>> rows{{"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"}};
  for (const auto& kind : api::KindTable::standard().all())
    rows.push_back({kind.plural, fmt::format("{}", fmt::join(kind.short_names, ",")), kind.api_version(),
                    kind.namespaced ? "true" : "false", kind.kind});
  return render_table(rows);
}

}  // namespace

Result<std::string> field_docs(std::string_view word) {
  if (word.empty()) return kind_list();
  // "deployments.apps" is a kind and "trainingjob.spec" a path: the longest prefix that names a kind wins.
  const api::KindEntry* kind = nullptr;
  std::string_view rest;
  for (auto end = word.size(); !kind && end != std::string_view::npos && end > 0;
       end = word.rfind('.', end - 1)) {
    kind = api::KindTable::standard().find_by_alias(word.substr(0, end));
    rest = kind && end < word.size() ? word.substr(end + 1) : std::string_view{};
  }
  if (!kind) return fail(get_kind(word.substr(0, word.find('.'))).error());
  const Json* schema = &kind->schema;
  std::string path;
  while (!rest.empty()) {
    const auto dot = rest.find('.');
    const auto step = rest.substr(0, dot);
    rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(dot + 1);
    const auto* object = inner_object(*schema);
    const Json* next = object ? find_path(*object, {"properties", step}) : nullptr;
    if (!next)
      return fail(Code::kInvalidArgument, "cli.explain.field",
                  fmt::format("{}{} has no field \"{}\"; `neap explain {}{}` lists them", kind->kind, path,
                              step, kind->singular, path));
    schema = next;
    path += fmt::format(".{}", step);
  }
  std::string out = fmt::format("KIND:       {}\nVERSION:    {}\n", kind->kind, kind->api_version());
  if (!path.empty()) out += fmt::format("FIELD:      {} <{}>\n", path.substr(1), type_word(*schema));
  const auto description = path.empty() ? std::string_view(kind->doc) : get_string(*schema, "description");
  out += fmt::format("\nDESCRIPTION:\n    {}\n", description);
  return out + field_lines(*schema);
}

Task<Result<int>> run_explain(Session& session, ExplainOptions options) {
  NEAP_CO_TRY(auto target, parse_target(options.word));
  const auto name = short_name(*target.kind, target.name);
  NEAP_CO_TRY(const auto explanation, co_await fetch_explanation(session, std::move(target)));
  if (!options.output.empty()) {
    session.print(structured_text(explanation, options.output));
    co_return 0;
  }
  std::vector<const Json*> decisions;
  collect_decisions(explanation, decisions);
  // An answer of a newer server in another shape is still better shown than hidden.
  if (decisions.empty()) {
    session.print(printable(structured_text(explanation, "yaml"), true));
    co_return 0;
  }
  std::string out;
  for (const auto* decision : decisions) {
    if (!out.empty()) out += "\n";
    out += decisions.size() == 1 ? fmt::format("{}: ", name)
                                 : fmt::format("{} [{}]: ", name, get_string(*decision, "request"));
    out += printable(scheduler::render_explanation(*decision), true);
    out += printable(co_await fetch_queue_line(session, *decision), true);
  }
  session.print(out);
  co_return 0;
}

}  // namespace neap::cli
