// What rules see of a request and a place, computed member by member when asked.
#pragma once

#include "internal/board.h"

namespace neap::scheduler {

class TaskView final : public policy::ObjectView {
 public:
  explicit TaskView(const Request& request) : request_(request) {}
  bool find(std::string_view member, policy::Value& out) const override;

 private:
  const Request& request_;
};

class InputsView final : public policy::ObjectView {
 public:
  explicit InputsView(const Request& request) : request_(request) {}
  bool find(std::string_view member, policy::Value& out) const override;

 private:
  const Request& request_;
};

class SiteView final : public policy::ObjectView {
 public:
  SiteView(const Site& site, const Link* to_consumer, bool is_consumer)
      : site_(site), to_consumer_(to_consumer), is_consumer_(is_consumer) {}
  bool find(std::string_view member, policy::Value& out) const override;

 private:
  const Site& site_;
  const Link* to_consumer_;
  bool is_consumer_;
};

class NodeView final : public policy::ObjectView {
 public:
  NodeView(const Board& board, std::uint32_t node) : board_(board), node_(node) {}
  bool find(std::string_view member, policy::Value& out) const override;

 private:
  const Board& board_;
  std::uint32_t node_;
};

// Prices of one replica per hour at a site, as doubles in the book's currency.
class PriceView final : public policy::ObjectView {
 public:
  PriceView(const Snapshot& snapshot, const Site& site, const Request& request)
      : snapshot_(snapshot), site_(site), request_(request) {}
  bool find(std::string_view member, policy::Value& out) const override;

 private:
  const Snapshot& snapshot_;
  const Site& site_;
  const Request& request_;
};

// Held on a node with accelerators of that model.
finops::ResourceAmounts amounts_of(const ReplicaResources& each, const std::string& model);

}  // namespace neap::scheduler
