// The openb format (Alibaba cluster-trace-gpu-v2023): nodes with shared accelerators, and what asks for them.
//
// Nodes: `sn,cpu_milli,memory_mib,gpu,model`. Tasks: `name,cpu_milli,memory_mib,num_gpu,gpu_milli` and, where
// present, `gpu_spec` ("A|B": the models that will do; empty: any). Other columns are not read.
// Source: hkust-adsl/kubernetes-scheduler-simulator, data/csv.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/scheduler/packing.h"

namespace neap::simulation {

struct OpenbTask {
  std::string name;
  scheduler::PackingTask task;
};

struct OpenbTrace {
  // By PackingNode::model.
  std::vector<std::string> models;
  // As in the file.
  std::vector<scheduler::PackingNode> nodes;
  // Sorted by name.
  std::vector<OpenbTask> tasks;
  // Thousandths of devices of all nodes; more than 0.
  std::int64_t devices_milli = 0;
};

// A file's text and what to call it in errors, which name the line.
struct NamedText {
  std::string_view text, name;
};

// Refuses what no machine or task can be: negative amounts, more than 64 devices on a node, fractions of
// several devices, more than 64 models.
Result<OpenbTrace> read_openb(NamedText nodes, NamedText tasks);

}  // namespace neap::simulation
