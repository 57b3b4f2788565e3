// Checkpoint: "this ledger had this size and this root", signed. The text is a C2SP tlog-checkpoint, a
// signed note with one Ed25519 signature, so that other transparency tools can read it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "neap/crypto/digest.h"
#include "neap/crypto/sign.h"

namespace neap::ledger {

struct Checkpoint {
  std::string origin;  // names the ledger and the signing key; no spaces, '+' or control characters
  std::uint64_t size = 0;
  crypto::Digest root;
};

// kInvalidArgument "ledger.origin" or "ledger.key" (another kind than Ed25519).
Result<std::string> sign_checkpoint(const Checkpoint& checkpoint, const crypto::PrivateKey& key);
// kInvalidArgument "ledger.checkpoint.syntax", kUnauthenticated "ledger.checkpoint.signature".
Result<Checkpoint> open_checkpoint(std::string_view text, std::string_view origin,
                                   const crypto::PublicKey& key);

}  // namespace neap::ledger
