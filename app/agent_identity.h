// Who an agent is: its key, its certificate, and the installation it trusts; made by joining once.
#pragma once

#include <string>

#include "neap/io/runtime.h"

namespace neap::app {

struct AgentIdentity {
  std::string certificate_pem, private_key_pem, ca_pem;
  std::string signing_key_pem;  // models must be signed with it
  std::string server_site;
};

struct JoinRequest {
  std::string directory, node, site, capacity_type, token_file;
  io::Endpoint server;
};
// What lies in `directory` while its certificate is good, else by redeeming the token; the first connection
// already verifies the server against the authority that the token pins.
Task<Result<AgentIdentity>> load_or_join(io::Runtime& runtime, JoinRequest request);

// True where a certificate lies in `directory` that is not over; a node without one has to join (again).
bool has_good_certificate(io::Runtime& runtime, const std::string& directory);

}  // namespace neap::app
