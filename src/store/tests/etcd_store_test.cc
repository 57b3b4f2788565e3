#include "neap/store/etcd_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "internal/etcd_client.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "tests/conformance/etcd_peer.h"

namespace neap::store {
namespace {

using conformance::EtcdPeer;

class EtcdStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(conformance::kEtcdProgram))
      GTEST_SKIP() << conformance::kEtcdProgram << " is missing; run tools/bootstrap.sh test";
    peer_ = std::make_unique<EtcdPeer>();
  }
  void run(Task<void> (*body)(io::Runtime&, EtcdPeer&)) { runtime_->run_task(body(*runtime_, *peer_)); }
  static Task<std::unique_ptr<EtcdStore>> open(io::Runtime& runtime, std::vector<std::string> endpoints) {
    for (int tries = 0;; ++tries) {
      auto store = co_await EtcdStore::open(runtime, {.endpoints = endpoints, .tls = {}});
      if (store || tries == 300) co_return std::move(store).value();
      (void)co_await sleep_for(runtime.executor(), {}, 100ms);
    }
  }
  std::unique_ptr<EtcdPeer> peer_;
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

Task<void> count_up(EtcdStore& store, int times) {
  while (times > 0) {
    const auto at = (co_await store.get({}, "counter")).value();
    const auto done = co_await store.put({}, "counter", std::to_string((at ? std::stoi(at->value) : 0) + 1),
                                         at ? at->mod_revision : Revision{});
    if (done)
      --times;
    else
      EXPECT_TRUE(done.error().reason == "store.revision.conflict" ||
                  done.error().reason == "store.key.exists")
          << done.error().to_string();
  }
}

TEST_F(EtcdStoreTest, two_stores_on_one_etcd_lose_no_update_and_see_the_same_events) {
  run([](io::Runtime& runtime, EtcdPeer& peer) -> Task<void> {
    auto one = co_await open(runtime, {peer.url()}), two = co_await open(runtime, {peer.url()});
    const auto start = one->current_revision();
    TaskGroup group(runtime.executor());
    for (int i = 0; i < 3; ++i) {
      group.spawn(count_up(*one, 20));
      group.spawn(count_up(*two, 20));
    }
    for (auto* store : {one.get(), two.get()}) {
      auto watch = store->watch("", start).value();
      for (int i = 1; i <= 120; ++i)
        EXPECT_EQ((co_await watch->next({})).value().kv.value, std::to_string(i));
    }
    co_await group.stop();
    // What one store acknowledged is known to a read of the other, whose current revision follows.
    const auto written = (co_await one->put({}, "late", "x")).value();
    EXPECT_EQ((co_await two->get({}, "late")).value()->mod_revision, written);
    EXPECT_GE(two->current_revision(), written);
    co_await one->close();
    co_await two->close();
  });
}

TEST_F(EtcdStoreTest, a_restart_of_etcd_is_an_error_for_writes_meanwhile_and_a_pause_for_watches) {
  run([](io::Runtime& runtime, EtcdPeer& peer) -> Task<void> {
    auto store = co_await open(runtime, {peer.url()});
    const auto before = (co_await store->put({}, "a", "before")).value();
    auto watch = store->watch("", before).value();
    peer.stop();
    const auto refused = reason_of(co_await store->put({}, "a", "meanwhile"));
    EXPECT_TRUE(refused == "store.outcome.unknown" || refused == "store.etcd.unreachable") << refused;
    EXPECT_EQ(reason_of(co_await store->get({}, "a")), "store.etcd.unreachable");
    peer.restart();
    Result<Revision> after = fail(Code::kUnavailable, "x", "");
    for (int tries = 0; !after && tries < 300; ++tries) {
      (void)co_await sleep_for(runtime.executor(), {}, 100ms);
      after = co_await store->put({}, "a", "after");
    }
    EXPECT_EQ(to_number(after.value()), to_number(before) + 1);
    EXPECT_EQ((co_await watch->next({})).value().kv.value, "after");
    co_await store->close();
  });
}

TEST_F(EtcdStoreTest, what_another_store_forgot_is_told_to_a_watch_that_needs_it) {
  run([](io::Runtime& runtime, EtcdPeer& peer) -> Task<void> {
    auto one = co_await open(runtime, {peer.url()});
    const auto first = (co_await one->put({}, "a", "1")).value();
    for (int i = 0; i < 10; ++i) (void)(co_await one->put({}, "a", std::to_string(i))).value();
    auto two = co_await open(runtime, {peer.url()});
    EXPECT_TRUE(co_await one->compact({}, one->current_revision()));
    // The second store has not seen the compaction; its watch finds out.
    auto watch = two->watch("", first).value();
    EXPECT_EQ(reason_of(co_await watch->next({})), "store.watch.lagging");
    EXPECT_EQ(reason_of(two->watch("", first)), "store.revision.compacted");
    const ListOptions then{.revision = first};
    EXPECT_EQ(reason_of(co_await two->list({}, "", then)), "store.revision.compacted");
    co_await one->close();
    co_await two->close();
  });
}

TEST_F(EtcdStoreTest, a_list_of_more_than_one_page_of_etcd_is_one_state) {
  run([](io::Runtime& runtime, EtcdPeer& peer) -> Task<void> {
    auto store = co_await open(runtime, {peer.url()});
    for (int from = 0; from < 2000; from += 500) {
      std::vector<Op> ops;
      for (int i = from; i < from + 500; ++i)
        ops.push_back(Op::put("k" + std::to_string(100'000 + i), std::to_string(i)));
      EXPECT_TRUE(co_await store->commit({}, std::move(ops)));
    }
    // Together above what one answer of etcd may have.
    for (int i = 0; i < 8; ++i)
      EXPECT_TRUE(co_await store->put({}, "l" + std::to_string(i), std::string(kValueBytesMax, 'x')));
    const auto small = (co_await store->list({}, "k", {})).value();
    EXPECT_EQ(small.items.size(), 2000u);
    EXPECT_FALSE(small.more);
    const ListOptions some{.limit = 700};
    const auto page = (co_await store->list({}, "k", some)).value();
    EXPECT_EQ(page.items.size(), 700u);
    EXPECT_TRUE(page.more);
    const auto large = (co_await store->list({}, "l", {})).value();
    EXPECT_TRUE(large.more);
    EXPECT_LT(large.items.size(), 7u);
    EXPECT_EQ((co_await list_all(*store, {}, "")).value().items.size(), 2008u);
    co_await store->close();
  });
}

TEST_F(EtcdStoreTest, the_next_endpoint_answers_where_the_first_is_dead) {
  run([](io::Runtime& runtime, EtcdPeer& peer) -> Task<void> {
    // Bound and not accepting would hang; nothing listens on a port that was just given back.
    const auto dead = runtime.network().listen({"127.0.0.1", 0, {}}).value()->local().to_string();
    auto store = co_await open(runtime, {"http://" + dead, peer.url()});
    EXPECT_TRUE(co_await store->put({}, "a", "1"));
    auto watch = store->watch("", Revision{1}).value();
    EXPECT_EQ((co_await watch->next({})).value().kv.value, "1");
    co_await store->close();
    EXPECT_EQ(reason_of(co_await EtcdStore::open(runtime, {.endpoints = {"http://" + dead}, .tls = {}})),
              "store.etcd.unreachable");
    for (const char* bad : {"127.0.0.1:2379", "ftp://h:1", "http://h", "http://h:1/x"})
      EXPECT_EQ(reason_of(co_await EtcdStore::open(runtime, {.endpoints = {bad}, .tls = {}})),
                "store.etcd.endpoint");
  });
}

TEST(EtcdBase64, reads_back_what_it_wrote_and_refuses_the_rest) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(internal::from_base64(internal::to_base64(bytes)).value(), bytes);
    bytes += char(i * 7);
  }
  EXPECT_EQ(internal::to_base64("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
  for (const char* bad : {"abc", "ab=c", "a===", "ab*=", "===="})
    EXPECT_EQ(reason_of(internal::from_base64(bad)), "store.etcd.reply") << bad;
}

}  // namespace
}  // namespace neap::store
