// Shapes of the registry's replies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "neap/base/result.h"
#include "neap/io/http.h"

namespace neap::artifacts::internal {

io::HttpResponse registry_error(int status, std::string_view code, std::string_view message);
// From a Result's error: the spec's code that fits its reason.
io::HttpResponse registry_error(const Error& error);

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
};
// "bytes=0-99", "bytes=5-", "bytes=-10". Nothing for a header that asks for several ranges or another unit
// (the whole is sent then); kOutOfRange when it cannot be satisfied.
Result<std::optional<ByteRange>> parse_range(std::string_view header, std::uint64_t size);
// "0-99" of a chunk; kInvalidArgument for another shape, kOutOfRange when inverted.
Result<ByteRange> parse_content_range(std::string_view header);

}  // namespace neap::artifacts::internal
