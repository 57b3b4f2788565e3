// The parts of a SimWorld, private to fakes/.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "neap/base/assert.h"
#include "neap/io/sim_runtime.h"

namespace neap::io::sim {

class Machine;

// splitmix64: small, seedable, and good enough to draw faults with.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  bool chance(double probability) {
    return probability > 0 && static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
  }

 private:
  std::uint64_t state_;
};

constexpr int kWorldItself = -1;

// The one queue, ordered by (time, sequence).
class Schedule {
 public:
  std::uint64_t add(int owner, MonoTime when, Job job);
  void cancel(std::uint64_t id);
  void drop_owner(int owner);
  bool step();
  void mix(std::uint64_t value);

  MonoTime now{Duration(1000s)};
  std::uint64_t events = 0;
  std::uint64_t hash = 0xcbf29ce484222325ull;
  struct Entry {
    int owner;
    Job job;
  };
  std::map<std::pair<MonoTime, std::uint64_t>, Entry> queue;

 private:
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, MonoTime> times_;
};

struct Link {
  Schedule& schedule;
  Dice& dice;
  SimFaults faults;
  std::set<std::pair<int, int>> cuts;
  Duration delay(int from, int to) {
    if (from == to) return 10us;
    const auto spread = faults.delay_max - faults.delay_min;
    return faults.delay_min +
           Duration(spread.count() > 0
                        ? static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(spread.count())))
                        : 0);
  }
  bool is_cut(int from, int to) const { return cuts.contains({from, to}); }
};

struct Connection;
struct Backlog;

// All connections and listeners of the world.
class Wires {
 public:
  explicit Wires(Link& link) : link_(link) {}
  Link& link() { return link_; }
  Task<Result<std::unique_ptr<Stream>>> connect(Machine& from, CallContext ctx, Endpoint endpoint);
  Result<std::unique_ptr<Listener>> listen(Machine& on, Endpoint endpoint);
  void crash(int machine);
  void healed(int from, int to);
  std::function<Machine*(const std::string&)> find_machine;

 private:
  friend struct Connection;
  Link& link_;
  std::uint64_t last_connection_ = 0;
  std::map<std::uint64_t, std::weak_ptr<Connection>> connections_;
  std::map<std::pair<int, std::string>, std::weak_ptr<Backlog>> listeners_;
  std::uint16_t last_port_ = 30'000;
};

std::unique_ptr<Network> make_network(Wires& wires, Machine& machine);

// Files of one machine, with what of them is durable.
class Disk;
class Files : public FileSystem {
 public:
  static std::unique_ptr<Files> create(Dice& dice, std::function<WallTime()> wall);
  // Forgets what is not durable, as drawn; open files of before fail from now on.
  virtual void crash() = 0;
  virtual void close_all() = 0;
  virtual void fail_next_syncs(int count, Code code) = 0;
  virtual void fail_next_writes(int count, Code code) = 0;
  virtual void set_capacity(std::uint64_t bytes) = 0;
};

class Processes : public Subprocesses {
 public:
  static std::unique_ptr<Processes> create(Schedule& schedule, Executor& executor, FileSystem& files);
  virtual void crash() = 0;
  virtual void set_behaviour(SimBehaviour behaviour) = 0;
  virtual std::vector<std::int64_t> running() const = 0;
};

class Machine final : public SimMachine, public Runtime, public Executor, public Clock, public Random {
 public:
  Machine(int index, std::string name, std::uint64_t seed, Schedule& schedule, Wires& wires);

  int index() const { return index_; }
  Files& disk() { return *files_; }
  Processes& children() { return *processes_; }

  // SimMachine
  Runtime& runtime() override { return *this; }
  const std::string& name() const override { return name_; }
  void fail_next_syncs(int count, Code code) override { files_->fail_next_syncs(count, code); }
  void fail_next_writes(int count, Code code) override { files_->fail_next_writes(count, code); }
  void set_disk_capacity(std::uint64_t bytes) override { files_->set_capacity(bytes); }
  void set_clock_skew(Duration skew) override { skew_ = skew; }
  void set_behaviour(SimBehaviour behaviour) override { processes_->set_behaviour(std::move(behaviour)); }
  std::vector<std::int64_t> running_processes() const override { return processes_->running(); }

  // Runtime
  Executor& executor() override { return *this; }
  const Clock& clock() const override { return *this; }
  Random& random() override { return *this; }
  Network& network() override { return *network_; }
  FileSystem& files() override { return *files_; }
  Subprocesses& subprocesses() override { return *processes_; }
  Task<void> run_blocking(std::move_only_function<void()> job) override;

  // Executor, Clock, Random
  void post(Job job) override { schedule_.add(index_, schedule_.now, std::move(job)); }
  MonoTime now() const override { return schedule_.now; }
  TimerId post_at(MonoTime when, Job job) override {
    return TimerId{schedule_.add(index_, when, std::move(job))};
  }
  void cancel_timer(TimerId id) override { schedule_.cancel(static_cast<std::uint64_t>(id)); }
  WallTime wall() const override;
  void fill(std::span<std::uint8_t> out) override;

 private:
  int index_;
  std::string name_;
  Schedule& schedule_;
  Dice dice_;
  Duration skew_{0};
  std::unique_ptr<Network> network_;
  std::unique_ptr<Files> files_;
  std::unique_ptr<Processes> processes_;
};

}  // namespace neap::io::sim
