#include "neap/dataguard/mask.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/crypto/digest.h"

namespace neap::dataguard {
namespace {

constexpr std::size_t kSaltBytesMin = 16;
constexpr int kRoundsMax = 4;

std::string in_letters(std::string_view bytes) {
  std::string out;
  for (char raw : bytes) {
    const auto byte = static_cast<unsigned char>(raw);
    out.push_back(static_cast<char>('g' + (byte >> 4)));  // g to v: no hexadecimal digit either
    out.push_back(static_cast<char>('g' + (byte & 15)));
  }
  return out;
}

Result<std::string> replace_all(std::string_view text, const std::vector<Finding>& findings,
                                const MaskPolicy& policy) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  for (const Finding& f : findings) {
    if (f.offset < at || f.offset > text.size() || f.length > text.size() - f.offset)
      return fail(Code::kInvalidArgument, "dataguard.mask.findings",
                  "the findings are unsorted, overlap or lie outside the text; pass what scan() returned for "
                  "this text");
    out.append(text.substr(at, f.offset - at));
    out.append(mask_value(f.type, text.substr(f.offset, f.length), policy));
    at = f.offset + f.length;
  }
  out.append(text.substr(at));
  return out;
}

}  // namespace

MaskPolicy& MaskPolicy::with(EntityType type, MaskOperator op) {
  by_type[static_cast<std::size_t>(type)] = op;
  overridden |= 1U << static_cast<unsigned>(type);
  return *this;
}

MaskOperator MaskPolicy::operator_of(EntityType type) const {
  return (overridden >> static_cast<unsigned>(type) & 1U) ? by_type[static_cast<std::size_t>(type)]
                                                          : fallback;
}

std::string mask_value(EntityType type, std::string_view value, const MaskPolicy& policy) {
  switch (policy.operator_of(type)) {
    case MaskOperator::kRedact:
      return " ";
    case MaskOperator::kKeepLast: {
      // Characters of several bytes stay whole or go whole.
      std::size_t keep = std::min(policy.keep_last, value.size() / 4);
      while (keep > 0 && (static_cast<unsigned char>(value[value.size() - keep]) & 0xC0) == 0x80) --keep;
      return std::string(value.size() - keep, '*') + std::string(value.substr(value.size() - keep));
    }
    case MaskOperator::kToken: {
      const std::string message = std::string(entity_name(type)) + '\0' + std::string(value);
      const auto mac = crypto::hmac_sha256(policy.salt, message);
      return fmt::format("<{}:{}>", entity_name(type),
                         in_letters({reinterpret_cast<const char*>(mac.data()), 8}));
    }
    case MaskOperator::kReplace:
      break;
  }
  return fmt::format("<{}>", entity_name(type));
}

Result<MaskResult> mask(std::string_view text, const std::vector<Finding>& findings, const MaskPolicy& policy,
                        const ScanOptions& options) {
  bool tokens = policy.fallback == MaskOperator::kToken;
  for (std::size_t i = 0; i < kEntityTypes; ++i)
    tokens = tokens || policy.operator_of(static_cast<EntityType>(i)) == MaskOperator::kToken;
  if (tokens && policy.salt.size() < kSaltBytesMin)
    return fail(
        Code::kInvalidArgument, "dataguard.mask.salt",
        "deterministic tokens need a salt of at least 16 bytes, or the values could be guessed; set one");
  MaskResult result;
  NEAP_TRY(result.text, replace_all(text, findings, policy));
  result.masked = findings.size();
  // Taking one value out may uncover another; a second pass finds it.
  for (int round = 0; round < kRoundsMax; ++round) {
    const std::vector<Finding> left = scan(result.text, options);
    if (left.empty()) return result;
    NEAP_TRY(result.text, replace_all(result.text, left, MaskPolicy{}));
    result.masked += left.size();
  }
  return fail(
      Code::kInternal, "dataguard.mask.residue",
      "identifiers remain after masking, so no text is returned; report the text's shape as a defect");
}

}  // namespace neap::dataguard
