#include "sealed_store.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

constexpr auto kSecret = "/registry//secrets/team-a/db";
constexpr auto kOther = "/registry//configmaps/team-a/db";
constexpr auto kPlain =
    R"({"kind":"Secret","metadata":{"name":"db","uid":"u-1"},"data":{"password":"aHVudGVyMg=="}})";
constexpr auto kKeyFile = "/state/secrets.key";

// Lets a second life open what a first one wrote, and lets a test look beneath the seal.
class BorrowedStore final : public store::Store {
 public:
  explicit BorrowedStore(store::Store& inner) : inner_(inner) {}
  Task<Result<std::optional<store::KeyValue>>> get(CallContext ctx, std::string key) override {
    return inner_.get(std::move(ctx), std::move(key));
  }
  Task<Result<store::ListPage>> list(CallContext ctx, std::string prefix,
                                     store::ListOptions options) override {
    return inner_.list(std::move(ctx), std::move(prefix), std::move(options));
  }
  Task<Result<Revision>> commit(CallContext ctx, std::vector<store::Op> ops) override {
    return inner_.commit(std::move(ctx), std::move(ops));
  }
  Result<std::unique_ptr<store::Watch>> watch(std::string prefix, Revision after) override {
    return inner_.watch(std::move(prefix), after);
  }
  Task<Status> compact(CallContext ctx, Revision at) override { return inner_.compact(std::move(ctx), at); }
  Revision current_revision() const override { return inner_.current_revision(); }
  Task<void> close() override { co_return; }

 private:
  store::Store& inner_;
};

class SealedStoreTest : public testing::Test {
 protected:
  SealedStoreTest() : machine_(world_.add_machine("hq")), disk_(machine_.runtime().executor()) {
    EXPECT_TRUE(machine_.runtime().files().make_directories("/state"));
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    TaskGroup group(machine_.runtime().executor());
    group.spawn([](Task<T> inner, std::optional<T>& result) -> Task<void> {
      result.emplace(co_await std::move(inner));
    }(std::move(task), out));
    world_.run_for(1min, [&] { return group.running() == 0; });
    return *std::move(out);
  }
  Result<std::unique_ptr<SealedStore>> open(SealedStore::Options options = {}) {
    return run(
        SealedStore::open(machine_.runtime(), std::make_unique<BorrowedStore>(disk_), kKeyFile, options));
  }
  std::string raw(std::string key = kSecret) { return run(disk_.get({}, std::move(key)))->value().value; }
  void write_raw(std::string value, std::string key = kSecret) {
    ASSERT_TRUE(run(disk_.put({}, std::move(key), std::move(value))));
  }
  io::FileSystem& files() { return machine_.runtime().files(); }

  io::SimWorld world_{3};
  io::SimMachine& machine_;
  store::MemoryStore disk_;
};

TEST_F(SealedStoreTest, what_lies_in_the_store_shows_nothing_and_what_is_read_is_what_was_written) {
  auto store = *open();
  ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  ASSERT_TRUE(run(store->put({}, kOther, kPlain)));
  EXPECT_EQ(raw().find("aHVudGVyMg"), std::string::npos);
  EXPECT_EQ(raw(kOther), kPlain) << "only secrets are sealed";
  EXPECT_EQ(run(store->get({}, kSecret))->value().value, kPlain);
  EXPECT_EQ(run(store->list({}, "/registry/", {}))->items.at(1).value, kPlain);
  auto watch = store->watch("/registry/", Revision{}).value();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(run(watch->next({}))->kv.value, kPlain);
  const auto first = raw();
  ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  EXPECT_NE(raw(), first) << "each write has a data key of its own";
}

TEST_F(SealedStoreTest, a_value_that_was_moved_changed_or_put_there_plain_is_never_given_out) {
  auto store = *open();
  ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  const auto good = raw();
  const auto reason = [&] {
    const auto got = run(store->get({}, kSecret));
    return got ? std::string("ok") : got.error().reason;
  };
  write_raw(good, "/registry//secrets/team-b/db");
  EXPECT_EQ(run(store->get({}, "/registry//secrets/team-b/db")).error().reason, "secrets.sealed.damaged");
  for (const std::size_t at :
       {good.find("u-1"), good.find('\n') + 1, good.find('\n') + 40, good.size() - 20, good.size() - 1}) {
    auto changed = good;
    changed[at] = char(changed[at] ^ 1);
    write_raw(changed);
    EXPECT_EQ(reason(), "secrets.sealed.damaged") << "byte " << at;
  }
  for (const auto size : {good.size() - 1, good.size() / 2, good.find('\n') + 1, std::size_t(20)}) {
    write_raw(good.substr(0, size));
    EXPECT_EQ(reason(), "secrets.sealed.damaged") << size << " bytes";
  }
  write_raw(kPlain);
  EXPECT_EQ(reason(), "secrets.sealed.plain");
  EXPECT_FALSE(run(store->list({}, "/registry/", {}))) << "a list with a hole would be wrong data";
  write_raw(good);
  EXPECT_EQ(reason(), "ok");
}

TEST_F(SealedStoreTest, a_first_start_that_is_cut_short_does_not_keep_the_next_one_out) {
  for (const std::uint64_t room : {0, 1, 40, 80}) {  // a file of 90 bytes
    machine_.set_disk_capacity(room);
    EXPECT_FALSE(open()) << room;
    EXPECT_FALSE(files().exists(kKeyFile)) << "half a key is none";
  }
  machine_.set_disk_capacity(1u << 20);
  {
    auto store = *open();
    ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  }
  // The store took the check, and the process ended before the file had its name.
  const auto id = SecretsKeyFile::parse(files().read_file(kKeyFile).value())->front().id;
  ASSERT_TRUE(files().rename(kKeyFile, kKeyFile + ("." + id)));
  auto store = open();
  ASSERT_TRUE(store) << store.error().to_string();
  EXPECT_EQ(run((*store)->get({}, kSecret))->value().value, kPlain);
  EXPECT_TRUE(files().exists(kKeyFile));
}

TEST_F(SealedStoreTest, servers_that_start_at_once_take_the_key_of_one_of_them) {
  std::vector<std::unique_ptr<SealedStore>> stores;
  TaskGroup group(machine_.runtime().executor());
  for (int i = 0; i < 4; ++i)
    group.spawn([](Task<Result<std::unique_ptr<SealedStore>>> opening,
                   std::vector<std::unique_ptr<SealedStore>>& out) -> Task<void> {
      auto opened = co_await std::move(opening);
      EXPECT_TRUE(opened) << opened.error().to_string();
      if (opened) out.push_back(*std::move(opened));
    }(SealedStore::open(machine_.runtime(), std::make_unique<BorrowedStore>(disk_), kKeyFile, {}), stores));
  world_.run_for(1min, [&] { return group.running() == 0; });
  ASSERT_EQ(stores.size(), 4u);
  ASSERT_TRUE(run(stores.front()->put({}, kSecret, kPlain)));
  for (auto& store : stores) EXPECT_EQ(run(store->get({}, kSecret))->value().value, kPlain);
  EXPECT_EQ(files().list("/state")->size(), 1u) << "what was not taken is withdrawn";
}

TEST_F(SealedStoreTest, a_store_is_opened_only_with_the_key_that_opens_it) {
  {
    auto store = *open();
    ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  }
  const auto right = files().read_file(kKeyFile).value();
  ASSERT_TRUE(files().remove(kKeyFile));
  EXPECT_EQ(open().error().reason, "secrets.key.missing");
  EXPECT_FALSE(files().exists(kKeyFile)) << "a new key would hide that the old one is lost";
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, SecretsKeyFile::to_text({make_secrets_key()})));
  EXPECT_EQ(open().error().reason, "secrets.key.wrong");
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, "neap-secrets-key 1 00"));
  EXPECT_EQ(open().error().reason, "secrets.key.file");
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, right));
  EXPECT_EQ(run((*open())->get({}, kSecret))->value().value, kPlain);
}

TEST_F(SealedStoreTest, a_store_of_an_older_version_is_sealed_when_it_is_opened) {
  write_raw(kPlain);
  auto store = *open();
  EXPECT_EQ(store->rewrapped_at_start().sealed, 1u);
  EXPECT_EQ(raw().find("aHVudGVyMg"), std::string::npos);
  EXPECT_EQ(run(store->get({}, kSecret))->value().value, kPlain);
}

TEST_F(SealedStoreTest, rotation_rewraps_and_the_old_key_alone_opens_nothing_written_since) {
  auto store = *open();
  ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  const auto before = raw();
  const auto old_file = files().read_file(kKeyFile).value();
  const auto done = run(store->rotate());
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->rewrapped, 1u);
  const auto after = raw();
  EXPECT_NE(after, before);
  EXPECT_EQ(after.substr(after.size() - 40), before.substr(before.size() - 40)) << "the payload stays";
  EXPECT_EQ(run(store->get({}, kSecret))->value().value, kPlain);
  EXPECT_EQ(open_object(SecretsKeyFile::parse(old_file).value(), kSecret, after).error().reason,
            "secrets.key.retired");
  store.reset();
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, old_file));
  EXPECT_EQ(open().error().reason, "secrets.key.wrong");
}

TEST_F(SealedStoreTest, a_key_file_with_two_keys_rewraps_at_the_start_and_then_needs_only_the_first) {
  {
    auto store = *open();
    ASSERT_TRUE(run(store->put({}, kSecret, kPlain)));
  }
  const auto next = make_secrets_key();
  const auto old_text = files().read_file(kKeyFile).value();
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, SecretsKeyFile::to_text({next}) + old_text));
  SealedStore::Options external;
  external.may_create_key = false;
  auto store = *open(external);
  EXPECT_EQ(store->rewrapped_at_start().rewrapped, 1u);
  EXPECT_EQ(run(store->rotate()).error().reason, "secrets.key.external");
  store.reset();
  ASSERT_TRUE(files().write_file_atomic(kKeyFile, SecretsKeyFile::to_text({next})));
  EXPECT_EQ(run((*open(external))->get({}, kSecret))->value().value, kPlain);
}

}  // namespace
}  // namespace neap::app
