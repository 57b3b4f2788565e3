// What the strict parser takes must survive being written and read again, within the limits that were set.
#include <cstdint>
#include <cstdlib>

#include "neap/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace neap;
  const JsonLimits limits{.bytes_max = 1 << 16, .depth_max = 16};
  const auto value = parse_json({reinterpret_cast<const char*>(data), size}, limits);
  if (!value) {
    if (value.error().message.empty()) std::abort();
    return 0;
  }
  for (const auto& text : {to_text(*value), to_pretty_text(*value)}) {
    const auto again = parse_json(text, {.bytes_max = 1 << 24, .depth_max = 16});
    if (!again || to_text(*again) != to_text(*value)) std::abort();
  }
  return 0;
}
