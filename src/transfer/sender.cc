#include <fmt/format.h>

#include <algorithm>

#include "internal/frame.h"
#include "neap/base/json.h"
#include "neap/crypto/aead.h"
#include "neap/transfer/transfer.h"

namespace neap::transfer {
namespace {

constexpr std::uint64_t kReplyBytesMax = 64u << 10;
constexpr Duration kPauseMax = 10s;

Error reply_error(int status, const Json& body) {
  Error error;
  error.code = code_of_http_status(status);
  error.reason = std::string(get_string(body, "reason", "transfer.status"));
  // The session moved on, ended or lost this chunk on the way: attaching again tells where to go on.
  for (std::string_view again :
       {"transfer.chunk.order", "transfer.session.detached", "transfer.session.unknown",
        "transfer.session.busy", "crypto.stream.chunk", "crypto.stream.trailing"})
    if (error.reason == again) error.code = Code::kAborted;
  error.message =
      fmt::format("the receiver answered {}: {}", status, get_string(body, "error", "no reason given"));
  return error;
}

// One transfer in progress.
class Sender {
 public:
  Sender(io::Runtime& runtime, dataguard::ExportPermit permit, artifacts::BlobReader source,
         io::HttpClient& http, SendOptions options)
      : runtime_(runtime),
        permit_(std::move(permit)),
        source_(std::move(source)),
        http_(http),
        options_(std::move(options)) {
    outcome_.digest = source_.stat().digest;
    outcome_.bytes_plain = source_.stat().size;
    next_send_ = runtime_.executor().now();
  }

  Task<Result<TransferOutcome>> run(CallContext ctx) {
    const auto& request = permit_.request();
    NEAP_CO_TRY_VOID(permit_.check(runtime_.clock().wall(), request.destination.site, source_.stat().digest,
                                   Bytes{static_cast<std::int64_t>(source_.stat().size)}));
    if (request.data.level != dataguard::Level::kL3 && options_.log == nullptr)
      co_return fail(Code::kPermissionDenied, "transfer.unlogged",
                     fmt::format("{} data leaves only with an export log; configure one",
                                 dataguard::level_name(request.data.level)));
    int idle_attempts = 0;
    Duration pause = options_.retry_pause;
    for (;;) {
      const std::uint64_t before = acknowledged_;
      const Status done = co_await attempt(ctx);
      if (done) co_return outcome_;
      const bool progressed = acknowledged_ > before;
      idle_attempts = progressed ? 0 : idle_attempts + 1;
      if (progressed) pause = options_.retry_pause;
      // A request's own deadline is a cut like any other; the caller's ends the transfer.
      NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
      if (!is_retryable(done.error().code) || idle_attempts >= options_.attempts_max)
        co_return fail(done.error(), fmt::format("sending {} to {}", outcome_.digest.to_string(),
                                                 request.destination.site.str()));
      ++outcome_.resumes;
      NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), ctx, pause));
      pause = std::min(pause * 2, kPauseMax);
    }
  }

 private:
  Task<Result<Json>> call(CallContext ctx, std::string method, std::string target, std::string body,
                          std::string_view type) {
    io::HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers.set("Content-Type", std::string(type));
    request.body = std::move(body);
    NEAP_CO_TRY(auto reply,
                co_await http_.open(ctx.with_deadline(runtime_.executor().now() + options_.request_timeout),
                                    std::move(request)));
    const int status = reply->status();
    NEAP_CO_TRY(const std::string text,
                co_await reply->body().read_all(
                    ctx.with_deadline(runtime_.executor().now() + options_.request_timeout), kReplyBytesMax));
    auto parsed = parse_json(text);
    if (status >= 400) co_return fail(reply_error(status, parsed ? *parsed : Json()));
    if (!parsed)
      co_return fail(Code::kUnavailable, "transfer.reply.syntax", "the receiver's reply is no JSON");
    co_return *parsed;
  }

  Task<Status> attempt(CallContext ctx) {
    const auto& request = permit_.request();
    const std::string offer = to_text(JsonObject{{"digest", outcome_.digest.to_string()},
                                                 {"bytes", outcome_.bytes_plain},
                                                 {"chunkBytes", options_.chunk_bytes},
                                                 {"source", request.source.site.str()},
                                                 {"level", dataguard::level_name(request.data.level)},
                                                 {"purpose", request.purpose},
                                                 {"rule", permit_.rule()}});
    NEAP_CO_TRY(const Json session,
                co_await call(ctx, "POST", "/transfer/v1/sessions", offer, "application/json"));
    // The permit is for one place; whoever answers must be it.
    NEAP_CO_TRY_VOID(permit_.check(runtime_.clock().wall(),
                                   SiteName(std::string(get_string(session, "site"))), outcome_.digest,
                                   Bytes{static_cast<std::int64_t>(outcome_.bytes_plain)}));
    if (get_bool(session, "complete")) {
      outcome_.was_present = outcome_.chunks_sent == 0;
      acknowledge(outcome_.bytes_plain);
      co_return ok();
    }
    NEAP_CO_TRY(const std::string key_bytes, crypto::from_base64(get_string(session, "key")));
    NEAP_CO_TRY(const crypto::Key256 key, crypto::key_from_bytes(key_bytes));
    NEAP_CO_TRY(const std::string stream, crypto::from_base64(get_string(session, "stream")));
    const std::string path = "/transfer/v1/sessions/" + io::url_encode(get_string(session, "session"));
    const std::uint64_t count = internal::chunk_count(outcome_.bytes_plain, options_.chunk_bytes);
    const auto next = static_cast<std::uint64_t>(std::max<std::int64_t>(0, get_int(session, "nextChunk")));
    if (next > count)
      co_return fail(Code::kInternal, "transfer.reply.index",
                     "the receiver asks for a chunk that does not exist");
    acknowledge(std::min(outcome_.bytes_plain, next * options_.chunk_bytes));
    crypto::ChunkSealer sealer(
        key, stream, internal::stream_context(outcome_.digest.to_string(), outcome_.bytes_plain), next);
    for (std::uint64_t index = next; index < count; ++index) {
      NEAP_CO_TRY_VOID(co_await send_chunk(ctx, path, index, index + 1 == count, sealer));
    }
    NEAP_CO_TRY(const Json done, co_await call(ctx, "POST", path + "/complete", "", "application/json"));
    if (get_string(done, "digest") != outcome_.digest.to_string())
      co_return fail(Code::kDataLoss, "transfer.content.digest",
                     "the receiver stored something else than was sent");
    co_return ok();
  }

  Task<Status> send_chunk(CallContext ctx, std::string path, std::uint64_t index, bool last,
                          crypto::ChunkSealer& sealer) {
    NEAP_CO_TRY_VOID(permit_.check_time(runtime_.clock().wall()));
    const std::uint64_t offset = index * options_.chunk_bytes;
    const auto wanted = static_cast<std::size_t>(
        std::min<std::uint64_t>(options_.chunk_bytes, outcome_.bytes_plain - offset));
    std::string plain;
    while (plain.size() < wanted) {
      NEAP_CO_TRY(const std::size_t n, source_.read_at(offset + plain.size(), plain, wanted - plain.size()));
      if (n == 0)
        co_return fail(Code::kDataLoss, "artifacts.blob.corrupt",
                       "the source is shorter than its record says");
    }
    if (options_.log != nullptr) NEAP_CO_TRY_VOID(co_await options_.log->record(entry(offset, plain), plain));
    NEAP_CO_TRY(std::string sealed, co_await runtime_.offload([&]() -> Result<std::string> {
      return sealer.seal(internal::pack_frame(plain, options_.zstd_level), last);
    }));
    const std::uint64_t size = sealed.size();
    NEAP_CO_TRY_VOID(co_await pace(ctx, size));
    outcome_.bytes_sent += size;
    ++outcome_.chunks_sent;
    NEAP_CO_TRY_VOID(co_await call(ctx, "PUT", fmt::format("{}/chunks/{}", path, index), std::move(sealed),
                                   "application/octet-stream"));
    acknowledge(offset + wanted);
    co_return ok();
  }

  ExportEntry entry(std::uint64_t offset, std::string_view plain) const {
    const auto& request = permit_.request();
    return {.source = request.source.site,
            .destination = request.destination.site,
            .purpose = request.purpose,
            .rule = permit_.rule(),
            .level = request.data.level,
            .declassified_by = request.data.declassified_by,
            .content = outcome_.digest,
            .content_bytes = outcome_.bytes_plain,
            .offset = offset,
            .bytes = plain.size(),
            .chunk = crypto::sha256(plain),
            .at = runtime_.clock().wall()};
  }

  Task<Status> pace(CallContext ctx, std::uint64_t bytes) {
    if (options_.bytes_per_second_max == 0) co_return ok();
    NEAP_CO_TRY_VOID(co_await sleep_until(runtime_.executor(), ctx, next_send_));
    const double seconds = static_cast<double>(bytes) / static_cast<double>(options_.bytes_per_second_max);
    next_send_ = std::max(next_send_, runtime_.executor().now()) +
                 std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    co_return ok();
  }

  void acknowledge(std::uint64_t bytes) {
    acknowledged_ = std::max(acknowledged_, bytes);
    if (options_.progress) options_.progress({bytes, outcome_.bytes_plain});
  }

  io::Runtime& runtime_;
  dataguard::ExportPermit permit_;
  artifacts::BlobReader source_;
  io::HttpClient& http_;
  SendOptions options_;
  TransferOutcome outcome_;
  std::uint64_t acknowledged_ = 0;
  MonoTime next_send_{};
};

}  // namespace

Task<Result<TransferOutcome>> send(CallContext ctx, dataguard::ExportPermit permit, io::Runtime& runtime,
                                   artifacts::BlobReader source, io::HttpClient& destination,
                                   SendOptions options) {
  if (options.chunk_bytes == 0)
    co_return fail(Code::kInvalidArgument, "transfer.options.chunk", "chunks have at least one byte");
  Sender sender(runtime, std::move(permit), std::move(source), destination, std::move(options));
  co_return co_await sender.run(ctx);
}

}  // namespace neap::transfer
