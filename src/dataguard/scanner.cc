#include "neap/dataguard/scanner.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "internal/anchor_scan.h"
#include "internal/prefilter.h"

namespace neap::dataguard {
namespace {

using internal::BlockMarks;
using internal::kByteClass;

constexpr std::size_t kBlock = 64;
constexpr std::size_t kBatchBlocks = 64;

// A short run matters only where a letter, a joiner or a sign stands beside it.
bool short_run_matters(std::string_view text, std::size_t start, std::size_t end) {
  if (end - start >= 7) return true;
  const auto next = end < text.size() ? static_cast<unsigned char>(text[end]) : 0;
  const auto previous = start > 0 ? static_cast<unsigned char>(text[start - 1]) : 0;
  // Inside a dotted or hyphenated chain whose first run was looked at already; only an address may start
  // here.
  if ((previous == '-' || previous == '.' || previous == '/') && end - start < 4 && start >= 2 &&
      text[start - 2] >= '0' && text[start - 2] <= '9' && (next != '.' || previous == '.'))
    return false;
  if (kByteClass[next] & internal::kJoiner) {
    const auto after = end + 1 < text.size() ? static_cast<unsigned char>(text[end + 1]) : 0;
    if ((kByteClass[after] & internal::kDigit) || after == '(' || after == ' ' || next == ')') return true;
  }
  return (kByteClass[previous] & internal::kAlpha) != 0 || previous >= 0x80 || previous == '+' ||
         (kByteClass[next] & internal::kAlpha) != 0;
}

void visit_blocks(std::string_view text, std::size_t base, const BlockMarks* marks, std::size_t blocks,
                  std::uint64_t& carry, internal::AnchorScan& anchors) {
  for (std::size_t b = 0; b < blocks; ++b) {
    const BlockMarks& m = marks[b];
    const std::size_t offset = base + b * kBlock;
    std::uint64_t starts = m.digit & ~((m.digit << 1) | carry);
    carry = m.digit >> 63;
    while (starts != 0) {
      const auto bit = static_cast<unsigned>(std::countr_zero(starts));
      starts &= starts - 1;
      const std::size_t start = offset + bit;
      std::size_t end = start + static_cast<unsigned>(std::countr_one(m.digit >> bit));
      if (end == offset + kBlock) {
        while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
      }
      if (short_run_matters(text, start, end)) anchors.on_digits(start, end);
    }
    for (std::uint64_t at = m.at; at != 0; at &= at - 1)
      anchors.on_at(offset + static_cast<unsigned>(std::countr_zero(at)));
    for (std::uint64_t colon = m.colon; colon != 0; colon &= colon - 1)
      anchors.on_colon(offset + static_cast<unsigned>(std::countr_zero(colon)));
  }
}

void resolve_overlaps(std::vector<Finding>& found) {
  const auto stronger = [](const Finding& a, const Finding& b) {
    if (a.confidence != b.confidence) return a.confidence > b.confidence;
    return a.length > b.length;
  };
  std::ranges::sort(found, [&](const Finding& a, const Finding& b) {
    return a.offset != b.offset ? a.offset < b.offset : stronger(a, b);
  });
  std::size_t kept = 0;
  for (const Finding& next : found) {
    bool drop = false;
    while (kept > 0 && found[kept - 1].offset + found[kept - 1].length > next.offset) {
      if (!stronger(next, found[kept - 1])) {
        drop = true;
        break;
      }
      --kept;
    }
    if (!drop) found[kept++] = next;
  }
  found.resize(kept);
}

}  // namespace

std::string_view entity_name(EntityType type) {
  static constexpr std::array<std::string_view, kEntityTypes> kNames{
      "CN_RESIDENT_ID", "CN_MOBILE", "BANK_CARD", "CN_USCC",  "EMAIL",          "IP_ADDRESS", "MAC_ADDRESS",
      "IBAN",           "US_SSN",    "PHONE",     "PASSPORT", "DRIVER_LICENSE", "CN_PLATE",   "PERSON_NAME"};
  return kNames[static_cast<std::size_t>(type)];
}

bool scanner_uses_avx2() { return internal::cpu_has_avx2(); }

std::vector<Finding> scan(std::string_view text, const ScanOptions& options) {
  std::vector<Finding> found;
  internal::AnchorScan anchors(text, options.types, found);
  const internal::MarkBlocks mark = !options.portable && internal::cpu_has_avx2()
                                        ? internal::mark_blocks_avx2
                                        : internal::mark_blocks_portable;
  std::array<BlockMarks, kBatchBlocks> marks;
  std::uint64_t carry = 0;
  std::size_t offset = 0;
  while (offset + kBlock <= text.size()) {
    const std::size_t blocks = std::min(kBatchBlocks, (text.size() - offset) / kBlock);
    mark(text.data() + offset, blocks, marks.data());
    visit_blocks(text, offset, marks.data(), blocks, carry, anchors);
    offset += blocks * kBlock;
  }
  if (offset < text.size()) {
    std::array<char, kBlock> tail{};
    std::memcpy(tail.data(), text.data() + offset, text.size() - offset);
    mark(tail.data(), 1, marks.data());
    visit_blocks(text, offset, marks.data(), 1, carry, anchors);
  }
  if (options.names) internal::scan_names(text, found);
  if (options.min_confidence > 0 || options.types != ~0U) {
    std::erase_if(found, [&](const Finding& f) {
      return f.confidence < options.min_confidence ||
             (options.types >> static_cast<unsigned>(f.type) & 1U) == 0;
    });
  }
  resolve_overlaps(found);
  return found;
}

}  // namespace neap::dataguard
