// Structured-identifier scanner against an RE2::Set and RE2 searches of equivalent patterns, same run, same
// texts.
#include <fmt/core.h>
#include <re2/re2.h>
#include <re2/set.h>

#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "neap/dataguard/declassify.h"
#include "neap/dataguard/scanner.h"

namespace {

constexpr std::size_t kTextBytes = 8u << 20;

const char* const kPatterns[] = {
    R"(\b\d{17}[\dXx]\b)",
    R"(\b1[3-9]\d{9}\b)",
    R"(\b\d(?:[ -]?\d){11,18}\b)",
    R"(\b[0-9ANY][0-9]{7}[0-9A-HJ-NPQRTUWXY]{10}\b)",
    R"([A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,})",
    R"(\b(?:\d{1,3}\.){3}\d{1,3}\b)",
    R"((?:[0-9A-Fa-f]{1,4}:){2,7}[0-9A-Fa-f]{1,4})",
    R"(\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){3,7}\b)",
    R"(\b\d{3}-\d{2}-\d{4}\b)",
    R"(\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b)",
    R"(\+\d{1,3}[ -]?\d[\d -]{6,14})",
    R"(\b0\d{2,3}-\d{7,8}\b)",
};

std::string prose(std::mt19937_64& random) {
  const char* const words[] = {"the",   "pump",    "ran",       "within", "limits",
                               "and",   "Quality", "engineers", "signed", "the report,",
                               "while", "nobody",  "noticed.",  "Shift"};
  std::string out;
  while (out.size() < kTextBytes) {
    out += words[random() % std::size(words)];
    out += random() % 400 == 0 ? " 13812345678 " : random() % 60 == 0 ? " 2024 " : " ";
  }
  return out;
}

std::string json(std::mt19937_64& random) {
  std::string out;
  while (out.size() < kTextBytes)
    out += fmt::format(
        R"({{"id":{},"line":"press-{}","temperature":{:.3f},"ok":{},"note":"{}","inspector":"anon"}})"
        "\n",
        random() % 100000, random() % 9, 20.0 + static_cast<double>(random() % 10000) / 321,
        random() % 2 ? "true" : "false", random() % 50 == 0 ? "mail a.b@example.com" : "nothing to report");
  return out;
}

std::string log(std::mt19937_64& random) {
  std::string out;
  while (out.size() < kTextBytes)
    out += fmt::format(
        "2026-11-{:02} {:02}:{:02}:{:02}.{:03} 10.{}.{}.{} GET /v1/models/{} 200 {} {} 0x{:08x}\n",
        1 + random() % 28, random() % 24, random() % 60, random() % 60, random() % 1000, random() % 256,
        random() % 256, random() % 256, random() % 1000, random() % 100000, random() % 1000,
        random() & 0xffffffff);
  return out;
}

double gigabytes_per_second(const std::string& text, const std::function<std::size_t()>& run,
                            std::size_t& hits) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    hits = run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(text.size()) / took.count() / 1e9);
  }
  return best;
}

}  // namespace

int main() {
  std::vector<std::unique_ptr<re2::RE2>> single;
  re2::RE2::Set set(re2::RE2::DefaultOptions, re2::RE2::UNANCHORED);
  for (const char* pattern : kPatterns) {
    single.push_back(std::make_unique<re2::RE2>(pattern));
    if (set.Add(pattern, nullptr) < 0) return 1;
  }
  if (!set.Compile()) return 1;
  std::mt19937_64 random(5);
  const std::pair<const char*, std::string> texts[] = {
      {"prose", prose(random)}, {"json", json(random)}, {"digit-dense log", log(random)}};
  fmt::print("{:<16} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}  hits\n", "text", "neap GB/s", "portable",
             "RE2::Set", "RE2 each", "x Set", "x each");
  for (const auto& [name, text] : texts) {
    std::size_t hits = 0;
    std::size_t ignored = 0;
    const double neap = gigabytes_per_second(text, [&] { return neap::dataguard::scan(text).size(); }, hits);
    const double portable = gigabytes_per_second(
        text, [&] { return neap::dataguard::scan(text, {.portable = true}).size(); }, ignored);
    // A set only tells which pattern occurs; line by line, as a filter would use it.
    const double with_set = gigabytes_per_second(
        text,
        [&] {
          std::size_t found = 0;
          for (std::size_t at = 0; at < text.size(); at += 4096) {
            std::vector<int> which;
            found +=
                set.Match(re2::StringPiece(text.data() + at, std::min<std::size_t>(4096, text.size() - at)),
                          &which)
                    ? 1
                    : 0;
          }
          return found;
        },
        ignored);
    const double each = gigabytes_per_second(
        text,
        [&] {
          std::size_t found = 0;
          for (const auto& re : single) {
            re2::StringPiece rest(text);
            while (re2::RE2::FindAndConsume(&rest, *re)) ++found;
          }
          return found;
        },
        ignored);
    fmt::print("{:<16} {:>9.2f} {:>9.2f} {:>9.3f} {:>9.3f} {:>10.1f} {:>10.1f}  {}\n", name, neap, portable,
               with_set, each, neap / with_set, neap / each, hits);
  }
  const std::string& records = texts[1].second;
  std::size_t lines = 0;
  const double speed = gigabytes_per_second(
      records,
      [&] {
        const auto out = neap::dataguard::declassify(records, {});
        return out ? out->report.records : 0;
      },
      lines);
  fmt::print("declassify {:.0f} MB/s, {} records of {} bytes in {:.2f} s\n", speed * 1000, lines,
             records.size() / std::max<std::size_t>(lines, 1),
             static_cast<double>(records.size()) / speed / 1e9);
}
