#include "neap/crypto/sign.h"
#include "neap/ledger/ledger.h"
#include "tests/fixture.h"

namespace neap::transfer {
namespace {

constexpr std::uint32_t kChunk = 4096;

Result<TransferOutcome> send_now(World& world, const std::string& bytes,
                                 SendOptions options = {.chunk_bytes = kChunk}) {
  auto blob = world.content(bytes);
  auto permit = world.permit(blob);
  return world.run(
      send({}, std::move(permit), world.sending, std::move(blob), *world.http, std::move(options)));
}

std::string received(World& world, const std::string& bytes) {
  auto stored = world.run(world.site->store->read(crypto::sha256(bytes), 1u << 30));
  return stored ? *stored : stored.error().to_string();
}

TEST(Transfer, delivers_the_content_and_verifies_it) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{kChunk - 1}, std::size_t{kChunk},
                                 std::size_t{kChunk + 1}, std::size_t{5 * kChunk}}) {
    World world(1);
    const std::string bytes = noise(size);
    std::uint64_t last_progress = ~0ULL;
    const auto sent =
        send_now(world, bytes, {.chunk_bytes = kChunk, .progress = [&](const TransferProgress& p) {
                                  last_progress = p.bytes_done;
                                }});
    ASSERT_TRUE(sent) << size << sent.error().to_string();
    EXPECT_EQ(received(world, bytes), bytes);
    EXPECT_EQ(last_progress, size);
    EXPECT_EQ(world.site->receiver->open_sessions(), 0U);
    const auto again = send_now(world, bytes);
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->was_present);
    EXPECT_EQ(again->chunks_sent, 0U);
  }
}

TEST(Transfer, compresses_what_compresses) {
  World world(1);
  const auto sent = send_now(world, std::string(100 * kChunk, 'a'));
  ASSERT_TRUE(sent);
  EXPECT_LT(sent->bytes_sent * 20, sent->bytes_plain);
}

// The heart of it: wherever the connection is cut, the transfer goes on and sends no acknowledged chunk
// again.
TEST(Transfer, goes_on_after_a_cut_at_any_message_boundary_or_inside_any_message) {
  const std::string bytes = noise(5 * kChunk + 100);
  std::vector<std::uint64_t> cuts;
  {
    World world(2);
    ASSERT_TRUE(send_now(world, bytes));
    for (const std::uint64_t boundary : world.faults.boundaries) {
      cuts.push_back(boundary);
      cuts.push_back(boundary > 10 ? boundary - 10 : 1);
      cuts.push_back(boundary > 2000 ? boundary - 2000 : 1);
    }
  }
  ASSERT_GT(cuts.size(), 18U);
  for (const std::uint64_t cut : cuts) {
    World world(2);
    world.faults.cut_at = {cut};
    const auto sent = send_now(world, bytes);
    ASSERT_TRUE(sent) << "cut at " << cut << ": " << sent.error().to_string();
    EXPECT_EQ(received(world, bytes), bytes);
    EXPECT_EQ(world.site->receiver->counters().chunks_stored, 6U) << cut;
    EXPECT_LE(sent->chunks_sent, 7U) << cut;
    EXPECT_TRUE(world.faults.cut_at.empty());
  }
}

TEST(Transfer, goes_on_after_many_cuts) {
  const std::string bytes = noise(20 * kChunk);
  World world(3);
  for (std::uint64_t at = 3000; at < 200'000; at += 7001) world.faults.cut_at.push_back(at);
  const std::size_t cuts = world.faults.cut_at.size();
  const auto sent = send_now(world, bytes);
  ASSERT_TRUE(sent) << sent.error().to_string();
  EXPECT_EQ(received(world, bytes), bytes);
  EXPECT_EQ(world.site->receiver->counters().chunks_stored, 20U);
  EXPECT_LE(sent->chunks_sent, 20U + cuts);
  // A cut costs at most the chunk it hit, whether the HTTP client or the sender repeats it.
  const std::size_t met = cuts - world.faults.cut_at.size();
  EXPECT_GT(met, 10U);
  EXPECT_LT(world.faults.written, sent->bytes_plain + met * (kChunk + 1500) + 30 * 700);
}

TEST(Transfer, detects_a_flipped_byte_wherever_it_is) {
  const std::string bytes = noise(3 * kChunk);
  for (std::uint64_t at = 900; at < 14'000; at += 611) {
    World world(4);
    world.faults.flip_at = {at};
    const auto sent = send_now(world, bytes);
    // Either noticed and repaired, or refused (a flipped head of a request); never stored wrong.
    if (sent) {
      EXPECT_EQ(received(world, bytes), bytes) << at;
    } else {
      EXPECT_FALSE(world.site->store->has(crypto::sha256(bytes))) << at;
    }
  }
  World world(4);
  for (std::uint64_t at = 0; at < 2'000'000; at += 2048) world.faults.flip_at.push_back(at + 1500);
  EXPECT_FALSE(send_now(world, bytes));
  EXPECT_FALSE(world.site->store->has(crypto::sha256(bytes)));
}

TEST(Transfer, goes_on_after_the_receiver_restarted) {
  const std::string bytes = noise(8 * kChunk);
  World world(5);
  // One cut the HTTP client would mend by itself.
  for (std::uint64_t at = 20'000; at < 20'100; at += 10) world.faults.cut_at.push_back(at);
  auto blob = world.content(bytes);
  auto permit = world.permit(blob);
  const auto broken = world.run(send({}, std::move(permit), world.sending, std::move(blob), *world.http,
                                     {.chunk_bytes = kChunk, .attempts_max = 0}));
  ASSERT_FALSE(broken);
  const std::uint64_t stored = world.site->receiver->counters().chunks_stored;
  ASSERT_GT(stored, 1U);
  world.http->close_idle();
  world.faults.cut_at.clear();
  world.site->server.abandon();
  world.site.reset();
  world.sim.crash("hq");
  world.site = std::make_unique<ReceivingSite>(world.hq.runtime(), open_options());
  const auto sent = send_now(world, bytes);
  ASSERT_TRUE(sent) << sent.error().to_string();
  EXPECT_EQ(sent->chunks_sent, 8U - stored);
  EXPECT_EQ(received(world, bytes), bytes);
}

TEST(Transfer, records_every_plain_byte_before_it_leaves) {
  World world(6);
  std::vector<std::string> lines;
  FileExportLog log(world.plant.runtime(), "/exports", true, [&](std::string line) -> Task<Status> {
    return [](std::vector<std::string>& out, std::string text) -> Task<Status> {
      out.push_back(std::move(text));
      co_return ok();
    }(lines, std::move(line));
  });
  const std::string bytes = noise(3 * kChunk + 5);
  auto blob = world.content(bytes);
  const auto digest = blob.stat().digest;
  auto permit = world.permit(blob, dataguard::Level::kL2);
  const auto sent = world.run(send({}, std::move(permit), world.sending, std::move(blob), *world.http,
                                   {.chunk_bytes = kChunk, .log = &log}));
  ASSERT_TRUE(sent) << sent.error().to_string();
  EXPECT_EQ(lines.size(), 4U);
  EXPECT_NE(lines[0].find("\"rule\":\"home\""), std::string::npos) << lines[0];
  EXPECT_EQ(*world.plant.runtime().files().read_file("/exports/" + digest.hex() + ".plain"), bytes);
}

Task<Status> close(ledger::Ledger& stream) {
  co_await stream.close();
  co_return ok();
}

TEST(Transfer, puts_each_export_into_the_ledger) {
  World world(10);
  const auto key = *crypto::PrivateKey::generate(crypto::KeyKind::kEd25519);
  auto ledger = world.run(
      ledger::Ledger::open(world.plant.runtime(), {.directory = "/ledger", .origin = "test/plant"}, key));
  ASSERT_TRUE(ledger) << ledger.error().to_string();
  FileExportLog log(world.plant.runtime(), "/exports", false, export_ledger(**ledger));
  auto blob = world.content(noise(2 * kChunk));
  auto permit = world.permit(blob, dataguard::Level::kL2);
  ASSERT_TRUE(world.run(send({}, std::move(permit), world.sending, std::move(blob), *world.http,
                             {.chunk_bytes = kChunk, .log = &log})));
  EXPECT_EQ((*ledger)->size(), 2U);
  EXPECT_TRUE(world.run(close(**ledger)));
}

class FullDisk : public ExportLog {
 public:
  Task<Status> record(const ExportEntry&, std::string_view) override {
    co_return fail(Code::kResourceExhausted, "file.disk.full", "no room");
  }
};

TEST(Transfer, sends_nothing_that_could_not_be_recorded_or_is_not_permitted) {
  World world(7);
  const std::string bytes = noise(2 * kChunk);
  const auto attempt = [&](dataguard::ExportPermit permit, artifacts::BlobReader blob, SendOptions options) {
    options.attempts_max = 1;
    return world.run(
        send({}, std::move(permit), world.sending, std::move(blob), *world.http, std::move(options)));
  };
  FullDisk full;
  auto blob = world.content(bytes);
  auto permit = world.permit(blob, dataguard::Level::kL2);
  EXPECT_EQ(attempt(std::move(permit), std::move(blob), {.chunk_bytes = kChunk, .log = &full}).error().reason,
            "file.disk.full");
  auto second = world.content(bytes);
  auto unlogged = world.permit(second, dataguard::Level::kL2);
  EXPECT_EQ(attempt(std::move(unlogged), std::move(second), {.chunk_bytes = kChunk}).error().reason,
            "transfer.unlogged");
  auto third = world.content(bytes);
  auto elsewhere = world.permit(third, dataguard::Level::kL3, "cloud");
  EXPECT_EQ(attempt(std::move(elsewhere), std::move(third), {.chunk_bytes = kChunk}).error().reason,
            "dataguard.permit.destination");
  auto other = world.content("another content");
  auto wrong = world.permit(other);
  EXPECT_EQ(attempt(std::move(wrong), world.content(bytes), {.chunk_bytes = kChunk}).error().reason,
            "dataguard.permit.content");
  EXPECT_EQ(world.site->receiver->counters().chunks_stored, 0U);
}

TEST(Transfer, keeps_its_bandwidth_cap) {
  World world(8);
  const MonoTime start = world.sim.now();
  const auto sent =
      send_now(world, noise(50 * kChunk), {.chunk_bytes = kChunk, .bytes_per_second_max = 20'480});
  ASSERT_TRUE(sent);
  // The first chunk goes at once, each later one when the former has had its time.
  const double seconds = to_seconds(world.sim.now() - start);
  EXPECT_GE(seconds, 49 * 0.2);
  EXPECT_LE(seconds, 13.0);
}

}  // namespace
}  // namespace neap::transfer
