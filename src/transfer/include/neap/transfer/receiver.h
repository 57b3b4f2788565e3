// The receiving end, an HTTP handler under /transfer/v1/.
//
//   POST sessions                {digest, bytes, chunkBytes, source, level, purpose, rule}
//        -> 200 {complete: true} when the content is here, else
//           201 {session, site, key, stream, nextChunk}: begins, or attaches to what an earlier attempt left
//   GET  sessions/ID             -> {nextChunk, bytes}
//   PUT  sessions/ID/chunks/N    sealed frame -> {nextChunk}; N must be nextChunk, else 409 with nextChunk
//   POST sessions/ID/complete    -> {digest, bytes} after the whole content hashed to its name
//
// 1. A session belongs to the peer (certificate) that made it; for another it does not exist.
// 2. Each attachment gets a fresh key and stream id; the former ones are worth nothing then.
// 3. An acknowledged chunk is on disk (synced) and survives a restart of the receiver.
// 4. Memory per request is bounded by chunk_bytes_max, whatever a peer declares or a frame unpacks to.
// Executor's thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "neap/artifacts/artifact_store.h"
#include "neap/io/http.h"

namespace neap::transfer {

struct TransferOffer {
  crypto::Digest digest;
  std::uint64_t bytes = 0;
  std::uint32_t chunk_bytes = 0;
  std::string source;  // site
  std::string level;
  std::string purpose;
  std::string rule;
  std::string peer;       // common name of the sender's certificate
  bool was_here = false;  // the content was in the store before: the sender has only named it
};

struct ReceiverOptions {
  std::string site;  // whose name senders must have on their permit
  std::uint64_t content_bytes_max = 1ULL << 40;
  std::uint32_t chunk_bytes_max = 8u << 20;
  std::size_t sessions_max = 64;
  // Off only where the caller vouches for the channel (tests, a Unix socket).
  bool require_client_certificate = true;
  bool sync_each_chunk = true;
};

struct ReceiverCounters {
  std::uint64_t chunks_stored = 0;
  std::uint64_t chunks_refused = 0;
  std::uint64_t transfers_completed = 0;
};

class Receiver {
 public:
  // Says whether an offer is welcome; an error becomes the reply.
  using Accept = std::function<Task<Status>(TransferOffer)>;
  // After the content is in the store; an error makes the sender ask again.
  using Completed = std::function<Task<Status>(TransferOffer)>;

  // Finds the sessions that an earlier life left under STORE/transfers.
  static Result<std::unique_ptr<Receiver>> create(artifacts::ArtifactStore& store, ReceiverOptions options,
                                                  Accept accept = {}, Completed completed = {});
  ~Receiver();
  Task<void> handle(io::HttpExchange& exchange);
  const ReceiverCounters& counters() const { return counters_; }
  std::size_t open_sessions() const { return sessions_.size(); }

 private:
  struct Session;
  Receiver(artifacts::ArtifactStore& store, ReceiverOptions options, Accept accept, Completed completed);
  Status load();
  Status save(const Session& session);
  void forget(const std::string& id);
  std::string path_of(const std::string& id) const;
  Result<std::shared_ptr<Session>> find(io::HttpExchange& exchange, const std::string& id);
  Result<std::string> peer_of(io::HttpExchange& exchange) const;
  Task<Status> dispatch(io::HttpExchange& exchange);
  Task<Status> attach(io::HttpExchange& exchange);
  Task<Result<std::shared_ptr<Session>>> open_session(TransferOffer offer);
  Task<Status> show(io::HttpExchange& exchange, std::string id);
  Task<Status> take_chunk(io::HttpExchange& exchange, std::string id, std::uint64_t index);
  Task<Status> store_chunk(std::shared_ptr<Session> session, std::string sealed);
  Task<Status> complete(io::HttpExchange& exchange, std::string id);

  artifacts::ArtifactStore& store_;
  ReceiverOptions options_;
  Accept accept_;
  Completed completed_;
  ReceiverCounters counters_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;
};

}  // namespace neap::transfer
