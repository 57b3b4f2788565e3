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
    dataguard::Place here;
    bool encrypted = false;  // true where the upstream speaks TLS: L2 needs it
    bool logged = false;     // true where GatewayEvents reach the ledger: L2 needs it
    Duration permit_life = 30s;
  };
  ExportGuard(const Clock& clock, Options options) : clock_(clock), options_(std::move(options)) {}
  void set_policies(dataguard::DataPolicyTable policies) { policies_ = std::move(policies); }
  // Sites requests may go to. One that is not among them is refused: its jurisdiction is not known.
  void set_places(std::vector<dataguard::Place> places) { places_ = std::move(places); }
  Result<std::unique_ptr<RoutePermit>> permit(const Crossing& crossing) override;

 private:
  const Clock& clock_;
  Options options_;
  dataguard::DataPolicyTable policies_;
  std::vector<dataguard::Place> places_;
};

class HttpUpstream final : public Upstream {
 public:
  // `client_options` gives each target its TLS context (its identity and the name to expect).
  HttpUpstream(io::Runtime& runtime,
               std::function<io::HttpClientOptions(const UpstreamTarget&)> client_options);
  ~HttpUpstream() override;
  // kPermissionDenied, and nothing sent, when the permit is not an ExportGuard's or is for another site,
  // fewer bytes or an earlier time.
  Task<Result<io::HttpResponse>> send(CallContext ctx, UpstreamTarget target,
                                      std::unique_ptr<RoutePermit> permit, io::HttpRequest request) override;
  // Closes connections to endpoints that no route names any more; those in use end by themselves.
  void keep_only(const std::vector<io::Endpoint>& endpoints);

 private:
  io::Runtime& runtime_;
  std::function<io::HttpClientOptions(const UpstreamTarget&)> client_options_;
  std::map<std::string, std::shared_ptr<io::HttpClient>> clients_;
};

}  // namespace neap::gateway
