#include "neap/telemetry/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <variant>

#include "neap/base/assert.h"

namespace neap::telemetry {
namespace {

bool is_name(std::string_view text, bool colons) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  for (const char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
          (colons && c == ':')))
      return false;
  return true;
}

std::string escape(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

std::string label_text(const std::vector<std::string>& names, const std::vector<std::string>& values,
                       std::string_view extra = {}) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i)
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", names[i], escape(values[i], true));
  if (!extra.empty()) out += fmt::format("{}le=\"{}\"", out.empty() ? "" : ",", extra);
  return out.empty() ? out : "{" + out + "}";
}

}  // namespace

void Counter::add(double amount) {
  NEAP_ASSERT(amount >= 0);
  value_.fetch_add(amount, std::memory_order_relaxed);
}

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {
  NEAP_ASSERT(std::is_sorted(bounds_.begin(), bounds_.end()));
}
void Histogram::observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}
std::vector<std::uint64_t> Histogram::cumulative() const {
  std::vector<std::uint64_t> out;
  std::uint64_t total = 0;
  for (const auto& count : counts_) out.push_back(total += count.load(std::memory_order_relaxed));
  return out;
}

std::vector<double> latency_bounds_s() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

template <class Metric>
Family<Metric>::Family(std::string name, std::string help, std::vector<std::string> labels,
                       std::vector<double> bounds)
    : name_(std::move(name)), help_(std::move(help)), labels_(std::move(labels)), bounds_(std::move(bounds)) {
  NEAP_ASSERT(is_name(name_, true));
  for (const auto& label : labels_)
    NEAP_ASSERT(is_name(label, false) && !label.starts_with("__") && label != "le");
}

template <class Metric>
std::unique_ptr<Metric> Family<Metric>::make() const {
  if constexpr (std::is_same_v<Metric, Histogram>)
    return std::make_unique<Metric>(bounds_);
  else
    return std::make_unique<Metric>();
}

template <class Metric>
Metric& Family<Metric>::with(const std::vector<std::string>& values) {
  NEAP_ASSERT(values.size() == labels_.size());
  std::lock_guard lock(mutex_);
  if (const auto it = series_.find(values); it != series_.end()) return *it->second;
  // The last place is kept for "other".
  const bool full = series_.size() + 1 >= kSeriesMax;
  auto& slot = series_[full ? std::vector<std::string>(labels_.size(), "other") : values];
  if (!slot) slot = make();
  return *slot;
}

template <class Metric>
std::size_t Family<Metric>::series() const {
  std::lock_guard lock(mutex_);
  return series_.size();
}

template <class Metric>
void Family<Metric>::write(std::string& out) const {
  std::lock_guard lock(mutex_);
  constexpr std::string_view kind = std::is_same_v<Metric, Counter> ? "counter"
                                    : std::is_same_v<Metric, Gauge> ? "gauge"
                                                                    : "histogram";
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name_, escape(help_, false), name_, kind);
  for (const auto& [values, metric] : series_) {
    if constexpr (std::is_same_v<Metric, Histogram>) {
      const auto counts = metric->cumulative();
      for (std::size_t i = 0; i < counts.size(); ++i)
        out += fmt::format("{}_bucket{} {}\n", name_,
                           label_text(labels_, values, i < bounds_.size() ? number(bounds_[i]) : "+Inf"),
                           counts[i]);
      out += fmt::format("{}_sum{} {}\n", name_, label_text(labels_, values), number(metric->sum()));
      out += fmt::format("{}_count{} {}\n", name_, label_text(labels_, values), counts.back());
    } else {
      out += fmt::format("{}{} {}\n", name_, label_text(labels_, values), number(metric->value()));
    }
  }
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

struct Registry::Impl {
  using Any = std::variant<std::unique_ptr<Family<Counter>>, std::unique_ptr<Family<Gauge>>,
                           std::unique_ptr<Family<Histogram>>>;
  mutable std::mutex mutex;
  std::map<std::string, std::pair<std::vector<std::string>, Any>> families;

  template <class Metric>
  Family<Metric>& get(const std::string& name, const std::string& help, std::vector<std::string> labels,
                      std::vector<double> bounds) {
    std::lock_guard lock(mutex);
    auto it = families.find(name);
    if (it == families.end()) {
      auto family = std::make_unique<Family<Metric>>(name, help, labels, std::move(bounds));
      it = families.emplace(name, std::pair{std::move(labels), Any(std::move(family))}).first;
    } else {
      NEAP_ASSERT(it->second.first == labels);
    }
    auto* family = std::get_if<std::unique_ptr<Family<Metric>>>(&it->second.second);
    NEAP_ASSERT(family);
    return **family;
  }
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;
Family<Counter>& Registry::counter(const std::string& name, const std::string& help,
                                   std::vector<std::string> labels) {
  return impl_->get<Counter>(name, help, std::move(labels), {});
}
Family<Gauge>& Registry::gauge(const std::string& name, const std::string& help,
                               std::vector<std::string> labels) {
  return impl_->get<Gauge>(name, help, std::move(labels), {});
}
Family<Histogram>& Registry::histogram(const std::string& name, const std::string& help,
                                       std::vector<double> bounds, std::vector<std::string> labels) {
  return impl_->get<Histogram>(name, help, std::move(labels), std::move(bounds));
}
std::string Registry::prometheus_text() const {
  std::lock_guard lock(impl_->mutex);
  std::string out;
  for (const auto& [name, entry] : impl_->families)
    std::visit([&out](const auto& family) { family->write(out); }, entry.second);
  return out;
}

}  // namespace neap::telemetry
