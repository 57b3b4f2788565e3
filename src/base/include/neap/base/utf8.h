// Is a text UTF-8 (RFC 3629)? As strict as the JSON parser: no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <string>
#include <string_view>

namespace neap {

bool is_utf8(std::string_view text);
// Each byte that belongs to no character becomes U+FFFD.
std::string as_utf8(std::string_view text);

}  // namespace neap
