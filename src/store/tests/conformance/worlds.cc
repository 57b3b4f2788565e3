#include "tests/conformance/worlds.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/etcd_store.h"
#include "neap/store/memory_store.h"
#include "neap/store/sqlite_store.h"
#include "tests/conformance/etcd_peer.h"

namespace neap::store::conformance {
namespace {

[[noreturn]] void cannot_open(const Error& error) {
  std::fprintf(stderr, "cannot open the store under test: %s\n", error.to_string().c_str());
  std::abort();
}

class MemoryWorld final : public World {
 public:
  Executor& executor() override { return runtime_->executor(); }
  Task<std::unique_ptr<Store>> open() override { co_return std::make_unique<MemoryStore>(executor()); }
  bool is_durable() const override { return false; }
  void run(Task<void> task) override { runtime_->run_task(std::move(task)); }

 private:
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

class SqliteWorld final : public World {
 public:
  explicit SqliteWorld(bool use_io_vfs) : use_io_vfs_(use_io_vfs) {
    std::string name = std::filesystem::temp_directory_path() / "neap-store-XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    directory_ = name;
  }
  ~SqliteWorld() override { std::filesystem::remove_all(directory_); }
  Executor& executor() override { return runtime_->executor(); }
  Task<std::unique_ptr<Store>> open() override {
    auto store = co_await SqliteStore::open(*runtime_, {.directory = directory_, .use_io_vfs = use_io_vfs_});
    if (!store) cannot_open(store.error());
    co_return std::move(*store);
  }
  void run(Task<void> task) override { runtime_->run_task(std::move(task)); }

 private:
  bool use_io_vfs_;
  std::string directory_;
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

class SimulatedSqliteWorld final : public World {
 public:
  Executor& executor() override { return runtime_.executor(); }
  Task<std::unique_ptr<Store>> open() override {
    auto store = co_await SqliteStore::open(runtime_, {.directory = "/store", .use_io_vfs = true});
    if (!store) cannot_open(store.error());
    co_return std::move(*store);
  }
  void run(Task<void> task) override {
    TaskGroup group(executor());
    group.spawn(std::move(task));
    world_.run_for(1h, [&] { return group.running() == 0; });
  }

 private:
  io::SimWorld world_{1};
  io::Runtime& runtime_ = world_.add_machine("m").runtime();
};

// One etcd for all tests, each with a prefix of its own: what others wrote before is only history.
class EtcdWorld final : public World {
 public:
  Executor& executor() override { return runtime_->executor(); }
  Task<std::unique_ptr<Store>> open() override {
    static EtcdPeer peer;
    for (int tries = 0;; ++tries) {
      auto store =
          co_await EtcdStore::open(*runtime_, {.endpoints = {peer.url()}, .tls = {}, .key_prefix = prefix_});
      if (store) co_return std::move(*store);
      if (tries == 300) cannot_open(store.error());
      (void)co_await sleep_for(executor(), {}, 100ms);
    }
  }
  void run(Task<void> task) override { runtime_->run_task(std::move(task)); }

 private:
  static inline int worlds_ = 0;
  std::string prefix_ = "/world" + std::to_string(++worlds_) + "/";
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

}  // namespace

std::vector<Kind> all_kinds() {
  return {
      {"memory", [] { return std::make_unique<MemoryWorld>(); }},
      {"sqlite", [] { return std::make_unique<SqliteWorld>(false); }},
      {"sqlite_io_vfs", [] { return std::make_unique<SqliteWorld>(true); }},
      {"etcd", [] { return std::make_unique<EtcdWorld>(); }, kEtcdProgram},
      {"sqlite_simulated", [] { return std::make_unique<SimulatedSqliteWorld>(); }},
  };
}

}  // namespace neap::store::conformance
