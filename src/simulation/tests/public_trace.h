// The public traces a test replays, below the folder that NEAP_DATA names.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace neap::simulation {

// The text of `path` ("openb/openb_pod_list_default.csv"); empty where it is not here, and then the test says
// it is skipped.
inline std::string read_public_trace(const std::string& path) {
  const char* root = std::getenv("NEAP_DATA");
  if (root == nullptr) return {};
  std::ifstream file(std::string(root) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace neap::simulation
