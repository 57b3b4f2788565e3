// wait: until a phase, a condition or a deletion holds; says why it does not when the time is up.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/output.h"

namespace neap::cli {
namespace {

struct Wish {
  enum class What { kPhase, kCondition, kDelete } what = What::kPhase;
  std::string name, value;
};

Result<Wish> parse_wish(std::string_view text) {
  const auto refuse = [&] {
    return fail(
        Code::kInvalidArgument, "cli.wait",
        fmt::format(
            "--for={} is not understood; write phase=Complete, condition=Ready, condition=Ready=False "
            "or delete",
            text));
  };
  if (text == "delete") return Wish{Wish::What::kDelete, {}, {}};
  const auto equal = text.find('=');
  if (equal == std::string_view::npos || equal + 1 == text.size()) return refuse();
  const auto word = text.substr(0, equal);
  auto rest = text.substr(equal + 1);
  if (word == "phase") return Wish{Wish::What::kPhase, "phase", std::string(rest)};
  if (word != "condition") return refuse();
  const auto second = rest.find('=');
  return Wish{Wish::What::kCondition, std::string(rest.substr(0, second)),
              second == std::string_view::npos ? "True" : std::string(rest.substr(second + 1))};
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return out;
}

std::string_view phase_of(const Json& object) {
  const auto* status = find_path(object, {"status"});
  return status ? get_string(*status, "phase") : std::string_view{};
}

const Json* find_condition_of(const Json& object, std::string_view type) {
  const auto* list = find_path(object, {"status", "conditions"});
  if (list && list->is_array())
    for (const auto& one : list->get_array())
      if (lower(get_string(one, "type")) == lower(type)) return &one;
  return nullptr;
}

bool holds(const Wish& wish, const Json& object) {
  if (wish.what == Wish::What::kPhase) return lower(phase_of(object)) == lower(wish.value);
  if (wish.what == Wish::What::kDelete) return false;
  const auto* condition = find_condition_of(object, wish.name);
  return condition && lower(get_string(*condition, "status")) == lower(wish.value);
}

// Phases that are never left: waiting for another one is in vain.
bool is_in_vain(const Wish& wish, const Json& object) {
  if (wish.what != Wish::What::kPhase) return false;
  const auto phase = phase_of(object);
  return phase == "Failed" || phase == "Succeeded" || phase == "Complete" || phase == "RolledBack";
}

std::string state_of(const Wish& wish, const Json& object) {
  const auto* status = find_path(object, {"status"});
  std::string message(status ? get_string(*status, "message") : std::string_view{});
  std::string out = fmt::format("its phase is {}", phase_of(object).empty() ? "not set" : phase_of(object));
  if (wish.what == Wish::What::kCondition) {
    const auto* condition = find_condition_of(object, wish.name);
    out = condition ? fmt::format("its condition {} is {}", wish.name, get_string(*condition, "status"))
                    : fmt::format("it has no condition {}", wish.name);
    if (condition && !get_string(*condition, "message").empty()) message = get_string(*condition, "message");
  }
  return message.empty() ? out : fmt::format("{} ({})", out, message);
}

// The answer for one state of the object: done, in vain, or not yet.
Result<bool> judge(const Wish& wish, const Target& target, const Json& object) {
  if (holds(wish, object)) return true;
  if (is_in_vain(wish, object))
    return fail(Code::kFailedPrecondition, "cli.wait.in_vain",
                fmt::format("{} will not reach phase {}: {}; see `neap describe {}`",
                            short_name(*target.kind, target.name), wish.value, state_of(wish, object),
                            short_name(*target.kind, target.name)));
  return false;
}

// Lists, then watches; starts over where the watch ends or its history is gone.
Task<Result<bool>> follow(Session& session, Target target, Wish wish, CallContext call, Json& last) {
  const auto path = path_of(*target.kind, session.namespace_name(), "");
  const client::ListOptions selection{.field_selector = "metadata.name=" + target.name};
  for (;;) {
    NEAP_CO_TRY(auto list, co_await session.client().list(call, path, selection));
    const auto* items = find_path(list, {"items"});
    const bool is_absent = !items || !items->is_array() || items->get_array().empty();
    if (is_absent && wish.what == Wish::What::kDelete) co_return true;
    if (is_absent)
      co_return fail(Code::kNotFound, "api.NotFound",
                     fmt::format("{} does not exist in namespace {}; apply it first",
                                 short_name(*target.kind, target.name), session.namespace_name()));
    last = items->get_array()[0];
    NEAP_CO_TRY(const bool is_done, judge(wish, target, last));
    if (is_done) co_return true;
    const std::string version(get_string(list.at("metadata"), "resourceVersion"));
    auto stream = co_await session.client().watch(call, path, selection, version);
    while (stream) {
      auto event = co_await (*stream)->next(call);
      if (!event && event.error().code != Code::kOutOfRange && event.error().code != Code::kUnavailable)
        co_return fail(std::move(event).error());
      if (!event || !*event) break;
      if ((*event)->type == client::WatchEvent::Type::kBookmark) continue;
      if ((*event)->type == client::WatchEvent::Type::kDeleted) {
        if (wish.what == Wish::What::kDelete) co_return true;
        co_return fail(Code::kNotFound, "cli.wait.deleted",
                       fmt::format("{} was deleted while waiting; apply it again",
                                   short_name(*target.kind, target.name)));
      }
      last = std::move((*event)->object);
      NEAP_CO_TRY(const bool done_now, judge(wish, target, last));
      if (done_now) co_return true;
    }
    if (!stream && stream.error().code != Code::kOutOfRange) co_return fail(std::move(stream).error());
    NEAP_CO_TRY_VOID(co_await sleep_for(session.runtime().executor(), call, 200ms));
  }
}

}  // namespace

Task<Result<int>> run_wait(Session& session, WaitOptions options) {
  NEAP_CO_TRY(const auto wish, parse_wish(options.condition));
  NEAP_CO_TRY(const auto targets, parse_targets(options.words));
  NEAP_CO_TRY(const auto timeout, parse_duration(options.timeout));
  const auto call = session.call().with_deadline(session.runtime().executor().now() + timeout);
  for (const auto& target : targets) {
    if (target.name.empty())
      co_return fail(Code::kInvalidArgument, "cli.usage", "wait needs a name; write KIND/NAME");
    Json last;
    const auto done = co_await follow(session, target, wish, call, last);
    const auto name = short_name(*target.kind, target.name);
    if (!done && done.error().code == Code::kDeadlineExceeded && !last.is_null())
      co_return fail(Code::kAborted, "cli.wait.timeout",
                     fmt::format("timed out after {} waiting for {} of {}: {}; see `neap describe {}`",
                                 options.timeout, options.condition, name, state_of(wish, last), name));
    if (!done) co_return fail(done.error());
    session.print(
        fmt::format("{} {}\n", name, wish.what == Wish::What::kDelete ? "deleted" : "condition met"));
  }
  co_return 0;
}

}  // namespace neap::cli
