// Runs as one HTML page that stands alone: figures side by side, curves, costs, timeline, who waits and why.
//
// The page loads nothing and runs nothing (its own policy forbids it), follows the reader's light or dark
// setting, names every chart for screen readers, and escapes every name it shows. Bounded: curves of at most
// 1024 points, 60 jobs in the timeline, 100 waiting ones.
// Threads: pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "neap/simulation/run.h"

namespace neap::simulation {

// Text for element content and attributes; control characters become '?', what is no UTF-8 stays as bytes.
std::string escape_html(std::string_view text);

// Ratios are to the first run.
std::string render_html(std::span<const RunReport> runs);

}  // namespace neap::simulation
