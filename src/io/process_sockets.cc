#include "neap/io/process_sockets.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "internal/posix_files.h"

namespace neap::io {
namespace {

constexpr std::string_view kListening = "0A";
constexpr std::size_t kTableBytesMax = 16u << 20;

std::optional<std::int64_t> number_of(std::string_view text, int base = 10) {
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> out;
  DIR* open = ::opendir(directory.c_str());
  if (!open) return out;
  while (const auto* entry = ::readdir(open)) out.emplace_back(entry->d_name);
  ::closedir(open);
  return out;
}

// The kernel writes an address as 32-bit words in the machine's order.
std::optional<std::string> loopback_host(std::string_view hex) {
  if (hex.size() == 8) {
    const auto word = number_of(hex, 16);
    if (!word) return std::nullopt;
    const auto first = *word & 0xff;
    if (*word == 0) return "127.0.0.1";
    if (first != 127) return std::nullopt;
    return fmt::format("{}.{}.{}.{}", first, *word >> 8 & 0xff, *word >> 16 & 0xff, *word >> 24 & 0xff);
  }
  if (hex == "00000000000000000000000000000000" || hex == "00000000000000000000000001000000") return "::1";
  return std::nullopt;
}

struct Listener {
  std::string host;
  std::int64_t inode = 0;
};

std::vector<Listener> listeners_at(std::uint16_t port) {
  std::vector<Listener> out;
  PosixFileSystem files;
  for (const auto* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const auto text = files.read_file(table, kTableBytesMax);
    if (!text) continue;
    std::istringstream lines(*text);
    std::string line, slot, local, remote, state, skipped, inode;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      words >> slot >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) words >> skipped;
      words >> inode;
      const auto colon = local.find(':');
      if (state != kListening || colon == std::string::npos) continue;
      if (number_of(std::string_view(local).substr(colon + 1), 16) != port) continue;
      const auto host = loopback_host(std::string_view(local).substr(0, colon));
      const auto number = number_of(inode);
      if (host && number) out.push_back({*host, *number});
    }
  }
  return out;
}

struct Origin {
  std::int64_t parent = 0, session = 0;
};

std::map<std::int64_t, Origin> all_processes() {
  std::map<std::int64_t, Origin> out;
  PosixFileSystem files;
  for (const auto& name : names_in("/proc")) {
    const auto pid = number_of(name);
    if (!pid) continue;
    const auto stat = files.read_file("/proc/" + name + "/stat", 4096);
    // The name in parentheses may hold anything, also ')'.
    const auto close = stat ? stat->rfind(')') : std::string::npos;
    if (close == std::string::npos) continue;
    std::istringstream words(stat->substr(close + 1));
    std::string state;
    std::int64_t group = 0;
    Origin origin;
    words >> state >> origin.parent >> group >> origin.session;
    out[*pid] = origin;
  }
  return out;
}

std::set<std::int64_t> members_of(const ProcessFamily& family) {
  const auto all = all_processes();
  std::set<std::int64_t> out;
  const auto is_root = [&](std::int64_t pid) {
    return std::ranges::find(family.roots, pid) != family.roots.end();
  };
  for (const auto& [pid, origin] : all) {
    // What it finds may change under way; a chain of parents is never longer than all processes.
    std::size_t steps = 0;
    for (auto at = pid; at > 1 && steps <= all.size(); ++steps) {
      const auto it = all.find(at);
      if (it == all.end()) break;
      if (is_root(at) || is_root(it->second.session)) {
        out.insert(pid);
        break;
      }
      at = it->second.parent;
    }
  }
  PosixFileSystem files;
  for (std::string_view rest = family.cgroup_path; !rest.empty();) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (const auto text =
            files.read_file(std::string(rest.substr(0, end)) + "/cgroup.procs", kTableBytesMax)) {
      std::istringstream lines(*text);
      for (std::int64_t pid = 0; lines >> pid;) out.insert(pid);
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

bool holds_socket(std::int64_t pid, std::int64_t inode) {
  const auto wanted = fmt::format("socket:[{}]", inode);
  const auto directory = fmt::format("/proc/{}/fd", pid);
  std::array<char, 64> target{};
  for (const auto& name : names_in(directory)) {
    const auto n = ::readlink((directory + "/" + name).c_str(), target.data(), target.size());
    if (n > 0 && std::string_view(target.data(), std::size_t(n)) == wanted) return true;
  }
  return false;
}

}  // namespace

Result<Endpoint> find_loopback_listener(std::uint16_t port, const ProcessFamily& family) {
  const auto listeners = listeners_at(port);
  if (listeners.empty())
    return fail(Code::kNotFound, "process.port.closed",
                fmt::format("nothing listens on port {} of the node's loopback", port));
  const auto members = members_of(family);
  for (const auto& listener : listeners)
    for (const auto pid : members)
      if (holds_socket(pid, listener.inode)) return Endpoint{listener.host, port, {}};
  return fail(Code::kPermissionDenied, "process.port.other",
              fmt::format("port {} of the node belongs to another program, not to this work", port));
}

}  // namespace neap::io
