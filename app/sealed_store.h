// SealedStore: a Store in which the objects below one prefix (v1 Secrets) lie encrypted; all else passes
// through. ADR 0011 has the format.
//
//  1. Each write seals the whole object with a data key of its own (AES-256-GCM), and the data key with the
//     newest secrets key. Both are bound to the object's key in the store and to its uid: a sealed value that
//     is moved to another object, or cut, or changed, does not open.
//  2. What does not open is never given out: kDataLoss "secrets.sealed.damaged", "secrets.sealed.plain".
//     A value under a key that was retired since is of a state that is gone: kOutOfRange, list again.
//  3. A store that was sealed once is only opened with a key that opens it (kFailedPrecondition
//     "secrets.key.missing", "secrets.key.wrong").
//  4. Rotation rewraps data keys; it opens no payload.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/time.h"
#include "neap/store/store.h"
#include "secrets_key.h"

namespace neap::app {

// One object's envelope; `key` is its key in the store.
std::string seal_object(const SecretsKey& with, std::string_view key, std::string_view plain);
Result<std::string> open_object(const std::vector<SecretsKey>& keys, std::string_view key,
                                std::string_view sealed);
bool is_sealed(std::string_view value);

class SealedStore final : public store::Store {
 public:
  struct Options {
    std::string prefix = "/registry//secrets/";
    bool may_create_key = true;  // false: the file is somebody else's to make
  };
  struct Rewrapped {
    std::size_t objects = 0, sealed = 0, rewrapped = 0;  // seen; were plain; had another key
  };
  // Makes the key at the first start, checks it at every other, seals what is plain and rewraps what has an
  // older key.
  static Task<Result<std::unique_ptr<SealedStore>>> open(io::Runtime& runtime,
                                                         std::unique_ptr<store::Store> inner,
                                                         std::string key_path, Options options);
  // A new key first in the file, then all objects under it. Older keys stay in the file: history still
  // has values under them until it is compacted.
  Task<Result<Rewrapped>> rotate();
  const Rewrapped& rewrapped_at_start() const { return at_start_; }

  Task<Result<std::optional<store::KeyValue>>> get(CallContext ctx, std::string key) override;
  Task<Result<store::ListPage>> list(CallContext ctx, std::string prefix,
                                     store::ListOptions options) override;
  Task<Result<Revision>> commit(CallContext ctx, std::vector<store::Op> ops) override;
  Result<std::unique_ptr<store::Watch>> watch(std::string prefix, Revision after) override;
  Task<Status> compact(CallContext ctx, Revision at) override { return inner_->compact(std::move(ctx), at); }
  Revision current_revision() const override { return inner_->current_revision(); }
  Task<void> close() override { return inner_->close(); }

 private:
  friend class SealedWatch;
  SealedStore(io::Runtime& runtime, std::unique_ptr<store::Store> inner, std::string key_path,
              Options options)
      : runtime_(runtime),
        inner_(std::move(inner)),
        file_(runtime.files(), std::move(key_path)),
        options_(std::move(options)) {}
  bool is_covered(std::string_view key) const { return key.starts_with(options_.prefix); }
  // True where a list or watch of `prefix` can meet a sealed object.
  bool meets(std::string_view prefix) const {
    return prefix.starts_with(options_.prefix) || std::string_view(options_.prefix).starts_with(prefix);
  }
  Task<Result<std::optional<store::KeyValue>>> get_sealed(CallContext ctx, std::string key);
  Task<Result<store::ListPage>> list_sealed(CallContext ctx, std::string prefix, store::ListOptions options);
  Result<std::string> unseal(std::string_view key, std::string_view value);
  Task<Status> check_key();
  Task<Status> find_key_file();
  Task<Status> make_first_key();
  Task<Status> write_check();
  Task<Result<Rewrapped>> rewrap_all();

  io::Runtime& runtime_;
  std::unique_ptr<store::Store> inner_;
  SecretsKeyFile file_;
  Options options_;
  std::vector<SecretsKey> keys_;
  MonoTime loaded_at_{};
  bool is_rotating_ = false;
  Rewrapped at_start_;
};

}  // namespace neap::app
