// Where in a YAML text a field stands, for refusals that name a line.
//
// Threads: pure function.
#pragma once

#include <cstddef>
#include <string_view>

namespace neap::api {

// Line, counted from 1, of the member or element that a dotted path like "spec.nodes[2].site" leads to in the
// document with this index (empty documents do not count, as in parse_yaml); where it is absent, of the last
// member on the way that is there. 0 for a text that is no YAML or has fewer documents. Aliases are not
// entered. Linear in the text.
std::size_t find_yaml_line(std::string_view text, std::size_t document, std::string_view path);

}  // namespace neap::api
