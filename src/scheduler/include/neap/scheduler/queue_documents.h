// Queue objects of the API as the tree and the rules that a round decides by.
//
// Pure; threads: none shared. Documents are given by name, each once.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/resource.h"
#include "neap/scheduler/admission_round.h"

namespace neap::scheduler {

using QueueDocuments = std::span<const api::Queue* const>;

// Accelerator models that some quota or limit names: the axes of the tree after the third.
std::vector<std::string> models_named(QueueDocuments queues);
// `capacity` has an axis for each of `models`. What names no queue stands in one named "" beside the roots,
// without a limit.
ShareTree make_share_tree(QueueDocuments queues, std::vector<std::string> models, Amounts capacity);
std::map<std::string, TurnRules, std::less<>> turn_rules(QueueDocuments queues);
// Where work of the project waits that names no queue; empty: in none.
std::string default_queue(QueueDocuments queues, std::string_view project);

}  // namespace neap::scheduler
