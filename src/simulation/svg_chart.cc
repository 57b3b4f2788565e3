#include "internal/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "neap/simulation/html_report.h"

namespace neap::simulation {
namespace {

constexpr double kWidth = 760, kLeft = 64, kRight = 12, kTop = 12, kPlotHeight = 180;
constexpr double kPlotWidth = kWidth - kLeft - kRight;

std::string open_svg(double height, std::string_view title, std::string_view description) {
  return fmt::format(
      "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {1:.0f} {2:.0f}\" role=\"img\" "
      "aria-label=\"{0}. {3}\">\n",
      escape_html(title), kWidth, height, escape_html(description));
}
std::string text(double x, double y, std::string_view anchor, std::string_view what) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     escape_html(what));
}
std::string line(double x1, double y1, double x2, double y2) {
  return fmt::format("<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", x1,
                     y1, x2, y2);
}

// The next of 1, 2, 5 times a power of ten.
double round_up(double value) {
  if (!(value > 0)) return 1;
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0})
    if (value <= step * power * (1 + 1e-9)) return step * power;
  return 10 * power;
}
std::string number(double value) { return fmt::format("{:.4g}", value); }

std::string axes(double x_max, double y_max, std::string_view x_unit, std::string_view y_unit) {
  std::string out;
  for (int i = 0; i <= 4; ++i) {
    const double y = kTop + kPlotHeight * (1 - i / 4.0);
    out += line(kLeft, y, kLeft + kPlotWidth, y);
    out += text(kLeft - 6, y + 4, "end", number(y_max * i / 4));
  }
  for (int i = 0; i <= 4; ++i)
    out += text(kLeft + kPlotWidth * i / 4, kTop + kPlotHeight + 16,
                i == 0   ? "start"
                : i == 4 ? "end"
                         : "middle",
                number(x_max * i / 4) + (i == 4 ? " " + std::string(x_unit) : ""));
  return out + text(kLeft, kTop + kPlotHeight + 34, "start", y_unit);
}

std::string path_of(const Curve& curve, double x_max, double y_max) {
  std::string points;
  const auto at = [&](std::size_t i) {
    return fmt::format("{:.1f},{:.1f} ", kLeft + kPlotWidth * std::clamp(curve.x[i] / x_max, 0.0, 1.0),
                       kTop + kPlotHeight * (1 - std::clamp(curve.y[i] / y_max, 0.0, 1.0)));
  };
  const auto count = std::min(curve.x.size(), curve.y.size());
  for (std::size_t i = 0; i < count; ++i) points += at(i);
  if (count == 0) return {};
  std::string out;
  if (curve.is_filled)
    out += fmt::format("<polygon class=\"{} fill\" points=\"{:.1f},{:.1f} {}{:.1f},{:.1f}\"/>\n", curve.css,
                       kLeft + kPlotWidth * curve.x.front() / x_max, kTop + kPlotHeight, points,
                       kLeft + kPlotWidth * std::clamp(curve.x[count - 1] / x_max, 0.0, 1.0),
                       kTop + kPlotHeight);
  return out + fmt::format("<polyline class=\"{} stroke\" points=\"{}\"/>\n", curve.css, points);
}

}  // namespace

std::string draw_curves(const CurveChart& chart) {
  double x_max = 0, y_max = chart.y_max;
  std::string description;
  for (const auto& curve : chart.curves) {
    double highest = 0;
    for (const double x : curve.x) x_max = std::max(x_max, x);
    for (const double y : curve.y) highest = std::max(highest, y);
    if (chart.y_max == 0) y_max = std::max(y_max, highest);
    description += fmt::format("{}: at most {} {}. ", curve.name, number(highest), chart.y_unit);
  }
  if (x_max <= 0) x_max = 1;
  y_max = round_up(y_max);
  auto out = open_svg(kTop + kPlotHeight + 44, chart.title, description);
  out += axes(x_max, y_max, chart.x_unit, chart.y_unit);
  for (const auto& curve : chart.curves) out += path_of(curve, x_max, y_max);
  double x = kLeft + 150;
  for (const auto& curve : chart.curves) {
    const double y = kTop + kPlotHeight + 34;
    out += fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"8\"/>\n",
                       curve.css, x, y - 8);
    out += text(x + 17, y, "start", curve.name);
    x += 40 + 7.0 * double(curve.name.size());
  }
  return out + "</svg></figure>\n";
}

std::string draw_bars(std::string_view title, const std::vector<Bar>& bars) {
  constexpr double kRow = 24, kNames = 190;
  double most = 0;
  std::string description;
  for (const auto& bar : bars) {
    most = std::max(most, bar.value);
    description += fmt::format("{}: {}. ", bar.name, bar.value_text);
  }
  auto out = open_svg(kTop + kRow * double(std::max<std::size_t>(bars.size(), 1)), title, description);
  double y = kTop;
  for (const auto& bar : bars) {
    const double width = most > 0 ? (kWidth - kNames - 150) * bar.value / most : 0;
    out += text(kNames - 8, y + 13, "end", bar.name.substr(0, 26));
    out += fmt::format("<rect class=\"c1\" x=\"{:.0f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"16\"/>\n",
                       kNames, y, width);
    out += text(kNames + width + 6, y + 13, "start", bar.value_text);
    y += kRow;
  }
  return out + "</svg></figure>\n";
}

std::string draw_timeline(std::string_view title, double until, const std::vector<Span>& spans) {
  constexpr double kRow = 12, kNames = 150;
  std::vector<std::string_view> rows;
  for (const auto& span : spans)
    if (rows.empty() || std::ranges::find(rows, span.row) == rows.end()) rows.push_back(span.row);
  const double height = kTop + kRow * double(rows.size()) + 20;
  auto out = open_svg(height, title, fmt::format("{} jobs over {} hours.", rows.size(), number(until)));
  for (std::size_t i = 0; i < rows.size(); ++i)
    out += fmt::format("<text class=\"small\" x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                       kNames - 6, kTop + kRow * double(i) + 9, escape_html(rows[i].substr(0, 24)));
  const double scale = (kWidth - kNames - kRight) / std::max(until, 1e-9);
  for (const auto& span : spans) {
    const auto row = double(std::ranges::find(rows, span.row) - rows.begin());
    out += fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.2f}\" "
        "height=\"9\"><title>{}</title></rect>\n",
        span.css, kNames + span.from * scale, kTop + kRow * row, std::max(0.6, (span.to - span.from) * scale),
        escape_html(span.text));
  }
  out +=
      text(kNames, height - 4, "start", "0") + text(kWidth - kRight, height - 4, "end", number(until) + " h");
  return out + "</svg></figure>\n";
}

}  // namespace neap::simulation
