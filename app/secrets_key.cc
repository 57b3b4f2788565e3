#include "secrets_key.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

constexpr std::string_view kLineStart = "neap-secrets-key 1 ";
constexpr std::size_t kKeysMax = 16;

std::string_view bytes_of(const crypto::Key256& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}
std::string id_of(const crypto::Key256& key) {
  return crypto::to_hex(crypto::hkdf_sha256(bytes_of(key), {}, "neap secrets key id", 8));
}

}  // namespace

SecretsKey make_secrets_key() {
  SecretsKey out;
  out.key = crypto::random_key();
  out.id = id_of(out.key);
  return out;
}

Result<std::vector<SecretsKey>> SecretsKeyFile::parse(std::string_view text) {
  std::vector<SecretsKey> out;
  std::size_t number = 0;
  const auto wrong = [&number](std::string_view why) {
    return fail(
        Code::kInvalidArgument, "secrets.key.file",
        fmt::format("line {} {}; each line is \"neap-secrets-key 1 ID BASE64\" as the server wrote it",
                    number, why));
  };
  while (!text.empty()) {
    ++number;
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#')) continue;
    if (!line.starts_with(kLineStart)) return wrong("is no key");
    line.remove_prefix(kLineStart.size());
    const auto blank = line.find(' ');
    if (blank == line.npos) return wrong("has no key behind its id");
    const auto bytes = crypto::from_base64(line.substr(blank + 1));
    if (!bytes) return wrong("has a key that is not base64");
    const auto key = crypto::key_from_bytes(*bytes);
    if (!key) return wrong("has a key that is not of 32 bytes");
    if (id_of(*key) != line.substr(0, blank))
      return wrong("has an id that is not its key's: a byte was changed");
    if (out.size() >= kKeysMax) return wrong(fmt::format("is one key too many; {} are taken", kKeysMax));
    out.push_back({id_of(*key), *key});
  }
  if (out.empty()) return wrong("is missing: the file has no key");
  return out;
}

std::string SecretsKeyFile::to_text(const std::vector<SecretsKey>& keys) {
  std::string out;
  for (const auto& key : keys)
    out += fmt::format("{}{} {}\n", kLineStart, key.id, crypto::to_base64(bytes_of(key.key)));
  return out;
}

Result<std::vector<SecretsKey>> SecretsKeyFile::load() const {
  NEAP_TRY(const auto text, files_.read_file(path_, 64u << 10));
  auto keys = parse(text);
  if (!keys) return fail(std::move(keys).error(), "reading " + path_);
  return keys;
}

Status SecretsKeyFile::propose(const SecretsKey& key) const {
  return files_.write_file_atomic(proposal(key.id), to_text({key}), 0600);
}

Status SecretsKeyFile::adopt(const std::string& id) const {
  const auto renamed = files_.rename(proposal(id), path_);
  // Another server did it.
  if (!renamed && renamed.error().code == Code::kNotFound && exists()) return ok();
  if (!renamed) return renamed;
  return files_.sync_directory(path_.substr(0, path_.rfind('/')));
}

void SecretsKeyFile::withdraw(const std::string& id) const { (void)files_.remove(proposal(id)); }

Status SecretsKeyFile::save(const std::vector<SecretsKey>& keys) const {
  // A file that load() refuses would keep the next start from every secret.
  if (keys.size() > kKeysMax)
    return fail(Code::kFailedPrecondition, "secrets.key.full",
                fmt::format("{} has {} keys, and more are not read; take out the last lines, whose keys only "
                            "old backups need (keep a copy for those), restart the server, and rotate again",
                            path_, kKeysMax));
  return files_.write_file_atomic(path_, to_text(keys), 0600);
}

}  // namespace neap::app
