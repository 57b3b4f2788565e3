// ExportGuard: a RouteGuard whose permits are dataguard's ExportPermits; HttpUpstream: an Upstream that
// spends them. Together they make the gateway's remote route obey the data policies.
//
// Executor's thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "neap/base/time.h"
#include "neap/dataguard/dataguard.h"
#include "neap/gateway/pipeline.h"

namespace neap::gateway {

class ExportRoutePermit final : public RoutePermit {
 public:
  explicit ExportRoutePermit(dataguard::ExportPermit permit) : permit_(std::move(permit)) {}
  std::string_view rule() const override { return permit_.rule(); }
  const dataguard::ExportPermit& permit() const { return permit_; }

 private:
  dataguard::ExportPermit permit_;
};

class ExportGuard final : public RouteGuard {
 public:
  struct Options {
    SiteName here;
    bool encrypted = false;  // true where the upstream speaks TLS: L2 needs it
    bool logged = false;     // true where GatewayEvents reach the ledger: L2 needs it
    Duration permit_life = 30s;
  };
  ExportGuard(const Clock& clock, Options options) : clock_(clock), options_(std::move(options)) {}
  // By project; what "default" has holds for a project without policies of its own.
  void set_policies(std::map<std::string, dataguard::DataPolicyTable> policies) {
    policies_ = std::move(policies);
  }
  // All known sites. Nothing goes from or to one that is not among them: its jurisdiction is not known.
  void set_places(std::vector<dataguard::Place> places) { places_ = std::move(places); }
  Result<std::unique_ptr<RoutePermit>> permit(const Crossing& crossing) override;

 private:
  const dataguard::Place* find_place(const SiteName& site) const;

  const Clock& clock_;
  Options options_;
  std::map<std::string, dataguard::DataPolicyTable> policies_;
  std::vector<dataguard::Place> places_;
};

class HttpUpstream final : public Upstream {
 public:
  // Gives a target its TLS context (our identity, the name to expect); asked once for each pool of
  // connections.
  using ClientOptions = std::function<Result<io::HttpClientOptions>(const UpstreamTarget&)>;
  HttpUpstream(io::Runtime& runtime, ClientOptions client_options);
  ~HttpUpstream() override;
  // kPermissionDenied, and nothing sent, when the permit is not an ExportGuard's or is for another site,
  // fewer bytes or an earlier time.
  Task<Result<io::HttpResponse>> send(CallContext ctx, UpstreamTarget target,
                                      std::unique_ptr<RoutePermit> permit, io::HttpRequest request) override;
  // Closes connections to what no route names any more; those in use end by themselves.
  void keep_only(const std::vector<UpstreamTarget>& targets);

 private:
  io::Runtime& runtime_;
  ClientOptions client_options_;
  std::map<std::string, std::shared_ptr<io::HttpClient>>
      clients_;  // by node and endpoint: the node is verified
};

}  // namespace neap::gateway
