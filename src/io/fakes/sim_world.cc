#include "fakes/sim_core.h"

namespace neap::io {
namespace sim {

std::uint64_t Schedule::add(int owner, MonoTime when, Job job) {
  const std::uint64_t id = ++last_;
  const MonoTime at = std::max(when, now);
  queue.emplace(std::pair{at, id}, Entry{owner, std::move(job)});
  times_.emplace(id, at);
  return id;
}

void Schedule::cancel(std::uint64_t id) {
  const auto it = times_.find(id);
  if (it == times_.end()) return;
  const auto key = std::pair{it->second, id};
  times_.erase(it);
  [[maybe_unused]] const auto doomed = queue.extract(key);
}

void Schedule::drop_owner(int owner) {
  std::vector<Job> doomed;  // destroyed when the queue is consistent again
  for (auto it = queue.begin(); it != queue.end();) {
    if (it->second.owner == owner) {
      doomed.push_back(std::move(it->second.job));
      times_.erase(it->first.second);
      it = queue.erase(it);
    } else {
      ++it;
    }
  }
}

bool Schedule::step() {
  if (queue.empty()) return false;
  auto node = queue.extract(queue.begin());
  times_.erase(node.key().second);
  now = std::max(now, node.key().first);
  ++events;
  mix(static_cast<std::uint64_t>(now.time_since_epoch().count()));
  mix(static_cast<std::uint64_t>(node.mapped().owner + 1));
  mix(node.key().second);
  node.mapped().job();
  return true;
}

void Schedule::mix(std::uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    hash ^= value >> (8 * i) & 0xff;
    hash *= 0x100000001b3ull;
  }
}

Machine::Machine(int index, std::string name, std::uint64_t seed, Schedule& schedule, Wires& wires)
    : index_(index),
      name_(std::move(name)),
      schedule_(schedule),
      dice_(seed),
      network_(make_network(wires, *this)),
      files_(Files::create(dice_, [this] { return wall(); })),
      processes_(Processes::create(schedule, *this, *files_)) {}

WallTime Machine::wall() const {
  // The world begins at 2026-01-01T00:00:00Z.
  return WallTime(1'767'225'600s) + (schedule_.now.time_since_epoch() - Duration(1000s)) + skew_;
}

void Machine::fill(std::span<std::uint8_t> out) {
  for (auto& byte : out) byte = static_cast<std::uint8_t>(dice_.next());
}

Task<void> Machine::run_blocking(std::move_only_function<void()> job) {
  job();
  co_await yield_to(*this);
}

}  // namespace sim

struct SimWorld::Impl {
  explicit Impl(std::uint64_t seed)
      : seed_dice(seed), fault_dice(seed_dice.next()), link{schedule, fault_dice, {}, {}}, wires(link) {
    wires.find_machine = [this](const std::string& name) { return find(name); };
  }
  ~Impl() {
    // Jobs may own whole programs: they go while the machines still stand.
    std::map<std::pair<MonoTime, std::uint64_t>, sim::Schedule::Entry> doomed;
    doomed.swap(schedule.queue);
    doomed.clear();
  }
  sim::Machine* find(const std::string& name) {
    for (auto& machine : machines)
      if (machine->name() == name) return machine.get();
    return nullptr;
  }
  sim::Machine& get(const std::string& name) {
    auto* machine = find(name);
    NEAP_ASSERT(machine);
    return *machine;
  }
  sim::Dice seed_dice;
  sim::Dice fault_dice;
  sim::Schedule schedule;
  sim::Link link;
  sim::Wires wires;
  std::vector<std::unique_ptr<sim::Machine>> machines;
};

SimWorld::SimWorld(std::uint64_t seed) : impl_(std::make_unique<Impl>(seed)) {}
SimWorld::~SimWorld() = default;

SimMachine& SimWorld::add_machine(const std::string& name) {
  NEAP_ASSERT(!impl_->find(name));
  impl_->machines.push_back(std::make_unique<sim::Machine>(static_cast<int>(impl_->machines.size()), name,
                                                           impl_->seed_dice.next(), impl_->schedule,
                                                           impl_->wires));
  return *impl_->machines.back();
}
SimMachine& SimWorld::machine(const std::string& name) { return impl_->get(name); }
void SimWorld::set_faults(const SimFaults& faults) { impl_->link.faults = faults; }

void SimWorld::set_partition(const std::string& from, const std::string& to, bool cut) {
  const int a = impl_->get(from).index();
  const int b = impl_->get(to).index();
  if (cut) {
    impl_->link.cuts.insert({a, b});
  } else if (impl_->link.cuts.erase({a, b}) > 0) {
    impl_->wires.healed(a, b);
  }
}

void SimWorld::crash(const std::string& machine) {
  auto& m = impl_->get(machine);
  impl_->schedule.drop_owner(m.index());
  impl_->wires.crash(m.index());
  m.children().crash();
  m.disk().crash();
  // What the losses above have posted belongs to nobody any more.
  impl_->schedule.drop_owner(m.index());
}

void SimWorld::kill_program(const std::string& machine) {
  auto& m = impl_->get(machine);
  impl_->schedule.drop_owner(m.index());
  impl_->wires.crash(m.index());
  m.disk().close_all();
  impl_->schedule.drop_owner(m.index());
}

MonoTime SimWorld::now() const { return impl_->schedule.now; }
bool SimWorld::step() { return impl_->schedule.step(); }

void SimWorld::run_until(MonoTime time, const std::function<bool()>& done) {
  auto& schedule = impl_->schedule;
  if (done && done()) return;
  while (!schedule.queue.empty() && schedule.queue.begin()->first.first <= time) {
    schedule.step();
    if (done && done()) return;
  }
  schedule.now = std::max(schedule.now, time);
}
void SimWorld::run_for(Duration duration, const std::function<bool()>& done) {
  run_until(now() + duration, done);
}
std::uint64_t SimWorld::trace_hash() const { return impl_->schedule.hash; }
std::uint64_t SimWorld::events() const { return impl_->schedule.events; }
std::uint64_t SimWorld::random_below(std::uint64_t bound) { return impl_->fault_dice.below(bound); }

}  // namespace neap::io
