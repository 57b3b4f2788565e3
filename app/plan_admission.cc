#include "plan_admission.h"

#include <fmt/format.h>

#include <map>

#include "neap/base/quantity.h"
#include "project_right.h"

namespace neap::app {
namespace {

bool is_planned(const auth::Attributes& what) {
  return what.group == "neap.dev" && what.subresource.empty() &&
         (what.resource == "trainingjobs" || what.resource == "inferenceservices");
}

bool has_same_spec(const Json* before, const Json& after) {
  if (!before) return false;
  const auto *was = find_path(*before, {"spec"}), *is = find_path(after, {"spec"});
  return was && is && *was == *is;
}

// "cloud-a (spot) x2, hq (owned)"
std::string places_of(const Json& variant) {
  std::map<std::string, int> count;
  if (const auto* places = find_path(variant, {"places"}); places && places->is_array())
    for (const auto& place : places->get_array())
      ++count[fmt::format("{} ({})", get_string(place, "site"), get_string(place, "capacityType"))];
  std::string out;
  for (const auto& [place, times] : count)
    out += fmt::format("{}{}{}", out.empty() ? "" : ", ", place, times > 1 ? fmt::format(" x{}", times) : "");
  return out;
}

// The plan's first variant is the world as it is.
std::string sentence_of(const Json& answer) {
  const auto* variants = find_path(answer, {"variants"});
  if (!variants || !variants->is_array() || variants->get_array().empty()) return "";
  const auto& now = variants->get_array().front();
  if (!get_bool(now, "placed")) return fmt::format("it would wait: {}", get_string(now, "why"));
  std::string out = "it would run at " + places_of(now);
  if (find_path(now, {"costPerHourMicros"}))
    out += fmt::format(" for {} {} an hour", format_money(MoneyMicros{get_int(now, "costPerHourMicros")}),
                       get_string(answer, "currency", "USD"));
  return out;
}

}  // namespace

Task<Status> PlanAdmission::admit(apiserver::AdmissionRequest request, std::vector<std::string>& warnings) {
  if (!request.dry_run || !request.after || !is_planned(request.what)) co_return ok();
  if (has_same_spec(request.before, *request.after)) co_return ok();
  const std::string project = request.what.namespace_;
  if (!ProjectRight(authorizer_, request.who).may_read(project)) co_return ok();
  const auto planned = plan_(*request.after, project);
  auto sentence = planned ? sentence_of(*planned)
                          : fmt::format("where it would run is not known: {}", planned.error().message);
  if (!sentence.empty()) warnings.push_back(std::move(sentence));
  co_return ok();
}

}  // namespace neap::app
