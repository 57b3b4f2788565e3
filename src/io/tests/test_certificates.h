// Certificates for tests, made on the spot.
#pragma once

#include <string>

namespace neap::io {

struct TestIdentity {
  std::string certificate_pem;
  std::string private_key_pem;
};
// A self-signed authority.
TestIdentity make_test_authority(const std::string& name);
// A leaf for `common_name`; `alternative` like "DNS:hq" or "IP:127.0.0.1", empty for clients.
TestIdentity make_test_leaf(const TestIdentity& authority, const std::string& common_name,
                            const std::string& organization, const std::string& alternative);
std::string test_sha256(const std::string& certificate_pem);

}  // namespace neap::io
