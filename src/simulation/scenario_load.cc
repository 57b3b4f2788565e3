// spec.workloads of a scenario: recorded or drawn jobs, and services that follow demand.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "internal/scenario_reader.h"
#include "internal/variates.h"
#include "neap/simulation/csv.h"

namespace neap::simulation {
namespace {

struct JobShape {
  std::int64_t devices_each_max = 8;  // of one member; more make a gang
  scheduler::ReplicaResources per_accelerator;
  double deadline_factor = 0;
  std::int64_t deadline_slack_ms = -1;
};

// Members of at most `devices_each_max` accelerators; a fraction is one member's.
void shape_job(ScenarioJob& job, std::int64_t milli, const JobShape& shape) {
  const auto devices = milli / 1000;
  job.each = shape.per_accelerator;
  job.replicas = milli <= 1000 ? 1 : int((devices + shape.devices_each_max - 1) / shape.devices_each_max);
  // Members are equal: 12 on nodes of 8 are two of 6.
  const auto each = milli <= 1000 ? milli : (devices + job.replicas - 1) / job.replicas * 1000;
  job.each.accelerators = {each};
  const auto share = std::max<std::int64_t>(each, 1);
  job.each.cores = {shape.per_accelerator.cores.value * share / 1000};
  job.each.memory = {std::int64_t(double(shape.per_accelerator.memory.value) * double(share) / 1000)};
  if (milli == 0) {
    job.each.cores = shape.per_accelerator.cores;
    job.each.memory = shape.per_accelerator.memory;
    job.each.accelerator_model.clear();
  }
}

void set_deadline(ScenarioJob& job, const JobShape& shape) {
  if (shape.deadline_slack_ms < 0) return;
  job.deadline_ms =
      job.arrival_ms + std::int64_t(shape.deadline_factor * double(job.work_ms)) + shape.deadline_slack_ms;
}

Status check_jobs(const ScenarioReading& reading, std::string_view where) {
  if (reading.out.jobs.size() <= reading.limits.jobs_max) return ok();
  return fail(Code::kResourceExhausted, "simulation.scenario",
              fmt::format("{}: makes more than {} jobs; set limit, or simulate a shorter time", where,
                          reading.limits.jobs_max));
}

constexpr std::int64_t kTimeMsMax = 20LL * 366 * 24 * kHourMs;

std::unexpected<Error> bad_row(std::string_view path, std::size_t line, std::string_view what) {
  return fail(Code::kInvalidArgument, "simulation.csv", fmt::format("{}:{}: {}", path, line, what));
}

Status read_muri_jobs(ScenarioReading& reading, std::string_view path, std::string_view text,
                      std::size_t limit, std::uint32_t workload, const JobShape& shape) {
  NEAP_TRY(const auto table, CsvTable::parse(text, path, 2'000'000));
  NEAP_TRY(const auto gpus, table.column("num_gpu"));
  NEAP_TRY(const auto submit, table.column("submit_time"));
  NEAP_TRY(const auto duration, table.column("duration"));
  const auto& name = reading.out.workloads[workload].name;
  for (std::size_t row = 0; row < std::min(limit, table.rows()); ++row) {
    ScenarioJob job{.name = fmt::format("{}-{:06}", name, row), .workload = workload, .each = {}};
    NEAP_TRY(const auto count, table.integer(row, gpus));
    NEAP_TRY(job.arrival_ms, table.integer(row, submit));
    NEAP_TRY(job.work_ms, table.integer(row, duration));
    if (count < 1 || count > 4096 || job.arrival_ms < 0 || job.arrival_ms > kTimeMsMax || job.work_ms < 1 ||
        job.work_ms > kTimeMsMax)
      return bad_row(path, table.line(row),
                     "num_gpu is from 1 to 4096, submit_time from 0 and duration from 1 ms to 20 years; "
                     "correct the row");
    shape_job(job, count * 1000, shape);
    set_deadline(job, shape);
    reading.out.jobs.push_back(std::move(job));
    NEAP_TRY_VOID(check_jobs(reading, path));
  }
  return ok();
}

// One of the models a task may run on: a request names one, so each task draws its own.
std::string pick_model(std::string_view spec, Draw& draw) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at <= spec.size();) {
    const auto end = std::min(spec.find('|', at), spec.size());
    words.push_back(spec.substr(at, end - at));
    at = end + 1;
  }
  return std::string(words[draw.below(words.size())]);
}

Status read_openb_jobs(ScenarioReading& reading, std::string_view path, std::string_view text,
                       std::size_t limit, std::uint32_t workload, const JobShape& shape) {
  NEAP_TRY(const auto table, CsvTable::parse(text, path, 2'000'000));
  NEAP_TRY(const auto cpu, table.column("cpu_milli"));
  NEAP_TRY(const auto memory, table.column("memory_mib"));
  NEAP_TRY(const auto gpus, table.column("num_gpu"));
  NEAP_TRY(const auto milli, table.column("gpu_milli"));
  NEAP_TRY(const auto created, table.column("creation_time"));
  NEAP_TRY(const auto deleted, table.column("deletion_time"));
  NEAP_TRY(const auto scheduled, table.column("scheduled_time"));
  const bool has_spec = table.has("gpu_spec");
  const auto spec = has_spec ? table.column("gpu_spec").value() : 0;
  const auto& name = reading.out.workloads[workload].name;
  Draw draw(reading.out.seed ^ (0xA0761D6478BD642FULL + workload));
  for (std::size_t row = 0; row < std::min(limit, table.rows()); ++row) {
    ScenarioJob job{.name = fmt::format("{}-{:06}", name, row), .workload = workload, .each = {}};
    NEAP_TRY(const auto cores, table.integer(row, cpu));
    NEAP_TRY(const auto mib, table.integer(row, memory));
    NEAP_TRY(const auto count, table.integer(row, gpus));
    NEAP_TRY(const auto share, table.integer(row, milli));
    NEAP_TRY(const auto from, table.number(row, created));
    NEAP_TRY(const auto until, table.number(row, deleted));
    // Never scheduled in the recording: it ran for no time there, and is left out here.
    if (table.text(row, scheduled).empty()) continue;
    NEAP_TRY(const auto start, table.number(row, scheduled));
    if (until <= start) continue;
    if (cores < 0 || cores > 1'000'000'000 || mib < 0 || mib > (std::int64_t(1) << 33) || count < 0 ||
        count > 64 || share < 0 || share > 1000 || from < 0 || until > double(kTimeMsMax) / 1000)
      return bad_row(
          path, table.line(row),
          "cpu_milli, memory_mib, num_gpu (at most 64), gpu_milli (at most 1000) and times are from 0; "
          "correct the row");
    job.arrival_ms = std::llround(from * 1000);
    job.work_ms = std::max<std::int64_t>(1, std::llround((until - start) * 1000));
    job.each.cores = {cores};
    job.each.memory = {mib << 20};
    job.each.accelerators = {count == 1 ? share : count * 1000};
    if (has_spec && !table.text(row, spec).empty())
      job.each.accelerator_model = pick_model(table.text(row, spec), draw);
    set_deadline(job, shape);
    reading.out.jobs.push_back(std::move(job));
    NEAP_TRY_VOID(check_jobs(reading, path));
  }
  return ok();
}

struct DurationLaw {
  enum class Kind : std::uint8_t { kLognormal, kExponential, kPareto, kFixed } kind = Kind::kLognormal;
  double scale_ms = 0, shape = 1, maximum_ms = 0;

  double draw(Draw& from) const {
    double value = scale_ms;
    if (kind == Kind::kLognormal) value = scale_ms * std::exp(shape * draw_normal(from));
    if (kind == Kind::kExponential) value = draw_exponential(from, scale_ms);
    if (kind == Kind::kPareto) value = scale_ms / std::pow(1 - from.unit(), 1 / shape);
    return std::clamp(value, 1000.0, maximum_ms);
  }
};

DurationLaw read_duration(Fields fields) {
  DurationLaw law;
  law.kind =
      DurationLaw::Kind(fields.choice("distribution", {"lognormal", "exponential", "pareto", "fixed"}));
  static constexpr std::string_view kScale[]{"median", "mean", "minimum", "value"};
  const auto scale = kScale[std::size_t(law.kind)];
  law.scale_ms = double(fields.milliseconds(scale, 0));
  if (law.scale_ms <= 0) fields.refuse(scale, "is missing; write a duration, like 30m");
  if (law.kind == DurationLaw::Kind::kLognormal) law.shape = fields.number("sigma", 1, 0, 5);
  if (law.kind == DurationLaw::Kind::kPareto) law.shape = fields.number("alpha", 1.5, 0.2, 50);
  law.maximum_ms = double(fields.milliseconds("maximum", 24 * 30 * kHourMs));
  fields.finish();
  return law;
}

// Weights of sizes, "0.5": 2 among them.
struct SizeMix {
  std::vector<std::pair<std::int64_t, double>> sizes;
  double total = 0;

  std::int64_t draw(Draw& from) const {
    double left = from.unit() * total;
    for (const auto& [milli, weight] : sizes)
      if ((left -= weight) < 0) return milli;
    return sizes.back().first;
  }
};

SizeMix read_sizes(Fields& fields) {
  SizeMix mix;
  for (const auto& [size, weight] : fields.entries("accelerators", 64)) {
    const auto milli = parse_accelerators(size);
    double value = -1;
    if (std::from_chars(weight.data(), weight.data() + weight.size(), value).ptr !=
        weight.data() + weight.size())
      value = -1;
    if (!milli || milli->value > 4'096'000 || (milli->value > 1000 && milli->value % 1000 != 0) ||
        !(value >= 0 && value < 1e9)) {
      fields.refuse("accelerators",
                    fmt::format("has {}: {}; write a count, or a fraction below 1, and its weight",
                                size.substr(0, 20), weight.substr(0, 20)));
      continue;
    }
    mix.sizes.emplace_back(milli->value, value);
    mix.total += value;
  }
  if (mix.sizes.empty() || mix.total <= 0) {
    mix.sizes.assign(1, {1000, 1});
    mix.total = 1;
  }
  return mix;
}

Status draw_jobs(ScenarioReading& reading, Fields generate, std::uint32_t workload, const JobShape& shape) {
  const auto count = generate.integer("jobs", 0, 0, std::int64_t(reading.limits.jobs_max));
  auto arrivals = generate.object("arrivals");
  const double per_hour = arrivals.number("perHour", 0, 0, 1e7);
  const double ratio = arrivals.number("peakToTrough", 1, 1, 1000);
  const double peak = arrivals.number("peakHour", 14, 0, 24);
  arrivals.finish();
  const auto law = read_duration(generate.object("duration"));
  const auto mix = read_sizes(generate);
  generate.finish();
  if (per_hour <= 0) arrivals.refuse("perHour", "is missing; write how many arrive in an hour on average");
  if (count == 0 && reading.out.horizon_ms == 0)
    generate.refuse("jobs", "is missing; write how many, or set spec.horizon");
  NEAP_TRY_VOID(reading.problems.status());
  Draw draw(reading.out.seed ^ (0x9E3779B97F4A7C15ULL * (workload + 1)));
  // Thinning: candidates at the peak's rate, each kept with the level of its hour. `perHour` is the day's
  // mean.
  const double mean_level = (1 + 1 / ratio) / 2;
  const double gap_ms = double(kHourMs) * mean_level / per_hour;
  const double end_ms = reading.out.horizon_ms > 0 ? double(reading.out.horizon_ms) : double(kTimeMsMax);
  const auto& name = reading.out.workloads[workload].name;
  double at = 0;
  for (std::int64_t made = 0; count == 0 || made < count;) {
    at += draw_exponential(draw, gap_ms);
    if (at >= end_ms) break;
    if (draw.unit() >= day_level(std::fmod(at / double(kHourMs), 24), peak, ratio)) continue;
    ScenarioJob job{.name = fmt::format("{}-{:06}", name, made++), .workload = workload, .each = {}};
    job.arrival_ms = std::int64_t(at);
    job.work_ms = std::llround(law.draw(draw));
    shape_job(job, mix.draw(draw), shape);
    set_deadline(job, shape);
    reading.out.jobs.push_back(std::move(job));
    NEAP_TRY_VOID(check_jobs(reading, generate.path()));
  }
  return ok();
}

// Seconds of one replica's work in each interval of demand.
struct Demand {
  std::int64_t interval_ms = 0;
  double prefill_per_s = 0, decode_per_s = 0;
  std::vector<double> work_s;
  double requests = 0;

  void add(double at_ms, double count, double context, double generated) {
    const auto index = std::size_t(at_ms / double(interval_ms));
    if (index >= work_s.size()) work_s.resize(index + 1);
    work_s[index] += count * (context / prefill_per_s + generated / decode_per_s);
    requests += count;
  }
};

Status read_llm_requests(ScenarioReading& reading, std::string_view path, std::string_view text, bool repeats,
                         double scale, Demand& demand) {
  NEAP_TRY(const auto table, CsvTable::parse(text, path, 5'000'000));
  NEAP_TRY(const auto stamp, table.column("TIMESTAMP"));
  NEAP_TRY(const auto context, table.column("ContextTokens"));
  NEAP_TRY(const auto generated, table.column("GeneratedTokens"));
  struct One {
    double at_ms, context, generated;
  };
  std::vector<One> rows;
  std::optional<WallTime> first;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    std::string moment(table.text(row, stamp));
    std::ranges::replace(moment, ' ', 'T');
    const auto time = parse_rfc3339(moment + "Z");
    if (!time)
      return bad_row(path, table.line(row),
                     "TIMESTAMP is no time; write it like 2023-11-16 18:17:03.9799600");
    NEAP_TRY(const auto in, table.integer(row, context));
    NEAP_TRY(const auto out, table.integer(row, generated));
    if (in < 0 || out < 0 || in > 10'000'000 || out > 10'000'000)
      return bad_row(path, table.line(row), "tokens are from 0 to 10,000,000; correct the row");
    if (!first) first = *time;
    const double at = std::chrono::duration<double, std::milli>(*time - *first).count();
    if (at < 0 || at > double(kTimeMsMax))
      return bad_row(path, table.line(row),
                     "is earlier than the first row, or 20 years later; sort the file");
    rows.push_back({at, double(in), double(out)});
  }
  if (rows.empty()) return bad_row(path, 1, "has no request; at least one row must follow the header");
  const double span =
      std::max(double(demand.interval_ms),
               std::ceil((rows.back().at_ms + 1) / double(demand.interval_ms)) * double(demand.interval_ms));
  const double end = repeats ? double(reading.out.horizon_ms) : span;
  for (double begin = 0; begin < end; begin += span)
    for (const auto& row : rows)
      if (begin + row.at_ms < end) demand.add(begin + row.at_ms, scale, row.context, row.generated);
  return ok();
}

void draw_requests(ScenarioReading& reading, Fields generate, std::uint32_t workload, Demand& demand) {
  const double peak = generate.number("peakPerSecond", 0, 0, 1e9);
  const double trough = generate.number("troughPerSecond", peak, 0, 1e9);
  const double hour = generate.number("peakHour", 14, 0, 24);
  const double context = generate.number("contextTokens", 1000, 0, 1e7);
  const double generated = generate.number("generatedTokens", 200, 0, 1e7);
  if (peak <= 0 || trough > peak)
    generate.refuse("peakPerSecond", "is missing, or below troughPerSecond; write the peak");
  if (reading.out.horizon_ms == 0) generate.refuse("peakPerSecond", "goes on for ever; set spec.horizon");
  generate.finish();
  if (reading.problems.any()) return;
  Draw draw(reading.out.seed ^ (0xE7037ED1A0B428DBULL * (workload + 1)));
  const double seconds = double(demand.interval_ms) / 1000;
  for (std::int64_t at = 0; at < reading.out.horizon_ms; at += demand.interval_ms) {
    const double level =
        day_level(std::fmod(double(at) / double(kHourMs), 24), hour, peak / std::max(trough, peak * 1e-9));
    const double mean = peak * level * seconds;
    demand.add(double(at), std::max(0.0, mean + std::sqrt(mean) * draw_normal(draw)), context, generated);
  }
}

Status read_service(ScenarioReading& reading, Fields requests, std::uint32_t workload,
                    const scheduler::ReplicaResources& each) {
  Demand demand;
  demand.interval_ms = std::max<std::int64_t>(1, requests.milliseconds("interval", 5 * 60'000));
  auto rate = requests.object("serviceRate");
  demand.prefill_per_s = rate.number("prefillTokensPerSecond", 0, 0, 1e9);
  demand.decode_per_s = rate.number("decodeTokensPerSecond", 0, 0, 1e9);
  const double utilisation = rate.number("utilisation", 0.7, 0.01, 1);
  if (demand.prefill_per_s <= 0 || demand.decode_per_s <= 0)
    rate.refuse("prefillTokensPerSecond",
                "and decodeTokensPerSecond are what one replica does; write both, as measured");
  rate.finish();
  const auto least = requests.integer("replicasMin", 0, 0, std::int64_t(reading.limits.replicas_max));
  const auto most = requests.integer("replicasMax", std::int64_t(reading.limits.replicas_max), 1,
                                     std::int64_t(reading.limits.replicas_max));
  const bool repeats = requests.flag("repeat", false);
  const double scale = requests.number("scale", 1, 0, 1e6);
  if (reading.out.horizon_ms / demand.interval_ms > std::int64_t(reading.limits.intervals_max))
    requests.refuse("interval", "is too short for the horizon; write a longer one");
  if (repeats && reading.out.horizon_ms == 0) requests.refuse("repeat", "goes on for ever; set spec.horizon");
  auto csv = requests.object("csv");
  if (csv.is_present()) {
    csv.choice("format", {"azure-llm"});
    const auto path = csv.required_text("path");
    csv.finish();
    NEAP_TRY_VOID(reading.problems.status());
    NEAP_TRY(const auto text, reading.read_file(path));
    NEAP_TRY_VOID(read_llm_requests(reading, path, text, repeats, scale, demand));
  } else {
    NEAP_TRY_VOID(reading.problems.status());
    draw_requests(reading, requests.object("generate"), workload, demand);
  }
  requests.finish();
  NEAP_TRY_VOID(reading.problems.status());
  ScenarioService service{.workload = workload,
                          .each = each,
                          .interval_ms = demand.interval_ms,
                          .wanted = {},
                          .requests = demand.requests};
  for (const double work : demand.work_s) {
    const double replicas = std::ceil(work / (double(demand.interval_ms) / 1000 * utilisation) - 1e-9);
    service.wanted.push_back(std::int32_t(std::clamp(replicas, double(least), double(most))));
  }
  service.replicas_min = std::int32_t(least);
  reading.out.services.push_back(std::move(service));
  return ok();
}

void read_data(ScenarioReading& reading, Fields data, scheduler::Request& request) {
  if (!data.is_present()) return;
  scheduler::DataInput input;
  input.dataset = data.text("dataset", "inputs");
  input.level = scheduler::DataLevel(3 - int(data.choice("level", {"L3", "L2", "L1"})));
  input.home_site = data.required_text("home");
  input.size = data.bytes("size");
  if (const auto* site = reading.find_site(input.home_site))
    input.jurisdiction = site->jurisdiction;
  else
    data.refuse("home", fmt::format("\"{}\" is no Site of this file", input.home_site));
  data.finish();
  request.data.push_back(std::move(input));
}

WorkloadTerms read_terms(ScenarioReading& reading, Fields& entry) {
  WorkloadTerms out;
  auto& request = out.request;
  out.name = entry.required_text("name");
  request.project = entry.text("project", "default");
  request.team = entry.text("team");
  request.model = entry.text("model");
  request.queue = entry.text("queue");
  request.priority_class = entry.text("priorityClass");
  request.priority = int(entry.integer("priority", 0, -1'000'000, 1'000'000));
  static constexpr scheduler::TaskKind kKinds[]{scheduler::TaskKind::kTraining, scheduler::TaskKind::kBatch,
                                                scheduler::TaskKind::kInference};
  request.kind = kKinds[entry.choice("type", {"training", "batch", "inference"})];
  static constexpr scheduler::InterruptionClass kClasses[]{scheduler::InterruptionClass::kCheckpointed,
                                                           scheduler::InterruptionClass::kRestartable,
                                                           scheduler::InterruptionClass::kNever};
  request.interruption = kClasses[entry.choice("interruption", {"checkpointed", "restartable", "never"})];
  static constexpr scheduler::CostStrategy kStrategies[]{
      scheduler::CostStrategy::kBalanced, scheduler::CostStrategy::kCheapest,
      scheduler::CostStrategy::kPreferSpot, scheduler::CostStrategy::kAvoidSpot,
      scheduler::CostStrategy::kLowestCarbon};
  request.cost_strategy = kStrategies[entry.choice(
      "costStrategy", {"Balanced", "Cheapest", "SpotPreemptible", "OnDemand", "LowestCarbon"})];
  for (auto& key : entry.texts("tolerations", 64)) request.tolerations.push_back(std::move(key));
  for (auto& label : entry.entries("nodeSelector", 64)) request.node_selector.push_back(std::move(label));
  out.knows_durations = entry.choice("durations", {"known", "unknown"}) == 0;
  auto checkpoint = entry.object("checkpoint");
  out.checkpoint_interval_ms = checkpoint.milliseconds("interval", 0);
  out.checkpoint_write_ms = checkpoint.milliseconds("write", 60'000);
  out.checkpoint_size = checkpoint.bytes("size");
  checkpoint.finish();
  out.restart_ms = entry.milliseconds("restart", 0);
  read_data(reading, entry.object("data"), request);
  return out;
}

JobShape read_shape(Fields& entry) {
  JobShape shape;
  shape.devices_each_max = entry.integer("acceleratorsPerMember", 8, 1, 64);
  shape.per_accelerator = read_resources(entry.object("resources"));
  auto deadline = entry.object("deadline");
  if (deadline.is_present()) {
    shape.deadline_factor = deadline.number("factor", 1, 0, 1e6);
    shape.deadline_slack_ms = deadline.milliseconds("slack", 0);
  }
  deadline.finish();
  return shape;
}

Status read_workload(ScenarioReading& reading, Fields& entry) {
  const auto index = std::uint32_t(reading.out.workloads.size());
  auto terms = read_terms(reading, entry);
  if (std::ranges::find(reading.out.workloads, terms.name, &WorkloadTerms::name) !=
      reading.out.workloads.end())
    entry.refuse("name", fmt::format("\"{}\" is the name of another workload or TrainingJob; name each once",
                                     terms.name));
  const auto shape = read_shape(entry);
  const bool is_service = entry.has("requests");
  if (is_service) {
    terms.request.kind = scheduler::TaskKind::kInference;
    if (!entry.has("interruption")) terms.request.interruption = scheduler::InterruptionClass::kNever;
  }
  reading.out.workloads.push_back(std::move(terms));
  NEAP_TRY_VOID(reading.problems.status());
  if (is_service) {
    NEAP_TRY_VOID(read_service(reading, entry.object("requests"), index, shape.per_accelerator));
  } else if (entry.has("csv")) {
    auto csv = entry.object("csv");
    const auto format = csv.choice("format", {"muri", "openb"});
    const auto path = csv.required_text("path");
    const auto limit = std::size_t(csv.integer("limit", 1'000'000, 1, 1'000'000));
    csv.finish();
    NEAP_TRY_VOID(reading.problems.status());
    NEAP_TRY(const auto text, reading.read_file(path));
    NEAP_TRY_VOID((format == 0 ? read_muri_jobs : read_openb_jobs)(reading, path, text, limit, index, shape));
  } else if (entry.has("generate")) {
    NEAP_TRY_VOID(draw_jobs(reading, entry.object("generate"), index, shape));
  } else {
    entry.refuse("generate", "is missing; write generate, csv or requests");
  }
  entry.finish();
  return reading.problems.status();
}

}  // namespace

Status read_workloads(ScenarioReading& reading, Fields& spec) {
  for (auto& entry : spec.objects("workloads", reading.limits.workloads_max))
    NEAP_TRY_VOID(read_workload(reading, entry));
  return reading.problems.status();
}

}  // namespace neap::simulation
