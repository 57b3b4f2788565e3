#include "internal/code_archive.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace neap::cli {
namespace {

constexpr std::size_t kBlock = 512;

struct Entry {
  std::string name;  // below the folder, folders end in '/'
  std::string bytes;
};

void put_octal(char* field, std::size_t width, std::uint64_t value) {
  const auto text = fmt::format("{:0{}o}", value, width - 1);
  std::memcpy(field, text.data(), width - 1);
  field[width - 1] = '\0';
}

// A path of up to 255 bytes as prefix (155) and name (100), split at a slash.
Status put_name(std::array<char, kBlock>& header, const std::string& name) {
  std::size_t cut = 0;
  if (name.size() > 100) {
    cut = name.find('/', name.size() - 101);
    if (cut == std::string::npos || cut > 155 || cut + 1 >= name.size())
      return fail(Code::kInvalidArgument, "code.name",
                  fmt::format("the path {} is too long for the code archive; shorten it to 100 bytes", name));
    std::memcpy(header.data() + 345, name.data(), cut);
    ++cut;
  }
  std::memcpy(header.data(), name.data() + cut, name.size() - cut);
  return ok();
}

Status append(std::string& out, const Entry& entry) {
  const bool is_folder = entry.name.ends_with('/');
  std::array<char, kBlock> header{};
  NEAP_TRY_VOID(put_name(header, entry.name));
  put_octal(header.data() + 100, 8, is_folder || entry.bytes.starts_with("#!") ? 0755 : 0644);
  put_octal(header.data() + 108, 8, 0);
  put_octal(header.data() + 116, 8, 0);
  put_octal(header.data() + 124, 12, entry.bytes.size());
  put_octal(header.data() + 136, 12, 0);
  header[156] = is_folder ? '5' : '0';
  std::memcpy(header.data() + 257, "ustar\00000", 8);
  put_octal(header.data() + 329, 8, 0);
  put_octal(header.data() + 337, 8, 0);
  // The checksum is computed with its own field as blanks, and stored as six digits, NUL, blank.
  std::memset(header.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_octal(header.data() + 148, 7, sum);
  out.append(header.data(), kBlock);
  out += entry.bytes;
  out.append((kBlock - entry.bytes.size() % kBlock) % kBlock, '\0');
  return ok();
}

class FolderWalk {
 public:
  FolderWalk(io::FileSystem& files, std::string root, const CodeArchiveLimits& limits)
      : files_(files), root_(std::move(root)), limits_(limits) {}

  // What follows is of another folder, or file, and stands below `prefix`.
  Status add(const ArchivePart& part) {
    root_ = part.source;
    if (part.source.empty()) return add_file(part.name, part.bytes);
    const auto stat = files_.stat(part.source);
    if (!stat)
      return fail(Code::kNotFound, "code.absent",
                  fmt::format("{} cannot be read: {}", part.source, stat.error().message));
    prefix_ = part.name + "/";
    if (stat->is_directory) return walk("", 0);
    if (stat->size > limits_.bytes_max - bytes_) return too_large();
    NEAP_TRY(auto bytes, files_.read_file(part.source, limits_.bytes_max));
    return add_file(part.name, std::move(bytes));
  }

  Status walk(const std::string& below, std::size_t depth) {
    if (depth > limits_.depth_max)
      return fail(Code::kInvalidArgument, "code.too_deep",
                  fmt::format("{} is nested deeper than {} folders; does a link point back into it?", root_,
                              limits_.depth_max));
    NEAP_TRY(const auto names, files_.list(root_ + "/" + below));
    for (const auto& name : names) {
      if (name == ".git" || name == "__pycache__") continue;
      const auto path = root_ + "/" + below + name;
      NEAP_TRY(const auto stat, files_.stat(path));
      if (entries_.size() >= limits_.entries_max)
        return fail(
            Code::kResourceExhausted, "code.too_many",
            fmt::format("{} has more than {} files; keep data and environments outside the code folder",
                        root_, limits_.entries_max));
      if (stat.is_directory) {
        entries_.push_back({prefix_ + below + name + "/", {}});
        NEAP_TRY_VOID(walk(below + name + "/", depth + 1));
        continue;
      }
      if (stat.size > limits_.bytes_max - bytes_) return too_large();
      NEAP_TRY(auto bytes, files_.read_file(path, limits_.bytes_max));
      NEAP_TRY_VOID(add_file(prefix_ + below + name, std::move(bytes)));
    }
    return ok();
  }

  Result<std::string> to_tar() {
    if (!has_file_)
      return fail(Code::kInvalidArgument, "code.empty",
                  fmt::format("{} holds no file; name the folder with the program", root_));
    std::ranges::sort(entries_, {}, &Entry::name);
    std::string out;
    out.reserve(bytes_ + (entries_.size() + 1) * 2 * kBlock);
    for (const auto& entry : entries_) NEAP_TRY_VOID(append(out, entry));
    out.append(2 * kBlock, '\0');
    return out;
  }

 private:
  Status add_file(std::string name, std::string bytes) {
    bytes_ += bytes.size();
    if (bytes_ > limits_.bytes_max) return too_large();
    has_file_ = true;
    entries_.push_back({std::move(name), std::move(bytes)});
    return ok();
  }
  std::unexpected<Error> too_large() const {
    return fail(Code::kResourceExhausted, "code.too_large",
                fmt::format("{} is larger than {} MiB; keep data and models outside the code folder", root_,
                            limits_.bytes_max >> 20));
  }

  io::FileSystem& files_;
  std::string root_, prefix_;
  const CodeArchiveLimits& limits_;
  std::vector<Entry> entries_;
  std::uint64_t bytes_ = 0;
  bool has_file_ = false;
};

}  // namespace

Result<std::string> pack_code_folder(io::FileSystem& files, const std::string& folder,
                                     const CodeArchiveLimits& limits) {
  const auto stat = files.stat(folder);
  if (!stat || !stat->is_directory)
    return fail(
        Code::kInvalidArgument, "code.not_a_folder",
        fmt::format("{} is not a folder; name the folder with the program, or the digest of its archive",
                    folder));
  FolderWalk walk(files, folder, limits);
  NEAP_TRY_VOID(walk.walk("", 0));
  return walk.to_tar();
}

Result<std::string> pack_parts(io::FileSystem& files, const std::vector<ArchivePart>& parts,
                               const CodeArchiveLimits& limits) {
  FolderWalk walk(files, {}, limits);
  for (const auto& part : parts) NEAP_TRY_VOID(walk.add(part));
  return walk.to_tar();
}

std::string sha256_digest(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr);
  std::string out = "sha256:";
  for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", hash[i]);
  return out;
}

}  // namespace neap::cli
