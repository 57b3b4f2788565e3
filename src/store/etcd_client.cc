#include "internal/etcd_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace neap::store::internal {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
// Above etcd's own limit on a proposal (5 s and two elections), so that its answer comes first.
constexpr Duration kAttemptTimeout = 10s;
// In base64: a page of a list; a fragment of a watch, with the values that were replaced.
constexpr std::size_t kReplyBytesMax = 24u << 20;
constexpr std::size_t kWatchReplyBytesMax = 64u << 20;

std::unexpected<Error> bad_reply(std::string_view what) {
  return fail(Code::kDataLoss, "store.etcd.reply",
              fmt::format("etcd answered with {}, which it never does; is there a proxy in between?", what));
}

// What etcd says in words only: its gateway gives every error of the server the same HTTP status.
std::unexpected<Error> etcd_refused(std::string_view message) {
  if (message.contains("has been compacted"))
    return fail(Code::kOutOfRange, "store.etcd.compacted", std::string(message));
  if (message.contains("future revision"))
    return fail(Code::kOutOfRange, "store.etcd.future", std::string(message));
  if (message.contains("too many operations"))
    return fail(
        Code::kInvalidArgument, "store.etcd.limit",
        fmt::format("etcd refused a commit ({}); start etcd with --max-txn-ops={}", message, kCommitOpsMax));
  if (message.contains("too large") || message.contains("larger than max"))
    return fail(
        Code::kInvalidArgument, "store.etcd.limit",
        fmt::format("etcd refused a commit ({}); start etcd with a larger --max-request-bytes (up to {} is "
                    "of use)",
                    message, 2 * kCommitBytesMax));
  if (message.contains("database space exceeded"))
    return fail(
        Code::kResourceExhausted, "store.disk.full",
        fmt::format("etcd has no space left and nothing was written ({}); compact and defragment it or raise "
                    "--quota-backend-bytes, then `etcdctl alarm disarm`",
                    message));
  return fail(Code::kUnavailable, "store.etcd.refused",
              fmt::format("etcd refused a call: {}; look at its log", message));
}
// Another endpoint, or the same one later, may answer.
bool is_of_transport(const Error& error) {
  return error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded;
}
// Said before the proposal went into the log.
bool is_before_proposal(std::string_view message) {
  return message.contains("no leader") || message.contains("not capable") ||
         message.contains("too many requests");
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 3; ++i) word = word << 8 | (i < count ? std::uint8_t(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) out += i <= count ? kAlphabet[word >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

Result<std::string> from_base64(std::string_view text) {
  static const auto kValues = [] {
    std::array<std::int8_t, 256> out{};
    out.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) out[std::uint8_t(kAlphabet[i])] = std::int8_t(i);
    return out;
  }();
  if (text.size() % 4 != 0) return bad_reply("broken base64");
  std::string out;
  out.reserve(text.size() / 4 * 3);
  while (text.ends_with('=') && text.size() % 4 != 2) text.remove_suffix(1);
  std::uint32_t word = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const int value = kValues[std::uint8_t(text[at])];
    if (value < 0) return bad_reply("broken base64");
    word = word << 6 | std::uint32_t(value);
    if (at % 4 == 1) out += char(std::uint8_t(word >> 4));
    if (at % 4 == 2) out += char(std::uint8_t(word >> 2));
    if (at % 4 == 3) out += char(std::uint8_t(word));
  }
  return out;
}

std::uint64_t number_of(const Json& object, std::string_view field) {
  const auto text = get_string(object, field, "0");
  std::uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

Task<Result<Json>> EtcdWatchReplies::next(CallContext ctx) {
  for (;;) {
    const auto end = buffer_.find('\n', searched_);
    if (end != std::string::npos) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      searched_ = 0;
      if (line.empty()) continue;
      NEAP_CO_TRY(auto reply, parse_json(line, {.bytes_max = kWatchReplyBytesMax}));
      if (const auto* result = find_path(reply, {"result"})) {
        Json out = *result;
        co_return out;
      }
      const auto* error = find_path(reply, {"error"});
      co_return etcd_refused(error && error->is_object() ? get_string(*error, "message", "a broken watch")
                                                         : get_string(reply, "error", "a broken watch"));
    }
    searched_ = buffer_.size();
    if (buffer_.size() > kWatchReplyBytesMax) co_return bad_reply("a watch reply above 64 MiB");
    NEAP_CO_TRY(const auto got, co_await stream_->body().read_some(ctx, buffer_));
    if (got == 0) co_return fail(Code::kUnavailable, "store.etcd.unreachable", "etcd ended a watch");
  }
}

Result<std::unique_ptr<EtcdClient>> EtcdClient::create(io::Runtime& runtime,
                                                       const std::vector<std::string>& urls,
                                                       io::TlsClientOptions tls) {
  const auto bad = [](std::string_view url) {
    return fail(Code::kInvalidArgument, "store.etcd.endpoint",
                fmt::format("\"{}\" is no etcd endpoint; give http://HOST:PORT or https://HOST:PORT", url));
  };
  if (urls.empty()) return bad("");
  std::unique_ptr<EtcdClient> out(new EtcdClient(runtime));
  for (std::string_view url : urls) {
    const bool is_tls = url.starts_with("https://");
    if (!is_tls && !url.starts_with("http://")) return bad(url);
    std::string_view rest = url.substr(is_tls ? 8 : 7);
    if (rest.ends_with('/')) rest.remove_suffix(1);
    const auto endpoint = io::Endpoint::parse(rest);
    if (!endpoint || endpoint->port == 0 || rest.contains('/')) return bad(url);
    io::HttpClientOptions options;
    options.limits.body_bytes_max = kReplyBytesMax;
    options.idle_connections_max = 64;
    if (is_tls) {
      tls.server_name = endpoint->host;
      NEAP_TRY(options.tls, io::make_tls_client_context(tls));
    }
    out->clients_.push_back(std::make_unique<io::HttpClient>(runtime, *endpoint, std::move(options)));
  }
  return out;
}

Task<EtcdClient::Attempt> EtcdClient::attempt(CallContext ctx, std::size_t at, std::string path,
                                              std::string body) {
  io::HttpRequest request{.method = "POST"};
  request.target = std::move(path);
  request.headers.set("Content-Type", "application/json");
  request.body = std::move(body);
  auto response = co_await clients_[at]->call(ctx.with_deadline(runtime_.executor().now() + kAttemptTimeout),
                                              std::move(request));
  if (!response) {
    // A connection that could not be made carried nothing.
    const bool unsent = std::ranges::any_of(
        response.error().context, [](const std::string& c) { return c.starts_with("connecting to "); });
    co_return Attempt{fail(std::move(response).error()), unsent};
  }
  auto reply = parse_json(response->body, {.bytes_max = kReplyBytesMax});
  if (!reply) co_return Attempt{bad_reply(fmt::format("HTTP {} and no JSON", response->status)), false};
  if (response->status == 200) co_return Attempt{std::move(*reply), false};
  const auto message = get_string(*reply, "message", get_string(*reply, "error"));
  co_return Attempt{etcd_refused(message), is_before_proposal(message)};
}

Task<Result<Json>> EtcdClient::read(CallContext ctx, std::string_view path, std::string body) {
  for (std::size_t tries = 1;; ++tries) {
    NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
    const auto at = current_;
    auto out = co_await attempt(ctx, at, std::string(path), body);
    if (out.reply || !is_of_transport(out.reply.error())) co_return std::move(out.reply);
    NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
    if (tries > clients_.size())
      co_return fail(
          Code::kUnavailable, "store.etcd.unreachable",
          fmt::format("no etcd endpoint answers (the last said: {}); look whether etcd runs and has a "
                      "majority",
                      out.reply.error().message));
    pass_on(at);
  }
}

Task<Result<Json>> EtcdClient::write(CallContext ctx, std::string_view path, std::string body) {
  for (std::size_t tries = 1;; ++tries) {
    const auto at = current_;
    auto out = co_await attempt(ctx, at, std::string(path), body);
    if (out.reply || !is_of_transport(out.reply.error())) co_return std::move(out.reply);
    pass_on(at);
    if (!out.surely_not_taken)
      co_return fail(Code::kUnavailable, "store.outcome.unknown",
                     fmt::format("etcd did not say whether it took a write ({}); read before trying again",
                                 out.reply.error().message));
    if (tries > clients_.size())
      co_return fail(
          Code::kUnavailable, "store.etcd.unreachable",
          fmt::format("no etcd endpoint takes the write, nothing was written (the last said: {}); look "
                      "whether etcd runs and has a majority",
                      out.reply.error().message));
  }
}

Task<Result<std::unique_ptr<EtcdWatchReplies>>> EtcdClient::watch(CallContext ctx, std::uint64_t from) {
  io::HttpRequest request{.method = "POST"};
  request.target = "/v3/watch";
  request.headers.set("Content-Type", "application/json");
  // "\0" to "\0" is etcd's way to say all keys.
  request.body = fmt::format(
      R"({{"create_request":{{"key":"AA==","range_end":"AA==","start_revision":"{}","prev_kv":true,"fragment":true}}}})",
      from);
  const auto at = current_;
  auto stream = co_await clients_[at]->open(ctx, std::move(request));
  if (stream && (*stream)->status() == 200) co_return std::make_unique<EtcdWatchReplies>(std::move(*stream));
  pass_on(at);
  if (!stream) co_return fail(std::move(stream).error());
  co_return fail(Code::kUnavailable, "store.etcd.refused",
                 fmt::format("etcd answered a watch with HTTP {}; look at its log", (*stream)->status()));
}

void EtcdClient::close_idle() {
  for (auto& client : clients_) client->close_idle();
}

}  // namespace neap::store::internal
