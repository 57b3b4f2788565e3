#include "neap/simulation/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "internal/svg_chart.h"
#include "neap/simulation/comparison.h"

namespace neap::simulation {
namespace {

constexpr std::size_t kTimelineRows = 60, kWaitingRows = 100, kCdfPoints = 400, kBarsMax = 40;

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --back: #fff; --ink: #1b1f24; --soft: #59636e; --grid: #d0d7de; --c1: #0550ae; --c2: #bc4c00; --c3: #1a7f37; --c4: #8250df; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #30363d; --c1: #79c0ff; --c2: #ffa657; --c3: #7ee787; --c4: #d2a8ff; } }
body { background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } figure { margin: 1.5rem 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; } svg text.small { font-size: 9px; }
.grid { stroke: var(--grid); } .stroke { fill: none; stroke-width: 1.6; } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); } .c4 { fill: var(--c4); }
.c1.stroke { fill: none; stroke: var(--c1); } .c2.stroke { fill: none; stroke: var(--c2); } .c3.stroke { fill: none; stroke: var(--c3); } .c4.stroke { fill: none; stroke: var(--c4); }
.fill { opacity: .25; } .soft { color: var(--soft); }
</style>
)";

std::string title_of(const RunReport& run) { return fmt::format("{} ({})", run.name, run.variant); }

std::string figures(std::span<const RunReport> runs) {
  std::string out = "<table><caption>Figures</caption><thead><tr><th scope=\"col\">Measure</th>";
  for (const auto& run : runs) out += fmt::format("<th scope=\"col\">{}</th>", escape_html(title_of(run)));
  out += "</tr></thead><tbody>\n";
  for (const auto& row : compare_runs(runs)) {
    out += fmt::format("<tr><th scope=\"row\">{}</th>", escape_html(row.measure));
    for (std::size_t i = 0; i < row.texts.size(); ++i)
      out += fmt::format("<td class=\"n\">{}{}</td>", escape_html(row.texts[i]),
                         i > 0 && row.ratios[i]
                             ? fmt::format(" <span class=\"soft\">x {:.2f}</span>", *row.ratios[i])
                             : std::string());
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

CurveChart series_chart(std::string title, std::string unit) {
  return {.title = std::move(title), .x_unit = "h", .y_unit = std::move(unit), .y_max = 0, .curves = {}};
}

Curve curve_of(const RunReport& run, std::string name, std::string css, double SeriesPoint::* member) {
  Curve out{.name = std::move(name), .css = std::move(css), .x = {}, .y = {}};
  for (const auto& point : run.series) {
    out.x.push_back(point.at_h);
    out.y.push_back(point.*member);
  }
  return out;
}

std::string use_chart(const RunReport& run) {
  auto chart = series_chart("Accelerators in use", "accelerators");
  chart.curves.push_back(curve_of(run, "own, in use", "c1", &SeriesPoint::own_used));
  chart.curves.front().is_filled = true;
  chart.curves.push_back(curve_of(run, "own, ready", "c3", &SeriesPoint::own_capacity));
  chart.curves.push_back(curve_of(run, "rented", "c2", &SeriesPoint::rented_used));
  return draw_curves(chart);
}

std::string queue_chart(const RunReport& run) {
  auto chart = series_chart("Jobs that wait", "jobs");
  chart.curves.push_back(curve_of(run, "waiting", "c4", &SeriesPoint::waiting));
  chart.curves.front().is_filled = true;
  return draw_curves(chart);
}

std::string replica_chart(const RunReport& run) {
  if (run.services.empty()) return {};
  auto chart = series_chart("Replicas of services", "replicas");
  chart.curves.push_back(curve_of(run, "asked for", "c2", &SeriesPoint::replicas_wanted));
  chart.curves.push_back(curve_of(run, "running", "c1", &SeriesPoint::replicas_running));
  return draw_curves(chart);
}

std::string completion_chart(const RunReport& run) {
  const auto& sorted = run.jct_sorted_s;
  if (sorted.empty()) return {};
  CurveChart chart{.title = "Completion time: share of jobs done within",
                   .x_unit = "h",
                   .y_unit = "% of jobs",
                   .y_max = 100,
                   .curves = {}};
  Curve curve{.name = "jobs", .css = "c1", .x = {0}, .y = {0}};
  const auto step = std::max<std::size_t>(1, sorted.size() / kCdfPoints);
  for (std::size_t i = 0; i < sorted.size(); i += step) {
    curve.x.push_back(sorted[i] / 3600);
    curve.y.push_back(100.0 * double(i + 1) / double(sorted.size()));
  }
  curve.x.push_back(sorted.back() / 3600);
  curve.y.push_back(100);
  chart.curves.push_back(std::move(curve));
  return draw_curves(chart);
}

std::string cost_chart(const RunReport& run, std::string_view title,
                       const std::map<std::string, MoneyMicros>& parts) {
  std::vector<Bar> bars;
  for (const auto& [name, amount] : parts)
    bars.push_back({name.empty() ? "(none)" : name, format_money(amount) + " " + run.cost.currency,
                    double(amount.value)});
  std::ranges::sort(
      bars, [](const Bar& a, const Bar& b) { return std::tie(b.value, a.name) < std::tie(a.value, b.name); });
  const auto left = bars.size() > kBarsMax ? bars.size() - kBarsMax : 0;
  bars.resize(bars.size() - left);
  auto out = draw_bars(title, bars);
  if (left > 0) out += fmt::format("<p class=\"soft\">and {} smaller ones</p>\n", left);
  return out;
}

std::string timeline(const RunReport& run) {
  std::vector<Span> spans;
  std::vector<std::string_view> rows;
  for (const auto& segment : run.timeline) {
    if (std::ranges::find(rows, segment.job) == rows.end()) {
      if (rows.size() == kTimelineRows) continue;
      rows.push_back(segment.job);
    }
    const std::string css = segment.capacity_type == "owned"       ? "c1"
                            : segment.capacity_type == "on-demand" ? "c2"
                            : segment.capacity_type == "spot"      ? "c4"
                                                                   : "c3";
    spans.push_back(
        {segment.job, css,
         fmt::format("{} of {} at {} ({}), {:.2f} h to {:.2f} h, {}", segment.job, segment.project,
                     segment.site, segment.capacity_type, segment.from_h, segment.to_h, segment.end),
         segment.from_h, segment.to_h});
  }
  if (spans.empty()) return {};
  std::ranges::sort(spans, {}, [](const Span& span) { return std::tie(span.from, span.row, span.to); });
  double until = 0;
  for (const auto& span : spans) until = std::max(until, span.to);
  return draw_timeline(
      "First jobs, where and when: blue owned, green reserved, orange on demand, violet spot", until, spans);
}

std::string queues(const RunReport& run) {
  if (run.queues.empty()) return {};
  std::string out =
      "<h3>Queues</h3><table><thead><tr><th scope=\"col\">Queue</th><th scope=\"col\">Mean share</th>"
      "<th scope=\"col\">Accelerator-hours</th><th scope=\"col\">Borrowed</th><th scope=\"col\">Started</th>"
      "<th scope=\"col\">Backfilled</th><th scope=\"col\">Gave back</th><th scope=\"col\">Took back</th>"
      "<th scope=\"col\">Preempted</th><th scope=\"col\">Work lost</th><th scope=\"col\">Mean wait</th>"
      "</tr></thead><tbody>\n";
  for (const auto& queue : run.queues) {
    out +=
        fmt::format("<tr><th scope=\"row\">{}</th>", queue.name.empty() ? "(none)" : escape_html(queue.name));
    for (const auto& cell :
         {fmt::format("{:.1f} %", 100 * queue.share), fmt::format("{:.1f}", queue.accelerator_h),
          fmt::format("{:.1f}", queue.borrowed_h), fmt::format("{}", queue.placements),
          fmt::format("{}", queue.backfilled), fmt::format("{}", queue.gave_back),
          fmt::format("{}", queue.took_back), fmt::format("{}", queue.preempted),
          fmt::format("{:.2f} h", queue.lost_work_h), fmt::format("{:.2f} h", queue.wait_s.mean / 3600)})
      out += fmt::format("<td class=\"n\">{}</td>", cell);
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

std::string waiting(const RunReport& run) {
  if (run.waiting_jobs.empty()) return {};
  std::string out = fmt::format(
      "<h3>{} jobs wait at the end</h3><table><thead><tr><th scope=\"col\">Job</th><th "
      "scope=\"col\">Project</th>"
      "<th scope=\"col\">Waited</th><th scope=\"col\">Why</th></tr></thead><tbody>\n",
      run.waiting);
  for (std::size_t i = 0; i < std::min(kWaitingRows, run.waiting_jobs.size()); ++i) {
    const auto& job = run.waiting_jobs[i];
    out += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"n\">{:.1f} h</td><td>{}</td></tr>\n",
                       escape_html(job.name), escape_html(job.project), job.waited_s / 3600,
                       escape_html(job.reason));
  }
  return out + "</tbody></table>\n";
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += (std::uint8_t(c) < 0x20 && c != '\n') || c == 0x7f ? '?' : c;
  }
  return out;
}

std::string render_html(std::span<const RunReport> runs) {
  std::string out(kHead);
  const std::string name = runs.empty() ? std::string("nothing") : runs.front().name;
  out += fmt::format("<title>Simulation of {0}</title></head><body><main>\n<h1>Simulation of {0}</h1>\n",
                     escape_html(name));
  if (!runs.empty())
    out += fmt::format(
        "<p class=\"soft\">From {}, {:.1f} hours, seed {}. Every placement was made by the function that "
        "decides in "
        "production; the model around it is described in the reference page on simulation scenarios.</p>\n",
        format_rfc3339(runs.front().start), runs.front().simulated_h, runs.front().seed);
  out += figures(runs);
  for (const auto& run : runs) {
    if (runs.size() > 1) out += fmt::format("<h2>{}</h2>\n", escape_html(title_of(run)));
    out += use_chart(run) + queue_chart(run) + replica_chart(run) +
           cost_chart(run, "Cost by project", run.cost.by_project) +
           cost_chart(run, "Cost by kind of capacity", run.cost.by_capacity_type) + completion_chart(run) +
           timeline(run) + queues(run) + waiting(run);
  }
  return out + "</main></body></html>\n";
}

}  // namespace neap::simulation
