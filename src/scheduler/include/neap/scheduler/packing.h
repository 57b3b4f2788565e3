// Which node and which devices a piece of work takes, where nothing but packing counts: the part of the
// engine that keeps shared accelerators usable.
//
// Invariants: (1) what is free never goes below zero nor above what the node had; (2) no thousandth of a
// device is held twice; (3) ties go to the node given first, then to the device given first, so the same
// calls in the same order give the same seats.
//
// Cost: tasks of equal shape share one score a node, and a change re-evaluates that node alone; a seat is
// then a scan over integers. Threads: none; one owner.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "neap/scheduler/fragmentation.h"

namespace neap::scheduler {

// Devices of one node, at most.
inline constexpr std::size_t kPackingDevicesMax = 64;

struct PackingNode {
  // Free: thousandths of a core, memory in any one unit, tasks that may still start.
  std::int64_t cores = 0, memory = 0;
  std::int32_t tasks = INT32_MAX;
  // Index of the accelerator model, below 64.
  std::uint32_t model = 0;
  // Free thousandths of each device.
  std::vector<std::int32_t> devices;
};

struct PackingTask {
  std::int64_t cores = 0, memory = 0;
  // Devices, and thousandths of each; below 1000 only with one device.
  std::int32_t devices = 0, milli = 0;
  // Bit i: accelerator model i will do. Read only where devices are asked for.
  std::uint64_t models = ~std::uint64_t(0);
  friend bool operator==(const PackingTask&, const PackingTask&) = default;
};

enum class PackingRule : std::uint8_t {
  // The published rules, as yardsticks: fullest node; steepest fall of fragmentation as an integer of 0..100.
  kBestFit,
  kGradient,
  // Ours: steepest fall of StrandingTable::compute, in steps of kStep; ties to the first node.
  kNeap,
};

struct Seat {
  std::uint32_t node = 0;
  // Bit i: device i of the node.
  std::uint64_t devices = 0;
  friend bool operator==(const Seat&, const Seat&) = default;
};

class PackingBoard {
 public:
  static constexpr std::uint32_t kNoNode = ~std::uint32_t(0);

  PackingBoard(std::span<const PackingNode> nodes, std::span<const TypicalTask> typical, PackingRule rule);

  // Equal tasks get equal numbers, from 0.
  std::uint32_t shape_of(const PackingTask& task);
  const PackingTask& task(std::uint32_t shape) const { return shapes_[shape].task; }

  // The best seat, or none where no node has room; `but` is left out.
  std::optional<Seat> find_seat(std::uint32_t shape, std::uint32_t but = kNoNode);
  std::uint32_t count_nodes_with_room(std::uint32_t shape);
  // The best seat on that node.
  std::optional<Seat> find_seat_on(std::uint32_t shape, std::uint32_t node) const;
  void take(std::uint32_t shape, const Seat& seat) { apply(shape, seat, -1); }
  void give_back(std::uint32_t shape, const Seat& seat) { apply(shape, seat, 1); }

  std::uint32_t nodes() const { return std::uint32_t(cores_.size()); }
  std::int64_t cores(std::uint32_t node) const { return cores_[node]; }
  std::int64_t memory(std::uint32_t node) const { return memory_[node]; }
  std::uint32_t model(std::uint32_t node) const { return model_[node]; }
  std::span<const std::int32_t> devices(std::uint32_t node) const {
    return {device_.data() + device_begin_[node], device_begin_[node + 1] - device_begin_[node]};
  }
  // Thousandths of devices that are free, over all nodes.
  std::int64_t free_milli() const { return free_milli_; }
  // Sum of F over all nodes.
  double compute_fragments() const;

 private:
  struct Shape {
    PackingTask task;
    std::vector<std::int32_t> score;  // by node; INT32_MIN where it does not fit
    std::size_t changes_read = 0;
    std::uint32_t nodes_with_room = 0;
  };
  struct Choice {
    std::int32_t score = 0;
    std::uint64_t devices = 0;
  };

  bool has_room(const PackingTask& task, std::uint32_t node) const;
  Choice choose(const PackingTask& task, std::uint32_t node) const;
  double value_of(std::uint32_t node, std::int64_t cores, std::span<const std::int32_t> free) const;
  std::int32_t rate(const PackingTask& task, std::uint32_t node, std::span<const std::int32_t> after) const;
  Choice choose_fullest(const PackingTask& task, std::uint32_t node) const;
  void refresh(Shape& shape);
  void apply(std::uint32_t shape, const Seat& seat, int sign);

  PackingRule rule_;
  StrandingTable table_;
  std::vector<std::int64_t> cores_, memory_;
  std::vector<std::int32_t> tasks_;
  std::vector<std::uint32_t> model_;
  std::vector<std::uint32_t> device_begin_;  // nodes + 1 entries
  std::vector<std::int32_t> device_;
  std::vector<double> value_;  // what the rule rates, of each node as it is
  std::int64_t free_milli_ = 0;
  std::vector<Shape> shapes_;
  // Nodes whose free capacity changed, in order; each shape remembers how far it has read.
  std::vector<std::uint32_t> changes_;
};

}  // namespace neap::scheduler
