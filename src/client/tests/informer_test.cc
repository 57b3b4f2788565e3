#include "neap/client/informer.h"

#include "neap/client/fake_resource_client.h"
#include "tests/sim_run.h"

namespace neap::client {
namespace {

ResourcePath sites(std::string name = {}) { return {"neap.dev", "v1", "sites", "", std::move(name), ""}; }

class InformerTest : public testing::Test {
 protected:
  ~InformerTest() override { sim_.run(informer_.stop()); }
  void create(std::string name) {
    sim_.run([](FakeResourceClient& c, std::string n) -> Task<void> {
      api::Site site;
      site.metadata.name = n;
      site.spec.jurisdiction = "DE";
      EXPECT_TRUE(co_await c.create({}, sites(), api::to_json(site), {}));
    }(client_, std::move(name)));
  }
  void change(std::string name, Json patch) {
    sim_.run([](FakeResourceClient& c, std::string n, Json p) -> Task<void> {
      EXPECT_TRUE(co_await c.patch({}, sites(n), PatchType::kMerge, p, {}));
    }(client_, std::move(name), std::move(patch)));
  }
  void remove(std::string name) {
    sim_.run([](FakeResourceClient& c, std::string n) -> Task<void> {
      EXPECT_TRUE(co_await c.remove({}, sites(n), {}));
    }(client_, std::move(name)));
  }
  void log_changes() {
    informer_.add_handlers(
        {.added = [this](const ObjectPtr& o) { log_ += "+" + object_key(*o) + " "; },
         .updated = [this](const ObjectPtr&, const ObjectPtr& o) { log_ += "~" + object_key(*o) + " "; },
         .deleted = [this](const ObjectPtr& o) { log_ += "-" + object_key(*o) + " "; }});
  }
  std::string take_log() { return std::exchange(log_, {}); }

  SimRun sim_;
  FakeResourceClient client_{sim_.runtime()};
  Informer informer_{{sim_.runtime(), client_}, {.path = sites(), .page_size = 2}};
  std::string log_;
};

TEST_F(InformerTest, lists_in_pages_then_follows_changes) {
  for (const auto name : {"a", "b", "c"}) create(name);
  log_changes();
  EXPECT_FALSE(informer_.has_synced());
  informer_.start();
  sim_.run([](Informer& i) -> Task<void> { EXPECT_TRUE(co_await i.wait_synced({})); }(informer_));
  EXPECT_EQ(take_log(), "+a +b +c ");
  change("b", JsonObject{{"spec", JsonObject{{"currency", "EUR"}}}});
  create("d");
  remove("a");
  sim_.pass(1s);
  EXPECT_EQ(take_log(), "~b +d -a ");
  EXPECT_EQ(informer_.size(), 3u);
  EXPECT_EQ(informer_.find("a"), nullptr);
  EXPECT_EQ(typed<api::Site>(informer_, "b")->spec.currency, "EUR");
  EXPECT_EQ(typed<api::Site>(informer_, "zz").error().code, Code::kNotFound);
  EXPECT_EQ(informer_.lists(), 1u);
}

TEST_F(InformerTest, goes_on_from_its_position_after_a_lost_watch_without_listing_again) {
  create("a");
  log_changes();
  informer_.start();
  sim_.pass(1s);
  client_.end_watches(Error{Code::kUnavailable, "test", "the link is down", {}});
  create("b");
  sim_.pass(10s);
  EXPECT_EQ(take_log(), "+a +b ");
  EXPECT_EQ(informer_.lists(), 1u);
  EXPECT_EQ(informer_.failures(), 1u);
}

TEST_F(InformerTest, lists_again_when_history_is_gone_and_reports_what_it_missed) {
  create("a");
  create("b");
  log_changes();
  informer_.start();
  sim_.pass(1s);
  (void)take_log();
  client_.end_watches(Error{Code::kUnavailable, "test", "the link is down", {}});
  remove("a");
  change("b", JsonObject{{"spec", JsonObject{{"currency", "EUR"}}}});
  create("c");
  client_.compact();
  sim_.pass(10s);
  EXPECT_EQ(take_log(), "-a ~b +c ");
  EXPECT_EQ(informer_.lists(), 2u);
}

TEST_F(InformerTest, backs_off_from_a_server_that_is_down_and_says_why) {
  client_.fail_next(1'000'000, Error{Code::kUnavailable, "test", "no server", {}});
  informer_.start();
  sim_.pass(10min);
  EXPECT_FALSE(informer_.has_synced());
  EXPECT_EQ(informer_.last_error()->message, "no server");
  EXPECT_LT(client_.calls(), 60u) << "with a back-off of at most 30 s, half of it drawn";
  EXPECT_GT(client_.calls(), 15u);
  client_.fail_next(0, {});
  sim_.pass(1min);
  EXPECT_TRUE(informer_.has_synced());
  EXPECT_FALSE(informer_.last_error().has_value());
}

TEST_F(InformerTest, takes_a_silent_watch_for_dead_and_bookmarks_move_its_position) {
  create("a");
  informer_.start();
  sim_.pass(1s);
  const auto calls = client_.calls();
  sim_.pass(10min);
  EXPECT_GE(client_.calls(), calls + 3);
  EXPECT_EQ(informer_.failures(), 0u);
  sim_.run([](FakeResourceClient& c) -> Task<void> {
    const Json ns =
        JsonObject{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", JsonObject{{"name", "n"}}}};
    EXPECT_TRUE(co_await c.create({}, {"", "v1", "namespaces", "", "", ""}, ns, {}));
  }(client_));
  client_.send_bookmarks();
  sim_.pass(1s);
  client_.compact();  // the position is at the bookmark: nothing is lost
  client_.end_watches();
  sim_.pass(10s);
  EXPECT_EQ(informer_.lists(), 1u);
}

TEST_F(InformerTest, handlers_added_late_hear_of_what_is_there) {
  create("a");
  informer_.start();
  sim_.pass(1s);
  log_changes();
  EXPECT_EQ(take_log(), "+a ");
}

}  // namespace
}  // namespace neap::client
