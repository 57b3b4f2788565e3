#include "neap/gateway/export_guard.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::gateway {

namespace {

std::string key_of(const UpstreamTarget& target) {
  return target.node.str() + "@" + target.endpoint.to_string();
}

}  // namespace

const dataguard::Place* ExportGuard::find_place(const SiteName& site) const {
  const auto at = std::ranges::find(places_, site, &dataguard::Place::site);
  return at == places_.end() ? nullptr : &*at;
}

Result<std::unique_ptr<RoutePermit>> ExportGuard::permit(const Crossing& crossing) {
  const auto* here = find_place(options_.here);
  const auto* there = find_place(crossing.target.site);
  if (here == nullptr || there == nullptr) {
    return fail(Code::kPermissionDenied, "gateway.place.unknown",
                fmt::format("site {} is not known here, so no policy can be asked",
                            here == nullptr ? options_.here.str() : crossing.target.site.str()));
  }
  dataguard::ExportRequest request{.source = *here, .destination = *there};
  request.data = {.level = crossing.level, .strict = crossing.strict, .declassified_by = {}};
  request.purpose = "infer";
  request.encrypted = options_.encrypted;
  request.logged = options_.logged;
  // Zero would mean "no bound": an empty body is still one message.
  request.bytes_max = Bytes{std::max<std::int64_t>(static_cast<std::int64_t>(crossing.bytes), 1)};
  request.expires = clock_.wall() + options_.permit_life;
  static const dataguard::DataPolicyTable kNone;
  auto table = policies_.find(crossing.project);
  if (table == policies_.end()) table = policies_.find("default");
  NEAP_TRY(auto permit, dataguard::permit_export(request, table == policies_.end() ? kNone : table->second));
  return std::make_unique<ExportRoutePermit>(std::move(permit));
}

HttpUpstream::HttpUpstream(io::Runtime& runtime, ClientOptions client_options)
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
  auto& slot = clients_[key_of(target)];
  if (!slot) {
    NEAP_CO_TRY(auto options, client_options_(target));
    slot = std::make_shared<io::HttpClient>(runtime_, target.endpoint, std::move(options));
  }
  const std::shared_ptr<io::HttpClient> client = slot;  // keep_only may drop the other reference meanwhile
  co_return co_await client->call(std::move(ctx), std::move(request));
}

void HttpUpstream::keep_only(const std::vector<UpstreamTarget>& targets) {
  std::erase_if(clients_, [&](const auto& entry) {
    return std::ranges::none_of(targets, [&](const auto& target) { return key_of(target) == entry.first; });
  });
}

}  // namespace neap::gateway
