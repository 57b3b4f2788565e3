// plan --repack: the moves of running jobs that would make room, as the server found them; nothing moves.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/io/http.h"

namespace neap::cli {
namespace {

const JsonArray& list_of(const Json& value, std::string_view name) {
  static const JsonArray none;
  const auto* found = find_path(value, {name});
  return found && found->is_array() ? found->get_array() : none;
}

double number_of(const Json& value, std::string_view name) {
  const auto* found = find_path(value, {name});
  return found && found->is_number() ? found->to_number<double>() : 0;
}

// "n1, n2"; of many the first ones and how many more.
std::string names_text(const JsonArray& names) {
  constexpr std::size_t kShown = 4;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    out += (i > 0 ? ", " : "") + (names[i].is_string() ? std::string(names[i].get_string()) : std::string());
  return names.size() > kShown ? fmt::format("{} and {} more", out, names.size() - kShown) : out;
}

std::string cost_text(const Json& value, std::string_view currency) {
  return find_path(value, {"costMicros"}) ? money_text(get_int(value, "costMicros"), currency) : "-";
}

std::string moves_text(const Json& plan, std::string_view currency) {
  std::vector<std::vector<std::string>> rows{
      {"JOB", "FROM", "TO", "GOES ON FROM", "DONE AGAIN", "DEVICE SECONDS", "FETCHED", "COST"}};
  for (const auto& move : list_of(plan, "moves"))
    rows.push_back({std::string(get_string(move, "job")), names_text(list_of(move, "from")),
                    names_text(list_of(move, "to")), fmt::format("step {}", get_int(move, "checkpointStep")),
                    fmt::format("{:.0f} s", number_of(move, "setBackSeconds")),
                    fmt::format("{:.0f}", number_of(move, "setBackDeviceSeconds")),
                    bytes_text(get_int(move, "bytes")), cost_text(move, currency)});
  return fmt::format("{}together: {:.0f} device seconds done again, up to {} fetched, cost {}\n",
                     render_table(rows), number_of(plan, "setBackDeviceSeconds"),
                     bytes_text(get_int(plan, "bytes")), cost_text(plan, currency));
}

std::string stays_text(const Json& plan) {
  const auto& stays = list_of(plan, "stays");
  if (stays.empty()) return {};
  std::vector<std::vector<std::string>> rows{{"STAYS", "ON", "WHY"}};
  for (const auto& one : stays)
    rows.push_back({std::string(get_string(one, "what")), names_text(list_of(one, "nodes")),
                    std::string(get_string(one, "why"))});
  const auto more = get_int(plan, "staysMore");
  return render_table(rows) + (more > 0 ? fmt::format("and {} more\n", more) : std::string());
}

std::string repack_text(const Json& plan, std::string_view currency) {
  const auto what = printable(get_string(plan, "for"));
  const auto state = get_string(plan, "state");
  const bool is_job = get_bool(plan, "isJob");
  if (state == "free") return fmt::format("{}: {}\n", what, printable(get_string(plan, "why")));
  if (state != "moves")
    return fmt::format("{}: no moves make room; {}\n{}", what, printable(get_string(plan, "why")),
                       stays_text(plan));
  const auto moves = list_of(plan, "moves").size();
  return fmt::format("{} {} on {} at {} after {} move{}\n{}{}", what,
                     is_job ? "could start" : "would be free", printable(names_text(list_of(plan, "nodes"))),
                     printable(get_string(plan, "site")), moves, moves == 1 ? "" : "s",
                     moves_text(plan, currency), stays_text(plan));
}

}  // namespace

Task<Result<int>> run_repack_plan(Session& session, PlanOptions options) {
  auto target = fmt::format("/neap/v1/plan/repack?project={}", io::url_encode(session.namespace_name()));
  // As it is written everywhere else, too.
  std::string_view job = options.job;
  if (const auto slash = job.find('/'); slash != std::string_view::npos) job.remove_prefix(slash + 1);
  if (!job.empty()) target += "&job=" + io::url_encode(job);
  NEAP_CO_TRY(const auto answer, co_await session.fetch("POST", std::move(target)));
  if (!options.output.empty()) {
    session.print(structured_text(answer, options.output));
    co_return 0;
  }
  const auto& plans = list_of(answer, "plans");
  std::string out;
  for (const auto& plan : plans)
    out += (out.empty() ? "" : "\n") + repack_text(plan, get_string(answer, "currency", "USD"));
  session.print(plans.empty() ? std::string("nothing waits, and no node has accelerators\n") : out);
  co_return 0;
}

}  // namespace neap::cli
