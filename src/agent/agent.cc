#include "neap/agent/agent.h"

#include <fmt/format.h>

#include "internal/allocation_table.h"
#include "internal/server_link.h"

namespace neap::agent {

struct Agent::Impl {
  Impl(Dependencies d, AgentOptions o)
      : deps(d),
        options(std::move(o)),
        table(deps, options,
              {.is_valid = [this] { return link.lease_is_valid(); },
               .is_renewed = [this] { return link.lease_is_renewed(); },
               .lapses = [this] { return link.lease_lapses(); }}),
        link(deps, options, table),
        tasks(deps.runtime.executor()) {}

  Dependencies deps;
  AgentOptions options;
  AllocationTable table;
  ServerLink link;
  TaskGroup tasks;

  std::string notice_path() const { return options.state_directory + "/interruption.json"; }
  Task<void> watch_for_reclaim();
};

// The InterruptionSource of a machine without a cloud's metadata service: a file. It stays until the machine
// is gone, so a restart during the grace drains again.
Task<void> Agent::Impl::watch_for_reclaim() {
  auto& files = deps.runtime.files();
  for (;;) {
    if (files.exists(notice_path())) {
      auto text = files.read_file(notice_path(), 64u << 10);
      auto notice = text ? parse_json(*text) : Result<Json>(Json{});
      const std::string why(notice ? get_string(*notice, "reason", "reclaim notice") : "reclaim notice");
      const auto grace = notice ? get_int(*notice, "graceSeconds", 30) : 30;
      deps.log.warning("this machine is being taken away; draining", {{"reason", why}, {"grace_s", grace}});
      link.set_notice("Interrupting", "Reclaim", fmt::format("{}; {} s of grace", why, grace));
      table.drain_all("Interrupted");
      co_return;
    }
    if (!co_await sleep_for(deps.runtime.executor(), tasks.context(), 200ms)) co_return;
  }
}

Agent::Agent(Dependencies dependencies, AgentOptions options)
    : impl_(std::make_unique<Impl>(dependencies, std::move(options))) {}
Agent::~Agent() = default;

Task<Status> Agent::start() {
  auto& i = *impl_;
  for (const auto* name : {"/allocations", "/run"})
    NEAP_CO_TRY_VOID(i.deps.runtime.files().make_directories(i.options.state_directory + name, 0700));
  i.link.restore_lease();
  NEAP_CO_TRY_VOID(co_await i.table.restore(i.tasks.context()));
  i.tasks.spawn(i.watch_for_reclaim());
  i.link.start();
  co_return ok();
}

Task<void> Agent::stop() {
  co_await impl_->tasks.stop();
  co_await impl_->link.stop();
  co_await impl_->table.stop();
}

void Agent::abandon() {
  impl_->tasks.abandon();
  impl_->link.abandon();
  impl_->table.abandon();
}

void Agent::set_notice(std::string condition, std::string reason, std::string message) {
  impl_->link.set_notice(std::move(condition), std::move(reason), std::move(message));
}
std::optional<WorkSubject> Agent::find_work(const std::string& ns, const std::string& name) const {
  return impl_->table.find_work(ns, name);
}
bool Agent::is_connected() const { return impl_->link.is_connected(); }

}  // namespace neap::agent
