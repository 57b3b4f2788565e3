// A registry on a free loopback port, over a fresh folder.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>

#include "neap/artifacts/oci_registry.h"
#include "neap/artifacts/registry_client.h"
#include "neap/io/http.h"
#include "neap/io/real_runtime.h"

namespace neap::artifacts {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/neap-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryFolder() { (void)io::RealRuntime::create()->files().remove_tree(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Registry {
  Registry(io::Runtime& runtime, const std::string& root, OciRegistryOptions options = {},
           Authorize authorize = {})
      : store(*ArtifactStore::open(runtime, {.root = root})),
        repositories(*store),
        registry(*store, repositories, std::move(options), std::move(authorize)),
        server(runtime, *runtime.network().listen(*io::Endpoint::parse("127.0.0.1:0")), {},
               [this](io::HttpExchange& exchange) { return registry.handle(exchange); }) {
    server.start();
  }
  std::unique_ptr<ArtifactStore> store;
  RepositoryTable repositories;
  OciRegistry registry;
  io::HttpServer server;
};

inline CallContext no_context() { return {}; }

inline Task<io::HttpResponse> call(io::HttpClient& http, std::string method, std::string target,
                                   std::vector<std::pair<std::string, std::string>> headers = {},
                                   std::string body = {}) {
  io::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  for (auto& [name, value] : headers) request.headers.set(name, value);
  request.body = std::move(body);
  auto reply = co_await http.call({}, std::move(request));
  EXPECT_TRUE(reply) << (reply ? "" : reply.error().to_string());
  co_return reply ? *reply : io::HttpResponse{};
}

}  // namespace neap::artifacts
