#include "neap/transfer/receiver.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "internal/frame.h"
#include "neap/base/json.h"
#include "neap/crypto/aead.h"

namespace neap::transfer {
namespace {

constexpr std::string_view kPrefix = "/transfer/v1/sessions";
constexpr std::uint64_t kOfferBytesMax = 16u << 10;
constexpr std::uint32_t kChunkBytesMin = 1024;

io::HttpResponse json(int status, Json body) {
  io::HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.body = to_text(body);
  return response;
}

Json to_json(const TransferOffer& offer) {
  return JsonObject{{"digest", offer.digest.to_string()},
                    {"bytes", offer.bytes},
                    {"chunkBytes", offer.chunk_bytes},
                    {"source", offer.source},
                    {"level", offer.level},
                    {"purpose", offer.purpose},
                    {"rule", offer.rule},
                    {"peer", offer.peer}};
}

Result<TransferOffer> read_offer(const Json& value) {
  TransferOffer offer;
  NEAP_TRY(offer.digest, crypto::Digest::parse(get_string(value, "digest")));
  const std::int64_t bytes = get_int(value, "bytes", -1);
  const std::int64_t chunk = get_int(value, "chunkBytes", -1);
  if (bytes < 0 || chunk < kChunkBytesMin || chunk > std::int64_t{1} << 30)
    return fail(Code::kInvalidArgument, "transfer.offer.invalid",
                fmt::format("an offer has digest, bytes from 0 and chunkBytes from {}", kChunkBytesMin));
  offer.bytes = static_cast<std::uint64_t>(bytes);
  offer.chunk_bytes = static_cast<std::uint32_t>(chunk);
  offer.source = get_string(value, "source");
  offer.level = get_string(value, "level");
  offer.purpose = get_string(value, "purpose");
  offer.rule = get_string(value, "rule");
  offer.peer = get_string(value, "peer");
  return offer;
}

bool same_content(const TransferOffer& a, const TransferOffer& b) {
  return a.digest == b.digest && a.bytes == b.bytes && a.chunk_bytes == b.chunk_bytes && a.peer == b.peer;
}

}  // namespace

struct Receiver::Session {
  std::string id;
  TransferOffer offer;
  std::string upload;
  std::uint64_t next_chunk = 0;
  std::unique_ptr<crypto::ChunkOpener> opener;  // none until a sender attached in this life
  bool busy = false;
  MonoTime used{};
  std::uint64_t chunks() const { return internal::chunk_count(offer.bytes, offer.chunk_bytes); }
};

Receiver::Receiver(artifacts::ArtifactStore& store, ReceiverOptions options, Accept accept,
                   Completed completed)
    : store_(store),
      options_(std::move(options)),
      accept_(std::move(accept)),
      completed_(std::move(completed)) {}
Receiver::~Receiver() = default;

Result<std::unique_ptr<Receiver>> Receiver::create(artifacts::ArtifactStore& store, ReceiverOptions options,
                                                   Accept accept, Completed completed) {
  std::unique_ptr<Receiver> out(
      new Receiver(store, std::move(options), std::move(accept), std::move(completed)));
  NEAP_TRY_VOID(store.runtime().files().make_directories(store.root() + "/transfers", 0700));
  NEAP_TRY_VOID(out->load());
  return out;
}

std::string Receiver::path_of(const std::string& id) const {
  return fmt::format("{}/transfers/{}.json", store_.root(), id);
}

Status Receiver::load() {
  auto& files = store_.runtime().files();
  NEAP_TRY(const auto names, files.list(store_.root() + "/transfers"));
  for (const std::string& name : names) {
    if (!name.ends_with(".json")) continue;
    const auto text = files.read_file(store_.root() + "/transfers/" + name, kOfferBytesMax);
    const auto row = text ? parse_json(*text) : Result<Json>(std::unexpected(text.error()));
    const auto offer = row ? read_offer(*row) : Result<TransferOffer>(std::unexpected(row.error()));
    if (!offer) {
      // Written by rename, so this is not a torn one of ours.
      (void)files.remove(store_.root() + "/transfers/" + name);
      continue;
    }
    auto session = std::make_shared<Session>();
    session->id = name.substr(0, name.size() - 5);
    session->offer = *offer;
    session->upload = get_string(*row, "upload");
    sessions_.emplace(session->id, session);
  }
  return {};
}

Status Receiver::save(const Session& session) {
  Json row = to_json(session.offer);
  row.as_object()["upload"] = session.upload;
  return store_.runtime().files().write_file_atomic(path_of(session.id), to_text(row), 0600);
}

void Receiver::forget(const std::string& id) {
  if (const auto session = sessions_.find(id); session != sessions_.end()) {
    (void)store_.cancel_upload(session->second->upload);
    sessions_.erase(session);
  }
  (void)store_.runtime().files().remove(path_of(id));
}

Result<std::string> Receiver::peer_of(io::HttpExchange& exchange) const {
  if (const auto* certificate = exchange.peer_certificate()) return certificate->common_name;
  if (options_.require_client_certificate)
    return fail(Code::kUnauthenticated, "transfer.peer.unknown",
                "transfers are taken only from peers that show a certificate");
  return std::string();
}

Result<std::shared_ptr<Receiver::Session>> Receiver::find(io::HttpExchange& exchange, const std::string& id) {
  NEAP_TRY(const std::string peer, peer_of(exchange));
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second->offer.peer != peer)
    return fail(Code::kNotFound, "transfer.session.unknown",
                "there is no such session; begin with POST /transfer/v1/sessions");
  return found->second;
}

Task<void> Receiver::handle(io::HttpExchange& exchange) {
  const Status status = co_await dispatch(exchange);
  if (!status && !exchange.has_started()) (void)co_await exchange.reply(io::json_error(status.error()));
}

Task<Status> Receiver::dispatch(io::HttpExchange& exchange) {
  const std::string method = exchange.request().method;
  std::string_view path = exchange.request().path;
  if (path == kPrefix && method == "POST") co_return co_await attach(exchange);
  if (path.starts_with(std::string(kPrefix) + "/")) {
    path.remove_prefix(kPrefix.size() + 1);
    const std::size_t slash = path.find('/');
    std::string id(path.substr(0, slash));
    const std::string_view rest = slash == std::string_view::npos ? "" : path.substr(slash + 1);
    if (rest.empty() && method == "GET") co_return co_await show(exchange, std::move(id));
    if (rest == "complete" && method == "POST") co_return co_await complete(exchange, std::move(id));
    if (rest.starts_with("chunks/") && method == "PUT") {
      std::uint64_t index = 0;
      const std::string_view digits = rest.substr(7);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
      if (error == std::errc{} && end == digits.data() + digits.size() && !digits.empty())
        co_return co_await take_chunk(exchange, std::move(id), index);
    }
  }
  co_return fail(Code::kNotFound, "transfer.path.unknown", "the transfer service has no such path or method");
}

Task<Status> Receiver::attach(io::HttpExchange& exchange) {
  NEAP_CO_TRY(std::string peer, peer_of(exchange));
  NEAP_CO_TRY(const std::string body, co_await exchange.body().read_all(exchange.context(), kOfferBytesMax));
  NEAP_CO_TRY(const Json parsed, parse_json(body));
  NEAP_CO_TRY(TransferOffer offer, read_offer(parsed));
  offer.peer = std::move(peer);
  if (offer.bytes > options_.content_bytes_max || offer.chunk_bytes > options_.chunk_bytes_max)
    co_return fail(Code::kResourceExhausted, "transfer.offer.too_large",
                   fmt::format("this receiver takes up to {} bytes in chunks of up to {}",
                               options_.content_bytes_max, options_.chunk_bytes_max));
  if (accept_) NEAP_CO_TRY_VOID(co_await accept_(offer));
  if (store_.has(offer.digest)) {
    offer.was_here = true;
    if (completed_) NEAP_CO_TRY_VOID(co_await completed_(offer));
    co_return co_await exchange.reply(json(200, JsonObject{{"complete", true}, {"site", options_.site}}));
  }
  NEAP_CO_TRY(const auto session, co_await open_session(offer));
  const crypto::Key256 key = crypto::random_key();
  const std::string stream = crypto::random_bytes(16);
  session->opener = std::make_unique<crypto::ChunkOpener>(
      key, stream, internal::stream_context(offer.digest.to_string(), offer.bytes), session->next_chunk);
  session->used = store_.runtime().executor().now();
  const std::string_view key_view(reinterpret_cast<const char*>(key.data()), key.size());
  co_return co_await exchange.reply(json(201, JsonObject{{"session", session->id},
                                                         {"site", options_.site},
                                                         {"key", crypto::to_base64(key_view)},
                                                         {"stream", crypto::to_base64(stream)},
                                                         {"nextChunk", session->next_chunk}}));
}

Task<Result<std::shared_ptr<Receiver::Session>>> Receiver::open_session(TransferOffer offer) {
  for (const auto& [id, session] : sessions_) {
    if (!same_content(session->offer, offer)) continue;
    const auto found = session;
    if (found->busy)
      co_return fail(Code::kUnavailable, "transfer.session.busy",
                     "a chunk of this session is being stored; attach again");
    found->busy = true;
    auto size = co_await store_.upload_size(found->upload);
    // A crash may have left part of a chunk that was never acknowledged.
    if (size && *size % found->offer.chunk_bytes != 0 && *size != found->offer.bytes) {
      const std::uint64_t whole = *size / found->offer.chunk_bytes * found->offer.chunk_bytes;
      const Status cut = co_await store_.truncate_upload(found->upload, whole);
      size = cut ? Result<std::uint64_t>(whole) : std::unexpected(cut.error());
    }
    found->busy = false;
    if (size) {
      const bool all = *size == found->offer.bytes && (found->offer.bytes > 0 || found->next_chunk > 0);
      found->next_chunk = all ? found->chunks() : *size / found->offer.chunk_bytes;
      co_return found;
    }
    forget(found->id);
    break;
  }
  if (sessions_.size() >= options_.sessions_max) {
    const auto oldest =
        std::ranges::min_element(sessions_, {}, [](const auto& entry) { return entry.second->used; });
    if (oldest->second->busy || oldest->second->used + 60s > store_.runtime().executor().now())
      co_return fail(Code::kResourceExhausted, "transfer.sessions.too_many",
                     "all transfer sessions are in use; try again later");
    forget(std::string(oldest->first));
  }
  auto session = std::make_shared<Session>();
  session->id = store_.runtime().random().hex(16);
  session->offer = std::move(offer);
  NEAP_CO_TRY(session->upload, store_.begin_upload());
  session->used = store_.runtime().executor().now();
  if (const Status saved = save(*session); !saved) {
    (void)store_.cancel_upload(session->upload);
    co_return fail(saved.error());
  }
  sessions_.emplace(session->id, session);
  co_return session;
}

Task<Status> Receiver::show(io::HttpExchange& exchange, std::string id) {
  NEAP_CO_TRY(const auto session, find(exchange, id));
  co_return co_await exchange.reply(
      json(200, JsonObject{{"nextChunk", session->next_chunk}, {"bytes", session->offer.bytes}}));
}

Task<Status> Receiver::take_chunk(io::HttpExchange& exchange, std::string id, std::uint64_t index) {
  NEAP_CO_TRY(const auto session, find(exchange, id));
  if (index != session->next_chunk || session->opener == nullptr || session->busy) {
    ++counters_.chunks_refused;
    const std::string_view reason = session->busy                ? "transfer.session.busy"
                                    : session->opener == nullptr ? "transfer.session.detached"
                                                                 : "transfer.chunk.order";
    co_return co_await exchange.reply(
        json(409, JsonObject{{"error", fmt::format("chunk {} is not wanted now; go on with {}", index,
                                                   session->next_chunk)},
                             {"reason", reason},
                             {"nextChunk", session->next_chunk}}));
  }
  session->busy = true;
  const std::uint64_t sealed_max = session->offer.chunk_bytes + internal::kFrameOverheadMax;
  auto sealed = co_await exchange.body().read_all(exchange.context(), sealed_max);
  Status stored =
      sealed ? co_await store_chunk(session, std::move(*sealed)) : std::unexpected(sealed.error());
  session->busy = false;
  session->used = store_.runtime().executor().now();
  if (!stored) {
    ++counters_.chunks_refused;
    co_return stored;
  }
  ++counters_.chunks_stored;
  co_return co_await exchange.reply(json(200, JsonObject{{"nextChunk", session->next_chunk}}));
}

Task<Status> Receiver::store_chunk(std::shared_ptr<Session> session, std::string sealed) {
  const std::uint64_t index = session->next_chunk;
  if (index >= session->chunks())
    co_return fail(Code::kInvalidArgument, "transfer.chunk.order",
                   "all chunks are here; complete the session");
  const std::uint64_t offset = index * session->offer.chunk_bytes;
  const auto expected = static_cast<std::size_t>(
      std::min<std::uint64_t>(session->offer.chunk_bytes, session->offer.bytes - offset));
  const bool last = index + 1 == session->chunks();
  // The opener advances when the seal holds; what follows may fail, and then only a new attachment helps.
  NEAP_CO_TRY(const std::string plain, co_await store_.runtime().offload([&]() -> Result<std::string> {
    NEAP_TRY(const std::string frame, session->opener->open(sealed, last));
    return internal::unpack_frame(frame, expected);
  }));
  const auto appended = co_await store_.append(session->upload, offset, plain);
  Status durable = appended ? ok() : Status(std::unexpected(appended.error()));
  if (durable && options_.sync_each_chunk) durable = co_await store_.sync_upload(session->upload);
  if (!durable) {
    session->opener.reset();
    co_return durable;
  }
  session->next_chunk = index + 1;
  co_return ok();
}

Task<Status> Receiver::complete(io::HttpExchange& exchange, std::string id) {
  NEAP_CO_TRY(const auto session, find(exchange, id));
  if (session->busy)
    co_return fail(Code::kUnavailable, "transfer.session.busy", "a chunk of this session is being stored");
  if (session->next_chunk != session->chunks())
    co_return fail(
        Code::kFailedPrecondition, "transfer.session.incomplete",
        fmt::format("{} of {} chunks are here; send the rest", session->next_chunk, session->chunks()));
  session->busy = true;
  const auto blob = co_await store_.commit(session->upload, session->offer.digest);
  session->busy = false;
  if (!blob) {
    const bool other = blob.error().reason == "artifacts.digest.mismatch";
    forget(id);
    if (other)
      co_return fail(Code::kDataLoss, "transfer.content.digest",
                     "the content does not hash to the digest of the offer; nothing was kept");
    co_return fail(blob.error());
  }
  const TransferOffer offer = session->offer;
  forget(id);
  ++counters_.transfers_completed;
  if (completed_) NEAP_CO_TRY_VOID(co_await completed_(offer));
  co_return co_await exchange.reply(
      json(200, JsonObject{{"digest", offer.digest.to_string()}, {"bytes", blob->size}}));
}

}  // namespace neap::transfer
