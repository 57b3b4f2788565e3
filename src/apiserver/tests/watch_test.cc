#include <deque>

#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
std::string map(std::string_view name, std::string_view value = "1", std::string_view labels = "{}") {
  return fmt::format(R"({{"metadata":{{"name":"{}","labels":{}}},"data":{{"k":"{}"}}}})", name, labels,
                     value);
}

// Events of one watch, collected while the world runs.
class Watching {
 public:
  Watching(World& world, std::string target) : world_(world), group_(world.runtime().executor()) {
    group_.spawn(read(std::move(target)));
    world_.settle(100ms);
  }
  ~Watching() {
    world_.run([](TaskGroup& group) -> Task<void> { co_await group.stop(); }(group_));
  }
  int status = 0;
  bool ended = false;
  std::deque<Json> events;
  int pieces = 0;
  Json plain;  // the body of a refusal

  std::string line() {
    world_.settle(500ms);
    std::string out;
    for (const auto& event : events)
      out += fmt::format("{}:{} ", get_string(event, "type"),
                         get_string(*find_path(event, {"object", "metadata"}), "name"));
    return out;
  }

 private:
  Task<void> read(std::string target) {
    io::HttpRequest request;
    request.method = "GET";
    request.target = std::move(target);
    request.headers.set("Authorization", "Bearer admin");
    auto stream = co_await world_.http().open(group_.context(), std::move(request));
    if (!stream) co_return;
    status = (*stream)->status();
    std::string text;
    for (;;) {
      const auto n = co_await (*stream)->body().read_some(group_.context(), text);
      if (!n || *n == 0) break;
      ++pieces;
      if (status != 200) continue;
      for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        events.push_back(json(text.substr(0, end)));
        text.erase(0, end + 1);
      }
    }
    if (status != 200) plain = json(text);
    ended = true;
  }
  World& world_;
  TaskGroup group_;
};

std::string revision(World& world) { return fmt::format("{}", to_number(world.store().current_revision())); }

TEST(Watch, events_come_once_in_order_from_the_revision_asked) {
  World world;
  world.post(kMaps, map("before"));
  Watching watching(world, kMaps + "?watch=true&resourceVersion=" + revision(world));
  world.post(kMaps, map("a"));
  world.merge(kMaps + "/a", R"({"data":{"k":"2"}})");
  world.merge(kMaps + "/a", R"({"data":{"k":"2"}})");
  world.remove(kMaps + "/a");
  world.post("/api/v1/namespaces/neap-system/configmaps", map("elsewhere"));
  EXPECT_EQ(watching.line(), "ADDED:a MODIFIED:a DELETED:a ");
  std::int64_t last = 0;
  for (const auto& event : watching.events) {
    const auto now =
        std::stoll(std::string(get_string(*find_path(event, {"object", "metadata"}), "resourceVersion")));
    EXPECT_GT(now, last) << "a deletion has a revision of its own, too";
    last = now;
  }
}

// Changes one object after the other, 3 ms apart, while so many watch; the revisions that each saw, and in
// how many pieces they came to it.
struct Crowd {
  std::vector<std::vector<std::string>> seen;
  double pieces_each = 0;
};
Crowd watch_changes(int watchers, int changes) {
  World world;
  world.post(kMaps, map("a"));
  std::deque<Watching> crowd;
  const auto target = kMaps + "?watch=true&resourceVersion=" + revision(world);
  for (int i = 0; i < watchers; ++i) crowd.emplace_back(world, target);
  world.run([](World& w, int count) -> Task<void> {
    for (int i = 0; i < count; ++i) {
      const auto text = fmt::format("{}", i);
      EXPECT_TRUE(co_await w.store().put({}, "/registry//configmaps/default/x" + text, map("x" + text)));
      (void)co_await sleep_for(w.runtime().executor(), {}, 3ms);
    }
  }(world, changes));
  world.settle(500ms);
  Crowd out;
  for (const auto& one : crowd) {
    auto& seen = out.seen.emplace_back();
    for (const auto& event : one.events)
      seen.emplace_back(get_string(*find_path(event, {"object", "metadata"}), "name"));
    out.pieces_each += double(one.pieces) / watchers;
  }
  return out;
}

TEST(Watch, where_many_watch_events_travel_together_complete_and_in_order) {
  constexpr int kChanges = 60;
  std::vector<std::string> all;
  for (int i = 0; i < kChanges; ++i) all.push_back(fmt::format("x{}", i));
  const auto many = watch_changes(400, kChanges);
  for (const auto& seen : many.seen) EXPECT_EQ(seen, all);
  EXPECT_LT(many.pieces_each, kChanges / 3);
  const auto few = watch_changes(10, kChanges);
  for (const auto& seen : few.seen) EXPECT_EQ(seen, all);
  EXPECT_EQ(few.pieces_each, kChanges) << "where few watch, nothing waits";
}

TEST(Watch, without_a_revision_the_present_comes_first) {
  World world;
  world.post(kMaps, map("a"));
  Watching watching(world, kMaps + "?watch=true");
  world.post(kMaps, map("b"));
  EXPECT_EQ(watching.line(), "ADDED:a ADDED:b ");
}

TEST(Watch, all_namespaces_and_kinds_without_one_are_watched_too) {
  World world;
  Watching everywhere(world, "/api/v1/configmaps?watch=true&resourceVersion=" + revision(world));
  Watching namespaces(world, "/api/v1/namespaces?watch=true&resourceVersion=" + revision(world));
  world.post(kMaps, map("a"));
  world.post("/api/v1/namespaces/neap-system/configmaps", map("b"));
  world.post("/api/v1/namespaces", R"({"metadata":{"name":"team-a"}})");
  EXPECT_EQ(everywhere.line(), "ADDED:a ADDED:b ");
  EXPECT_EQ(namespaces.line(), "ADDED:team-a ");
}

TEST(Watch, initial_events_end_with_an_annotated_bookmark) {
  World world;
  world.post(kMaps, map("a"));
  Watching watching(
      world,
      kMaps +
          "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  world.post(kMaps, map("b"));
  EXPECT_EQ(watching.line(), "ADDED:a BOOKMARK: ADDED:b ");
  EXPECT_EQ(get_string(*find_path(watching.events[1], {"object", "metadata", "annotations"}),
                       "k8s.io/initial-events-end"),
            "true");
  EXPECT_EQ(get_string(*find_path(watching.events[1], {"object"}), "kind"), "ConfigMap");
  Watching refused(world, kMaps + "?watch=true&sendInitialEvents=true");
  world.settle(100ms);
  EXPECT_EQ(refused.status, 422);
}

TEST(Watch, a_selector_sees_objects_come_and_go_as_they_change) {
  World world;
  Watching labelled(world, kMaps + "?watch=true&labelSelector=on%3Dyes&resourceVersion=" + revision(world));
  Watching named(world,
                 kMaps + "?watch=true&fieldSelector=metadata.name%3Db&resourceVersion=" + revision(world));
  world.post(kMaps, map("a"));
  world.merge(kMaps + "/a", R"({"metadata":{"labels":{"on":"yes"}}})");
  world.merge(kMaps + "/a", R"({"data":{"k":"3"}})");
  world.merge(kMaps + "/a", R"({"metadata":{"labels":{"on":null}}})");
  world.post(kMaps, map("b", "1", R"({"on":"yes"})"));
  world.remove(kMaps + "/b");
  EXPECT_EQ(labelled.line(), "ADDED:a MODIFIED:a DELETED:a ADDED:b DELETED:b ");
  EXPECT_EQ(named.line(), "ADDED:b DELETED:b ");
}

TEST(Watch, bookmarks_come_regularly_and_a_watch_ends_when_its_time_is_over) {
  World world;
  Watching watching(
      world,
      kMaps + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=150&resourceVersion=" + revision(world));
  world.settle(70s);
  EXPECT_EQ(watching.line(), "BOOKMARK: ");
  world.post("/api/v1/namespaces/neap-system/configmaps", map("elsewhere"));
  const auto newest = revision(world);
  world.settle(120s);
  EXPECT_TRUE(watching.ended);
  EXPECT_EQ(watching.line(), "BOOKMARK: BOOKMARK: BOOKMARK: ") << "the last one just before the end";
  EXPECT_EQ(get_string(*find_path(watching.events.back(), {"object", "metadata"}), "resourceVersion"), newest)
      << "a bookmark moves on though nothing of this kind changed";
  EXPECT_EQ(world.server().open_watches(), 0u);
}

TEST(Watch, history_that_is_gone_is_a_410) {
  World world;
  for (int i = 0; i < 3; ++i) world.post(kMaps, map(fmt::format("m{}", i)));
  world.run([](World& self) -> Task<void> {
    const auto compacted = co_await self.store().compact({}, self.store().current_revision());
    EXPECT_TRUE(compacted);
  }(world));
  world.restart();
  Watching watching(world, kMaps + "?watch=true&resourceVersion=1");
  world.settle(100ms);
  EXPECT_EQ(watching.status, 410);
  EXPECT_EQ(get_string(watching.plain, "reason"), "Expired");
  Watching future(world, kMaps + "?watch=true&resourceVersion=99999");
  world.settle(100ms);
  EXPECT_EQ(future.status, 410) << "a revision from before a restore is no promise to wait for";
}

TEST(Watch, a_watch_goes_on_across_a_restart_of_the_server) {
  World world;
  const auto seen = revision(world);
  world.post(kMaps, map("a"));
  world.restart();
  Watching watching(world, kMaps + "?watch=true&resourceVersion=" + seen);
  EXPECT_EQ(watching.line(), "ADDED:a ");
}

TEST(Watch, a_watcher_that_does_not_read_is_ended_and_nobody_else_notices) {
  ApiServer::Options options;
  options.watch_buffer_events = 20;
  World world(options);
  auto slow_client = world.server().local_client(
      {.user = "x", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  std::unique_ptr<client::WatchStream> slow;
  const client::ResourcePath maps{"", "v1", "configmaps", "default", "", ""};
  world.run([](client::ResourceClient& client, client::ResourcePath path, std::string from,
               std::unique_ptr<client::WatchStream>& out) -> Task<void> {
    auto opened = co_await client.watch({}, path, {}, from);
    EXPECT_TRUE(opened);
    if (opened) out = *std::move(opened);
  }(*slow_client, maps, revision(world), slow));
  Watching quick(world, kMaps + "?watch=true&resourceVersion=" + revision(world));
  for (int i = 0; i < 40; ++i) {
    world.post(kMaps, map(fmt::format("m{}", i)));
    world.settle(10ms);
  }
  world.settle(1s);
  EXPECT_EQ(quick.events.size(), 40u);
  world.run([](client::WatchStream& stream) -> Task<void> {
    const auto event = co_await stream.next({});
    EXPECT_FALSE(event);
    if (!event) EXPECT_EQ(event.error().code, Code::kOutOfRange);
  }(*slow));
}

TEST(Watch, objects_found_by_a_field_come_and_go_with_its_value) {
  World world;
  const std::string nodes = "/apis/neap.dev/v1/nodes", closed = "?fieldSelector=spec.unschedulable%3Dtrue";
  const auto names = [&] {
    std::string out;
    const auto listed = world.get(nodes + closed);
    for (const auto& item : find_path(listed.body, {"items"})->get_array())
      out += fmt::format("{} ", get_string(*find_path(item, {"metadata"}), "name"));
    return out;
  };
  for (const auto* name : {"n1", "n2", "n3"})
    EXPECT_EQ(world.post(nodes, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"site":"s"}}}})", name))
                  .status,
              201);
  EXPECT_EQ(names(), "");
  Watching watching(world, nodes + closed + "&watch=true");
  Watching other(world, nodes + "?fieldSelector=spec.site%3Dt&watch=true");
  const auto set = [&](const char* name, bool value) {
    world.merge(nodes + "/" + name, fmt::format(R"({{"spec":{{"unschedulable":{}}}}})", value));
  };
  set("n2", true);
  set("n1", true);
  EXPECT_EQ(names(), "n1 n2 ");
  set("n2", false);
  world.merge(nodes + "/n3", R"({"metadata":{"labels":{"a":"b"}}})");
  EXPECT_EQ(names(), "n1 ");
  world.remove(nodes + "/n1");
  EXPECT_EQ(names(), "");
  EXPECT_EQ(watching.line(), "ADDED:n2 ADDED:n1 DELETED:n2 DELETED:n1 ");
  EXPECT_EQ(other.line(), "");
}

}  // namespace
}  // namespace neap::apiserver
