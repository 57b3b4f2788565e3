// One control loop before an API in memory, on simulated time; the test plays the agents.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "neap/base/task_group.h"
#include "neap/client/fake_resource_client.h"
#include "neap/client/typed.h"
#include "neap/controllers/controller.h"
#include "neap/io/sim_runtime.h"

namespace neap::controllers {

class Quiet final : public telemetry::LogSink {
 public:
  void write(const telemetry::Record&) override {}
};

class NoPublisher final : public ModelPublisher {
 public:
  Task<Result<PublishedModel>> publish(CallContext, PublishRequest) override {
    co_return fail(Code::kUnimplemented, "test.publish", "nothing is published here");
  }
};

struct FixedSpending final : Spending {
  MoneyMicros amount;
  MoneyMicros spent(const std::string&, WallTime, WallTime) const override { return amount; }
  finops::Outlook outlook(const std::string&, const finops::PeriodBounds& period,
                          WallTime now) const override {
    return {.so_far = amount, .expected = finops::forecast(amount, period, now)};
  }
  std::int64_t billed_milliseconds(const std::string&) const override { return 0; }
};

class Cluster {
 public:
  // `kinds` outlive it; those of standard() refuse what the border refuses.
  explicit Cluster(Options options = {}, const api::KindTable& kinds = api::KindTable::standard())
      : options_(std::move(options)),
        sim_(7),
        machine_(sim_.add_machine("server")),
        client_(runtime(), kinds),
        log_(sink_, runtime().clock()) {
    start();
  }
  ~Cluster() { stop(); }

  io::Runtime& runtime() { return machine_.runtime(); }
  void start() {
    if (loop_) loop_->abandon();
    loop_ = std::make_unique<ControlLoop>(
        ControlLoop::Dependencies{.runtime = runtime(),
                                  .client = client_,
                                  .publisher = publisher_,
                                  .decisions = [this](Json record) -> Task<Status> {
                                    decisions_.push_back(std::move(record));
                                    co_return ok();
                                  },
                                  .log = log_,
                                  .spending = &spending_},
        options_);
    loop_->start();
  }
  void stop() { loop_->abandon(); }
  client::FakeResourceClient& client() { return client_; }
  const ControlLoop& loop() const { return *loop_; }
  FixedSpending& spending() { return spending_; }
  ControlLoop& loop() { return *loop_; }
  void pass(Duration time = 3s) { sim_.run_for(time); }
  const std::vector<Json>& decisions() const { return decisions_; }

  template <class R>
  R wait(Task<R> task) {
    std::optional<R> out;
    TaskGroup group(runtime().executor());
    group.spawn([](Task<R> inner, std::optional<R>& result) -> Task<void> {
      result.emplace(co_await std::move(inner));
    }(std::move(task), out));
    sim_.run_for(1min, [&] { return out && group.running() == 0; });
    return std::move(*out);
  }
  template <class T>
  void create(T object) {
    auto made = wait(client::TypedClient<T>(client_).create({}, std::move(object)));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  template <class T>
  std::optional<T> find(const std::string& name) {
    auto got = wait(client::TypedClient<T>(client_).get({}, ns<T>(), name));
    return got ? std::optional<T>(*std::move(got)) : std::nullopt;
  }
  template <class T>
  T get(const std::string& name) {
    auto got = find<T>(name);
    EXPECT_TRUE(got) << name << " is absent";
    return got.value_or(T{});
  }
  template <class T>
  void set_status(const std::string& name, const std::function<void(T&)>& change) {
    auto object = get<T>(name);
    change(object);
    auto written = wait(client::TypedClient<T>(client_).update_status({}, std::move(object)));
    ASSERT_TRUE(written) << written.error().to_string();
  }
  template <class T>
  void set_spec(const std::string& name, const std::function<void(T&)>& change) {
    auto object = get<T>(name);
    change(object);
    auto written = wait(client::TypedClient<T>(client_).update({}, std::move(object)));
    ASSERT_TRUE(written) << written.error().to_string();
  }
  void set_phase(const std::string& allocation, const std::string& phase, const std::string& message = {}) {
    set_status<api::Allocation>(allocation, [&](auto& a) {
      a.status.phase = phase;
      a.status.message = message;
    });
    pass();
  }

  void add_site(const std::string& name, api::Tier tier = api::Tier::kPrivate) {
    api::Site site;
    site.metadata.name = name;
    site.spec.tier = tier;
    site.spec.jurisdiction = "DE";
    create(site);
  }
  void add_node(const std::string& name, const std::string& site, std::int64_t cores) {
    api::Node node;
    node.metadata.name = name;
    node.spec.site = site;
    create(node);
    set_status<api::Node>(name, [&](auto& n) {
      n.status.capacity.cpu = n.status.allocatable.cpu = MilliCores{cores * 1000};
      n.status.capacity.memory = n.status.allocatable.memory = Bytes{16ll << 30};
      n.status.conditions = {{.type = "Ready", .status = "True", .reason = "AgentRuns"}};
    });
  }
  void renew(const std::string& node, const std::string& renew_time) {
    const client::ResourcePath all{.group = "coordination.k8s.io",
                                   .version = "v1",
                                   .plural = "leases",
                                   .namespace_ = "neap-node-lease",
                                   .name = {},
                                   .subresource = {}};
    auto one = all;
    one.name = node;
    const Json spec{{"holderIdentity", node}, {"leaseDurationSeconds", 20}, {"renewTime", renew_time}};
    auto done = wait(client_.patch({}, one, client::PatchType::kMerge, Json{{"spec", spec}}, {}));
    if (done) return;
    done = wait(client_.create({}, all,
                               Json{{"apiVersion", "coordination.k8s.io/v1"},
                                    {"kind", "Lease"},
                                    {"metadata", {{"name", node}, {"namespace", "neap-node-lease"}}},
                                    {"spec", spec}},
                               {}));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  api::TrainingJob job(const std::string& name, std::int64_t replicas, std::int64_t cores) {
    api::TrainingJob out;
    out.metadata.name = name;
    out.metadata.namespace_ = "default";
    out.spec.command = {"/usr/bin/train"};
    out.spec.replicas = replicas;
    out.spec.resources.cpu = MilliCores{cores * 1000};
    out.spec.resources.memory = Bytes{1 << 30};
    return out;
  }

 private:
  Options options_;
  template <class T>
  static std::string ns() {
    return !api::KindOf<T>::namespaced ? "" : "default";
  }
  io::SimWorld sim_;
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  Quiet sink_;
  telemetry::Logger log_;
  NoPublisher publisher_;
  FixedSpending spending_;
  std::vector<Json> decisions_;
  std::unique_ptr<ControlLoop> loop_;
};

}  // namespace neap::controllers
