#include "neap/gateway/export_guard.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::gateway {

Result<std::unique_ptr<RoutePermit>> ExportGuard::permit(const Crossing& crossing) {
  const auto place = std::ranges::find(places_, crossing.target.site, &dataguard::Place::site);
  if (place == places_.end()) {
    return fail(
        Code::kPermissionDenied, "gateway.place.unknown",
        fmt::format("site {} is not known here, so no policy can be asked", crossing.target.site.str()));
  }
  dataguard::ExportRequest request{.source = options_.here, .destination = *place};
  request.data = {.level = crossing.level, .strict = crossing.strict, .declassified_by = {}};
  request.purpose = "infer";
  request.encrypted = options_.encrypted;
  request.logged = options_.logged;
  // Zero would mean "no bound": an empty body is still one message.
  request.bytes_max = Bytes{std::max<std::int64_t>(static_cast<std::int64_t>(crossing.bytes), 1)};
  request.expires = clock_.wall() + options_.permit_life;
  NEAP_TRY(auto permit, dataguard::permit_export(request, policies_));
  return std::make_unique<ExportRoutePermit>(std::move(permit));
}

HttpUpstream::HttpUpstream(io::Runtime& runtime,
                           std::function<io::HttpClientOptions(const UpstreamTarget&)> client_options)
    : runtime_(runtime), client_options_(std::move(client_options)) {}
HttpUpstream::~HttpUpstream() = default;

Task<Result<io::HttpResponse>> HttpUpstream::send(CallContext ctx, UpstreamTarget target,
                                                  std::unique_ptr<RoutePermit> permit,
                                                  io::HttpRequest request) {
  const auto* exported = dynamic_cast<const ExportRoutePermit*>(permit.get());
  if (exported == nullptr) {
    co_return fail(Code::kPermissionDenied, "gateway.permit.foreign",
                   "the permit is not one of the data policies");
  }
  NEAP_CO_TRY_VOID(exported->permit().check(runtime_.clock().wall(), target.site, {},
                                            Bytes{static_cast<std::int64_t>(request.body.size())}));
  auto& slot = clients_[target.endpoint.to_string()];
  if (!slot) slot = std::make_shared<io::HttpClient>(runtime_, target.endpoint, client_options_(target));
  const std::shared_ptr<io::HttpClient> client = slot;  // keep_only may drop the other reference meanwhile
  co_return co_await client->call(std::move(ctx), std::move(request));
}

void HttpUpstream::keep_only(const std::vector<io::Endpoint>& endpoints) {
  std::erase_if(clients_, [&](const auto& entry) {
    return std::ranges::none_of(endpoints,
                                [&](const io::Endpoint& e) { return e.to_string() == entry.first; });
  });
}

}  // namespace neap::gateway
