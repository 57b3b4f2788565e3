// NEAP_ASSERT: a programmer's claim. On in every build; never judges input, peers or disks.
#pragma once

namespace neap::detail {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}
#define NEAP_ASSERT(expression) \
  ((expression) ? void(0) : ::neap::detail::assertion_failed(#expression, __FILE__, __LINE__))
