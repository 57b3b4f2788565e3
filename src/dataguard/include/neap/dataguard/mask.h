// De-identification: replaces findings, then looks again.
//
// 1. What mask() returns holds no finding any more under the same scan options; when that cannot be
//    reached it fails (fails closed) and returns no text.
// 2. With a salt, equal values give equal tokens and different salts give unrelated ones.
// Pure and thread-safe. Tokens hold no digits, so they cannot join neighbours to a new identifier.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/dataguard/scanner.h"

namespace neap::dataguard {

enum class MaskOperator : std::uint8_t {
  kReplace,   // <CN_MOBILE>
  kRedact,    // nothing stays but a blank
  kKeepLast,  // *******5678
  kToken,     // <CN_MOBILE:hgkp...>: HMAC-SHA-256 under the policy's salt, 64 bits, in letters
};

struct MaskPolicy {
  MaskOperator fallback = MaskOperator::kReplace;
  // Overrides by type; index is the EntityType.
  std::array<MaskOperator, kEntityTypes> by_type{};
  std::uint32_t overridden = 0;  // bit per EntityType whose by_type counts
  std::size_t keep_last = 4;     // for kKeepLast, in bytes; never more than a quarter of the value stays
  std::string salt;              // for kToken

  MaskPolicy& with(EntityType type, MaskOperator op);
  MaskOperator operator_of(EntityType type) const;
};

struct MaskResult {
  std::string text;
  std::size_t masked = 0;
};

// `findings` as scan(text, options) returned them (sorted, not overlapping). kInternal
// `dataguard.mask.residue` when identifiers would remain; kInvalidArgument `dataguard.mask.salt` for
// kToken without a salt of at least 16 bytes; kInvalidArgument for findings that do not fit the text.
Result<MaskResult> mask(std::string_view text, const std::vector<Finding>& findings, const MaskPolicy& policy,
                        const ScanOptions& options = {});

// What stands in the place of one value.
std::string mask_value(EntityType type, std::string_view value, const MaskPolicy& policy);

}  // namespace neap::dataguard
