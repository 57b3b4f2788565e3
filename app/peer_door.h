// The door between nodes: mutual TLS lets in every certificate of the installation, this lets in nodes alone.
#pragma once

#include "neap/io/http.h"

namespace neap::app {

// `inner` for callers whose certificate is of the nodes' group; 403 for others.
io::HttpHandler for_nodes_only(io::HttpHandler inner);

}  // namespace neap::app
