#include "neap/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace neap::detail {
void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "neap: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}
}  // namespace neap::detail
