// Opening a large ledger by what follows its frontier, and that nothing is believed for it in the long run.
#include <gtest/gtest.h>

#include <algorithm>

#include "internal/frontier_file.h"
#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"
#include "neap/ledger/ledger.h"

namespace neap::ledger {
namespace {

const std::string kEntries = "/audit/entries.jsonl";
const std::string kCheckpoint = "/audit/checkpoint";
const std::string kFrontier = "/audit/frontier";
constexpr std::uint64_t kStep = 10'000;

crypto::PrivateKey test_key() { return crypto::PrivateKey::from_ed25519_seed(std::string(32, 'k')).value(); }
Json body_of(int number) { return JsonObject{{"who", "user-" + std::to_string(number)}}; }
template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

class LedgerFrontier : public testing::Test {
 protected:
  LedgerFrontier() : machine_(world_.add_machine("m")) {}

  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    TaskGroup group(executor());
    group.spawn([](Task<T> inner, std::optional<T>& to) -> Task<void> {
      to.emplace(co_await std::move(inner));
    }(std::move(task), out));
    world_.run_for(1h, [&] { return group.running() == 0; });
    return std::move(*out);
  }
  void run(Task<void> task) {
    run([](Task<void> inner) -> Task<bool> {
      co_await std::move(inner);
      co_return true;
    }(std::move(task)));
  }
  Executor& executor() { return machine_.runtime().executor(); }
  io::FileSystem& files() { return machine_.runtime().files(); }
  LedgerOptions options() {
    return {.directory = "/audit",
            .origin = "neap.test/audit",
            .read_at_open_bytes_max = 0,
            .frontier_bytes = kStep,
            .on_failure = [this](const Error& error) { told_.push_back(error.reason); }};
  }
  std::string open() {
    auto opened = run(Ledger::open(machine_.runtime(), options(), test_key()));
    const auto reason = reason_of(opened);
    if (opened) ledger_ = *std::move(opened);
    return reason;
  }
  void append(int count) {
    for (int i = 0; i < count; ++i) {
      const auto sequence = run(ledger_->append(body_of(next_)));
      ASSERT_EQ(sequence.value(), std::uint64_t(next_++));
    }
  }
  void close() {
    run(ledger_->close());
    ledger_.reset();
  }
  // As a power cut would: nothing is written any more.
  void crash() {
    ledger_.reset();
    world_.crash("m");
  }
  void wait(Duration duration) { world_.run_for(duration); }
  internal::Frontier frontier() {
    return internal::decode_frontier(files().read_file(kFrontier).value(), options().origin,
                                     test_key().public_key())
        .value();
  }
  // Everything that was appended is there, at its place and under the root that reading all leads to.
  void expect_whole() {
    ASSERT_EQ(ledger_->size(), std::uint64_t(next_));
    for (int at = 0; at < next_; at += 37) {
      const auto entries = run(ledger_->read(std::uint64_t(at), 2)).value();
      ASSERT_EQ(entries.size(), std::size_t(std::min(2, next_ - at)));
      EXPECT_EQ(entries[0].body, body_of(at));
      EXPECT_EQ(entries[0].sequence, std::uint64_t(at));
    }
    const auto verified = run(ledger_->verify());
    ASSERT_TRUE(verified) << verified.error().to_string();
    EXPECT_EQ(verified->root, ledger_->root());
  }
  // Flips a bit in the body of that entry; with its own hash put right where it is forged.
  void damage(int number, bool is_forged = false) {
    auto text = files().read_file(kEntries).value();
    const auto begin = text.find(fmt_sequence(number));
    ASSERT_NE(begin, text.npos);
    const auto at = text.find("user-", begin);
    text[at] = 'U';
    if (is_forged) {
      const auto hash = text.find(",\"hash\":\"", begin);
      text.replace(hash + 9, 64, leaf_hash(std::string_view(text).substr(begin, hash - begin)).hex());
    }
    ASSERT_TRUE(files().write_file_atomic(kEntries, text));
  }
  static std::string fmt_sequence(int number) { return "{\"seq\":" + std::to_string(number) + ","; }

  io::SimWorld world_{11};
  io::SimMachine& machine_;
  std::unique_ptr<Ledger> ledger_;
  std::vector<std::string> told_;
  int next_ = 0;
};

TEST_F(LedgerFrontier, opening_by_it_leads_to_the_same_ledger_and_grows_from_there) {
  ASSERT_EQ(open(), "ok");
  append(300);
  for (int life = 0; life < 4; ++life) {
    close();
    EXPECT_EQ(frontier().tree.size(), std::uint64_t(next_)) << "closing leaves nothing to read";
    ASSERT_EQ(open(), "ok");
    expect_whole();
    append(77);
    expect_whole();
  }
  wait(1min);
  EXPECT_TRUE(told_.empty());
}

TEST_F(LedgerFrontier, is_written_while_the_ledger_grows_and_what_follows_it_is_read_after_a_crash) {
  ASSERT_EQ(open(), "ok");
  append(200);
  wait(2s);
  ASSERT_TRUE(files().exists(kFrontier));
  append(30);
  wait(2s);
  const auto covered = frontier();
  EXPECT_GE(covered.tree.size(), 200u);
  EXPECT_LT(covered.bytes, files().stat(kEntries)->size) << "not at every checkpoint";
  append(10);
  crash();
  ASSERT_EQ(open(), "ok");
  expect_whole();
  wait(1min);
  EXPECT_TRUE(told_.empty());
}

TEST_F(LedgerFrontier, a_small_ledger_has_none_and_is_read_whole) {
  auto small = options();
  small.read_at_open_bytes_max = 1u << 20;
  ledger_ = run(Ledger::open(machine_.runtime(), small, test_key())).value();
  append(300);
  close();
  EXPECT_FALSE(files().exists(kFrontier));
  damage(3);
  EXPECT_EQ(reason_of(run(Ledger::open(machine_.runtime(), small, test_key()))), "ledger.entry.bad");
}

TEST_F(LedgerFrontier, absent_or_damaged_at_any_byte_it_is_passed_over) {
  ASSERT_EQ(open(), "ok");
  append(200);
  close();
  const auto good = files().read_file(kFrontier).value();
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto bad = good;
    bad[at] = char(bad[at] ^ (1 << (at % 8)));
    EXPECT_FALSE(internal::decode_frontier(bad, options().origin, test_key().public_key())) << at;
    EXPECT_FALSE(internal::decode_frontier(good.substr(0, at), options().origin, test_key().public_key()))
        << at;
  }
  EXPECT_FALSE(internal::decode_frontier(good, "neap.test/other", test_key().public_key()));
  for (const auto& text : {std::string(), good.substr(0, good.size() / 2), good + "x"}) {
    ASSERT_TRUE(files().write_file_atomic(kFrontier, text));
    ASSERT_EQ(open(), "ok");
    expect_whole();
    ledger_.reset();
  }
  ASSERT_TRUE(files().remove(kFrontier));
  ASSERT_EQ(open(), "ok");
  expect_whole();
  append(1);
  close();
  EXPECT_EQ(frontier().tree.size(), 201u) << "and there is one again";
}

TEST_F(LedgerFrontier, one_that_is_older_than_the_entries_costs_a_longer_reading_only) {
  ASSERT_EQ(open(), "ok");
  append(200);
  close();
  const auto old = files().read_file(kFrontier).value();
  ASSERT_EQ(open(), "ok");
  append(250);
  close();
  ASSERT_TRUE(files().write_file_atomic(kFrontier, old));
  ASSERT_EQ(open(), "ok");
  expect_whole();
}

TEST_F(LedgerFrontier, one_that_is_ahead_of_the_entries_or_their_checkpoint_is_passed_over) {
  ASSERT_EQ(open(), "ok");
  append(100);
  close();
  const auto old_entries = files().read_file(kEntries).value();
  const auto old_checkpoint = files().read_file(kCheckpoint).value();
  ASSERT_EQ(open(), "ok");
  append(100);
  close();
  const auto entries = files().read_file(kEntries).value();
  // Entries that are on record went missing.
  ASSERT_TRUE(files().write_file_atomic(kEntries, old_entries));
  EXPECT_EQ(open(), "ledger.truncated");
  ASSERT_TRUE(files().write_file_atomic(kEntries, entries.substr(0, entries.size() - 5)));
  EXPECT_EQ(open(), "ledger.entry.bad");
  // An older copy of both, which a restored directory is, is what it says it is.
  ASSERT_TRUE(files().write_file_atomic(kCheckpoint, old_checkpoint));
  ASSERT_TRUE(files().write_file_atomic(kEntries, old_entries));
  ASSERT_EQ(open(), "ok");
  next_ = 100;
  expect_whole();
  ledger_.reset();
  // So are entries that no checkpoint covers yet.
  ASSERT_TRUE(files().write_file_atomic(kCheckpoint, old_checkpoint));
  ASSERT_TRUE(files().write_file_atomic(kEntries, entries));
  ASSERT_EQ(open(), "ok");
  next_ = 200;
  expect_whole();
}

TEST_F(LedgerFrontier, an_append_that_a_crash_cut_short_is_cut_off_and_damage_that_was_synced_is_refused) {
  ASSERT_EQ(open(), "ok");
  append(200);
  close();
  const auto good = files().read_file(kEntries).value();
  ASSERT_TRUE(files().write_file_atomic(kEntries, good + "{\"seq\":200,\"batch\":200,\"ti"));
  ASSERT_EQ(open(), "ok");
  expect_whole();
  EXPECT_EQ(files().read_file(kEntries).value(), good);
  append(20);
  ledger_.reset();
  // What follows the frontier is read, whatever the frontier says.
  damage(210);
  EXPECT_EQ(open(), "ledger.entry.bad");
  damage(199);
  EXPECT_EQ(open(), "ledger.entry.bad");
}

TEST_F(LedgerFrontier, damage_before_it_ends_appending_soon_after_opening_and_is_refused_at_the_next) {
  for (const bool is_forged : {false, true}) {
    SCOPED_TRACE(is_forged ? "forged" : "flipped");
    told_.clear();
    next_ = 0;
    ASSERT_TRUE(files().remove_tree("/audit"));
    ASSERT_EQ(open(), "ok");
    append(300);
    close();
    damage(7, is_forged);
    ASSERT_EQ(open(), "ok") << "it was not read yet";
    EXPECT_EQ(run(ledger_->append(body_of(next_))).value(), std::uint64_t(next_));
    EXPECT_TRUE(told_.empty());
    const std::string reason = is_forged ? "ledger.root.mismatch" : "ledger.entry.bad";
    EXPECT_EQ(reason_of(run(ledger_->verify())), reason);
    wait(10s);
    EXPECT_EQ(told_, std::vector{reason});
    EXPECT_EQ(reason_of(run(ledger_->append(body_of(next_)))), "ledger.failed");
    close();
    EXPECT_FALSE(files().exists(kFrontier));
    EXPECT_EQ(open(), reason);
    EXPECT_EQ(open(), reason);
  }
}

TEST_F(LedgerFrontier, closing_does_not_wait_for_the_reading_of_what_lies_before_it) {
  ASSERT_EQ(open(), "ok");
  append(300);
  close();
  ASSERT_EQ(open(), "ok");
  const auto before = executor().now();
  close();
  EXPECT_LT(executor().now() - before, options().check_after);
  EXPECT_TRUE(told_.empty());
}

}  // namespace
}  // namespace neap::ledger
