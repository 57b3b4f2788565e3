// Charts as inline SVG: curves over time, bars, a timeline. Colours are CSS classes of the page around them.
//
// Threads: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace neap::simulation {

struct Curve {
  std::string name;
  std::string css;  // "c1" to "c4"
  std::vector<double> x, y;
  bool is_filled = false;
};
struct CurveChart {
  std::string title, x_unit, y_unit;
  double y_max = 0;  // 0: from the curves
  std::vector<Curve> curves;
};
std::string draw_curves(const CurveChart& chart);

struct Bar {
  std::string name, value_text;
  double value = 0;
};
std::string draw_bars(std::string_view title, const std::vector<Bar>& bars);

struct Span {
  std::string row, css, text;
  double from = 0, to = 0;
};
// Rows in the order they first appear.
std::string draw_timeline(std::string_view title, double until, const std::vector<Span>& spans);

}  // namespace neap::simulation
