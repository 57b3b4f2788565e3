#include <fmt/format.h>

#include <charconv>

#include "internal/front.h"

namespace neap::apiserver {
namespace {

Result<bool> read_bool(const io::HttpRequest& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (text.empty() || text == "false" || text == "0") return false;
  if (text == "true" || text == "1") return true;
  return bad_request("api.query.bool", fmt::format("the query parameter {} must be true or false", name));
}

Result<std::int64_t> read_number(const io::HttpRequest& request, std::string_view name) {
  const auto text = request.query_value(name);
  std::int64_t out = 0;
  if (text.empty()) return out;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0)
    return bad_request("api.query.number",
                       fmt::format("the query parameter {} must be a whole number", name));
  return out;
}

// What a client takes as an answer.
enum class Form { kNone, kObject, kTable, kPartial };

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

// One media range of an Accept header (RFC 9110, 12.5.1), with Kubernetes' parameters `as`, `g` and `v`. Who
// takes protobuf or YAML takes JSON, too, but rather in the form it asks for beside it.
Form form_of_range(std::string_view range, bool& takes_other) {
  auto rest = range;
  const auto next = [&rest](char separator) {
    const auto at = rest.find(separator);
    const auto piece = trimmed(rest.substr(0, at));
    rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
    return piece;
  };
  const auto type = next(';');
  std::string_view as, group, version;
  while (!rest.empty()) {
    const auto parameter = next(';');
    if (parameter.starts_with("as=")) as = parameter.substr(3);
    if (parameter.starts_with("g=")) group = parameter.substr(2);
    if (parameter.starts_with("v=")) version = parameter.substr(2);
  }
  const bool is_json = type == "application/json" || type == "application/*" || type == "*/*" || type == "*";
  if (as.empty() && (type == "application/yaml" || type == "application/vnd.kubernetes.protobuf"))
    takes_other = true;
  if (!is_json) return Form::kNone;
  if (as.empty()) return Form::kObject;
  if (group != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) return Form::kNone;
  if (as == "Table") return Form::kTable;
  return as == "PartialObjectMetadata" || as == "PartialObjectMetadataList" ? Form::kPartial : Form::kNone;
}

Form form_of(std::string_view accept) {
  if (trimmed(accept).empty()) return Form::kObject;
  bool takes_other = false;
  while (!accept.empty()) {
    const auto comma = accept.find(',');
    if (const auto form = form_of_range(accept.substr(0, comma), takes_other); form != Form::kNone)
      return form;
    accept = comma == std::string_view::npos ? std::string_view() : accept.substr(comma + 1);
  }
  return takes_other ? Form::kObject : Form::kNone;
}

std::unexpected<Failure> not_acceptable() {
  Failure out(Error{Code::kInvalidArgument,
                    "api.not_acceptable",
                    "only the following media types are accepted: application/json, also as Table, "
                    "PartialObjectMetadata or PartialObjectMetadataList of meta.k8s.io/v1",
                    {}});
  out.http = 406;
  out.status_reason = "NotAcceptable";
  return std::unexpected(std::move(out));
}

std::string default_manager(std::string_view user_agent) {
  const auto name = user_agent.substr(0, user_agent.find('/'));
  return name.empty() ? "unknown" : std::string(name.substr(0, 128));
}

}  // namespace

Outcome<Parameters> parse_parameters(const io::HttpRequest& request) {
  Parameters out;
  out.label_selector = request.query_value("labelSelector");
  out.field_selector = request.query_value("fieldSelector");
  out.continue_token = request.query_value("continue");
  out.resource_version = request.query_value("resourceVersion");
  out.resource_version_match = request.query_value("resourceVersionMatch");
  NEAP_TRY(out.limit, read_number(request, "limit"));
  NEAP_TRY(out.timeout_seconds, read_number(request, "timeoutSeconds"));
  NEAP_TRY(out.allow_bookmarks, read_bool(request, "allowWatchBookmarks"));
  NEAP_TRY(out.force, read_bool(request, "force"));
  if (request.has_query("sendInitialEvents")) {
    NEAP_TRY(const bool send, read_bool(request, "sendInitialEvents"));
    out.send_initial_events = send;
  }
  if (request.has_query("dryRun")) {
    const auto text = request.query_value("dryRun");
    if (text != "All")
      return bad_request("api.query.dry_run", "Invalid value for dryRun: only \"All\" is supported");
    out.dry_run = true;
  }
  if (const auto match = out.resource_version_match;
      !match.empty() && match != "Exact" && match != "NotOlderThan")
    return bad_request("api.query.match",
                       "resourceVersionMatch: Unsupported value: must be Exact or NotOlderThan");
  const auto validation = request.query_value("fieldValidation");
  if (validation == "Strict")
    out.strictness = api::Strictness::kStrict;
  else if (validation == "Ignore")
    out.strictness = api::Strictness::kIgnore;
  else if (!validation.empty() && validation != "Warn")
    return bad_request("api.query.validation",
                       "fieldValidation: Unsupported value: must be Strict, Warn or Ignore");
  out.field_manager = request.query_value("fieldManager");
  if (out.field_manager.size() > 128)
    return bad_request("api.query.manager", "fieldManager may have at most 128 bytes");
  if (out.field_manager.empty() &&
      request.headers.get("Content-Type").find("apply-patch") == std::string_view::npos)
    out.field_manager = default_manager(request.headers.get("User-Agent"));
  // Neap's own parts all write as "neap": ownership among them says nothing and would double small objects.
  out.keeps_managers = !request.query_value("fieldManager").empty() && out.field_manager != "neap";
  switch (form_of(request.headers.get("Accept"))) {
    case Form::kNone:
      return not_acceptable();
    case Form::kTable: {
      const auto include = request.query_value("includeObject");
      out.table = include.empty() ? std::string("Metadata") : std::string(include);
      break;
    }
    case Form::kPartial:
      out.partial = true;
      break;
    case Form::kObject:
      break;
  }
  return out;
}

}  // namespace neap::apiserver
