#include "ledger_stream.h"

#include <gtest/gtest.h>

#include "neap/io/sim_runtime.h"
#include "neap/store/fenced_store.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

class Quiet final : public telemetry::LogSink {
 public:
  void write(const telemetry::Record&) override {}
};

// A server with a ledger of its own on a machine of its own; they share a store.
struct Server {
  Server(io::SimWorld& world, store::Store* shared, const std::string& name)
      : machine(world.add_machine(name)), store(shared), log(sink, machine.runtime().clock()) {}
  ~Server() {
    stream.reset();
    own.reset();
  }
  Task<Status> open(LedgerStream::Fetch fetch = nothing) {
    auto key = *crypto::PrivateKey::generate(crypto::KeyKind::kEd25519);
    if (!signing) signing.emplace(key);
    NEAP_CO_TRY(own, co_await ledger::Ledger::open(machine.runtime(),
                                                   {.directory = "/audit", .origin = "neap/test"}, *signing));
    stream = std::make_unique<LedgerStream>(
        LedgerStream::Dependencies{.runtime = machine.runtime(), .own = *own, .shared = store, .log = log},
        "audit");
    NEAP_CO_TRY_VOID(co_await stream->open(std::move(fetch)));
    co_return stream->follow([this](const Json& body, WallTime) { learnt.push_back(get_int(body, "n")); });
  }
  Task<void> close() {
    co_await stream->stop();
    co_await own->close();
    stream.reset();
    own.reset();
  }
  Task<std::vector<std::int64_t>> entries() {
    std::vector<std::int64_t> out;
    for (auto& entry : (co_await own->read(0, 10'000)).value()) out.push_back(get_int(entry.body, "n"));
    co_return out;
  }
  static Task<Result<std::vector<Json>>> nothing(std::string, std::uint64_t) {
    co_return std::vector<Json>();
  }
  Quiet sink;
  io::SimMachine& machine;
  store::Store* store;
  telemetry::Logger log;
  std::optional<crypto::PrivateKey> signing;
  std::unique_ptr<ledger::Ledger> own;
  std::unique_ptr<LedgerStream> stream;
  std::vector<std::int64_t> learnt;
};

class LedgerStreamTest : public testing::Test {
 protected:
  void run(Task<void> task) {
    TaskGroup group(hub_.runtime().executor());
    bool done = false;
    group.spawn([](Task<void> inner, bool& flag) -> Task<void> {
      co_await std::move(inner);
      flag = true;
    }(std::move(task), done));
    sim_.run_for(3h, [&] { return done && group.running() == 0; });
    ASSERT_TRUE(done);
  }
  io::SimWorld sim_{5};
  io::SimMachine& hub_ = sim_.add_machine("store");
  store::MemoryStore store_{hub_.runtime().executor()};
};

Task<void> append(Server& server, std::int64_t n) {
  const auto done = co_await server.stream->append(Json{{"n", n}});
  EXPECT_TRUE(done) << done.error().to_string();
}

TEST_F(LedgerStreamTest, every_server_has_every_entry_once_in_one_order) {
  Server a(sim_, &store_, "a"), b(sim_, &store_, "b");
  run([](Server& one, Server& two, io::Runtime& runtime) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    EXPECT_TRUE(co_await two.open());
    TaskGroup writers(runtime.executor());
    for (int i = 0; i < 100; ++i) writers.spawn(append(i % 2 ? one : two, i));
    co_await writers.stop();
    EXPECT_TRUE(co_await one.stream->catch_up({}));
    EXPECT_TRUE(co_await two.stream->catch_up({}));
    const auto first = co_await one.entries(), second = co_await two.entries();
    EXPECT_EQ(first.size(), 100u);
    EXPECT_EQ(first, second);
    EXPECT_EQ(one.learnt.size(), 50u) << "what it recorded itself it knew";
    EXPECT_EQ(two.learnt.size(), 50u);
    co_await one.close();
    co_await two.close();
  }(a, b, hub_.runtime()));
}

TEST_F(LedgerStreamTest, a_server_that_was_away_comes_back_with_what_the_others_recorded) {
  Server a(sim_, &store_, "a"), b(sim_, &store_, "b");
  run([](Server& one, Server& two) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    EXPECT_TRUE(co_await two.open());
    co_await append(one, 1);
    EXPECT_TRUE(co_await two.stream->catch_up({}));
    co_await two.close();
    co_await append(one, 2);
    co_await append(one, 3);
    EXPECT_TRUE(co_await two.open());
    EXPECT_EQ(co_await two.entries(), (std::vector<std::int64_t>{1, 2, 3}));
    co_await two.close();
    EXPECT_TRUE(co_await two.open());
    EXPECT_EQ(co_await two.entries(), (std::vector<std::int64_t>{1, 2, 3})) << "nothing is copied twice";
    co_await one.close();
    co_await two.close();
  }(a, b));
}

TEST_F(LedgerStreamTest, a_ledger_that_knows_part_of_a_commit_only_copies_nothing_twice) {
  Server a(sim_, &store_, "a"), b(sim_, &store_, "b");
  run([](Server& one, Server& two, io::Runtime& runtime) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    EXPECT_TRUE(co_await two.open());
    // More than the places that are kept, in commits that do not end where those begin.
    TaskGroup writers(runtime.executor());
    for (int i = 0; i < 1400; ++i) writers.spawn(append(one, i));
    co_await writers.stop();
    EXPECT_TRUE(co_await two.stream->catch_up({}));
    EXPECT_EQ(two.own->size(), 1400u);
    co_await two.close();
    EXPECT_TRUE(co_await two.open());
    EXPECT_EQ(two.own->size(), 1400u);
    co_await one.close();
    co_await two.close();
  }(a, b, hub_.runtime()));
}

TEST_F(LedgerStreamTest, what_the_store_forgot_comes_from_another_server_or_the_start_is_refused) {
  Server a(sim_, &store_, "a"), b(sim_, &store_, "b");
  run([](Server& one, Server& two, store::Store& store, Executor& executor) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    for (int i = 0; i < 5; ++i) co_await append(one, i);
    EXPECT_TRUE(co_await one.stream->catch_up({}));
    EXPECT_TRUE(co_await one.stream->forget_old(store));
    EXPECT_EQ((co_await store::list_all(store, {}, "/ledger/")).value().items.size(), 5u);
    (void)co_await sleep_for(executor, {}, std::chrono::hours(2));
    co_await append(one, 5);
    EXPECT_TRUE(co_await one.stream->catch_up({}));
    EXPECT_TRUE(co_await one.stream->forget_old(store));
    EXPECT_EQ((co_await store::list_all(store, {}, "/ledger/")).value().items.size(), 1u);
    const auto refused = co_await two.open();
    EXPECT_FALSE(refused);
    if (!refused) EXPECT_EQ(refused.error().reason, "server.ledger.behind");
    two.stream.reset();
    co_await two.own->close();
    EXPECT_TRUE(
        co_await two.open([&one](std::string name, std::uint64_t from) -> Task<Result<std::vector<Json>>> {
          EXPECT_EQ(name, "audit");
          std::vector<Json> out;
          for (auto& entry : (co_await one.own->read(from, 2)).value()) out.push_back(std::move(entry.body));
          co_return out;
        }));
    EXPECT_EQ(co_await two.entries(), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
    co_await one.close();
    co_await two.close();
  }(a, b, store_, hub_.runtime().executor()));
}

TEST_F(LedgerStreamTest, what_only_the_leader_records_is_refused_when_its_term_is_over) {
  Server a(sim_, &store_, "a");
  run([](Server& one, store::Store& store) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    store::FencedStore fenced(store, "/fence");
    fenced.open((co_await store.put({}, "/fence", "a")).value());
    EXPECT_TRUE(co_await one.stream->append_through(fenced, Json{{"n", 1}}));
    (void)(co_await store.put({}, "/fence", "b")).value();
    const auto refused = co_await one.stream->append_through(fenced, Json{{"n", 2}});
    EXPECT_FALSE(refused);
    if (!refused) EXPECT_EQ(refused.error().reason, "store.fence.lost");
    EXPECT_TRUE(co_await one.stream->catch_up({}));
    EXPECT_EQ(co_await one.entries(), std::vector<std::int64_t>{1});
    co_await one.close();
  }(a, store_));
}

TEST_F(LedgerStreamTest, one_server_alone_writes_into_its_ledger_and_nowhere_else) {
  Server a(sim_, nullptr, "a");
  run([](Server& one, store::Store& store) -> Task<void> {
    EXPECT_TRUE(co_await one.open());
    co_await append(one, 7);
    EXPECT_TRUE(co_await one.stream->catch_up({}));
    EXPECT_EQ(co_await one.entries(), std::vector<std::int64_t>{7});
    EXPECT_EQ((co_await store::list_all(store, {}, "")).value().items.size(), 0u);
    co_await one.close();
  }(a, store_));
}

}  // namespace
}  // namespace neap::app
