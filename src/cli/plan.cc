// plan: where documents would run and what they would cost, beside what-ifs; the server decides and writes
// nothing.
#include <fmt/format.h>

#include <map>

#include "internal/commands.h"
#include "internal/documents.h"
#include "internal/output.h"
#include "neap/io/http.h"

namespace neap::cli {
namespace {

// "cloud-a (spot) x2, hq (owned)"
std::string places_text(const Json& variant) {
  const auto* places = find_path(variant, {"places"});
  if (!places || !places->is_array()) return "-";
  std::map<std::string, int> count;
  for (const auto& place : places->get_array())
    ++count[fmt::format("{} ({})", get_string(place, "site"), get_string(place, "capacityType"))];
  std::string out;
  for (const auto& [place, times] : count) {
    if (!out.empty()) out += ", ";
    out += times == 1 ? place : fmt::format("{} x{}", place, times);
  }
  return out;
}

// "1234 g"; empty where a site does not state what its electricity causes.
std::string carbon_text(const Json& variant) {
  const auto* grams = find_path(variant, {"carbonGramsPerHour"});
  return grams && grams->is_number() ? fmt::format("{:.0f} g", grams->to_number<double>()) : "";
}

std::string plan_text(const Json& answer) {
  const auto currency = get_string(answer, "currency", "USD");
  std::vector<std::vector<std::string>> rows{{"WHAT IF", "WHERE", "AN HOUR", "TOTAL", "WHY"}};
  bool is_carbon_known = false;
  if (const auto* variants = find_path(answer, {"variants"}); variants && variants->is_array())
    for (const auto& variant : variants->get_array()) {
      const bool has_price = find_path(variant, {"totalMicros"}) != nullptr;
      rows.push_back({std::string(get_string(variant, "variant")), places_text(variant),
                      has_price ? money_text(get_int(variant, "costPerHourMicros"), currency) : "-",
                      has_price ? money_text(get_int(variant, "totalMicros"), currency) : "-",
                      std::string(get_string(variant, "why"))});
      // Before the reasons, which are long.
      auto carbon = carbon_text(variant);
      is_carbon_known = is_carbon_known || !carbon.empty();
      rows.back().insert(rows.back().end() - 1, carbon.empty() ? "-" : std::move(carbon));
    }
  rows.front().insert(rows.front().end() - 1, "CO2E AN HOUR");
  if (!is_carbon_known)
    for (auto& row : rows) row.erase(row.end() - 2);
  return render_table(rows);
}

}  // namespace

Task<Result<int>> run_plan(Session& session, PlanOptions options) {
  if (options.repack) co_return co_await run_repack_plan(session, std::move(options));
  if (options.files.empty())
    co_return fail(Code::kInvalidArgument, "plan.what",
                   "nothing to plan was named; give a file with -f FILE, or a waiting job with --repack JOB");
  std::int64_t duration_ms = 0;
  if (!options.duration.empty()) {
    NEAP_CO_TRY(const auto duration, parse_duration(options.duration));
    duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  }
  NEAP_CO_TRY(const auto documents, read_documents(session.io(), options.files));
  JsonArray answers;
  for (const auto& document : documents) {
    const auto* metadata = find_path(document.object, {"metadata"});
    std::string project(metadata ? get_string(*metadata, "namespace") : "");
    if (project.empty() || session.is_namespace_given()) project = session.namespace_name();
    const auto name = metadata ? get_string(*metadata, "name") : "";
    auto answer = co_await session.fetch(
        "POST", fmt::format("/neap/v1/plan?project={}&milliseconds={}", io::url_encode(project), duration_ms),
        document.object);
    if (!answer) co_return fail(std::move(answer).error(), document.origin);
    if (options.output.empty())
      session.print(fmt::format("{} {}, {:.2f} h\n{}", get_string(document.object, "kind"), name,
                                answer->at("hours").to_number<double>(), plan_text(*answer)));
    else
      answers.push_back(*std::move(answer));
  }
  if (!options.output.empty())
    session.print(structured_text(JsonObject{{"plans", std::move(answers)}}, options.output));
  co_return 0;
}

}  // namespace neap::cli
