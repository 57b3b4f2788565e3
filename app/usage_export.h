// GET /neap/v1/focus?from=&to=&project=: the usage ledger as a FOCUS dataset. `from` and `to` are RFC 3339
// and bound when usage was metered, `to` excluded; absent, the whole ledger. Reads the ledger in batches;
// belongs to its executor.
#pragma once

#include "neap/base/task.h"
#include "neap/controllers/cluster_state.h"
#include "neap/io/http.h"
#include "neap/ledger/ledger.h"
#include "project_right.h"

namespace neap::app {

Task<void> serve_usage_export(io::HttpExchange& exchange, ledger::Ledger& usage,
                              const controllers::ClusterState& state, std::string billing_account,
                              ProjectRight right);

}  // namespace neap::app
