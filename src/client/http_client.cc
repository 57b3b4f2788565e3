#include "neap/client/http_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "neap/api/codec.h"

namespace neap::client {
namespace {

constexpr std::string_view kJson = "application/json";

class Query {
 public:
  void add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    text_ += text_.empty() ? '?' : '&';
    text_ += fmt::format("{}={}", name, io::url_encode(value));
  }
  void add(const ListOptions& options) {
    add("labelSelector", options.label_selector);
    add("fieldSelector", options.field_selector);
    add("continue", options.continue_token);
    if (options.limit > 0) add("limit", std::to_string(options.limit));
  }
  void add(const WriteOptions& options) {
    add("fieldManager", options.field_manager);
    if (options.dry_run) add("dryRun", "All");
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

Error error_of_reply(int status, std::string_view body) {
  const auto json = parse_json(body);
  return api::error_of_status(json ? *json : Json(), status);
}

bool is_warning(std::string_view header) {
  constexpr std::string_view kName = "warning";
  return std::ranges::equal(header, kName, {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
}

// What stands in the quotes of `299 - "text"`; the whole value where it has none. Control characters, which a
// terminal would obey, become spaces.
std::string warning_text(std::string_view value) {
  const auto open = value.find('"');
  const bool is_quoted = open != std::string_view::npos;
  if (is_quoted) value.remove_prefix(open + 1);
  std::string out;
  for (std::size_t i = 0; i < value.size() && !(is_quoted && value[i] == '"'); ++i) {
    if (is_quoted && value[i] == '\\' && i + 1 < value.size()) ++i;
    out += std::uint8_t(value[i]) < 0x20 || value[i] == 0x7f ? ' ' : value[i];
  }
  return out;
}

// A busy server is asked so often again; longer than this it is not waited for in one call.
constexpr int kBusyMax = 8;
constexpr Duration kBusyWaitMax = 30s;

// How long a server that has begun nothing asks to be left alone: RFC 9110, 10.2.3, in seconds (as a date it
// is never sent with 429 by what Neap calls). Absent: it does not say.
std::optional<Duration> busy_for(int status, const io::Headers& headers) {
  if (status != 429) return {};
  const auto text = headers.get("Retry-After");
  int seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0) return {};
  return std::chrono::seconds(seconds);
}

// Waits as long as was asked, and up to a quarter longer, so that those who were sent away together do not
// come back together. False where the call ends before that, or waited often enough.
Task<bool> wait_while_busy(io::Runtime& runtime, const CallContext& ctx, std::optional<Duration> asked,
                           int& waits) {
  if (!asked || *asked > kBusyWaitMax || ++waits > kBusyMax) co_return false;
  const auto wait =
      *asked + Duration(std::int64_t(runtime.random().below(std::uint64_t(asked->count() / 4 + 1))));
  if (ctx.deadline && runtime.executor().now() + wait >= *ctx.deadline) co_return false;
  co_return (co_await sleep_for(runtime.executor(), ctx, wait)).has_value();
}

// Reads a stream of JSON objects, one a line.
class HttpWatchStream : public WatchStream {
 public:
  HttpWatchStream(std::shared_ptr<io::HttpClient> http, std::unique_ptr<io::HttpResponseStream> reply,
                  std::size_t event_bytes_max)
      : http_(std::move(http)), reply_(std::move(reply)), event_bytes_max_(event_bytes_max) {}

  Task<Result<std::optional<WatchEvent>>> next(CallContext ctx) override {
    for (;;) {
      const auto end = buffer_.find('\n', scanned_);
      if (end != std::string::npos) {
        const std::string line = buffer_.substr(first_, end - first_);
        first_ = scanned_ = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        co_return event_of(line);
      }
      scanned_ = buffer_.size();
      if (buffer_.size() - first_ > event_bytes_max_)
        co_return fail(
            Code::kResourceExhausted, "client.watch.event_too_large",
            fmt::format("a watch event is larger than {} bytes; the watch was ended", event_bytes_max_));
      buffer_.erase(0, first_);
      scanned_ -= first_;
      first_ = 0;
      NEAP_CO_TRY(const auto got, co_await reply_->body().read_some(ctx, buffer_));
      if (got > 0) continue;
      if (buffer_.find_first_not_of(" \t\r\n") == std::string::npos) co_return std::optional<WatchEvent>{};
      buffer_ += '\n';  // a last line without its end
    }
  }

 private:
  Result<std::optional<WatchEvent>> event_of(std::string_view line) const {
    NEAP_TRY(Json event, parse_json(line, {.bytes_max = event_bytes_max_}));
    const auto type = get_string(event, "type");
    Json* object = event.is_object() ? event.get_object().if_contains("object") : nullptr;
    if (!object || !object->is_object())
      return fail(Code::kDataLoss, "client.watch.format",
                  "the server sent a watch event without an object; is it an API server?");
    if (type == "ERROR")
      return std::unexpected(api::error_of_status(*object, int(get_int(*object, "code", 500))));
    WatchEvent out;
    if (type == "ADDED")
      out.type = WatchEvent::Type::kAdded;
    else if (type == "MODIFIED")
      out.type = WatchEvent::Type::kModified;
    else if (type == "DELETED")
      out.type = WatchEvent::Type::kDeleted;
    else if (type == "BOOKMARK")
      out.type = WatchEvent::Type::kBookmark;
    else
      return fail(Code::kDataLoss, "client.watch.format",
                  fmt::format("the server sent a watch event of the unknown type \"{}\"", type));
    out.object = std::move(*object);
    return std::optional<WatchEvent>(std::move(out));
  }

  std::shared_ptr<io::HttpClient> http_;  // the reply reads from its connection
  std::unique_ptr<io::HttpResponseStream> reply_;
  std::size_t event_bytes_max_;
  std::string buffer_;
  std::size_t first_ = 0, scanned_ = 0;
};

}  // namespace

std::string target_of(const ResourcePath& path) {
  std::string out = path.group.empty() ? fmt::format("/api/{}", io::url_encode(path.version))
                                       : fmt::format("/apis/{}/{}", io::url_encode(path.group),
                                                     io::url_encode(path.version));
  if (!path.namespace_.empty()) out += fmt::format("/namespaces/{}", io::url_encode(path.namespace_));
  for (const auto* part : {&path.plural, &path.name, &path.subresource})
    if (!part->empty()) out += fmt::format("/{}", io::url_encode(*part));
  return out;
}

HttpResourceClient::HttpResourceClient(io::Runtime& runtime, io::Endpoint endpoint,
                                       io::HttpClientOptions http, std::string token,
                                       HttpResourceClientOptions options)
    : runtime_(runtime), token_(std::move(token)), options_(std::move(options)) {
  http.limits.body_bytes_max = options_.reply_bytes_max;
  http_ = std::make_shared<io::HttpClient>(runtime, std::move(endpoint), std::move(http));
}
HttpResourceClient::~HttpResourceClient() = default;

void HttpResourceClient::set_token(std::string token) { token_ = std::move(token); }

io::HttpRequest HttpResourceClient::request(std::string_view method, std::string target) const {
  io::HttpRequest out;
  out.method = method;
  out.target = std::move(target);
  out.headers.set("Accept", std::string(kJson));
  out.headers.set("User-Agent", options_.user_agent);
  if (!token_.empty()) out.headers.set("Authorization", "Bearer " + token_);
  return out;
}

Task<Result<io::HttpResponse>> HttpResourceClient::raw(CallContext ctx, io::HttpRequest message) {
  if (!token_.empty() && !message.headers.has("Authorization"))
    message.headers.set("Authorization", "Bearer " + token_);
  if (!ctx.deadline) ctx = ctx.with_deadline(runtime_.executor().now() + options_.call_timeout);
  const auto http = http_;  // lives as long as the call, whatever becomes of this
  co_return co_await http->call(std::move(ctx), std::move(message));
}

Task<Result<std::unique_ptr<io::HttpResponseStream>>> HttpResourceClient::open(CallContext ctx,
                                                                               io::HttpRequest message) {
  if (!token_.empty() && !message.headers.has("Authorization"))
    message.headers.set("Authorization", "Bearer " + token_);
  const auto http = http_;
  co_return co_await http->open(std::move(ctx), std::move(message));
}

Task<Result<Json>> HttpResourceClient::call(CallContext ctx, io::HttpRequest message) {
  const std::string what = message.method + " " + message.target.substr(0, message.target.find('?'));
  const auto bytes_max = options_.reply_bytes_max;
  if (!ctx.deadline) ctx = ctx.with_deadline(runtime_.executor().now() + options_.call_timeout);
  auto& runtime = runtime_;
  const auto http = http_;  // lives as long as the call, whatever becomes of this
  auto reply = co_await http->call(ctx, message);
  for (int waits = 0;
       reply && co_await wait_while_busy(runtime, ctx, busy_for(reply->status, reply->headers), waits);)
    reply = co_await http->call(ctx, message);
  if (!reply) co_return fail(std::move(reply).error(), what);
  if (reply->status >= 400) co_return fail(error_of_reply(reply->status, reply->body), what);
  if (options_.on_warning)
    for (const auto& [name, value] : reply->headers.all())
      if (is_warning(name)) options_.on_warning(warning_text(value));
  auto json = parse_json(reply->body, {.bytes_max = bytes_max});
  if (!json)
    co_return fail(Error{Code::kDataLoss,
                         "client.reply.format",
                         "the server's reply is not JSON; is it an API server? " + json.error().message,
                         {}},
                   what);
  co_return std::move(*json);
}

Task<Result<Json>> HttpResourceClient::get(CallContext ctx, ResourcePath path) {
  co_return co_await call(std::move(ctx), request("GET", target_of(path)));
}
Task<Result<Json>> HttpResourceClient::list(CallContext ctx, ResourcePath path, ListOptions options) {
  Query query;
  query.add(options);
  path.name.clear();
  co_return co_await call(std::move(ctx), request("GET", target_of(path) + query.text()));
}
Task<Result<Json>> HttpResourceClient::create(CallContext ctx, ResourcePath path, Json object,
                                              WriteOptions options) {
  Query query;
  query.add(options);
  if (path.subresource.empty()) path.name.clear();
  auto message = request("POST", target_of(path) + query.text());
  message.headers.set("Content-Type", std::string(kJson));
  message.body = to_text(object);
  co_return co_await call(std::move(ctx), std::move(message));
}
Task<Result<Json>> HttpResourceClient::update(CallContext ctx, ResourcePath path, Json object,
                                              WriteOptions options) {
  Query query;
  query.add(options);
  auto message = request("PUT", target_of(path) + query.text());
  message.headers.set("Content-Type", std::string(kJson));
  message.body = to_text(object);
  co_return co_await call(std::move(ctx), std::move(message));
}
Task<Result<Json>> HttpResourceClient::patch(CallContext ctx, ResourcePath path, PatchType type, Json patch,
                                             WriteOptions options) {
  Query query;
  query.add(options);
  if (type == PatchType::kApply) query.add("force", "true");
  auto message = request("PATCH", target_of(path) + query.text());
  message.headers.set("Content-Type", type == PatchType::kMerge  ? "application/merge-patch+json"
                                      : type == PatchType::kJson ? "application/json-patch+json"
                                                                 : "application/apply-patch+yaml");
  message.body = to_text(patch);
  co_return co_await call(std::move(ctx), std::move(message));
}
Task<Result<Json>> HttpResourceClient::remove(CallContext ctx, ResourcePath path, WriteOptions options) {
  Query query;
  if (options.dry_run) query.add("dryRun", "All");
  co_return co_await call(std::move(ctx), request("DELETE", target_of(path) + query.text()));
}

Task<Result<std::unique_ptr<WatchStream>>> HttpResourceClient::watch(CallContext ctx, ResourcePath path,
                                                                     ListOptions options,
                                                                     std::string resource_version) {
  Query query;
  query.add("watch", "true");
  query.add("allowWatchBookmarks", "true");
  query.add("resourceVersion", resource_version);
  query.add("labelSelector", options.label_selector);
  query.add("fieldSelector", options.field_selector);
  path.name.clear();
  const auto http = http_;
  const auto event_bytes_max = options_.event_bytes_max;
  const auto bytes_max = options_.reply_bytes_max;
  const auto message = request("GET", target_of(path) + query.text());
  auto& runtime = runtime_;
  NEAP_CO_TRY(auto reply, co_await http->open(ctx, message));
  for (int waits = 0;
       co_await wait_while_busy(runtime, ctx, busy_for(reply->status(), reply->headers()), waits);) {
    NEAP_CO_TRY(auto again, co_await http->open(ctx, message));
    reply = std::move(again);
  }
  if (reply->status() >= 400) {
    auto body = co_await reply->body().read_all(ctx, bytes_max);
    co_return std::unexpected(error_of_reply(reply->status(), body ? *body : std::string()));
  }
  co_return std::unique_ptr<WatchStream>(
      std::make_unique<HttpWatchStream>(http, std::move(reply), event_bytes_max));
}

}  // namespace neap::client
