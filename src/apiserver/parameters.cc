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

// True, and what to send beside each row, when the client prefers a Table.
bool wants_table(std::string_view accept) {
  const auto first = accept.substr(0, accept.find(','));
  return first.find("as=Table") != std::string_view::npos &&
         first.find("g=meta.k8s.io") != std::string_view::npos;
}

std::string default_manager(std::string_view user_agent) {
  const auto name = user_agent.substr(0, user_agent.find('/'));
  return name.empty() ? "unknown" : std::string(name.substr(0, 128));
}

}  // namespace

Result<Parameters> parse_parameters(const io::HttpRequest& request) {
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
  if (wants_table(request.headers.get("Accept"))) {
    const auto include = request.query_value("includeObject");
    out.table = include.empty() ? std::string("Metadata") : std::string(include);
  }
  return out;
}

}  // namespace neap::apiserver
