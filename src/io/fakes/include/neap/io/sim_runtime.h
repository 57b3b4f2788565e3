// SimWorld: many machines in one thread on a virtual clock, with faults drawn from a seed.
//
// 1. Same seed and same calls give the same trace.
// 2. A machine's Runtime is what code under test receives; crash() ends its connections, drops every
//    posted job and timer of it, and rolls its files back to what was synced (torn tails possible).
// 3. A file's bytes are durable after File::sync, its name after that too; renames and removals after
//    sync_directory. Directories are durable at once. What was not synced survives a crash as a prefix of
//    the writes (and of the namespace changes) in their order, the last write possibly torn.
// 4. Host names are machine names: a machine named "hq" is reached at Endpoint{"hq", port}.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/io/runtime.h"

namespace neap::io {

struct SimFaults {
  Duration delay_min = 100us;  // one way
  Duration delay_max = 2ms;
  double connect_refused_probability = 0;
  double disconnect_probability = 0;  // per write
};

// How a simulated child process answers a signal.
struct SimReaction {
  bool ignored = false;
  Duration after{0};
  ExitStatus status;
};

// What a simulated child process does. Without a registered behaviour every program exits 0 after 1 s.
struct SimProgram {
  std::optional<Duration> run_for = 1s;  // nullopt: until a signal ends it
  int exit_code = 0;
  std::string stdout_text;  // appended to the spec's stdout_path at the start
  // A signal that is not listed ends the process at once, as does SIGKILL always.
  std::map<int, SimReaction> reactions;
};
// kNotFound and other errors are what start() returns.
using SimBehaviour = std::function<Result<SimProgram>(const ProcessSpec&)>;

class SimMachine {
 public:
  virtual ~SimMachine() = default;
  virtual Runtime& runtime() = 0;
  virtual const std::string& name() const = 0;
  // The next `count` file syncs (or writes) of this machine fail with the given code.
  virtual void fail_next_syncs(int count, Code code) = 0;
  virtual void fail_next_writes(int count, Code code) = 0;
  virtual void set_disk_capacity(std::uint64_t bytes) = 0;
  // Of its wall clock; the monotonic one is the world's.
  virtual void set_clock_skew(Duration skew) = 0;
  virtual void set_behaviour(SimBehaviour behaviour) = 0;
  // Child processes that still run, by pid.
  virtual std::vector<std::int64_t> running_processes() const = 0;
};

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);
  ~SimWorld();
  SimMachine& add_machine(const std::string& name);
  // Asserts that it exists.
  SimMachine& machine(const std::string& name);
  void set_faults(const SimFaults& faults);
  // Cuts (or heals) the direction from -> to: bytes stall, new connections time out.
  void set_partition(const std::string& from, const std::string& to, bool cut);
  // See invariant 2. The owner destroys its objects (abandon()) before it calls this, then may build
  // new ones on the same machine.
  void crash(const std::string& machine);
  // Only the program ends: like crash(), but files keep what was written and child processes live on.
  void kill_program(const std::string& machine);

  MonoTime now() const;
  // Runs the next event; false when nothing is left.
  bool step();
  // Runs events until `time`, or until `done` (checked after every event) is true.
  void run_until(MonoTime time, const std::function<bool()>& done = {});
  void run_for(Duration duration, const std::function<bool()>& done = {});
  // Hash over all events so far: equal for equal seeds.
  std::uint64_t trace_hash() const;
  std::uint64_t events() const;
  std::uint64_t random_below(std::uint64_t bound);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::io
