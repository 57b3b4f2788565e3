// The files of the web console, embedded into the program by the build (embed_console.cmake).
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace neap::app {

struct ConsoleAsset {
  std::string_view path;  // below "/console/", like "index.html"
  std::string_view content_type;
  std::string_view etag;      // quoted
  bool is_immutable = false;  // the name carries a hash of the content
  std::string_view bytes;
  std::string_view gzip;  // empty where compression does not pay
};

// Sorted by path. Static storage.
std::span<const ConsoleAsset> console_assets();
// "full" or "absent".
std::string_view console_build();
const ConsoleAsset* find_console_asset(std::string_view path);

}  // namespace neap::app
