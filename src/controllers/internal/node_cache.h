// NodeCache: the scheduler's view of every node, kept from pass to pass and made anew where the object
// changed.
//
// Belongs to the loop's executor. What take() gives is the caller's; where it is not given back, the next one
// costs as much as the first.
#pragma once

#include <memory>
#include <vector>

#include "neap/controllers/cluster_state.h"
#include "neap/scheduler/snapshot.h"

namespace neap::controllers {

class NodeCache {
 public:
  using Make = scheduler::Node (*)(const api::Node&);
  // All nodes of the picture in the order of their names, with nothing held on them.
  std::vector<scheduler::Node> take(const ClusterState& picture, Make make);
  // As take() gave them, but for what is free.
  void give_back(std::vector<scheduler::Node> nodes) { nodes_ = std::move(nodes); }

 private:
  std::vector<std::shared_ptr<const api::Node>> sources_;
  std::vector<scheduler::Node> nodes_;  // of the source at the same place
};

}  // namespace neap::controllers
