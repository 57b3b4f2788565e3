// HaltingRuntime: a Runtime whose disk stops at a chosen operation, as a machine does that loses power:
// what was written before stays with the disk below, every later change fails. Reading goes on.
//
// Count the operations from a seed, run until has_halted(), destroy what was under test, then
// SimWorld::crash() the machine and start again on the same disk.
#pragma once

#include <memory>

#include "neap/io/runtime.h"

namespace neap::io {

class HaltingFiles final : public FileSystem {
 public:
  HaltingFiles(FileSystem& below, std::uint64_t operations) : below_(below), left_(operations) {}
  bool has_halted() const { return left_ == 0; }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    if (mode != OpenMode::kRead) NEAP_TRY_VOID(spend());
    NEAP_TRY(auto file, below_.open(path, mode));
    return std::make_unique<HaltingFile>(*this, std::move(file));
  }
  Result<FileStat> stat(const std::string& path) override { return below_.stat(path); }
  Result<std::vector<std::string>> list(const std::string& path) override { return below_.list(path); }
  Status make_directories(const std::string& path, unsigned mode) override {
    NEAP_TRY_VOID(spend());
    return below_.make_directories(path, mode);
  }
  Status rename(const std::string& from, const std::string& to) override {
    NEAP_TRY_VOID(spend());
    return below_.rename(from, to);
  }
  Status remove(const std::string& path) override {
    NEAP_TRY_VOID(spend());
    return below_.remove(path);
  }
  Status remove_tree(const std::string& path) override {
    NEAP_TRY_VOID(spend());
    return below_.remove_tree(path);
  }
  Status sync_directory(const std::string& path) override {
    NEAP_TRY_VOID(spend());
    return below_.sync_directory(path);
  }
  Status set_mode(const std::string& path, unsigned mode) override {
    NEAP_TRY_VOID(spend());
    return below_.set_mode(path, mode);
  }

 private:
  class HaltingFile final : public File {
   public:
    HaltingFile(HaltingFiles& owner, std::unique_ptr<File> below) : owner_(owner), below_(std::move(below)) {}
    Result<std::size_t> read_at(std::uint64_t offset, std::string& out, std::size_t max) override {
      return below_->read_at(offset, out, max);
    }
    Status write_at(std::uint64_t offset, std::string_view data) override {
      NEAP_TRY_VOID(owner_.spend());
      return below_->write_at(offset, data);
    }
    Result<std::uint64_t> size() override { return below_->size(); }
    Status truncate(std::uint64_t size) override {
      NEAP_TRY_VOID(owner_.spend());
      return below_->truncate(size);
    }
    Status sync() override {
      NEAP_TRY_VOID(owner_.spend());
      return below_->sync();
    }

   private:
    HaltingFiles& owner_;
    std::unique_ptr<File> below_;
  };

  Status spend() {
    if (left_ > 0) --left_;
    if (left_ > 0) return ok();
    return fail(Code::kUnavailable, "test.halted", "the machine has lost power");
  }

  FileSystem& below_;
  std::uint64_t left_;
};

class HaltingRuntime final : public Runtime {
 public:
  HaltingRuntime(Runtime& below, std::uint64_t operations)
      : below_(below), files_(below.files(), operations) {}
  bool has_halted() const { return files_.has_halted(); }
  Executor& executor() override { return below_.executor(); }
  const Clock& clock() const override { return below_.clock(); }
  Random& random() override { return below_.random(); }
  Network& network() override { return below_.network(); }
  FileSystem& files() override { return files_; }
  Subprocesses& subprocesses() override { return below_.subprocesses(); }
  Task<void> run_blocking(std::move_only_function<void()> job) override {
    return below_.run_blocking(std::move(job));
  }

 private:
  Runtime& below_;
  HaltingFiles files_;
};

}  // namespace neap::io
