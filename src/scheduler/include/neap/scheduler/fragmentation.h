// How much free accelerator capacity of a node the work that usually comes could not use.
//
// F(node) = sum over typical tasks m of share_m * f(m), in thousandths of a device: f(m) is all that is free
// where m cannot run on the node at all, otherwise what lies on devices too full for m. Placing work where F
// falls most (or rises least) keeps the rest usable. Memory plays no part.
// Source: Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
// Descent", USENIX ATC 2023.
//
// Threads: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace neap::scheduler {

// One kind of work that fragmentation is measured against.
struct TypicalTask {
  // Thousandths of a core.
  std::int64_t cores = 0;
  // Devices, and thousandths of each; below 1000 only with one device. No devices: work for cores alone.
  std::int32_t devices = 0;
  std::int32_t milli = 0;
  // Bit i: may run on accelerator model i.
  std::uint64_t models = ~std::uint64_t(0);
  // Of all work; the shares of a table sum to 1.
  double share = 0;
};

// The most frequent kinds that together are `coverage` of all, most frequent first, then smallest;
// `share` of each entry given is its count, of each returned its part of what was kept.
std::vector<TypicalTask> keep_typical(std::vector<TypicalTask> counted, double coverage);

class FragmentationTable {
 public:
  // `models`: number of accelerator models nodes may have, at most 64.
  FragmentationTable(std::span<const TypicalTask> tasks, std::uint32_t models);

  // F of a node of `model` with these free thousandths of cores and of each device (0..1000). About one
  // table look-up a device.
  double fragments(std::uint32_t model, std::int64_t cores, std::span<const std::int32_t> free) const;

 private:
  // Everything F needs once the model and the number of core thresholds met are known.
  struct Row {
    std::size_t below_begin = 0;
    std::size_t whole_begin = 0;
    double unusable = 0;  // share of the kinds that cannot run here at all
    double gangs = 0;     // share of the kinds of several devices
  };

  std::vector<std::int64_t> cores_steps_;  // distinct thresholds, ascending
  std::vector<std::uint16_t> milli_step_;  // by free thousandths: index among the distinct device sizes
  std::size_t milli_steps_ = 0;
  std::size_t gang_max_ = 1;
  std::vector<Row> rows_;       // by model, then core step
  std::vector<double> below_;   // share of the one-device kinds larger than a device with that much free
  std::vector<double> beyond_;  // share of the kinds of more devices than are wholly free
};

// What a node will leave unused in the long run, in thousandths of a device: where F looks at the next task
// alone, this also looks at the ones after it. A sum of four parts, each read off the typical tasks:
//   F itself;
//   chained: for each device, what stays free on it after one-device tasks have come one after another;
//   stranded: devices beyond what the free cores can feed at the usual ratio of cores to devices;
//   contended (with the sign turned): free devices of models that work is tied to, so that work which may run
//   anywhere keeps off them.
// Placing work where this falls most is our rule.
class StrandingTable {
 public:
  // `supply`: thousandths of devices of each accelerator model, free or not.
  StrandingTable(std::span<const TypicalTask> tasks, std::span<const std::int64_t> supply);

  double compute(std::uint32_t model, std::int64_t cores, std::span<const std::int32_t> free) const;
  const FragmentationTable& fragmentation() const { return fragmentation_; }

 private:
  FragmentationTable fragmentation_;
  std::vector<float> chained_;     // by free thousandths of a device
  std::vector<double> contended_;  // by model: demand tied to it over what there is of it
  double cores_per_milli_ = 0;     // usual thousandths of a core for a thousandth of a device
};

}  // namespace neap::scheduler
