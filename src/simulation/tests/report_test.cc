#include <fmt/format.h>
#include <gtest/gtest.h>

#include <regex>

#include "neap/simulation/comparison.h"
#include "neap/simulation/html_report.h"
#include "tests/scenario_lab.h"

namespace neap::simulation {
namespace {

RunReport small(const std::string& project = "lab") {
  ScenarioLab lab;
  lab.files["jobs.csv"] =
      "num_gpu,submit_time,duration\n2,0,7200000\n1,1800000,3600000\n8,3600000,10800000\n";
  lab.nodes = "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}";
  lab.workloads = fmt::format(
      "{{name: t, project: {}, resources: {{cpu: 1, memory: 1Gi, accelerators: {{a100: 1}}}}, csv: {{path: "
      "jobs.csv}}}}",
      project);
  return lab.run().value();
}

TEST(HtmlReport, shows_figures_curves_costs_timeline_and_who_waits_in_one_page_that_loads_nothing) {
  const auto run = small();
  const auto page = render_html(std::span(&run, 1));
  for (const auto* part :
       {"Accelerators in use", "Jobs that wait", "Cost by project", "Completion time", "First jobs",
        "1 jobs wait", "default-src 'none'", "prefers-color-scheme: dark", "lang=\"en\""})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  for (const auto* foreign : {"http:", "https:", "<script", "src=", "@import", "url("})
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
  EXPECT_EQ(std::string(page).find("nan"), std::string::npos);
  EXPECT_EQ(std::string(page).find("inf\""), std::string::npos);
  EXPECT_EQ(page, render_html(std::span(&run, 1)));
}

// Every tag that is opened is closed, in order: what a hostile name would break first.
void expect_balanced(const std::string& page) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\"[^\"]*\"|[^\">])*)>");
  for (std::sregex_iterator at(page.begin(), page.end(), tag), end; at != end; ++at) {
    const auto name = (*at)[2].str(), rest = (*at)[3].str();
    if (name == "meta" || rest.ends_with("/")) continue;
    if ((*at)[1].length() == 0) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(HtmlReport, every_chart_has_a_name_and_every_name_from_outside_is_escaped) {
  constexpr std::string_view kHostile = "\"'</title><script>alert(1)</script><img src=x onerror=y>&";
  auto run = small();
  run.name = run.variant = kHostile;
  for (auto& segment : run.timeline) segment.job = segment.site = segment.project = kHostile;
  for (auto& job : run.waiting_jobs) job.name = job.reason = job.project = kHostile;
  run.cost.by_project = {{std::string(kHostile), run.cost.total}};
  run.services.push_back(
      {.name = std::string(kHostile), .requests = 1, .wanted_h = 1, .short_h = 0, .replicas_max = 1});
  run.cost.currency = "<b>";
  const auto page = render_html(std::span(&run, 1));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  expect_balanced(page);
  std::size_t charts = 0, named = 0;
  for (std::size_t at = 0; (at = page.find("<svg", at)) != std::string::npos; ++at) ++charts;
  for (std::size_t at = 0; (at = page.find("role=\"img\" aria-label=\"", at)) != std::string::npos; ++at)
    ++named;
  EXPECT_GE(charts, 6u);
  EXPECT_EQ(charts, named);
}

TEST(HtmlReport, nothing_to_show_is_still_a_page) {
  EXPECT_NE(render_html({}).find("</html>"), std::string::npos);
  RunReport empty;
  expect_balanced(render_html(std::span(&empty, 1)));
}

TEST(Comparison, ratios_are_to_the_first_run_and_payback_is_investment_over_yearly_saving) {
  auto own = small(), rented = small();
  own.ownership = {.rented = {0},
                   .egress = {0},
                   .hardware = {5'000'000},
                   .operation = {1'000'000},
                   .total = {6'000'000},
                   .invested = {8'766'000'000}};
  rented.ownership = {.rented = {11'000'000},
                      .egress = {0},
                      .hardware = {0},
                      .operation = {0},
                      .total = {11'000'000},
                      .invested = {0}};
  own.simulated_h = rented.simulated_h = 10;
  // 10 h save 10: 8766 a year.
  ASSERT_TRUE(payback_years(own, rented).has_value());
  EXPECT_DOUBLE_EQ(*payback_years(own, rented), 1);
  EXPECT_FALSE(payback_years(rented, own).has_value());
  EXPECT_FALSE(payback_years(own, own).has_value());
  const std::vector<RunReport> runs{own, rented};
  for (const auto& row : compare_runs(runs)) {
    ASSERT_EQ(row.values.size(), 2u);
    if (row.key == "ownership_micros") EXPECT_DOUBLE_EQ(*row.ratios[1], 11.0 / 6);
    if (row.key == "hardware_micros") EXPECT_DOUBLE_EQ(*row.ratios[1], 0);
    if (row.key == "rented_micros") EXPECT_FALSE(row.ratios[1].has_value());
  }
  const auto json = to_json(std::span<const RunReport>(runs));
  EXPECT_DOUBLE_EQ(json.at("payback_years").at(0).as_double(), 1);
  EXPECT_TRUE(json.at("payback_years").at(1).is_null());
}

}  // namespace
}  // namespace neap::simulation
