// The suite every ResourceClient passes, over HTTP and in process, against the real server.
#include "neap/client/http_client.h"
#include "neap/client/resource_client_conformance.h"
#include "tests/world.h"

namespace neap::client {
namespace {

class LocalClientWorld : public ClientWorld {
 public:
  ResourceClient& client() override { return *client_; }
  void run(Task<void> task) override { world_.run(std::move(task)); }

 private:
  apiserver::World world_;
  std::unique_ptr<ResourceClient> client_ = world_.server().local_client(
      {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
};

class HttpClientWorld : public ClientWorld {
 public:
  ResourceClient& client() override { return client_; }
  void run(Task<void> task) override { world_.run(std::move(task)); }

 private:
  apiserver::World world_;
  HttpResourceClient client_{world_.runtime(), world_.http().endpoint(), {}, "admin"};
};

INSTANTIATE_TEST_SUITE_P(InProcess, ResourceClientConformance, testing::Values(ClientWorldFactory([] {
                           return std::make_unique<LocalClientWorld>();
                         })));
INSTANTIATE_TEST_SUITE_P(OverHttp, ResourceClientConformance, testing::Values(ClientWorldFactory([] {
                           return std::make_unique<HttpClientWorld>();
                         })));

}  // namespace
}  // namespace neap::client
