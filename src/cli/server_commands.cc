// Commands about the server itself: version, check, join tokens, console, logs, models.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "internal/code_archive.h"
#include "internal/commands.h"
#include "internal/output.h"
#include "neap/base/task_group.h"

namespace neap::cli {
namespace {

#ifndef NEAP_VERSION
#define NEAP_VERSION "0.1.0"
#endif

constexpr Duration kPullTimeout = 30min;
constexpr double kSkewSecondsMax = 5;
constexpr std::size_t kLineBytesMax = 1u << 20;

// RFC 9110 IMF-fixdate: "Sun, 22 Nov 2026 22:01:02 GMT".
std::optional<WallTime> parse_http_date(std::string_view text) {
  static constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != 29) return std::nullopt;
  const auto month = std::ranges::find(kMonths, text.substr(8, 3));
  if (month == kMonths.end()) return std::nullopt;
  const auto parsed =
      parse_rfc3339(fmt::format("{}-{:02}-{}T{}Z", text.substr(12, 4), month - kMonths.begin() + 1,
                                text.substr(5, 2), text.substr(17, 8)));
  return parsed ? std::optional(*parsed) : std::nullopt;
}

Task<Result<io::HttpResponse>> ask(Session& session, std::string target, CallContext call) {
  io::HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  co_return co_await session.client().raw(std::move(call), std::move(request));
}

std::string show(Session& session, std::string_view text) {
  return session.io().is_terminal ? printable(text, true) : std::string(text);
}

// Prints whole lines as they come, each behind `prefix`; what is left at the end as a line of its own.
Task<Status> print_log(Session& session, CallContext ctx, std::string allocation, std::string prefix,
                       LogsOptions options) {
  io::HttpRequest request;
  request.method = "GET";
  request.target =
      client::target_of({"neap.dev", "v1", "allocations", session.namespace_name(), allocation, "log"});
  const auto what = "GET " + request.target;
  request.target += fmt::format("?follow={}", options.follow);
  if (options.tail > 0) request.target += fmt::format("&tailLines={}", options.tail);
  auto reply = co_await session.client().open(ctx, std::move(request));
  if (!reply) co_return fail(std::move(reply).error(), what);
  if ((*reply)->status() >= 400) {
    io::HttpResponse refused{.status = (*reply)->status(), .headers = (*reply)->headers(), .body = {}};
    NEAP_CO_TRY(refused.body, co_await (*reply)->body().read_all(ctx, 1u << 20));
    co_return fail(error_of_reply(refused), what);
  }
  std::string text;
  const auto print_lines = [&](std::size_t end) {
    std::string out;
    for (std::size_t at = 0; at < end;) {
      const auto next = std::min(text.find('\n', at), end - 1) + 1;
      out += prefix + show(session, std::string_view(text).substr(at, next - at));
      at = next;
    }
    session.print(out);
    text.erase(0, end);
  };
  for (;;) {
    const auto n = co_await (*reply)->body().read_some(ctx, text);
    if (!n) co_return fail(n.error(), what);
    if (*n == 0) break;
    // A line without end must not be kept for ever.
    const auto end = text.size() > kLineBytesMax ? text.size() - 1 : text.rfind('\n');
    if (end != std::string::npos) print_lines(end + 1);
  }
  if (!text.empty()) {
    text += '\n';
    print_lines(text.size());
  }
  co_return ok();
}

// All at once, each line with its allocation's name. The first that fails ends none of the others.
Task<Result<int>> follow_all(Session& session, std::vector<std::string> allocations, LogsOptions options) {
  TaskGroup group(session.runtime().executor());
  Notifier ended(session.runtime().executor());
  std::optional<Error> trouble;
  std::size_t running = allocations.size();
  for (const auto& name : allocations)
    group.spawn([](Session& s, std::string allocation, LogsOptions o, std::optional<Error>& first,
                   std::size_t& left, Notifier& done) -> Task<void> {
      const auto status = co_await print_log(s, s.call(), allocation, fmt::format("[{}] ", allocation), o);
      if (!status && !first) first = status.error();
      --left;
      done.notify_all();
    }(session, name, options, trouble, running, ended));
  while (running > 0) (void)co_await ended.wait({}, ended.generation());
  co_await group.stop();
  if (trouble) co_return fail(*std::move(trouble));
  co_return 0;
}

}  // namespace

Task<Result<int>> run_version(Session& session, VersionOptions options) {
  JsonObject out{{"clientVersion", JsonObject{{"gitVersion", "v" NEAP_VERSION}}}};
  std::optional<Error> trouble;
  if (!options.client_only) {
    if (auto opened = session.open(); !opened) {
      trouble = std::move(opened).error();
    } else {
      auto server = co_await session.fetch("GET", "/version");
      if (server)
        out["serverVersion"] = *std::move(server);
      else
        trouble = std::move(server).error();
    }
  }
  if (!options.output.empty()) {
    session.print(structured_text(Json(out), options.output));
  } else {
    session.print("Client Version: v" NEAP_VERSION "\n");
    if (const auto* server = out.if_contains("serverVersion"))
      session.print(fmt::format("Server Version: {}\n", printable(get_string(*server, "gitVersion"))));
  }
  if (!trouble) co_return 0;
  co_return fail(*std::move(trouble));
}

Task<Result<int>> run_create_join_token(Session& session, JoinTokenOptions options) {
  NEAP_CO_TRY_VOID([&]() -> Status {
    auto parsed = parse_duration(options.ttl);
    return parsed ? ok() : fail(std::move(parsed).error(), "--ttl");
  }());
  const Json body = JsonObject{{"node", options.node},
                               {"site", options.site},
                               {"capacityType", options.capacity_type},
                               {"ttl", options.ttl}};
  NEAP_CO_TRY(const auto answer, co_await session.fetch("POST", "/neap/v1/join-tokens", body));
  const auto token = get_string(answer, "token");
  if (token.empty())
    co_return fail(Code::kDataLoss, "cli.reply",
                   "the server's answer holds no token; is it a Neap server of this version?");
  session.print(options.output.empty() ? fmt::format("{}\n", printable(token))
                                       : structured_text(answer, options.output));
  co_return 0;
}

Task<Result<int>> run_console(Session& session, PlainOptions options) {
  NEAP_CO_TRY(const auto answer, co_await session.fetch("POST", "/neap/v1/console-codes", JsonObject{}));
  const auto url = get_string(answer, "url");
  if (url.empty())
    co_return fail(Code::kDataLoss, "cli.reply",
                   "the server's answer holds no url; is it a Neap server of this version?");
  session.print(options.output.empty() ? fmt::format("{}\n", printable(url))
                                       : structured_text(answer, options.output));
  co_return 0;
}

Task<Result<int>> run_check(Session& session, PlainOptions options) {
  std::vector<std::vector<std::string>> rows{{"CHECK", "RESULT", "FOUND"}};
  JsonArray items;
  int failures = 0;
  const auto add = [&](std::string_view what, bool holds, std::string found) {
    rows.push_back({std::string(what), holds ? "ok" : "FAILED", printable(found)});
    items.push_back(JsonObject{{"check", boost::json::string(what)}, {"ok", holds}, {"found", found}});
    failures += holds ? 0 : 1;
  };
  add("kubeconfig", true, fmt::format("{}, server {}", session.kubeconfig_path(), session.access().server));
  const auto before = session.now();
  const auto ready = co_await ask(session, "/readyz", session.call());
  const auto middle = before + (session.now() - before) / 2;
  if (!ready) {
    add("server ready", false, ready.error().message);
  } else {
    add("server ready", ready->status == 200,
        ready->status == 200 ? "yes"
                             : fmt::format("HTTP status {}: {}", ready->status, ready->body.substr(0, 200)));
    if (const auto date = parse_http_date(ready->headers.get("Date"))) {
      // The header has whole seconds: half of one is its mean error.
      const double skew = to_seconds(*date + 500ms - middle);
      add("clock", std::abs(skew) <= kSkewSecondsMax,
          fmt::format("the server is {:.1f} s {} this machine", std::abs(skew),
                      skew < 0 ? "behind" : "ahead of"));
    }
    const auto version = co_await session.fetch("GET", "/version");
    add("version", version.has_value(),
        version ? fmt::format("server {}, client v" NEAP_VERSION, get_string(*version, "gitVersion"))
                : version.error().message);
    const auto sites =
        co_await session.client().list(session.call(), {"neap.dev", "v1", "sites", "", "", ""}, {.limit = 1});
    add("credentials", sites.has_value(), sites ? "accepted" : sites.error().message);
  }
  session.print(options.output.empty()
                    ? render_table(rows)
                    : structured_text(JsonObject{{"checks", std::move(items)}}, options.output));
  co_return failures == 0 ? 0 : 1;
}

Task<Result<int>> run_logs(Session& session, LogsOptions options) {
  NEAP_CO_TRY(auto target,
              parse_target(options.word.find('/') == std::string::npos ? "allocation/" + options.word
                                                                       : options.word));
  const auto ns = session.namespace_name();
  std::vector<std::string> allocations;
  if (target.kind->kind == "Allocation") {
    allocations.push_back(target.name);
  } else {
    NEAP_CO_TRY(const auto list,
                co_await fetch_list(session, {"neap.dev", "v1", "allocations", ns, "", ""}, {}));
    for (const auto& item : list.at("items").as_array())
      if (const auto* spec = find_path(item, {"spec"}))
        if (get_string(*spec, "ownerKind") == target.kind->kind &&
            get_string(*spec, "ownerName") == target.name)
          allocations.emplace_back(get_string(item.at("metadata"), "name"));
    if (allocations.empty())
      co_return fail(
          Code::kNotFound, "cli.logs.absent",
          fmt::format("{} has no allocation, so nothing wrote a log yet; see `neap explain {}`",
                      short_name(*target.kind, target.name), short_name(*target.kind, target.name)));
  }
  const bool is_one = allocations.size() == 1;
  if (options.follow && !is_one) co_return co_await follow_all(session, std::move(allocations), options);
  for (const auto& name : allocations) {
    if (!is_one) session.print(fmt::format("==> {} <==\n", name));
    NEAP_CO_TRY_VOID(co_await print_log(session, session.call(), name, {}, options));
  }
  co_return 0;
}

Task<Result<int>> run_model_list(Session& session, PlainOptions options) {
  GetOptions get;
  get.words = {"modelversions"};
  get.output = options.output;
  co_return co_await run_get(session, std::move(get));
}

namespace {

struct Reference {
  std::string repository, tag;
};
Reference parse_reference(const std::string& text) {
  if (const auto at = text.find('@'); at != std::string::npos)
    return {text.substr(0, at), text.substr(at + 1)};
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || text.find('/', colon) != std::string::npos) return {text, "latest"};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// A layer's title becomes a file name: one path segment that is neither hidden nor a way out.
Result<std::string> file_name_of(const Json& layer) {
  const auto* annotations = find_path(layer, {"annotations"});
  std::string title(annotations ? get_string(*annotations, "org.opencontainers.image.title")
                                : std::string_view{});
  const auto digest = get_string(layer, "digest");
  const auto hex = digest.substr(std::min(digest.size(), std::string_view("sha256:").size()));
  if (!digest.starts_with("sha256:") || hex.size() != 64 ||
      hex.find_first_not_of("0123456789abcdef") != hex.npos)
    return fail(
        Code::kInvalidArgument, "cli.pull.digest",
        fmt::format("the manifest names \"{}\" as a layer's digest; do not trust this model", digest));
  if (title.empty()) title = hex.substr(0, 12);
  const bool is_plain = title.find_first_of("/\\") == std::string::npos && !title.starts_with('.') &&
                        title.size() <= 200 && printable(title) == title;
  if (!is_plain)
    return fail(
        Code::kInvalidArgument, "cli.pull.name",
        fmt::format("the manifest names a layer \"{}\", which is no plain file name; do not trust this model",
                    title));
  return title;
}

Task<Result<std::string>> fetch_verified(Session& session, std::string target, std::string digest) {
  const auto call = session.call().with_deadline(session.runtime().executor().now() + kPullTimeout);
  auto reply = co_await ask(session, target, call);
  if (!reply) co_return fail(std::move(reply).error(), "GET " + target);
  if (reply->status >= 400) co_return fail(error_of_reply(*reply), "GET " + target);
  if (!digest.empty()) {
    NEAP_CO_TRY(const auto found, co_await session.runtime().offload(
                                      [&] { return Result<std::string>(sha256_digest(reply->body)); }));
    if (found != digest)
      co_return fail(Code::kDataLoss, "cli.pull.digest",
                     fmt::format("the registry sent {} where {} was asked for; pull again, and check the "
                                 "registry if it stays so",
                                 found, digest));
  }
  co_return std::move(reply->body);
}

}  // namespace

Task<Result<int>> run_model_pull(Session& session, PullOptions options) {
  const auto reference = parse_reference(options.reference);
  const auto base = fmt::format("/v2/{}", reference.repository);
  NEAP_CO_TRY(
      const auto text,
      co_await fetch_verified(session, fmt::format("{}/manifests/{}", base, io::url_encode(reference.tag)),
                              reference.tag.starts_with("sha256:") ? reference.tag : std::string()));
  NEAP_CO_TRY(const auto manifest, parse_json(text));
  const auto* layers = find_path(manifest, {"layers"});
  if (!layers || !layers->is_array())
    co_return fail(Code::kInvalidArgument, "cli.pull.manifest",
                   fmt::format("{} is no image manifest; name a model version", options.reference));
  NEAP_CO_TRY_VOID(session.runtime().files().make_directories(options.directory));
  for (const auto& layer : layers->get_array()) {
    NEAP_CO_TRY(const auto name, file_name_of(layer));
    const std::string digest(get_string(layer, "digest"));
    NEAP_CO_TRY(const auto bytes,
                co_await fetch_verified(session, fmt::format("{}/blobs/{}", base, digest), digest));
    NEAP_CO_TRY_VOID(session.runtime().files().write_file_atomic(options.directory + "/" + name, bytes));
    session.print(fmt::format("{}/{} {} {}\n", options.directory, name,
                              bytes_text(std::int64_t(bytes.size())), digest));
  }
  co_return 0;
}

}  // namespace neap::cli
