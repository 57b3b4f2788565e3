#include <csignal>

#include "fakes/sim_core.h"

namespace neap::io::sim {
namespace {

struct Child {
  explicit Child(Executor& executor) : exited(executor) {}
  std::int64_t pid = 0;
  std::string identity;
  SimProgram program;
  std::optional<ExitStatus> status;
  std::optional<std::uint64_t> exit_event;
  Event exited;
};

class ChildTable final : public Processes {
 public:
  ChildTable(Schedule& schedule, Executor& executor, FileSystem& files)
      : schedule_(schedule), executor_(executor), files_(files) {}

  Result<std::unique_ptr<Process>> start(const ProcessSpec& spec) override {
    if (spec.argv.empty() || spec.argv[0].empty())
      return fail(Code::kInvalidArgument, "process.argv", "a process needs argv[0], the path of its program");
    SimProgram program;
    if (behaviour_) {
      NEAP_TRY(program, behaviour_(spec));
    }
    auto child = std::make_shared<Child>(executor_);
    child->pid = ++last_pid_;
    child->identity = std::to_string(schedule_.now.time_since_epoch().count());
    child->program = std::move(program);
    if (!spec.stdout_path.empty()) {
      NEAP_TRY(auto file, files_.open(spec.stdout_path, OpenMode::kCreate));
      NEAP_TRY(const auto size, file->size());
      NEAP_TRY_VOID(file->write_at(size, child->program.stdout_text));
    }
    children_.emplace(child->pid, child);
    if (child->program.run_for)
      end_after(child, *child->program.run_for, ExitStatus{.code = child->program.exit_code, .signal = 0});
    return make(child, false);
  }
  Result<std::unique_ptr<Process>> adopt(std::int64_t pid, const std::string& identity) override {
    const auto it = children_.find(pid);
    if (it == children_.end() || it->second->identity != identity || it->second->status)
      return fail(Code::kNotFound, "process.absent", fmt::format("there is no process {} any more", pid));
    return make(it->second, true);
  }
  void crash() override {
    for (auto& [pid, child] : children_)
      if (child->exit_event) schedule_.cancel(*child->exit_event);
    children_.clear();
  }
  void set_behaviour(SimBehaviour behaviour) override { behaviour_ = std::move(behaviour); }
  std::vector<std::int64_t> running() const override {
    std::vector<std::int64_t> out;
    for (const auto& [pid, child] : children_)
      if (!child->status) out.push_back(pid);
    return out;
  }

  void signal(const std::shared_ptr<Child>& child, int number) {
    const auto it = child->program.reactions.find(number);
    if (number != SIGKILL && it != child->program.reactions.end()) {
      if (!it->second.ignored) end_after(child, it->second.after, it->second.status);
    } else if (number != 0) {
      end_after(child, Duration{0}, ExitStatus{.code = 0, .signal = number});
    }
  }

 private:
  class SimProcess;
  std::unique_ptr<Process> make(std::shared_ptr<Child> child, bool adopted);
  void end_after(const std::shared_ptr<Child>& child, Duration delay, ExitStatus status) {
    if (child->status) return;
    if (child->exit_event) schedule_.cancel(*child->exit_event);
    child->exit_event = schedule_.add(kWorldItself, schedule_.now + delay, [this, child, status] {
      child->exit_event.reset();
      child->status = status;
      child->exited.set();
      children_.erase(child->pid);
    });
  }
  Schedule& schedule_;
  Executor& executor_;
  FileSystem& files_;
  SimBehaviour behaviour_;
  std::int64_t last_pid_ = 100;
  std::map<std::int64_t, std::shared_ptr<Child>> children_;
};

class ChildTable::SimProcess final : public Process {
 public:
  SimProcess(ChildTable& table, std::shared_ptr<Child> child, bool adopted)
      : table_(table), child_(std::move(child)), adopted_(adopted) {}
  std::int64_t pid() const override { return child_->pid; }
  std::string start_identity() const override { return child_->identity; }
  Task<Result<ExitStatus>> wait(CallContext ctx) override {
    return wait_for(child_, std::move(ctx), adopted_);
  }
  Status signal(int number) override {
    if (child_->status)
      return fail(Code::kNotFound, "process.absent", fmt::format("process {} has ended", child_->pid));
    table_.signal(child_, number);
    return ok();
  }

 private:
  static Task<Result<ExitStatus>> wait_for(std::shared_ptr<Child> child, CallContext ctx, bool adopted) {
    NEAP_CO_TRY_VOID(co_await child->exited.wait(std::move(ctx)));
    co_return adopted ? ExitStatus{.code = -1, .signal = 0} : *child->status;
  }
  ChildTable& table_;
  std::shared_ptr<Child> child_;
  bool adopted_;
};

std::unique_ptr<Process> ChildTable::make(std::shared_ptr<Child> child, bool adopted) {
  return std::make_unique<SimProcess>(*this, std::move(child), adopted);
}

}  // namespace

std::unique_ptr<Processes> Processes::create(Schedule& schedule, Executor& executor, FileSystem& files) {
  return std::make_unique<ChildTable>(schedule, executor, files);
}

}  // namespace neap::io::sim
