// delete: by name, by label, or what files say.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/documents.h"

namespace neap::cli {
namespace {

struct Doomed {
  const api::KindEntry* kind = nullptr;
  std::string ns, name;
};

Task<Result<std::vector<Doomed>>> find_doomed(Session& session, DeleteOptions options) {
  std::vector<Doomed> out;
  if (!options.files.empty()) {
    if (!options.words.empty())
      co_return fail(Code::kInvalidArgument, "cli.usage", "-f and names do not go together; use one of them");
    NEAP_CO_TRY(const auto documents, read_documents(session.io(), options.files));
    for (const auto& document : documents) {
      NEAP_CO_TRY(const auto* kind, kind_of_document(document));
      const auto& metadata = document.object.at("metadata");
      out.push_back({kind, std::string(get_string(metadata, "namespace", session.namespace_name())),
                     std::string(get_string(metadata, "name"))});
    }
    co_return out;
  }
  NEAP_CO_TRY(const auto targets, parse_targets(options.words));
  for (const auto& target : targets) {
    if (!target.name.empty()) {
      out.push_back({target.kind, session.namespace_name(), target.name});
      continue;
    }
    if (!options.all && options.label_selector.empty())
      co_return fail(Code::kInvalidArgument, "cli.usage",
                     fmt::format("which {}? name them, or say -l SELECTOR or --all", target.kind->plural));
    NEAP_CO_TRY(const auto list,
                co_await fetch_list(session, path_of(*target.kind, session.namespace_name(), ""),
                                    {.label_selector = options.label_selector}));
    for (const auto& item : list.at("items").as_array())
      if (const auto* metadata = find_path(item, {"metadata"}))
        out.push_back({target.kind, session.namespace_name(), std::string(get_string(*metadata, "name"))});
  }
  co_return out;
}

}  // namespace

Task<Result<int>> run_delete(Session& session, DeleteOptions options) {
  const bool is_dry_run = options.dry_run == "server";
  const auto output = options.output;
  const bool ignores_absent = options.ignore_not_found;
  NEAP_CO_TRY(const auto doomed, co_await find_doomed(session, std::move(options)));
  int failures = 0;
  for (const auto& one : doomed) {
    const auto removed = co_await session.client().remove(
        session.call(), path_of(*one.kind, one.ns, one.name), {.dry_run = is_dry_run});
    if (!removed) {
      if (removed.error().code == Code::kNotFound && ignores_absent) continue;
      session.report(removed.error());
      ++failures;
      if (removed.error().code == Code::kUnavailable || removed.error().code == Code::kCancelled) break;
      continue;
    }
    const auto name = short_name(*one.kind, one.name);
    session.print(output == "name"
                      ? name + "\n"
                      : fmt::format("{} deleted{}\n", name, is_dry_run ? " (server dry run)" : ""));
  }
  if (doomed.empty()) session.warn("No resources found\n");
  co_return failures == 0 ? 0 : 1;
}

}  // namespace neap::cli
