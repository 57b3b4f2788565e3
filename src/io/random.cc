#include <array>

#include "neap/base/assert.h"
#include "neap/io/runtime.h"

namespace neap::io {

std::uint64_t Random::next() {
  std::array<std::uint8_t, 8> bytes;
  fill(bytes);
  std::uint64_t out = 0;
  for (const auto b : bytes) out = out << 8 | b;
  return out;
}

std::uint64_t Random::below(std::uint64_t bound) {
  NEAP_ASSERT(bound > 0);
  // Values under `skip` would make small results likelier.
  const std::uint64_t skip = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t value = next();
    if (value >= skip) return value % bound;
  }
}

std::string Random::hex(std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::vector<std::uint8_t> raw(bytes);
  fill(raw);
  std::string out;
  out.reserve(bytes * 2);
  for (const auto b : raw) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

std::string Random::uuid() {
  std::string h = hex(16);
  h[12] = '4';  // RFC 9562, version 4
  static constexpr char kVariant[] = "89ab";
  h[16] = kVariant[below(4)];
  return h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" + h.substr(16, 4) + "-" +
         h.substr(20);
}

}  // namespace neap::io
