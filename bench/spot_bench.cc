// Jobs with a deadline on recorded spot windows: the mean cost of each policy in every development setting,
// with Neap's share of Uniform Progress, of the Markov policy and of the optimum that knows the future.
//
// Usage: NEAP_DATA=... spot_bench [--quick]   (--quick: every tenth single-zone window)
//        spot_bench --worlds             generated worlds of three seeds, without any data
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "neap/simulation/spot.h"
#include "neap/simulation/spot_worlds.h"

namespace {

using namespace neap::simulation;

constexpr SpotRule kRules[] = {SpotRule::kOnDemand, SpotRule::kGreedy, SpotRule::kUniformProgress,
                               SpotRule::kMarkov,   SpotRule::kNeap,   SpotRule::kOptimum};
constexpr std::size_t kUniformProgressColumn = 2, kMarkovColumn = 3, kNeapColumn = 4, kOptimumColumn = 5;

double neap_seconds = 0;
std::int64_t neap_late = 0;

std::vector<SpotWindow> load(const std::string& name, std::vector<std::string> zones) {
  const char* root = std::getenv("NEAP_DATA");
  const auto path = std::string(root == nullptr ? "." : root) + "/spot-traces/" + name;
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  auto windows = parse_spot_windows(text.str(), path, {.zones = std::move(zones)});
  if (windows) return *std::move(windows);
  fmt::print("{}\n", windows.error().to_string());
  std::exit(1);
}

SpotTerms terms_of(double work, double deadline, double changeover) {
  const auto seconds = [](double hours) { return static_cast<std::int64_t>(std::llround(hours * 3600)); };
  return {seconds(work), seconds(deadline), seconds(changeover)};
}

std::vector<std::vector<SpotRun>> play(std::span<const SpotWindow> windows, const SpotTerms& terms) {
  std::vector<std::vector<SpotRun>> all;
  for (const auto rule : kRules) {
    const auto start = std::chrono::steady_clock::now();
    auto runs = simulate_spot(windows, terms, rule);
    if (!runs) {
      fmt::print("{}\n", runs.error().to_string());
      std::exit(1);
    }
    if (rule == SpotRule::kNeap)
      neap_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    all.push_back(*std::move(runs));
  }
  return all;
}

void print_row(std::string_view name, const std::vector<std::vector<SpotRun>>& all) {
  fmt::print("{:<34}", name);
  std::vector<double> means;
  for (const auto& runs : all) {
    const auto summary = summarize_spot(runs);
    means.push_back(summary.cost_mean);
    fmt::print(" {:8.3f}", summary.cost_mean);
  }
  const auto neap = summarize_spot(all[kNeapColumn]);
  neap_late += neap.late;
  fmt::print("  {:6.3f} {:6.3f} {:6.3f}  {:3d}\n", neap.cost_mean / means[kUniformProgressColumn],
             neap.cost_mean / means[kMarkovColumn], neap.cost_mean / means[kOptimumColumn], neap.late);
  std::fflush(stdout);
}

// The public 540-run benchmark: 30 windows of each zone, by their ids as strings.
std::vector<SpotWindow> choose_thirty(std::vector<SpotWindow> windows) {
  std::ranges::sort(windows, {}, &SpotWindow::id);
  std::vector<SpotWindow> chosen;
  for (int j = 0; j < 30; ++j)
    chosen.push_back(
        windows[static_cast<std::size_t>(std::lround(j * static_cast<double>(windows.size() - 1) / 29))]);
  return chosen;
}

void print_benchmark(const std::vector<std::string>& zones) {
  std::vector<SpotWindow> windows;
  for (const auto& zone : zones)
    for (auto& window : choose_thirty(load("windows-single.txt", {zone})))
      windows.push_back(std::move(window));
  std::vector<std::vector<SpotRun>> all(std::size(kRules));
  for (const double deadline : {52, 70, 92})
    for (const double changeover : {0.02, 0.2, 0.4}) {
      auto part = play(windows, terms_of(48, deadline, changeover));
      for (std::size_t rule = 0; rule < all.size(); ++rule)
        all[rule].insert(all[rule].end(), part[rule].begin(), part[rule].end());
    }
  print_row("adrs540", all);
  fmt::print("{:<34}", "  -mean - std / 4");
  for (const auto& runs : all) {
    const auto summary = summarize_spot(runs);
    fmt::print(" {:8.3f}", -summary.cost_mean - summary.cost_std / 4);
  }
  fmt::print("\n");
}

// Forty windows of each kind and seed.
void print_worlds() {
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    for (const auto& world : make_spot_worlds(seed, 40))
      print_row(world.name, play(world.windows, world.terms));
}

void print_head() {
  fmt::print("{:<34}", "mean USD a job");
  for (const auto rule : kRules) fmt::print(" {:>8}", name_of(rule).substr(0, 8));
  fmt::print("  neap/: up  markov optimum late\n");
}

int print_end() {
  fmt::print("neap: {} late, {:.1f} s to decide all its runs\n", neap_late, neap_seconds);
  return neap_late == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  const bool is_quick = count > 1 && std::string_view(words[1]) == "--quick";
  print_head();
  if (count > 1 && std::string_view(words[1]) == "--worlds") {
    print_worlds();
    return print_end();
  }
  const auto multi = load("windows-multi.txt", {});
  for (const auto& [work, deadline] : {std::pair{24., 36.}, {24., 30.}, {48., 56.}})
    print_row(fmt::format("4 zones {}/{} h, .20 h", work, deadline),
              play(multi, terms_of(work, deadline, 0.2)));
  const std::vector<std::string> zones{"us-west-2a_v100_1", "us-west-2b_k80_1"};
  for (const auto& chosen : {zones, {zones[0]}, {zones[1]}}) {
    auto windows = load("windows-single.txt", chosen);
    if (is_quick) {
      std::vector<SpotWindow> few;
      for (std::size_t at = 0; at < windows.size(); at += 10) few.push_back(std::move(windows[at]));
      windows = std::move(few);
    }
    for (const double deadline : {52, 60, 70, 92})
      for (const double changeover : {0.05, 0.2})
        print_row(
            fmt::format("{} {} h, {:.2f} h", chosen.size() > 1 ? "both" : chosen[0], deadline, changeover),
            play(windows, terms_of(48, deadline, changeover)));
  }
  if (!is_quick) print_benchmark(zones);
  return print_end();
}
