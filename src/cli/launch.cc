// launch: a SkyPilot task becomes a TrainingJob. Places with their prices are shown and one is marked; after
// a yes the code goes to the registry and the job to the server, which decides again when it starts.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/code_archive.h"
#include "internal/commands.h"
#include "internal/output.h"
#include "internal/sky_task.h"
#include "neap/api/codec.h"
#include "neap/finops/price_book.h"

namespace neap::cli {
namespace {

constexpr std::uint64_t kTaskBytesMax = 1u << 20;

struct Cluster {
  std::vector<api::Site> sites;
  std::vector<api::Node> nodes;
};

// A kind of capacity at a site with at least one node that is large enough.
struct Place {
  std::string site, capacity;
  std::size_t candidate = 0;
  api::Resources resources;
  std::optional<MoneyMicros> hourly;  // of all nodes; nothing where no price is known
};

template <class T>
Task<Result<std::vector<T>>> fetch_all(Session& session) {
  const auto* kind = api::KindTable::standard().find(api::kGroup, api::kVersion, api::KindOf<T>::plural);
  NEAP_CO_TRY(const auto list, co_await fetch_list(session, path_of(*kind, "", ""), {}));
  std::vector<T> out;
  if (const auto* items = find_path(list, {"items"}); items && items->is_array())
    for (const auto& item : items->get_array()) {
      NEAP_CO_TRY(auto object, api::from_json<T>(item));
      out.push_back(std::move(object));
    }
  co_return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  std::ranges::replace(out, '-', '_');
  return out;
}

// SkyPilot says A100, the cluster NVIDIA_A100; an exact name, or the part behind the vendor.
std::string cluster_name(const Cluster& cluster, const std::string& word) {
  for (const auto& node : cluster.nodes)
    for (const auto& [model, amount] : node.status.allocatable.accelerators)
      if (lower(model) == lower(word) || lower(model).ends_with("_" + lower(word))) return model;
  return word;
}

void rename_accelerators(const Cluster& cluster, api::Resources& resources) {
  decltype(resources.accelerators) named;
  for (const auto& [model, amount] : resources.accelerators) named[cluster_name(cluster, model)] = amount;
  resources.accelerators = std::move(named);
}

bool is_large_enough(const api::Resources& has, const api::Resources& wanted) {
  return has.cpu >= wanted.cpu && has.memory >= wanted.memory &&
         std::ranges::all_of(wanted.accelerators, [&](const auto& entry) {
           const auto found = has.accelerators.find(entry.first);
           return found != has.accelerators.end() && found->second >= entry.second;
         });
}

bool answers_to(const api::Site& site, const std::string& word) {
  const auto same = [&](const std::string& name) { return lower(name) == lower(word); };
  return word.empty() || same(site.metadata.name) || std::ranges::any_of(site.spec.aliases, same) ||
         std::ranges::any_of(site.metadata.labels, [&](const auto& label) { return same(label.second); });
}

std::optional<MoneyMicros> hourly_price(const api::Site& site, api::CapacityType type,
                                        const api::Resources& resources, std::int64_t nodes) {
  const auto declared = std::ranges::find(site.spec.prices, type, &api::CapacityPrice::capacityType);
  if (declared == site.spec.prices.end()) return std::nullopt;
  const auto kind = finops::parse_capacity_type(api::enum_name(type));
  finops::PriceBook book(site.spec.currency);
  finops::Rates rates{.per_core_hour = declared->perCoreHour,
                      .per_gib_hour = declared->perGiBHour,
                      .per_accelerator_hour = {}};
  for (const auto& [model, amount] : declared->perAcceleratorHour) rates.per_accelerator_hour[model] = amount;
  if (!kind) return std::nullopt;
  book.set_rates(site.metadata.name, *kind, std::move(rates));
  finops::ResourceAmounts amounts{
      .cores = resources.cpu, .memory = resources.memory, .accelerator_model = {}, .accelerators = {}};
  for (const auto& [model, amount] : resources.accelerators) {
    amounts.accelerator_model = model;
    amounts.accelerators = amount;
  }
  const auto each = book.compute_hourly(site.metadata.name, *kind, amounts);
  if (!each) return std::nullopt;
  const auto all = finops::multiply_divide(each->value, nodes, 1, 1);
  return all ? std::optional(MoneyMicros{*all}) : std::nullopt;
}

// Cheapest first, or as the task orders them; what has no price comes last.
std::vector<Place> find_places(const Cluster& cluster, const SkyTask& task,
                               const std::vector<api::TrainingJob>& jobs) {
  std::vector<Place> out;
  for (std::size_t i = 0; i < jobs.size(); ++i)
    for (const auto& site : cluster.sites) {
      if (!answers_to(site, task.candidates[i].infra)) continue;
      std::set<api::CapacityType> kinds;
      for (const auto& node : cluster.nodes)
        if (node.spec.site == site.metadata.name && !node.spec.unschedulable &&
            is_large_enough(node.status.allocatable, jobs[i].spec.resources))
          kinds.insert(node.spec.capacityType);
      for (const auto type : kinds) {
        if (type == api::CapacityType::kSpot && !task.candidates[i].uses_spot) continue;
        out.push_back({.site = site.metadata.name,
                       .capacity = std::string(api::enum_name(type)),
                       .candidate = i,
                       .resources = jobs[i].spec.resources,
                       .hourly = hourly_price(site, type, jobs[i].spec.resources, task.nodes)});
      }
    }
  std::ranges::sort(out, {}, [&](const Place& place) {
    return std::tuple(task.is_ordered ? place.candidate : 0, !place.hourly.has_value(),
                      place.hourly.value_or(MoneyMicros{}).value, place.site, place.capacity);
  });
  return out;
}

std::string accelerators_text(const api::Resources& resources) {
  std::string out;
  for (const auto& [model, amount] : resources.accelerators)
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", model, double(amount.value) / 1000);
  return out.empty() ? "-" : out;
}

std::string places_text(const std::vector<Place>& places, std::int64_t nodes, const std::string& currency) {
  std::vector<std::vector<std::string>> rows{{"SITE", "CAPACITY", "VCPUS", "MEMORY", "ACCELERATORS",
                                              fmt::format("COST ({}/H)", currency), "CHOSEN"}};
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto& place = places[i];
    rows.push_back({place.site, place.capacity, format_cores(place.resources.cpu),
                    format_bytes(place.resources.memory), accelerators_text(place.resources),
                    place.hourly ? format_money(*place.hourly) : "unknown", i == 0 ? "*" : ""});
  }
  return fmt::format("Considered resources ({} node{}):\n{}", nodes, nodes == 1 ? "" : "s",
                     render_table(rows));
}

std::string folder_of_file(const std::string& file) {
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? std::string() : file.substr(0, slash + 1);
}

Result<SkyTask> read_task(Session& session, const LaunchOptions& options) {
  std::map<std::string, std::string> given;
  for (const auto& entry : options.variables) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(Code::kInvalidArgument, "cli.usage", fmt::format("--env {}: write NAME=VALUE", entry));
    given[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  auto& files = session.runtime().files();
  auto source = files.read_file(options.file, kTaskBytesMax);
  if (!source) return fail(std::move(source).error(), options.file);
  auto documents = api::parse_yaml(*source);
  if (!documents) return fail(std::move(documents).error(), options.file);
  if (documents->size() != 1)
    return fail(
        Code::kUnimplemented, "launch.pipeline",
        fmt::format("{} holds {} documents; a chain of tasks is not supported, so launch one at a time",
                    options.file, documents->size()));
  auto task = parse_sky_task(documents->front(), given);
  if (!task) return fail(std::move(task).error(), options.file);
  if (options.nodes > 0) task->nodes = options.nodes;
  if (!options.name.empty()) task->name = options.name;
  return task;
}

std::vector<ArchivePart> parts_of(const SkyTask& task, const std::string& folder) {
  const auto local = [&](std::string_view path) {
    while (path.starts_with("./")) path.remove_prefix(2);
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    if (path.starts_with('/')) return std::string(path);
    return path == "." || path.empty()
               ? (folder.empty() ? std::string(".") : folder.substr(0, folder.size() - 1))
               : folder + std::string(path);
  };
  std::vector<ArchivePart> out{{.name = "launch.sh", .source = {}, .bytes = launch_script()},
                               {.name = "run.sh", .source = {}, .bytes = task.run}};
  if (!task.setup.empty()) out.push_back({.name = "setup.sh", .source = {}, .bytes = task.setup});
  if (!task.workdir.empty())
    out.push_back({.name = "home/sky_workdir", .source = local(task.workdir), .bytes = {}});
  for (const auto& mount : task.mounts)
    out.push_back({.name = "home/" + mount.target, .source = local(mount.source), .bytes = {}});
  return out;
}

std::string no_place_text(const Cluster& cluster, const std::vector<api::TrainingJob>& jobs) {
  std::vector<std::string> asked;
  for (const auto& job : jobs)
    asked.push_back(fmt::format("{} cores, {}, {}", format_cores(job.spec.resources.cpu),
                                format_bytes(job.spec.resources.memory),
                                accelerators_text(job.spec.resources)));
  std::set<std::string> models;
  for (const auto& node : cluster.nodes)
    for (const auto& [model, amount] : node.status.allocatable.accelerators) models.insert(model);
  return fmt::format(
      "no node is large enough for {}; accelerators there are: {}; `neap top nodes` shows them",
      fmt::join(asked, " or "), models.empty() ? "none" : fmt::format("{}", fmt::join(models, ", ")));
}

// Nothing: go on. An exit status: end with it.
std::optional<int> ask(Session& session, const LaunchOptions& options, const SkyTask& task) {
  if (options.is_agreed) return std::nullopt;
  if (!session.io().read_answer) {
    session.report(Error{Code::kInvalidArgument,
                         "launch.unanswered",
                         "nobody can be asked here, as standard input is no terminal; say -y to launch",
                         {}});
    return 1;
  }
  session.print(fmt::format("Launching {}. Proceed? [Y/n]: ", task.name.empty() ? "a job" : task.name));
  const auto answer = session.io().read_answer();
  if (answer && (answer->empty() || lower(*answer) == "y" || lower(*answer) == "yes")) return std::nullopt;
  session.print("Nothing was launched.\n");
  return 1;
}

}  // namespace

Task<Result<int>> run_launch(Session& session, LaunchOptions options) {
  NEAP_CO_TRY(const auto task, read_task(session, options));
  Cluster cluster;
  NEAP_CO_TRY(cluster.sites, co_await fetch_all<api::Site>(session));
  NEAP_CO_TRY(cluster.nodes, co_await fetch_all<api::Node>(session));
  std::vector<api::TrainingJob> jobs;
  for (auto candidate : task.candidates) {
    rename_accelerators(cluster, candidate.resources);
    jobs.push_back(job_of(task, candidate));
  }
  for (const auto& note : task.notes) session.warn(fmt::format("note: {}\n", note));
  const auto places = find_places(cluster, task, jobs);
  if (places.empty())
    co_return fail(Code::kFailedPrecondition, "launch.no_place", no_place_text(cluster, jobs));
  const auto currency = cluster.sites.empty() ? std::string("USD") : cluster.sites.front().spec.currency;
  const bool is_structured = !options.output.empty();
  if (!is_structured) {
    session.print(places_text(places, task.nodes, currency));
    session.print("An estimate: the server decides where it runs when it starts.\n");
  }

  auto job = jobs[places.front().candidate];
  job.metadata.namespace_ = session.namespace_name();
  if (job.metadata.name.empty()) job.metadata.generateName = "sky-";
  NEAP_CO_TRY(auto archive,
              co_await session.runtime().offload(
                  [&files = session.runtime().files(), parts = parts_of(task, folder_of_file(options.file))] {
                    return pack_parts(files, parts);
                  }));
  job.spec.code = sha256_digest(archive);
  Json object = api::to_json(job);
  object.get_object().erase("status");
  if (options.is_dry_run) {
    session.print(structured_text(object, is_structured ? options.output : "yaml"));
    co_return 0;
  }
  if (const auto status = ask(session, options, task)) co_return *status;
  NEAP_CO_TRY_VOID(co_await push_code(session, job.metadata.namespace_, job.spec.code, std::move(archive)));
  const auto* kind = api::KindTable::standard().find(api::kGroup, api::kVersion, "trainingjobs");
  auto made = co_await session.client().create(session.call(), path_of(*kind, job.metadata.namespace_, ""),
                                               std::move(object), {.field_manager = "neap-launch"});
  if (!made && made.error().code == Code::kAlreadyExists)
    co_return fail(Code::kAlreadyExists, "launch.name_taken",
                   fmt::format("there is a job {} already; give another name with --name, or delete it",
                               job.metadata.name));
  if (!made) co_return fail(std::move(made).error());
  const auto name = get_string(made->at("metadata"), "name");
  if (is_structured)
    session.print(structured_text(*made, options.output));
  else
    session.print(
        fmt::format("trainingjob/{0} created; `neap get trainingjob {0} -w` follows it, `neap logs "
                    "trainingjob/{0}` shows what it writes\n",
                    name));
  co_return 0;
}

}  // namespace neap::cli
