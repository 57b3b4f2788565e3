#include "sealed_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/base/json.h"
#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

// "neap-sealed 1 KEYID UID\n", then nonce and sealed data key, then nonce and sealed object.
constexpr std::string_view kMark = "neap-sealed 1 ";
constexpr std::string_view kCheckKey = "/secrets-check";
constexpr std::string_view kCheckText = R"({"metadata":{"uid":"check"}})";
constexpr std::size_t kNonceBytes = 12, kWrappedBytes = kNonceBytes + 32 + crypto::kAeadTagBytes;
constexpr Duration kReloadEvery = 5s;
constexpr int kRaceAttempts = 8;

struct Envelope {
  std::string_view key_id, uid, wrapped, payload;
};

std::string_view bytes_of(const auto& array) {
  return {reinterpret_cast<const char*>(array.data()), array.size()};
}
crypto::Nonce96 nonce_in(std::string_view bytes) {
  crypto::Nonce96 out;
  std::copy_n(bytes.begin(), out.size(), out.begin());
  return out;
}
std::string with_nonce(const crypto::Key256& key, std::string_view aad, std::string_view plain) {
  const auto nonce = crypto::random_nonce();
  return std::string(bytes_of(nonce)) + crypto::aead_seal(key, nonce, aad, plain);
}
Result<std::string> open_with_nonce(const crypto::Key256& key, std::string_view aad,
                                    std::string_view sealed) {
  return crypto::aead_open(key, nonce_in(sealed), aad, sealed.substr(kNonceBytes));
}
std::string wrap_context(std::string_view key_id, std::string_view key, std::string_view uid) {
  return fmt::format("neap secret data key v1\n{}\n{}\n{}", key_id, key, uid);
}
std::string object_context(std::string_view key, std::string_view uid) {
  return fmt::format("neap secret v1\n{}\n{}", key, uid);
}

Result<Envelope> read_envelope(std::string_view key, std::string_view value) {
  const auto damaged = [key] {
    return fail(
        Code::kDataLoss, "secrets.sealed.damaged",
        fmt::format("{} does not open: its bytes in the store were changed or belong to another object; "
                    "restore it from a backup, or delete and write it again",
                    key));
  };
  if (!is_sealed(value))
    return fail(Code::kDataLoss, "secrets.sealed.plain",
                fmt::format("{} lies in the store unsealed, where only sealed ones are written; restart the "
                            "server to seal it, if it was put there on purpose",
                            key));
  const auto line = value.find('\n');
  if (line == value.npos || value.size() < line + 1 + kWrappedBytes + kNonceBytes + crypto::kAeadTagBytes)
    return damaged();
  const auto words = value.substr(kMark.size(), line - kMark.size());
  const auto blank = words.find(' ');
  if (blank == words.npos) return damaged();
  const auto rest = value.substr(line + 1);
  return Envelope{words.substr(0, blank), words.substr(blank + 1), rest.substr(0, kWrappedBytes),
                  rest.substr(kWrappedBytes)};
}

const SecretsKey* find_key(const std::vector<SecretsKey>& keys, std::string_view id) {
  const auto at = std::ranges::find(keys, id, &SecretsKey::id);
  return at == keys.end() ? nullptr : &*at;
}

std::unexpected<Error> retired(std::string_view key, std::string_view id) {
  return fail(
      Code::kOutOfRange, "secrets.key.retired",
      fmt::format("{} is sealed with the key {}, which this server does not have; list again, and if it "
                  "stays so give the server the key file that has it",
                  key, id));
}

Result<crypto::Key256> data_key_of(const SecretsKey& with, std::string_view key, const Envelope& envelope) {
  auto plain = open_with_nonce(with.key, wrap_context(envelope.key_id, key, envelope.uid), envelope.wrapped);
  if (!plain)
    return fail(
        Code::kDataLoss, "secrets.sealed.damaged",
        fmt::format("{} does not open: its bytes in the store were changed or belong to another object; "
                    "restore it from a backup, or delete and write it again",
                    key));
  return crypto::key_from_bytes(*plain);
}

std::string envelope_text(const SecretsKey& with, std::string_view key, std::string_view uid,
                          const crypto::Key256& data_key, std::string_view payload) {
  auto out = fmt::format("{}{} {}\n", kMark, with.id, uid);
  out += with_nonce(with.key, wrap_context(with.id, key, uid), bytes_of(data_key));
  out += payload;
  return out;
}

}  // namespace

bool is_sealed(std::string_view value) { return value.starts_with(kMark); }

std::string seal_object(const SecretsKey& with, std::string_view key, std::string_view plain) {
  std::string uid = "-";
  if (const auto json = parse_json(plain); json && json->is_object())
    if (const auto* metadata = find_path(*json, {"metadata"}))
      if (const auto found = get_string(*metadata, "uid");
          !found.empty() && found.find_first_of(" \n") == found.npos)
        uid = found;
  const auto data_key = crypto::random_key();
  return envelope_text(with, key, uid, data_key, with_nonce(data_key, object_context(key, uid), plain));
}

Result<std::string> open_object(const std::vector<SecretsKey>& keys, std::string_view key,
                                std::string_view sealed) {
  NEAP_TRY(const auto envelope, read_envelope(key, sealed));
  const auto* with = find_key(keys, envelope.key_id);
  if (!with) return retired(key, envelope.key_id);
  NEAP_TRY(const auto data_key, data_key_of(*with, key, envelope));
  auto plain = open_with_nonce(data_key, object_context(key, envelope.uid), envelope.payload);
  if (!plain)
    return fail(
        Code::kDataLoss, "secrets.sealed.damaged",
        fmt::format("{} does not open: its bytes in the store were changed; restore it from a backup, or "
                    "delete and write it again",
                    key));
  return plain;
}

Result<std::string> SealedStore::unseal(std::string_view key, std::string_view value) {
  auto plain = open_object(keys_, key, value);
  if (plain || plain.error().code != Code::kOutOfRange) return plain;
  // Another server on the same store may have rotated; the operator copies the file.
  const auto now = runtime_.executor().now();
  if (now - loaded_at_ < kReloadEvery) return plain;
  loaded_at_ = now;
  if (auto fresh = file_.load()) keys_ = *std::move(fresh);
  return open_object(keys_, key, value);
}

Task<Result<std::optional<store::KeyValue>>> SealedStore::get(CallContext ctx, std::string key) {
  if (!is_covered(key)) return inner_->get(std::move(ctx), std::move(key));
  return get_sealed(std::move(ctx), std::move(key));
}
Task<Result<std::optional<store::KeyValue>>> SealedStore::get_sealed(CallContext ctx, std::string key) {
  NEAP_CO_TRY(auto found, co_await inner_->get(std::move(ctx), std::move(key)));
  if (found) {
    NEAP_CO_TRY(found->value, unseal(found->key, found->value));
  }
  co_return found;
}

Task<Result<store::ListPage>> SealedStore::list(CallContext ctx, std::string prefix,
                                                store::ListOptions options) {
  if (!meets(prefix)) return inner_->list(std::move(ctx), std::move(prefix), std::move(options));
  return list_sealed(std::move(ctx), std::move(prefix), std::move(options));
}
Task<Result<store::ListPage>> SealedStore::list_sealed(CallContext ctx, std::string prefix,
                                                       store::ListOptions options) {
  NEAP_CO_TRY(auto page, co_await inner_->list(std::move(ctx), std::move(prefix), std::move(options)));
  for (auto& item : page.items)
    if (is_covered(item.key)) {
      NEAP_CO_TRY(item.value, unseal(item.key, item.value));
    }
  co_return page;
}

Task<Result<Revision>> SealedStore::commit(CallContext ctx, std::vector<store::Op> ops) {
  for (auto& op : ops)
    if (op.kind == store::Op::Kind::kPut && is_covered(op.key))
      op.value = seal_object(keys_.front(), op.key, op.value);
  return inner_->commit(std::move(ctx), std::move(ops));
}

// Opens what it passes on.
class SealedWatch final : public store::Watch {
 public:
  SealedWatch(SealedStore& store, std::unique_ptr<store::Watch> inner)
      : store_(store), inner_(std::move(inner)) {}
  Task<Result<store::WatchEvent>> next(CallContext ctx) override {
    NEAP_CO_TRY(auto event, co_await inner_->next(std::move(ctx)));
    if (store_.is_covered(event.kv.key)) {
      NEAP_CO_TRY(event.kv.value, store_.unseal(event.kv.key, event.kv.value));
    }
    co_return event;
  }
  Revision position() const override { return inner_->position(); }

 private:
  SealedStore& store_;
  std::unique_ptr<store::Watch> inner_;
};

Result<std::unique_ptr<store::Watch>> SealedStore::watch(std::string prefix, Revision after) {
  const bool is_met = meets(prefix);
  NEAP_TRY(auto inner, inner_->watch(std::move(prefix), after));
  if (!is_met) return inner;
  return std::make_unique<SealedWatch>(*this, std::move(inner));
}

Task<Status> SealedStore::write_check() {
  auto written =
      co_await inner_->put({}, std::string(kCheckKey), seal_object(keys_.front(), kCheckKey, kCheckText));
  if (!written) co_return fail(std::move(written).error(), "recording which key secrets are sealed with");
  co_return ok();
}

// The store decides between servers that start at once: whose check value it took, theirs is the key.
Task<Status> SealedStore::make_first_key() {
  if (!options_.may_create_key)
    co_return fail(
        Code::kFailedPrecondition, "secrets.key.missing",
        fmt::format("the key file {} is not there; make one with `neap secrets make-key > FILE`, mode "
                    "0600, and keep a copy of it elsewhere",
                    file_.path()));
  const auto made = make_secrets_key();
  NEAP_CO_TRY_VOID(file_.propose(made));
  const auto first =
      co_await inner_->put({}, std::string(kCheckKey), seal_object(made, kCheckKey, kCheckText), Revision{});
  if (first) co_return ok();
  // After any other error it may be this very key that the store took.
  if (first.error().code != Code::kAlreadyExists) co_return fail(first.error());
  file_.withdraw(made.id);
  co_return ok();
}

Task<Status> SealedStore::find_key_file() {
  if (file_.exists()) co_return ok();
  NEAP_CO_TRY(auto check, co_await inner_->get({}, std::string(kCheckKey)));
  if (!check) {
    NEAP_CO_TRY_VOID(co_await make_first_key());
    NEAP_CO_TRY(check, co_await inner_->get({}, std::string(kCheckKey)));
  }
  const auto envelope = check ? read_envelope(kCheckKey, check->value) : fail(Code::kNotFound, "", "");
  auto adopted = envelope ? file_.adopt(std::string(envelope->key_id)) : Status(fail(envelope.error()));
  if (adopted || adopted.error().code != Code::kNotFound) co_return adopted;
  co_return fail(
      Code::kFailedPrecondition, "secrets.key.missing",
      fmt::format("the secrets in this store are sealed, and their key file {} is not there; put it "
                  "back from where it is kept (a backup of the state directory has it)",
                  file_.path()));
}

Task<Status> SealedStore::check_key() {
  NEAP_CO_TRY_VOID(co_await find_key_file());
  NEAP_CO_TRY(keys_, file_.load());
  NEAP_CO_TRY(auto check, co_await inner_->get({}, std::string(kCheckKey)));
  loaded_at_ = runtime_.executor().now();
  if (!check) {
    auto first = co_await inner_->put({}, std::string(kCheckKey),
                                      seal_object(keys_.front(), kCheckKey, kCheckText), Revision{});
    if (first) co_return ok();
    if (first.error().code != Code::kAlreadyExists) co_return fail(std::move(first).error());
    NEAP_CO_TRY(check, co_await inner_->get({}, std::string(kCheckKey)));
    if (!check)
      co_return fail(Code::kUnavailable, "secrets.key.busy",
                     "another server begins on this store; try again");
  }
  const auto opened = open_object(keys_, kCheckKey, check->value);
  if (!opened)
    co_return fail(
        Code::kFailedPrecondition, "secrets.key.wrong",
        fmt::format("the keys in {} do not open this store's secrets ({}); give the server the key file "
                    "that belongs to this store",
                    file_.path(), opened.error().message));
  const auto envelope = read_envelope(kCheckKey, check->value);
  if (envelope && envelope->key_id != keys_.front().id) co_return co_await write_check();
  co_return ok();
}

Task<Result<SealedStore::Rewrapped>> SealedStore::rewrap_all() {
  Rewrapped out;
  // A copy: reading may load the file again meanwhile.
  const auto current = keys_.front();
  NEAP_CO_TRY(const auto all, co_await store::list_all(*inner_, {}, options_.prefix));
  for (auto item : all.items) {
    ++out.objects;
    for (int attempt = 0;; ++attempt) {
      const bool was_plain = !is_sealed(item.value);
      std::string next;
      if (was_plain) {
        next = seal_object(current, item.key, item.value);
      } else {
        NEAP_CO_TRY(const auto envelope, read_envelope(item.key, item.value));
        if (envelope.key_id == current.id) break;
        const auto* with = find_key(keys_, envelope.key_id);
        if (!with) co_return retired(item.key, envelope.key_id);
        NEAP_CO_TRY(const auto data_key, data_key_of(*with, item.key, envelope));
        next = envelope_text(current, item.key, envelope.uid, data_key, envelope.payload);
      }
      const auto done = co_await inner_->put({}, item.key, std::move(next), item.mod_revision);
      if (done) {
        ++(was_plain ? out.sealed : out.rewrapped);
        break;
      }
      if ((done.error().code != Code::kAborted && done.error().code != Code::kNotFound) ||
          attempt >= kRaceAttempts)
        co_return fail(done.error(), "sealing " + item.key);
      NEAP_CO_TRY(auto again, co_await inner_->get({}, item.key));
      if (!again) break;
      item = *std::move(again);
    }
  }
  co_return out;
}

Task<Result<std::unique_ptr<SealedStore>>> SealedStore::open(io::Runtime& runtime,
                                                             std::unique_ptr<store::Store> inner,
                                                             std::string key_path, Options options) {
  std::unique_ptr<SealedStore> out(
      new SealedStore(runtime, std::move(inner), std::move(key_path), std::move(options)));
  auto ready = co_await out->check_key();
  if (ready) {
    auto rewrapped = co_await out->rewrap_all();
    if (rewrapped)
      out->at_start_ = *rewrapped;
    else
      ready = fail(std::move(rewrapped).error());
  }
  if (!ready) {
    co_await out->close();
    co_return fail(std::move(ready).error());
  }
  co_return out;
}

Task<Result<SealedStore::Rewrapped>> SealedStore::rotate() {
  if (!options_.may_create_key)
    co_return fail(
        Code::kFailedPrecondition, "secrets.key.external",
        fmt::format("{} was given to the server, so it does not write there; put the new key (`neap "
                    "secrets make-key`) before the others in it and restart",
                    file_.path()));
  if (is_rotating_)
    co_return fail(Code::kUnavailable, "secrets.key.rotating",
                   "the key is being rotated just now; try again");
  is_rotating_ = true;
  struct Ended {
    bool& flag;
    ~Ended() { flag = false; }
  } const ended{is_rotating_};
  auto next = keys_;
  next.insert(next.begin(), make_secrets_key());
  // On the disk before anything is sealed with it.
  NEAP_CO_TRY_VOID(file_.save(next));
  keys_ = std::move(next);
  NEAP_CO_TRY_VOID(co_await write_check());
  co_return co_await rewrap_all();
}

}  // namespace neap::app
