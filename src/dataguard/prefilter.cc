#include "internal/prefilter.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace neap::dataguard::internal {

void mark_blocks_portable(const char* text, std::size_t blocks, BlockMarks* out) {
  for (std::size_t b = 0; b < blocks; ++b, text += 64) {
    BlockMarks marks;
    for (unsigned i = 0; i < 64; ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      marks.digit |= static_cast<std::uint64_t>(static_cast<unsigned char>(c - '0') < 10) << i;
      marks.at |= static_cast<std::uint64_t>(c == '@') << i;
      marks.colon |= static_cast<std::uint64_t>(c == ':') << i;
    }
    out[b] = marks;
  }
}

#if defined(__x86_64__)
bool cpu_has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}

__attribute__((target("avx2"))) void mark_blocks_avx2(const char* text, std::size_t blocks, BlockMarks* out) {
  const __m256i zero = _mm256_set1_epi8('0');
  const __m256i nine = _mm256_set1_epi8(9);
  const __m256i at = _mm256_set1_epi8('@');
  const __m256i colon = _mm256_set1_epi8(':');
  for (std::size_t b = 0; b < blocks; ++b, text += 64) {
    const __m256i lo = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text));
    const __m256i hi = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32));
    const auto mask = [](__m256i a, __m256i c) __attribute__((target("avx2"))) {
      return static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(a))) |
             static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(c))) << 32;
    };
    const __m256i lo_off = _mm256_sub_epi8(lo, zero);
    const __m256i hi_off = _mm256_sub_epi8(hi, zero);
    out[b].digit = mask(_mm256_cmpeq_epi8(_mm256_min_epu8(lo_off, nine), lo_off),
                        _mm256_cmpeq_epi8(_mm256_min_epu8(hi_off, nine), hi_off));
    out[b].at = mask(_mm256_cmpeq_epi8(lo, at), _mm256_cmpeq_epi8(hi, at));
    out[b].colon = mask(_mm256_cmpeq_epi8(lo, colon), _mm256_cmpeq_epi8(hi, colon));
  }
}
#else
bool cpu_has_avx2() { return false; }
void mark_blocks_avx2(const char* text, std::size_t blocks, BlockMarks* out) {
  mark_blocks_portable(text, blocks, out);
}
#endif

}  // namespace neap::dataguard::internal
