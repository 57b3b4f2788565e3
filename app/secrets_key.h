// SecretsKeyFile: the keys that Secrets are sealed with before they reach the store, in a file of mode 0600.
//
// One line a key: "neap-secrets-key 1 ID BASE64", newest first. The first seals; the others only open what is
// not yet rewrapped. ID is made of the key, so that one written by hand cannot be mixed up with another.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/crypto/aead.h"
#include "neap/io/runtime.h"

namespace neap::app {

struct SecretsKey {
  std::string id;  // 16 hex digits
  crypto::Key256 key{};
};
SecretsKey make_secrets_key();

class SecretsKeyFile {
 public:
  // kInvalidArgument "secrets.key.file" names the line that is wrong.
  static Result<std::vector<SecretsKey>> parse(std::string_view text);
  static std::string to_text(const std::vector<SecretsKey>& keys);
  SecretsKeyFile(io::FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  bool exists() const { return files_.exists(path_); }
  const std::string& path() const { return path_; }
  Result<std::vector<SecretsKey>> load() const;
  Status save(const std::vector<SecretsKey>& keys) const;
  // A first key comes in three steps, so that neither a crash between two of them nor another server that
  // does the same at the time loses it: propose() writes it whole beside the file (PATH.ID), the owner of the
  // store decides whose proposal it is to be, and adopt() gives that one the file's name (again: no error).
  Status propose(const SecretsKey& key) const;
  Status adopt(const std::string& id) const;  // kNotFound: neither the file nor such a proposal is there
  void withdraw(const std::string& id) const;

 private:
  std::string proposal(const std::string& id) const { return path_ + "." + id; }
  io::FileSystem& files_;
  std::string path_;
};

}  // namespace neap::app
