// Finds structured identifiers in text: one SIMD pass marks anchors (digits, '@', ':'), each anchor is
// parsed once, and what looks like an identifier must pass its checksum or show context words.
//
// Input is bytes: invalid UTF-8 is scanned like any other. Pure and thread-safe; time is linear in the
// text (every anchor looks at a bounded neighbourhood). Offsets and lengths are in bytes. The whole
// text must be given at once: an identifier split over two calls is not seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace neap::dataguard {

enum class EntityType : std::uint8_t {
  kCnResidentId,
  kCnMobile,
  kBankCard,
  kCnUscc,
  kEmail,
  kIpAddress,
  kMacAddress,
  kIban,
  kUsSsn,
  kPhone,
  kPassport,
  kDriverLicense,
  kCnPlate,
  kPersonName,
};
inline constexpr std::size_t kEntityTypes = 14;

// "CN_RESIDENT_ID", "CN_MOBILE", ...: what replacement tokens and reports show.
std::string_view entity_name(EntityType type);

struct Finding {
  EntityType type{};
  std::size_t offset = 0;
  std::size_t length = 0;
  float confidence = 0;  // checksum or fixed grammar 0.9 and above; shape alone below
  friend bool operator==(const Finding&, const Finding&) = default;
};

struct ScanOptions {
  // Second tier: names behind label words and fields ("inspector: ", "姓名："). Costs a second pass.
  bool names = false;
  float min_confidence = 0.5F;
  std::uint32_t types = ~0U;  // bit per EntityType
  bool portable = false;      // do not use the CPU's vector instructions
};

// Non-overlapping findings in order of offset. Of two that overlap the more certain one stays, of
// equally certain ones the longer.
std::vector<Finding> scan(std::string_view text, const ScanOptions& options = {});

// Whether this CPU runs the vectorised prefilter.
bool scanner_uses_avx2();

}  // namespace neap::dataguard
