// Two simulated machines, and a network between them that a test can cut or corrupt at an exact byte.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "neap/base/task_group.h"
#include "neap/io/http.h"
#include "neap/io/sim_runtime.h"
#include "neap/transfer/receiver.h"
#include "neap/transfer/transfer.h"

namespace neap::transfer {

// What happens to the bytes that go out, counted over all connections.
struct Faults {
  std::vector<std::uint64_t> cut_at;   // ascending: the connection ends after this many bytes
  std::vector<std::uint64_t> flip_at;  // ascending: one bit of this byte changes
  std::uint64_t written = 0;
  std::vector<std::uint64_t> boundaries;  // `written` after each write, for choosing cuts
};

class FaultyStream : public io::Stream {
 public:
  FaultyStream(std::unique_ptr<io::Stream> inner, Faults& faults)
      : inner_(std::move(inner)), faults_(faults) {}
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    if (cut_) co_return fail(Code::kUnavailable, "test.cut", "the test cut the connection");
    co_return co_await inner_->read_some(ctx, out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    if (cut_) co_return fail(Code::kUnavailable, "test.cut", "the test cut the connection");
    std::string bytes(data);
    const std::uint64_t start = faults_.written;
    while (!faults_.flip_at.empty() && faults_.flip_at.front() < start + bytes.size()) {
      if (faults_.flip_at.front() >= start) bytes[faults_.flip_at.front() - start] ^= 1;
      faults_.flip_at.erase(faults_.flip_at.begin());
    }
    if (!faults_.cut_at.empty() && faults_.cut_at.front() <= start + bytes.size()) {
      bytes.resize(faults_.cut_at.front() > start ? faults_.cut_at.front() - start : 0);
      faults_.cut_at.erase(faults_.cut_at.begin());
      cut_ = true;
    }
    faults_.written += bytes.size();
    faults_.boundaries.push_back(faults_.written);
    const Status written = co_await inner_->write_all(ctx, bytes);
    if (cut_) {
      inner_->close();
      co_return fail(Code::kUnavailable, "test.cut", "the test cut the connection");
    }
    co_return written;
  }
  Task<Status> shutdown_write() override { return inner_->shutdown_write(); }
  void close() override { inner_->close(); }
  io::Endpoint peer() const override { return inner_->peer(); }

 private:
  std::unique_ptr<io::Stream> inner_;
  Faults& faults_;
  bool cut_ = false;
};

class FaultyRuntime : public io::Runtime, private io::Network {
 public:
  FaultyRuntime(io::Runtime& inner, Faults& faults) : inner_(inner), faults_(faults) {}
  Executor& executor() override { return inner_.executor(); }
  const Clock& clock() const override { return inner_.clock(); }
  io::Random& random() override { return inner_.random(); }
  io::Network& network() override { return *this; }
  io::FileSystem& files() override { return inner_.files(); }
  io::Subprocesses& subprocesses() override { return inner_.subprocesses(); }
  Task<void> run_blocking(std::move_only_function<void()> job) override {
    return inner_.run_blocking(std::move(job));
  }

 private:
  Task<Result<std::unique_ptr<io::Stream>>> connect(CallContext ctx, io::Endpoint endpoint) override {
    NEAP_CO_TRY(auto stream, co_await inner_.network().connect(ctx, endpoint));
    co_return std::make_unique<FaultyStream>(std::move(stream), faults_);
  }
  Result<std::unique_ptr<io::Listener>> listen(io::Endpoint endpoint) override {
    return inner_.network().listen(endpoint);
  }
  io::Runtime& inner_;
  Faults& faults_;
};

struct ReceivingSite {
  ReceivingSite(io::Runtime& runtime, ReceiverOptions options)
      : store(*artifacts::ArtifactStore::open(runtime, {.root = "/hq"})),
        receiver(*Receiver::create(*store, std::move(options))),
        server(runtime, *runtime.network().listen({"hq", 8000, ""}), {},
               [this](io::HttpExchange& e) { return receiver->handle(e); }) {
    server.start();
  }
  std::unique_ptr<artifacts::ArtifactStore> store;
  std::unique_ptr<Receiver> receiver;
  io::HttpServer server;
};

inline ReceiverOptions open_options() { return {.site = "hq", .require_client_certificate = false}; }

struct World {
  explicit World(std::uint64_t seed)
      : sim(seed),
        plant(sim.add_machine("plant")),
        hq(sim.add_machine("hq")),
        sending(plant.runtime(), faults) {
    site = std::make_unique<ReceivingSite>(hq.runtime(), open_options());
    store = *artifacts::ArtifactStore::open(plant.runtime(), {.root = "/plant"});
    http = std::make_unique<io::HttpClient>(sending, io::Endpoint{"hq", 8000, ""}, io::HttpClientOptions{});
  }
  ~World() {
    http.reset();
    if (site) {
      site->server.abandon();
    }
  }

  template <class T>
  T run(Task<T> task, Duration limit = 600s) {
    std::optional<T> out;
    TaskGroup group(plant.runtime().executor());
    group.spawn([](Task<T> inner, std::optional<T>& result) -> Task<void> {
      result.emplace(co_await std::move(inner));
    }(std::move(task), out));
    sim.run_for(limit, [&] { return out.has_value(); });
    group.abandon();
    EXPECT_TRUE(out.has_value()) << "the task did not end in simulated time";
    return std::move(*out);
  }
  artifacts::BlobReader content(std::string bytes) {
    const auto blob = run(store->put(std::move(bytes)));
    return *run(store->open_blob(blob->digest));
  }
  dataguard::ExportPermit permit(const artifacts::BlobReader& blob,
                                 dataguard::Level level = dataguard::Level::kL3, std::string to = "hq") {
    dataguard::ExportRequest request;
    request.source = {SiteName("plant"), api::Tier::kEdge, "CN", ""};
    request.destination = {SiteName(to), api::Tier::kPrivate, "CN", ""};
    request.data.level = level;
    request.purpose = "train";
    request.encrypted = request.logged = true;
    request.content = blob.stat().digest;
    request.expires = plant.runtime().clock().wall() + 1h;
    api::DataRule rule{.name = "home", .level = dataguard::Level::kL2, .toSites = {"hq"}, .effect = "allow"};
    return *dataguard::permit_export(request, dataguard::DataPolicyTable({rule}));
  }

  Faults faults;
  io::SimWorld sim;
  io::SimMachine& plant;
  io::SimMachine& hq;
  FaultyRuntime sending;
  std::unique_ptr<ReceivingSite> site;
  std::unique_ptr<artifacts::ArtifactStore> store;
  std::unique_ptr<io::HttpClient> http;
};

// Does not compress.
inline std::string noise(std::size_t size) {
  std::string out;
  std::uint64_t x = 88172645463325252ULL;
  while (out.size() < size) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    out += static_cast<char>(x);
  }
  return out;
}

}  // namespace neap::transfer
