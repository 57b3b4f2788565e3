#include "node_streams.h"

#include <gtest/gtest.h>

#include "neap/agent/stream_relay.h"
#include "neap/client/fake_resource_client.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/memory_store.h"

namespace neap::app {
namespace {

class Quiet final : public telemetry::LogSink {
 public:
  void write(const telemetry::Record&) override {}
};

// A server at hq and a node of site plant with one allocation, each on a machine of its own; the node's real
// relay and egress gate. Plain HTTP: who asks is settled by TLS.
class NodeStreamsTest : public ::testing::Test {
 protected:
  NodeStreamsTest()
      : hq_(world_.add_machine("10.0.0.1")),
        node_(world_.add_machine("10.0.0.7")),
        client_(hq_.runtime()),
        node_client_(node_.runtime()),
        node_store_(node_.runtime().executor()),
        log_(sink_, node_.runtime().clock()) {
    who_.node = "n1";
    run(hq_, create());
    streams_ = std::make_unique<NodeStreams>(hq_.runtime(), client_);
    auto listener = hq_.runtime().network().listen({"10.0.0.1", 0, {}});
    http_ =
        std::make_unique<io::HttpServer>(hq_.runtime(), std::move(*listener), io::HttpServerOptions{},
                                         [this](io::HttpExchange& x) { return streams_->serve(x, who_); });
    http_->start();
    to_server_ = std::make_unique<io::HttpClient>(node_.runtime(), http_->local(), io::HttpClientOptions{});
    run(node_, open_node());
    subject_.directory = "/work";
    subject_.intent.level = api::DataLevel::kL3;
    subject_.intent.project = "default";
    EXPECT_TRUE(node_.runtime().files().make_directories("/work"));
    relay_ = std::make_unique<agent::StreamRelay>(
        agent::StreamRelay::Dependencies{.runtime = node_.runtime(),
                                         .server = *to_server_,
                                         .gate = *gate_,
                                         .processes = processes_,
                                         .log = log_,
                                         .find =
                                             [this](const std::string& ns, const std::string& name) {
                                               return ns == "default" && name == "a" ? found_ : std::nullopt;
                                             }},
        "n1", "hq");
    found_ = subject_;
  }
  ~NodeStreamsTest() override { run(node_, stop()); }

  Task<void> create() {
    const auto made = co_await client_.create({}, {"neap.dev", "v1", "allocations", "default", "", ""},
                                              JsonObject{{"apiVersion", "neap.dev/v1"},
                                                         {"kind", "Allocation"},
                                                         {"metadata", JsonObject{{"name", "a"}}},
                                                         {"spec", JsonObject{{"node", "n1"},
                                                                             {"site", "plant"},
                                                                             {"ownerKind", "TrainingJob"},
                                                                             {"ownerName", "t"}}}},
                                              {});
    EXPECT_TRUE(made) << made.error().to_string();
  }
  Task<void> open_node() {
    audit_ =
        (co_await ledger::Ledger::open(node_.runtime(), {.directory = "/audit", .origin = "test/n1"},
                                       crypto::PrivateKey::from_ed25519_seed(std::string(32, 'k')).value()))
            .value();
    gate_ = std::make_unique<agent::EgressGate>(agent::EgressGate::Dependencies{.runtime = node_.runtime(),
                                                                                .store = node_store_,
                                                                                .client = node_client_,
                                                                                .audit = *audit_,
                                                                                .server = *to_server_,
                                                                                .log = log_},
                                                "n1", "plant");
  }
  // The gate learns sites and rules from the API when it starts.
  Task<void> learn(JsonArray rules) {
    co_await make("sites", "Site", "", "hq", {{"tier", "private"}, {"jurisdiction", "cn"}});
    co_await make("sites", "Site", "", "plant", {{"tier", "edge"}, {"jurisdiction", "cn"}});
    if (!rules.empty())
      co_await make("datapolicies", "DataPolicy", "default", "p", {{"rules", std::move(rules)}});
    const auto started = co_await gate_->start();
    EXPECT_TRUE(started) << started.error().to_string();
    gate_started_ = true;
    (void)co_await sleep_for(node_.runtime().executor(), {}, 1s);
  }
  Task<void> make(std::string plural, std::string kind, std::string ns, std::string name, JsonObject spec) {
    const auto made = co_await node_client_.create({}, {"neap.dev", "v1", plural, ns, "", ""},
                                                   JsonObject{{"apiVersion", "neap.dev/v1"},
                                                              {"kind", kind},
                                                              {"metadata", JsonObject{{"name", name}}},
                                                              {"spec", std::move(spec)}},
                                                   {});
    EXPECT_TRUE(made) << made.error().to_string();
  }
  Task<void> stop() {
    co_await relay_->stop();
    if (gate_started_) co_await gate_->stop();
    to_server_->close_idle();
    co_await http_->stop(1ms);
    co_await audit_->close();
  }
  void run(io::SimMachine& machine, Task<void> task) {
    TaskGroup group(machine.runtime().executor());
    group.spawn(std::move(task));
    world_.run_for(10min, [&] { return group.running() == 0; });
    EXPECT_EQ(group.running(), 0u);
  }
  void write_log(const std::string& text) {
    ASSERT_TRUE(node_.runtime().files().write_file_atomic("/work/log", text));
  }
  // The whole log, or the reason why not.
  Task<void> read_into(apiserver::LogQuery query, CallContext ctx, std::string& out) {
    query.namespace_ = "default";
    if (query.allocation.empty()) query.allocation = "a";
    if (query.user.empty()) query.user = "alice";
    auto stream = co_await streams_->open_log(ctx, query);
    if (!stream) {
      out = stream.error().reason;
      co_return;
    }
    for (;;) {
      const auto n = co_await (*stream)->read_some(ctx, out);
      if (!n) out += "!" + n.error().reason;
      if (!n || *n == 0) co_return;
    }
  }
  std::string read(apiserver::LogQuery query = {}) {
    std::string out;
    run(hq_, read_into(std::move(query), {}, out));
    return out;
  }
  // The reason why a session was refused.
  std::string enter(apiserver::SessionQuery query) {
    query.namespace_ = "default";
    query.allocation = "a";
    query.command = {"true"};
    std::string out;
    run(hq_, [](NodeStreams& streams, apiserver::SessionQuery asked, std::string& reason) -> Task<void> {
      const auto session = co_await streams.open_session({}, std::move(asked));
      reason = session ? "open" : session.error().reason;
    }(*streams_, std::move(query), out));
    return out;
  }
  std::vector<std::string> recorded() {
    std::vector<std::string> out;
    run(node_, [](ledger::Ledger& audit, std::vector<std::string>& types) -> Task<void> {
      for (const auto& entry : (co_await audit.read(0, 100)).value())
        types.push_back(fmt::format("{} {} {}", get_string(entry.body, "type"),
                                    get_string(entry.body, "level"), get_int(entry.body, "bytes", -1)));
    }(*audit_, out));
    return out;
  }

  io::SimWorld world_{31};
  io::SimMachine &hq_, &node_;
  client::FakeResourceClient client_, node_client_;
  store::MemoryStore node_store_;
  Quiet sink_;
  telemetry::Logger log_;
  executor::ResourceLimiter limiter_ =
      executor::ResourceLimiter::detect(node_.runtime().files(), "n1", "/no-cgroups");
  executor::ProcessDriver processes_{node_.runtime(), limiter_, {}};
  auth::Identity who_;
  std::unique_ptr<NodeStreams> streams_;
  std::unique_ptr<io::HttpServer> http_;
  std::unique_ptr<io::HttpClient> to_server_;
  std::unique_ptr<ledger::Ledger> audit_;
  std::unique_ptr<agent::EgressGate> gate_;
  bool gate_started_ = false;
  agent::WorkSubject subject_;
  std::optional<agent::WorkSubject> found_;
  std::unique_ptr<agent::StreamRelay> relay_;
};

TEST_F(NodeStreamsTest, a_log_comes_whole_or_its_last_lines_and_the_crossing_is_on_record) {
  run(node_, learn({}));
  relay_->start();
  write_log("one\ntwo\nthree\n");
  EXPECT_EQ(read(), "one\ntwo\nthree\n");
  EXPECT_EQ(read({.tail_lines = 1}), "three\n");
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L3 14", "crossing L3 6"}));
  const std::string long_log(5'000'000, 'x');
  write_log(long_log);
  EXPECT_EQ(read(), long_log);
  // The first piece, then about every MiB, then the rest.
  EXPECT_EQ(recorded().size(), 2u + 6u);
}

TEST_F(NodeStreamsTest, a_followed_log_goes_on_until_the_work_has_ended) {
  run(node_, learn({}));
  relay_->start();
  write_log("one\n");
  std::string out;
  TaskGroup reading(hq_.runtime().executor());
  reading.spawn(read_into({.follow = true}, {}, out));
  world_.run_for(3min);
  EXPECT_EQ(out, "one\n");  // longer than any silence that is looked into
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L3 4"}));
  write_log("one\ntwo\n");
  world_.run_for(1s);
  EXPECT_EQ(out, "one\ntwo\n");
  write_log("one\ntwo\nlast\n");
  found_->has_ended = true;
  world_.run_for(2s);
  EXPECT_EQ(out, "one\ntwo\nlast\n");
  EXPECT_EQ(reading.running(), 0u);
}

TEST_F(NodeStreamsTest, a_reader_that_goes_ends_the_reading_on_the_node) {
  run(node_, learn({}));
  relay_->start();
  write_log("one\n");
  std::string out;
  CancelSource cancel;
  TaskGroup reading(hq_.runtime().executor());
  reading.spawn(read_into({.follow = true}, CallContext{}.with_cancel(cancel.token()), out));
  world_.run_for(2s);
  cancel.cancel();
  world_.run_for(10s);
  EXPECT_EQ(reading.running(), 0u);
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L3 4"}));  // written when the node's side ends
}

TEST_F(NodeStreamsTest, a_node_that_is_away_or_lost_is_named) {
  run(node_, learn({}));
  write_log("one\n");
  EXPECT_EQ(read(), "logs.node.unreachable");
  relay_->start();
  EXPECT_EQ(read(), "one\n");
  EXPECT_EQ(read({.allocation = "b"}), "api.object.absent");
  found_.reset();
  EXPECT_EQ(read(), "agent.log.unknown");
}

JsonObject rule(const char* level, const char* purpose) {
  return {{"name", fmt::format("{}-{}", level, purpose)},
          {"level", level},
          {"effect", "allow"},
          {"purposes", JsonArray{purpose}}};
}

TEST_F(NodeStreamsTest, work_on_protected_data_shows_its_log_to_named_users_only) {
  run(node_, learn({rule("L2", "train"), rule("L2", "log/alice"), rule("L1", "log/alice")}));
  relay_->start();
  write_log("secret\n");
  found_->intent.level = api::DataLevel::kL2;
  EXPECT_EQ(read({.user = "alice"}), "secret\n");
  EXPECT_EQ(read({.user = "bob"}), "egress.view.unnamed");
  found_->intent.level = api::DataLevel::kL1;  // hq is another site: L1 does not leave whoever is named
  EXPECT_EQ(read({.user = "alice"}), "dataguard.export.l1");
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L2 7", "refusal L2 -1", "refusal L1 -1"}));
}

TEST_F(NodeStreamsTest, a_followed_log_ends_when_the_rule_that_allowed_it_goes) {
  run(node_, learn({rule("L2", "log/alice")}));
  relay_->start();
  write_log("one\n");
  found_->intent.level = api::DataLevel::kL2;
  std::string out;
  TaskGroup reading(hq_.runtime().executor());
  reading.spawn(read_into({.user = "alice", .follow = true}, {}, out));
  world_.run_for(3s);
  EXPECT_EQ(out, "one\n");
  run(node_, [](client::FakeResourceClient& client) -> Task<void> {
    EXPECT_TRUE(co_await client.remove({}, {"neap.dev", "v1", "datapolicies", "default", "p", ""}, {}));
  }(node_client_));
  world_.run_for(12s);
  write_log("one\nsecret\n");
  world_.run_for(5s);
  EXPECT_EQ(reading.running(), 0u);
  EXPECT_EQ(out.find("secret"), std::string::npos) << out;
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L2 4", "refusal L2 -1"}));
}

TEST_F(NodeStreamsTest, work_on_protected_data_is_entered_by_named_users_only) {
  run(node_, learn({rule("L2", "log/alice"), rule("L2", "exec/bob"), rule("L1", "exec/bob")}));
  relay_->start();
  using Kind = apiserver::SessionQuery::Kind;
  found_->intent.level = api::DataLevel::kL2;
  EXPECT_EQ(enter({.kind = Kind::kExec, .user = "alice"}), "egress.view.unnamed");  // she may read, not enter
  EXPECT_EQ(enter({.kind = Kind::kPortForward, .user = "bob"}), "egress.view.unnamed");
  EXPECT_EQ(enter({.kind = Kind::kAttach, .user = "bob"}), "egress.view.unnamed");
  EXPECT_EQ(recorded(), std::vector<std::string>(3, "refusal L2 -1"));
  // Named: what is said next is about the work itself, which has no program here.
  EXPECT_EQ(enter({.kind = Kind::kExec, .user = "bob"}), "agent.session.inside");
  found_->intent.level = api::DataLevel::kL1;  // hq is another site
  EXPECT_EQ(enter({.kind = Kind::kExec, .user = "bob"}), "dataguard.export.l1");
  found_->intent.level = api::DataLevel::kL3;
  EXPECT_EQ(enter({.kind = Kind::kExec, .user = "alice"}), "agent.session.inside");
  found_->programs = {.id = "u", .working_directory = "/work", .environment = {}};
  EXPECT_EQ(enter({.kind = Kind::kExec, .user = "alice"}), "agent.session.ended");
  EXPECT_EQ(enter({.kind = Kind::kPortForward, .user = "alice"}), "agent.session.ended");
}

TEST_F(NodeStreamsTest, one_node_cannot_take_what_is_asked_of_another) {
  who_.node = "n2";
  run(node_, learn({}));
  relay_->start();  // speaks as n1
  EXPECT_EQ(read(), "logs.node.unreachable");
}

TEST_F(NodeStreamsTest, what_a_followed_log_takes_across_is_on_record_while_it_is_followed) {
  run(node_, learn({}));
  relay_->start();
  write_log("one\n");
  std::string out;
  CancelSource cancel;
  TaskGroup reading(hq_.runtime().executor());
  reading.spawn(read_into({.follow = true}, CallContext{}.with_cancel(cancel.token()), out));
  world_.run_for(3s);
  write_log("one\ntwo\n");
  world_.run_for(2s);
  EXPECT_EQ(out, "one\ntwo\n");
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L3 4"}));
  world_.run_for(10s);
  EXPECT_EQ(recorded(), (std::vector<std::string>{"crossing L3 4", "crossing L3 4"}));
  cancel.cancel();
  world_.run_for(10s);
  EXPECT_EQ(recorded().size(), 2u);
  EXPECT_EQ(reading.running(), 0u);
}

TEST_F(NodeStreamsTest, nodes_that_went_are_forgotten) {
  run(node_, learn({}));
  relay_->start();
  world_.run_for(1s);
  EXPECT_EQ(streams_->desk_count(), 1u);
  run(node_, relay_->stop());
  world_.run_for(1min);
  EXPECT_EQ(read(), "logs.node.unreachable");
  who_.node = "n2";
  io::HttpClient other(node_.runtime(), http_->local(), {});
  run(node_, [](io::HttpClient& client) -> Task<void> {
    io::HttpRequest poll;
    poll.method = "GET";
    poll.target = "/agent/v1/nodes/n2/streams";
    EXPECT_TRUE(co_await client.call({}, std::move(poll)));
  }(other));
  other.close_idle();
  EXPECT_EQ(streams_->desk_count(), 1u);  // n2's alone
}

TEST_F(NodeStreamsTest, more_logs_at_once_than_the_bound_are_refused) {
  run(node_, learn({}));
  relay_->start();
  write_log("one\n");
  std::vector<std::string> out(70);
  TaskGroup reading(hq_.runtime().executor());
  CancelSource cancel;
  for (auto& text : out)
    reading.spawn(read_into({.follow = true}, CallContext{}.with_cancel(cancel.token()), text));
  world_.run_for(5s);
  EXPECT_EQ(std::ranges::count(out, "one\n"), 64);
  EXPECT_EQ(std::ranges::count(out, "logs.busy"), 6);
  cancel.cancel();
  world_.run_for(5s);
  EXPECT_EQ(reading.running(), 0u);
  EXPECT_EQ(read(), "one\n");
}

}  // namespace
}  // namespace neap::app
