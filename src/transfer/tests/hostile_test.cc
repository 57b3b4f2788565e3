// Peers that lie: each gets a clear error, and the receiver keeps nothing of it.
#include <zstd.h>

#include "internal/frame.h"
#include "neap/base/json.h"
#include "neap/crypto/aead.h"
#include "tests/fixture.h"

namespace neap::transfer {
namespace {

Task<io::HttpResponse> call(io::HttpClient& http, std::string method, std::string target, std::string body) {
  io::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  auto reply = co_await http.call({}, std::move(request));
  EXPECT_TRUE(reply) << (reply ? "" : reply.error().to_string());
  co_return reply ? *reply : io::HttpResponse{};
}

std::string reason(const io::HttpResponse& reply) {
  const auto body = parse_json(reply.body);
  return body ? std::string(get_string(*body, "reason")) : "not JSON: " + reply.body;
}

struct Hostile : testing::Test {
  World world{9};
  io::HttpResponse ask(std::string method, std::string target, std::string body = {}) {
    return world.run(call(*world.http, std::move(method), std::move(target), std::move(body)));
  }
  io::HttpResponse offer(std::uint64_t bytes, std::uint64_t chunk,
                         const std::string& digest = crypto::sha256("x").to_string()) {
    return ask("POST", "/transfer/v1/sessions",
               to_text(JsonObject{{"digest", digest}, {"bytes", bytes}, {"chunkBytes", chunk}}));
  }
  struct Opened {
    std::string path;
    crypto::Key256 key;
    std::string stream;
    std::string context;
  };
  Opened open(std::uint64_t bytes, std::uint32_t chunk,
              const std::string& digest = crypto::sha256("x").to_string()) {
    const auto reply = parse_json(offer(bytes, chunk, digest).body);
    return {"/transfer/v1/sessions/" + std::string(get_string(*reply, "session")),
            *crypto::key_from_bytes(*crypto::from_base64(get_string(*reply, "key"))),
            *crypto::from_base64(get_string(*reply, "stream")), internal::stream_context(digest, bytes)};
  }
};

TEST_F(Hostile, offers_out_of_bounds_are_refused) {
  EXPECT_EQ(reason(offer(1ULL << 62, 4096)), "transfer.offer.too_large");
  EXPECT_EQ(reason(offer(10, 1u << 29)), "transfer.offer.too_large");
  EXPECT_EQ(reason(offer(10, 0)), "transfer.offer.invalid");
  EXPECT_EQ(reason(offer(10, 4096, "sha256:short")), "crypto.digest.syntax");
  EXPECT_EQ(ask("POST", "/transfer/v1/sessions", "not json").status, 400);
  EXPECT_EQ(ask("POST", "/transfer/v1/sessions", "{\"bytes\":-1}").status, 400);
  EXPECT_EQ(ask("POST", "/transfer/v1/sessions", std::string(100'000, ' ')).status, 413);
  EXPECT_EQ(ask("GET", "/transfer/v1/other").status, 404);
  EXPECT_EQ(ask("PUT", "/transfer/v1/sessions/x/chunks/-1").status, 404);
  EXPECT_EQ(world.site->receiver->open_sessions(), 0U);
}

TEST_F(Hostile, unknown_sessions_and_wrong_indexes_are_refused) {
  EXPECT_EQ(reason(ask("PUT", "/transfer/v1/sessions/nope/chunks/0", "x")), "transfer.session.unknown");
  EXPECT_EQ(reason(ask("GET", "/transfer/v1/sessions/nope")), "transfer.session.unknown");
  const auto s = open(10'000, 4096);
  const auto ahead = ask("PUT", s.path + "/chunks/1", "x");
  EXPECT_EQ(ahead.status, 409);
  EXPECT_EQ(reason(ahead), "transfer.chunk.order");
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/18446744073709551615", "x")), "transfer.chunk.order");
  EXPECT_EQ(reason(ask("POST", s.path + "/complete")), "transfer.session.incomplete");
}

TEST_F(Hostile, replayed_chunks_and_bad_seals_are_refused) {
  const auto s = open(10'000, 4096);
  crypto::ChunkSealer sealer(s.key, s.stream, s.context);
  const std::string first = *sealer.seal(internal::pack_frame(std::string(4096, 'a'), 1), false);
  std::string bad = first;
  bad[100 % bad.size()] ^= 1;
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/0", bad)), "crypto.stream.chunk");
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/0", "")), "crypto.stream.chunk");
  EXPECT_EQ(ask("PUT", s.path + "/chunks/0", first).status, 200);
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/0", first)), "transfer.chunk.order");
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/1", first)), "crypto.stream.chunk");
  // After a new attachment the former key opens nothing.
  const auto again = open(10'000, 4096);
  EXPECT_EQ(again.path, s.path);
  const std::string second = *sealer.seal(internal::pack_frame(std::string(4096, 'b'), 1), false);
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/1", second)), "crypto.stream.chunk");
  EXPECT_EQ(world.site->receiver->counters().chunks_stored, 1U);
}

TEST_F(Hostile, oversized_bodies_and_bombs_end_at_the_chunk_limit) {
  const auto s = open(10'000, 4096);
  EXPECT_EQ(ask("PUT", s.path + "/chunks/0", std::string(1u << 20, 'x')).status, 413);
  // A frame that says 4096 bytes and unpacks to a gigabyte.
  const std::string zeros(64u << 20, '\0');
  std::string bomb = internal::pack_frame(std::string(4096, '\0'), 1).substr(0, internal::kFrameHeadBytes);
  std::string packed(ZSTD_compressBound(zeros.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), zeros.data(), zeros.size(), 19));
  const auto refused = internal::unpack_frame(bomb + packed, 4096);
  EXPECT_EQ(refused.error().reason, "transfer.frame.zstd");
  crypto::ChunkSealer sealer(s.key, s.stream, s.context);
  EXPECT_EQ(reason(ask("PUT", s.path + "/chunks/0", *sealer.seal((bomb + packed).substr(0, 4000), false))),
            "transfer.frame.zstd");
  EXPECT_EQ(world.site->receiver->counters().chunks_stored, 0U);
}

TEST_F(Hostile, content_that_is_not_what_was_offered_is_thrown_away) {
  const auto s = open(3, 4096, crypto::sha256("abc").to_string());
  crypto::ChunkSealer sealer(s.key, s.stream, s.context);
  EXPECT_EQ(ask("PUT", s.path + "/chunks/0", *sealer.seal(internal::pack_frame("xyz", 1), true)).status, 200);
  EXPECT_EQ(reason(ask("POST", s.path + "/complete")), "transfer.content.digest");
  EXPECT_FALSE(world.site->store->has(crypto::sha256("abc")));
  EXPECT_FALSE(world.site->store->has(crypto::sha256("xyz")));
  EXPECT_EQ(world.site->receiver->open_sessions(), 0U);
}

TEST_F(Hostile, peers_without_a_certificate_get_no_key) {
  world.site->server.abandon();
  world.site.reset();
  world.site = std::make_unique<ReceivingSite>(world.hq.runtime(), ReceiverOptions{.site = "hq"});
  const auto refused = offer(10, 4096);
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.body.find("key"), std::string::npos);
}

TEST(Frame, refuses_every_broken_form_without_reading_past_its_end) {
  const std::string good = internal::pack_frame(std::string(1000, 'a'), 3);
  EXPECT_EQ(*internal::unpack_frame(good, 1000), std::string(1000, 'a'));
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(internal::unpack_frame(good.substr(0, size), 1000)) << size;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 0x41;
    const auto out = internal::unpack_frame(bad, 1000);
    // zstd's own header has bits without meaning for the content.
    if (out) EXPECT_EQ(*out, std::string(1000, 'a')) << at;
  }
  EXPECT_EQ(*internal::unpack_frame(internal::pack_frame("", 3), 0), "");
}

}  // namespace
}  // namespace neap::transfer
