#include "neap/ledger/ledger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/io/halting_runtime.h"
#include "neap/io/sim_runtime.h"

namespace neap::ledger {
namespace {

const LedgerOptions kOptions{.directory = "/audit", .origin = "neap.test/audit"};
const std::string kEntries = "/audit/entries.jsonl";
const std::string kCheckpoint = "/audit/checkpoint";

crypto::PrivateKey test_key() { return crypto::PrivateKey::from_ed25519_seed(std::string(32, 'k')).value(); }
Json body_of(int number) {
  return JsonObject{{"who", "user-" + std::to_string(number)}, {"text", "\"\n\\ä"}};
}

Json text_of(std::size_t bytes, char fill) { return boost::json::string(bytes, fill); }

void in_world(Task<void> (*body)(io::SimMachine&)) {
  io::SimWorld world(3);
  auto& machine = world.add_machine("m");
  TaskGroup group(machine.runtime().executor());
  group.spawn(body(machine));
  world.run_for(1h, [&] { return group.running() == 0; });
  EXPECT_EQ(group.running(), 0u);
  group.abandon();
}
template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}
Task<std::unique_ptr<Ledger>> open(io::Runtime& runtime) {
  co_return (co_await Ledger::open(runtime, kOptions, test_key())).value();
}

TEST(Ledger, what_was_appended_is_read_back_in_order_also_after_reopening) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto& runtime = machine.runtime();
    auto ledger = co_await open(runtime);
    for (int i = 0; i < 150; ++i) EXPECT_EQ((co_await ledger->append(body_of(i))).value(), std::uint64_t(i));
    for (int life = 0; life < 2; ++life) {
      EXPECT_EQ(ledger->size(), 150u);
      const auto some = (co_await ledger->read(70, 3)).value();
      EXPECT_EQ(some.size(), 3u);
      for (std::size_t i = 0; i < some.size(); ++i) {
        EXPECT_EQ(some[i].sequence, 70 + i);
        EXPECT_EQ(some[i].body, body_of(int(70 + i)));
        EXPECT_NE(some[i].time, WallTime{});
      }
      EXPECT_EQ((co_await ledger->read(148, 100)).value().size(), 2u);
      EXPECT_EQ((co_await ledger->read(150, 100)).value().size(), 0u);
      const auto verified = (co_await ledger->verify()).value();
      EXPECT_EQ(verified.size, 150u);
      EXPECT_EQ(verified.checkpoint_size, 150u);
      EXPECT_EQ(verified.root, ledger->root());
      const auto root = ledger->root();
      co_await ledger->close();
      EXPECT_EQ(
          verify_directory(runtime.files(), "/audit", kOptions.origin, test_key().public_key()).value().root,
          root);
      ledger = co_await open(runtime);
    }
    co_await ledger->close();
    EXPECT_EQ(reason_of(co_await ledger->append(1)), "ledger.closed");
  });
}

TEST(Ledger, of_many_entries_those_are_read_whose_text_is_wanted) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto ledger = co_await open(machine.runtime());
    for (int i = 0; i < 300; ++i) (void)(co_await ledger->append(body_of(i))).value();
    const auto ends_in_7 = [](std::string_view body) { return body.contains("7\","); };
    std::vector<std::uint64_t> found;
    std::uint64_t next = 3;
    for (int rounds = 0; next < ledger->size() && rounds < 10; ++rounds) {
      const auto page = (co_await ledger->select(next, 100, ends_in_7)).value();
      EXPECT_EQ(page.next, std::min<std::uint64_t>(next + 100, 300));
      for (const auto& entry : page.entries) {
        EXPECT_EQ(entry.body, body_of(int(entry.sequence)));
        found.push_back(entry.sequence);
      }
      next = page.next;
    }
    EXPECT_EQ(found.size(), 30u);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], 7 + 10 * i);
    const auto none = (co_await ledger->select(300, 100, ends_in_7)).value();
    EXPECT_TRUE(none.entries.empty());
    EXPECT_EQ(none.next, 300u);
    co_await ledger->close();
    EXPECT_EQ(reason_of(co_await ledger->select(0, 100, ends_in_7)), "ledger.closed");
  });
}

TEST(Ledger, an_entry_that_could_not_be_read_back_does_not_enter_as_it_is) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto ledger = co_await open(machine.runtime());
    const std::string bad = "a\xff|\xc3|\xe0\x80\x80|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82";
    EXPECT_TRUE(co_await ledger->append(Json{{"name", bad}, {"good", "\xe2\x82\xac\xf0\x9f\x98\x80"}}));
    Json deep = 1;
    for (int i = 0; i < 100; ++i) deep = JsonObject{{"a", deep}};
    EXPECT_FALSE(co_await ledger->append(deep));
    EXPECT_TRUE(co_await ledger->append(body_of(2)));
    co_await ledger->close();
    ledger = co_await open(machine.runtime());
    const auto entries = co_await ledger->read(0, 10);
    EXPECT_TRUE(entries);
    if (!entries) co_return;
    EXPECT_EQ(entries->size(), 2u);
    const std::string r = "\xef\xbf\xbd";
    EXPECT_EQ(get_string(entries->at(0).body, "name"),
              "a" + r + "|" + r + "|" + r + r + r + "|" + r + r + r + "|" + r + r + r + r + "|" + r + r);
    EXPECT_EQ(get_string(entries->at(0).body, "good"), "\xe2\x82\xac\xf0\x9f\x98\x80");
    EXPECT_EQ(entries->at(1).body, body_of(2));
    co_await ledger->close();
  });
}
TEST(Ledger, appends_that_wait_together_get_sequences_without_gaps_and_oversized_ones_are_refused) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto ledger = co_await open(machine.runtime());
    TaskGroup group(machine.runtime().executor());
    std::vector<std::uint64_t> sequences;
    for (int i = 0; i < 100; ++i)
      group.spawn([](Ledger& l, int n, std::vector<std::uint64_t>& out) -> Task<void> {
        out.push_back((co_await l.append(body_of(n))).value());
      }(*ledger, i, sequences));
    co_await group.stop();
    std::sort(sequences.begin(), sequences.end());
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(sequences[i], i);
    EXPECT_EQ(reason_of(co_await ledger->append(text_of(kEntryBytesMax + 1, 'x'))), "ledger.entry.size");
    EXPECT_TRUE(co_await ledger->append(text_of(kEntryBytesMax - 2, 'x')));
    EXPECT_EQ((co_await ledger->read(100, 1)).value().size(), 1u);
    co_await ledger->close();
    ledger = co_await open(machine.runtime());
    EXPECT_EQ(ledger->size(), 101u);
    co_await ledger->close();
  });
}

TEST(Ledger, a_checkpoint_appears_within_its_interval_and_is_a_signed_note) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto& files = machine.runtime().files();
    auto ledger = co_await open(machine.runtime());
    for (int i = 0; i < 3; ++i) (void)(co_await ledger->append(body_of(i))).value();
    (void)co_await sleep_for(machine.runtime().executor(), {}, 1100ms);
    const auto text = files.read_file(kCheckpoint).value();
    const auto checkpoint = open_checkpoint(text, kOptions.origin, test_key().public_key()).value();
    EXPECT_EQ(checkpoint.size, 3u);
    EXPECT_EQ(checkpoint.root, ledger->root());
    EXPECT_TRUE(text.starts_with("neap.test/audit\n3\n" + crypto::to_base64(ledger->root().view()) +
                                 "\n\n\xe2\x80\x94 neap.test/audit "));
    co_await ledger->close();
  });
}

TEST(Ledger, proofs_convince_somebody_who_holds_two_checkpoints_only) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto ledger = co_await open(machine.runtime());
    const auto key = test_key().public_key();
    for (int i = 0; i < 13; ++i) (void)(co_await ledger->append(body_of(i))).value();
    const auto old =
        open_checkpoint((co_await ledger->checkpoint_now()).value(), kOptions.origin, key).value();
    for (int i = 13; i < 30; ++i) (void)(co_await ledger->append(body_of(i))).value();
    const auto now =
        open_checkpoint((co_await ledger->checkpoint_now()).value(), kOptions.origin, key).value();
    const auto consistent = (co_await ledger->prove_consistency(old.size, now.size)).value();
    EXPECT_TRUE(verify_consistency(old.size, old.root, now.size, now.root, consistent));
    const auto included = (co_await ledger->prove_inclusion(7, old.size)).value();
    EXPECT_TRUE(verify_inclusion(included.leaf, included.index, included.size, included.hashes, old.root));
    EXPECT_EQ(reason_of(co_await ledger->prove_inclusion(30, 30)), "ledger.proof.range");
    EXPECT_EQ(reason_of(co_await ledger->prove_inclusion(1, 31)), "ledger.proof.range");
    EXPECT_EQ(reason_of(co_await ledger->prove_consistency(0, 30)), "ledger.proof.range");
    co_await ledger->close();
  });
}

TEST(Ledger, any_flipped_byte_is_found_and_the_entry_is_named) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto& files = machine.runtime().files();
    auto ledger = co_await open(machine.runtime());
    for (int i = 0; i < 3; ++i) (void)(co_await ledger->append(body_of(i))).value();
    co_await ledger->close();
    const auto key = test_key().public_key();
    for (const auto& path : {kEntries, kCheckpoint}) {
      const auto good = files.read_file(path).value();
      std::size_t entry = 0;
      for (std::size_t at = 0; at < good.size(); ++at) {
        for (const int bit : {int(at % 8)}) {
          auto bad = good;
          bad[at] = char(bad[at] ^ (1 << bit));
          EXPECT_TRUE(files.write_file_atomic(path, bad));
          const auto offline = verify_directory(files, "/audit", kOptions.origin, key);
          const auto opened = co_await Ledger::open(machine.runtime(), kOptions, test_key());
          EXPECT_FALSE(offline) << path << " byte " << at;
          EXPECT_FALSE(opened) << path << " byte " << at;
          if (!opened && path == kEntries) {
            EXPECT_EQ(opened.error().reason, "ledger.entry.bad");
            EXPECT_TRUE(opened.error().message.starts_with("entry " + std::to_string(entry) + " "))
                << opened.error().message;
          }
        }
        entry += good[at] == '\n';
      }
      EXPECT_TRUE(files.write_file_atomic(path, good));
    }
    EXPECT_TRUE(verify_directory(files, "/audit", kOptions.origin, key));
  });
}

TEST(Ledger, replaced_removed_and_foreign_entries_are_found) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto& files = machine.runtime().files();
    auto ledger = co_await open(machine.runtime());
    for (int i = 0; i < 6; ++i) (void)(co_await ledger->append(body_of(i))).value();
    // Found in a running ledger, too.
    const auto live = files.read_file(kEntries).value();
    auto changed = live;
    changed[changed.find("user-2") + 5] = '9';
    EXPECT_TRUE(files.write_file_atomic(kEntries, changed));
    EXPECT_EQ(reason_of(co_await ledger->verify()), "ledger.entry.bad");
    EXPECT_TRUE(files.write_file_atomic(kEntries, live));
    co_await ledger->close();
    const auto good = files.read_file(kEntries).value();
    const auto reason = [&](const std::string& text) {
      EXPECT_TRUE(files.write_file_atomic(kEntries, text));
      return reason_of(verify_directory(files, "/audit", kOptions.origin, test_key().public_key()));
    };
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < good.size();) {
      const auto end = good.find('\n', at) + 1;
      lines.push_back(good.substr(at, end - at));
      at = end;
    }
    EXPECT_EQ(reason(good), "ok");
    EXPECT_EQ(reason(""), "ledger.truncated");
    EXPECT_EQ(reason(good.substr(0, good.size() - lines[5].size())), "ledger.truncated");
    EXPECT_EQ(reason(lines[0] + lines[2] + lines[1] + lines[3] + lines[4] + lines[5]), "ledger.entry.bad");
    EXPECT_EQ(reason(lines[0] + lines[1] + lines[1] + lines[3] + lines[4] + lines[5]), "ledger.entry.bad");
    EXPECT_EQ(reason(std::string(5'000'000, 'x')), "ledger.entry.bad");
    // A forger who also corrects the entry's own hash is found by the root.
    auto forged = lines[2];
    forged[forged.find("user-2") + 5] = '9';
    const auto leaf = forged.substr(0, forged.rfind(",\"hash\""));
    forged = leaf + ",\"hash\":\"" + leaf_hash(leaf).hex() + "\"}\n";
    EXPECT_EQ(reason(lines[0] + lines[1] + forged + lines[3] + lines[4] + lines[5]), "ledger.root.mismatch");
    EXPECT_EQ(reason(good), "ok");
    const auto stranger = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519).value();
    EXPECT_EQ(reason_of(verify_directory(files, "/audit", kOptions.origin, stranger.public_key())),
              "ledger.checkpoint.signature");
    EXPECT_FALSE(verify_directory(files, "/audit", "neap.test/other", test_key().public_key()));
    EXPECT_TRUE(files.remove(kCheckpoint));
    EXPECT_EQ(reason(good), "ledger.checkpoint.absent");
  });
}

TEST(Ledger, a_failed_fsync_ends_appending_and_a_full_disk_does_not) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto options = kOptions;
    int told = 0;
    options.on_failure = [&told](const Error&) { ++told; };
    auto ledger = (co_await Ledger::open(machine.runtime(), options, test_key())).value();
    (void)(co_await ledger->append(1)).value();
    machine.set_disk_capacity(20'000);
    EXPECT_EQ(reason_of(co_await ledger->append(text_of(100'000, 'x'))), "ledger.disk.full");
    machine.set_disk_capacity(10'000'000);
    EXPECT_EQ((co_await ledger->append(2)).value(), 1u);
    EXPECT_TRUE(co_await ledger->verify());
    EXPECT_EQ(told, 0);
    machine.fail_next_syncs(1, Code::kDataLoss);
    EXPECT_EQ(reason_of(co_await ledger->append(3)), "ledger.failed");
    EXPECT_EQ(reason_of(co_await ledger->append(4)), "ledger.failed");
    EXPECT_EQ(told, 1);
    EXPECT_EQ(ledger->size(), 2u);
    EXPECT_EQ((co_await ledger->read(0, 10)).value().size(), 2u);
    co_await ledger->close();
  });
}

TEST(Ledger, a_key_or_origin_that_cannot_sign_is_refused_at_open) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto options = kOptions;
    options.origin = "two words";
    EXPECT_EQ(reason_of(co_await Ledger::open(machine.runtime(), options, test_key())), "ledger.origin");
    auto other = crypto::PrivateKey::generate(crypto::KeyKind::kEcdsaP256).value();
    EXPECT_EQ(reason_of(co_await Ledger::open(machine.runtime(), kOptions, other)), "ledger.key");
  });
}

// Six writers on a machine that loses power at a random disk operation, again and again.
std::size_t crash_repeatedly(std::uint64_t seed, LedgerOptions options) {
  io::SimWorld world(seed);
  auto& machine = world.add_machine("m");
  std::map<std::uint64_t, std::string> acknowledged;
  int counter = 0;
  for (int life = 0; life < 8; ++life) {
    const bool is_last = life == 7;
    io::HaltingRuntime runtime(machine.runtime(), is_last ? 1'000'000 : 1 + world.random_below(80));
    TaskGroup group(runtime.executor());
    std::unique_ptr<Ledger> ledger;
    group.spawn([](io::HaltingRuntime& r, std::unique_ptr<Ledger>& out,
                   std::map<std::uint64_t, std::string>& known, LedgerOptions how) -> Task<void> {
      auto opened = co_await Ledger::open(r, std::move(how), test_key());
      EXPECT_TRUE(opened || r.has_halted()) << opened.error().to_string();
      if (!opened) co_return;
      out = std::move(*opened);
      for (const auto& [sequence, text] : known) {
        const auto entries = (co_await out->read(sequence, 1)).value();
        EXPECT_TRUE(entries.size() == 1 && get_string(entries[0].body, "id") == text) << sequence;
      }
      if (!r.has_halted()) EXPECT_TRUE((co_await out->verify()) || r.has_halted());
    }(runtime, ledger, acknowledged, options));
    world.run_for(1h, [&] { return group.running() == 0; });
    for (int i = 0; ledger && !is_last && i < 6; ++i)
      group.spawn([](io::SimWorld& w, Ledger& l, int& next,
                     std::map<std::uint64_t, std::string>& known) -> Task<void> {
        for (;;) {
          const auto id = std::to_string(++next) + std::string(w.random_below(3000), 'z');
          const auto sequence = co_await l.append(JsonObject{{"id", id}});
          if (!sequence) co_return;
          EXPECT_FALSE(known.contains(*sequence));
          known[*sequence] = id;
        }
      }(world, *ledger, counter, acknowledged));
    world.run_for(1h, [&] { return group.running() == 0; });
    EXPECT_EQ(group.running(), 0u);
    group.abandon();
    ledger.reset();
    world.crash("m");
  }
  return acknowledged.size();
}

TEST(LedgerCrash, acknowledged_entries_survive_power_loss_at_any_disk_operation) {
  std::size_t entries = 0;
  // Read whole at each opening, and from a frontier on that is written every few entries.
  auto by_frontier = kOptions;
  by_frontier.read_at_open_bytes_max = 0;
  by_frontier.frontier_bytes = 5'000;
  by_frontier.checkpoint_interval = {};
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    entries += crash_repeatedly(seed, seed % 2 ? kOptions : by_frontier);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(entries, 2'000u);
}

}  // namespace
}  // namespace neap::ledger
