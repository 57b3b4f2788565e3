// LocalClient: ResourceClient without the wire. The same Rest, hence the same authorization, admission and
// audit; errors make the same way through a Status object as they do over HTTP.
#pragma once

#include <memory>
#include <string>

#include "internal/rest.h"
#include "neap/client/resource_client.h"

namespace neap::apiserver {

class LocalClient : public client::ResourceClient {
 public:
  LocalClient(Rest& rest, auth::Identity who) : rest_(rest), who_(std::move(who)) {}
  LocalClient(std::unique_ptr<Rest> own, auth::Identity who)
      : own_(std::move(own)), rest_(*own_), who_(std::move(who)) {}
  Task<Result<Json>> get(CallContext ctx, client::ResourcePath path) override;
  Task<Result<Json>> list(CallContext ctx, client::ResourcePath path, client::ListOptions options) override;
  Task<Result<Json>> create(CallContext ctx, client::ResourcePath path, Json object,
                            client::WriteOptions options) override;
  Task<Result<Json>> update(CallContext ctx, client::ResourcePath path, Json object,
                            client::WriteOptions options) override;
  Task<Result<Json>> patch(CallContext ctx, client::ResourcePath path, client::PatchType type, Json patch,
                           client::WriteOptions options) override;
  Task<Result<Json>> remove(CallContext ctx, client::ResourcePath path,
                            client::WriteOptions options) override;
  Task<Result<std::unique_ptr<client::WatchStream>>> watch(CallContext ctx, client::ResourcePath path,
                                                           client::ListOptions options,
                                                           std::string resource_version) override;

 private:
  Result<Request> request_for(CallContext ctx, const client::ResourcePath& path, std::string_view verb) const;
  Task<Result<Json>> serve(Result<Request> request);
  std::unique_ptr<Rest> own_;
  Rest& rest_;
  auth::Identity who_;
};

}  // namespace neap::apiserver
