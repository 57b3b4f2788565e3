#include "neap/executor/resource_limiter.h"

#include <fmt/format.h>

#include <charconv>

namespace neap::executor {
namespace {

constexpr std::int64_t kPeriodMicros = 100'000;

// Control files take one plain write: no temporary file, no rename.
Status write_control(io::FileSystem& files, const std::string& path, const std::string& value) {
  NEAP_TRY(auto file, files.open(path, io::OpenMode::kReadWrite));
  return file->write_at(0, value);
}

std::optional<std::int64_t> read_number(io::FileSystem& files, const std::string& path,
                                        std::string_view key = {}) {
  auto file = files.open(path, io::OpenMode::kRead);
  if (!file) return std::nullopt;
  std::string text;
  if (!(*file)->read_at(0, text, 64u << 10)) return std::nullopt;
  std::string_view rest = text;
  if (!key.empty()) {
    const auto at = rest.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(at + key.size());
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  }
  std::int64_t value = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec != std::errc{}) return std::nullopt;
  return value;
}

std::string safe_name(const std::string& id) {
  std::string out;
  for (const char c : id)
    out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.'
               ? c
               : '_';
  return out.substr(0, 200);
}

}  // namespace

ResourceLimiter::ResourceLimiter(io::FileSystem& files, std::string owner, std::string root)
    : files_(files), owner_(safe_name(owner)), root_(std::move(root)) {}

ResourceLimiter ResourceLimiter::detect(io::FileSystem& files, std::string owner, std::string root) {
  ResourceLimiter out(files, std::move(owner), std::move(root));
  if (out.probe_v2()) {
    out.layout_ = Layout::kV2;
    out.description_ = "cgroup-v2";
  } else if (out.probe_v1()) {
    out.layout_ = Layout::kV1;
    out.description_ = "cgroup-v1";
  } else {
    out.description_ = fmt::format(
        "none: no writable cpu and memory controllers below {}; work runs without limits", out.root_);
  }
  return out;
}

bool ResourceLimiter::probe_v2() {
  const auto controllers = files_.open(root_ + "/cgroup.controllers", io::OpenMode::kRead);
  if (!controllers) return false;
  std::string text;
  if (!(*controllers)->read_at(0, text, 4096)) return false;
  if (text.find("cpu") == std::string::npos || text.find("memory") == std::string::npos) return false;
  if (!write_control(files_, root_ + "/cgroup.subtree_control", "+cpu +memory")) return false;
  if (!files_.make_directories(root_ + "/neap/" + owner_)) return false;
  return write_control(files_, root_ + "/neap/cgroup.subtree_control", "+cpu +memory").has_value() &&
         write_control(files_, root_ + "/neap/" + owner_ + "/cgroup.subtree_control", "+cpu +memory")
             .has_value();
}

bool ResourceLimiter::probe_v1() {
  for (const auto* controller : {"cpu", "memory"}) {
    if (!files_.exists(root_ + "/" + controller + "/tasks") &&
        !files_.exists(root_ + "/" + controller + "/cgroup.procs"))
      return false;
    if (!files_.make_directories(root_ + "/" + controller + "/neap/" + owner_)) return false;
  }
  return true;
}

std::vector<std::string> ResourceLimiter::directories(const std::string& id) const {
  const auto leaf = "/neap/" + owner_ + "/" + safe_name(id);
  switch (layout_) {
    case Layout::kV2:
      return {root_ + leaf};
    case Layout::kV1:
      return {root_ + "/cpu" + leaf, root_ + "/memory" + leaf};
    case Layout::kNone:
      break;
  }
  return {};
}

Result<std::string> ResourceLimiter::create_group(const std::string& id, const io::ProcessLimits& limits) {
  std::string joined;
  for (const auto& directory : directories(id)) {
    NEAP_TRY_VOID(files_.make_directories(directory));
    joined += (joined.empty() ? "" : ":") + directory;
  }
  if (layout_ == Layout::kV2) {
    const auto directory = directories(id).front();
    if (limits.cpu_millicores > 0)
      NEAP_TRY_VOID(
          write_control(files_, directory + "/cpu.max",
                        fmt::format("{} {}", limits.cpu_millicores * kPeriodMicros / 1000, kPeriodMicros)));
    if (limits.memory_bytes > 0)
      NEAP_TRY_VOID(write_control(files_, directory + "/memory.max", std::to_string(limits.memory_bytes)));
  } else if (layout_ == Layout::kV1) {
    const auto both = directories(id);
    if (limits.cpu_millicores > 0) {
      NEAP_TRY_VOID(write_control(files_, both[0] + "/cpu.cfs_period_us", std::to_string(kPeriodMicros)));
      NEAP_TRY_VOID(write_control(files_, both[0] + "/cpu.cfs_quota_us",
                                  std::to_string(limits.cpu_millicores * kPeriodMicros / 1000)));
    }
    if (limits.memory_bytes > 0)
      NEAP_TRY_VOID(
          write_control(files_, both[1] + "/memory.limit_in_bytes", std::to_string(limits.memory_bytes)));
  }
  return joined;
}

std::optional<GroupUsage> ResourceLimiter::usage(const std::string& id) const {
  GroupUsage out;
  const auto at = directories(id);
  if (layout_ == Layout::kV2) {
    out.cpu_microseconds = read_number(files_, at[0] + "/cpu.stat", "usage_usec").value_or(0);
    out.memory_bytes = read_number(files_, at[0] + "/memory.current").value_or(0);
    out.out_of_memory = read_number(files_, at[0] + "/memory.events", "oom_kill").value_or(0) > 0;
    return out;
  }
  if (layout_ == Layout::kV1) {
    out.memory_bytes = read_number(files_, at[1] + "/memory.usage_in_bytes").value_or(0);
    out.out_of_memory = read_number(files_, at[1] + "/memory.oom_control", "oom_kill ").value_or(0) > 0;
    return out;
  }
  return std::nullopt;
}

void ResourceLimiter::remove_group(const std::string& id) {
  for (const auto& directory : directories(id)) (void)files_.remove(directory);
}

}  // namespace neap::executor
