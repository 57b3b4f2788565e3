// Counters, gauges and histograms with labels, and their Prometheus text exposition (version 0.0.4).
//
// Thread-safe. Names and label names are the program's own words and are asserted; label values may come
// from anywhere and are escaped. References to metrics stay valid as long as the Registry.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace neap::telemetry {

class Counter {
 public:
  // amount >= 0 (asserted).
  void add(double amount = 1);
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  // Observations at or below bounds()[i]; the last entry counts all.
  std::vector<std::uint64_t> cumulative() const;
  const std::vector<double>& bounds() const { return bounds_; }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

// 0.5 ms to 60 s, for latencies in seconds.
std::vector<double> latency_bounds_s();

inline constexpr std::size_t kSeriesMax = 1000;

// All series of one name. Above kSeriesMax, new label values share one series whose values are "other".
template <class Metric>
class Family {
 public:
  Family(std::string name, std::string help, std::vector<std::string> labels, std::vector<double> bounds);
  // Values in the order of the label names given at registration (count asserted).
  Metric& with(const std::vector<std::string>& values = {});
  std::size_t series() const;

 private:
  friend class Registry;
  void write(std::string& out) const;
  std::unique_ptr<Metric> make() const;
  std::string name_, help_;
  std::vector<std::string> labels_;
  std::vector<double> bounds_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<Metric>> series_;
};

class Registry {
 public:
  Registry();
  ~Registry();
  // The same name gives the same family; another kind or other labels under it are asserted against.
  Family<Counter>& counter(const std::string& name, const std::string& help,
                           std::vector<std::string> labels = {});
  Family<Gauge>& gauge(const std::string& name, const std::string& help,
                       std::vector<std::string> labels = {});
  Family<Histogram>& histogram(const std::string& name, const std::string& help, std::vector<double> bounds,
                               std::vector<std::string> labels = {});
  // Content type: text/plain; version=0.0.4.
  std::string prometheus_text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::telemetry
