#include "neap/ledger/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace neap::ledger {
namespace {

constexpr std::string_view kDash = "\xe2\x80\x94 ";  // em dash and space
constexpr char kEd25519Algorithm = '\x01';
constexpr std::size_t kTextBytesMax = 4096;

std::unexpected<Error> bad_syntax(const char* what) {
  return fail(Code::kInvalidArgument, "ledger.checkpoint.syntax",
              fmt::format("the checkpoint is damaged: {}; restore the ledger from a backup", what));
}

Status check_origin(std::string_view origin) {
  bool good = !origin.empty() && origin.size() <= 255;
  for (const char c : origin) good = good && std::uint8_t(c) > 0x20 && std::uint8_t(c) < 0x7f && c != '+';
  if (good) return ok();
  return fail(Code::kInvalidArgument, "ledger.origin",
              "a ledger's origin has 1 to 255 visible ASCII characters without '+'; rename it");
}

std::string key_hash(std::string_view origin, const crypto::PublicKey& key) {
  std::string input(origin);
  input += '\n';
  input += kEd25519Algorithm;
  input += key.raw();
  return std::string(crypto::sha256(input).view().substr(0, 4));
}

std::string body_of(const Checkpoint& checkpoint) {
  return fmt::format("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size,
                     crypto::to_base64(checkpoint.root.view()));
}

// The text up to the next line end, which is taken away too.
Result<std::string_view> take_line(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return bad_syntax("it ends within a line");
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

Result<std::string> sign_checkpoint(const Checkpoint& checkpoint, const crypto::PrivateKey& key) {
  NEAP_TRY_VOID(check_origin(checkpoint.origin));
  if (key.kind() != crypto::KeyKind::kEd25519)
    return fail(Code::kInvalidArgument, "ledger.key", "ledgers are signed with Ed25519 keys; make one");
  const auto body = body_of(checkpoint);
  return fmt::format("{}\n{}{} {}\n", body, kDash, checkpoint.origin,
                     crypto::to_base64(key_hash(checkpoint.origin, key.public_key()) + key.sign(body)));
}

Result<Checkpoint> open_checkpoint(std::string_view text, std::string_view origin,
                                   const crypto::PublicKey& key) {
  if (text.size() > kTextBytesMax) return bad_syntax("it is too long");
  Checkpoint out;
  std::string_view rest = text;
  NEAP_TRY(const auto first, take_line(rest));
  out.origin = std::string(first);
  NEAP_TRY(const auto size, take_line(rest));
  const auto parsed = std::from_chars(size.data(), size.data() + size.size(), out.size);
  if (parsed.ec != std::errc() || parsed.ptr != size.data() + size.size() || std::to_string(out.size) != size)
    return bad_syntax("its size is no number");
  NEAP_TRY(const auto root_text, take_line(rest));
  const auto root = crypto::from_base64(root_text);
  if (!root || root->size() != 32) return bad_syntax("its root is no hash");
  crypto::Sha256Bytes root_bytes;
  std::copy(root->begin(), root->end(), root_bytes.begin());
  out.root = crypto::Digest(root_bytes);
  NEAP_TRY(const auto blank, take_line(rest));
  if (!blank.empty()) return bad_syntax("it has an unknown extension line");
  NEAP_TRY(auto signature_line, take_line(rest));
  if (!rest.empty()) return bad_syntax("there is something after the signature");
  if (out.origin != origin ||
      signature_line != fmt::format("{}{} ", kDash, origin) +
                            std::string(signature_line.substr(signature_line.rfind(' ') + 1)))
    return bad_syntax("it belongs to another ledger");
  const auto blob = crypto::from_base64(signature_line.substr(signature_line.rfind(' ') + 1));
  if (!blob || blob->size() != 4 + 64) return bad_syntax("its signature is unreadable");
  if (key.kind() != crypto::KeyKind::kEd25519 || blob->substr(0, 4) != key_hash(origin, key) ||
      !key.verify(body_of(out), blob->substr(4)))
    return fail(Code::kUnauthenticated, "ledger.checkpoint.signature",
                "the checkpoint's signature does not verify: it was changed or signed by another key");
  return out;
}

}  // namespace neap::ledger
