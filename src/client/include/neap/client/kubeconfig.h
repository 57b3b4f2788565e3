// ClusterAccess: where an API server is and who we are there; kept in kubeconfig files, so that kubectl and
// neap use the same ones.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "neap/client/http_client.h"

namespace neap::client {

struct ClusterAccess {
  std::string name = "neap";     // of cluster, user and context
  std::string cluster = "neap";  // the cluster's own, where it was read from a file
  std::string server;            // "https://host:port" or "http://host:port"
  std::string tls_server_name;
  std::string roots_pem;  // embedded CA; empty: the system's roots
  bool insecure_skip_verify = false;
  std::string token;
  std::string login_file;  // what `neap login` keeps; the token is in there
  std::string certificate_pem, private_key_pem;
  std::string namespace_ = "default";
};

std::string to_kubeconfig(const ClusterAccess& access);
// The named context, or the current one. File references (certificate-authority, client-certificate,
// client-key, tokenFile) are read through `files`, relative to `directory`; null: they are refused. Exec and
// auth-provider plugins are refused with kUnimplemented, but for `neap credential`: its file is named
// instead.
Result<ClusterAccess> parse_kubeconfig(std::string_view text, std::string_view context = {},
                                       io::FileSystem* files = nullptr, const std::string& directory = {});
Result<ClusterAccess> load_kubeconfig(io::FileSystem& files, const std::string& path,
                                      std::string_view context = {});
// Mode 0600: it holds credentials.
Status save_kubeconfig(io::FileSystem& files, const std::string& path, const ClusterAccess& access);

Result<std::unique_ptr<HttpResourceClient>> connect(io::Runtime& runtime, const ClusterAccess& access,
                                                    HttpResourceClientOptions options = {});

}  // namespace neap::client
