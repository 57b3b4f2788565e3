// Typed access on top of ResourceClient: TypedClient<api::TrainingJob>.
#pragma once

#include <string>
#include <vector>

#include "neap/api/resource.h"
#include "neap/client/resource_client.h"

namespace neap::client {

template <class T>
class TypedClient {
 public:
  explicit TypedClient(ResourceClient& client) : client_(client) {}

  static ResourcePath path(std::string ns, std::string name, std::string subresource = {}) {
    return {std::string(api::kGroup),
            std::string(api::kVersion),
            std::string(api::KindOf<T>::plural),
            std::move(ns),
            std::move(name),
            std::move(subresource)};
  }
  Task<Result<T>> get(CallContext ctx, std::string ns, std::string name) {
    NEAP_CO_TRY(const auto json, co_await client_.get(ctx, path(ns, name)));
    co_return api::from_json<T>(json);
  }
  Task<Result<std::vector<T>>> list(CallContext ctx, std::string ns, ListOptions options = {}) {
    NEAP_CO_TRY(const auto json, co_await client_.list(ctx, path(ns, ""), options));
    std::vector<T> out;
    if (const auto* items = find_path(json, {"items"}); items && items->is_array())
      for (const auto& item : items->get_array()) {
        NEAP_CO_TRY(auto object, api::from_json<T>(item));
        out.push_back(std::move(object));
      }
    co_return out;
  }
  Task<Result<T>> create(CallContext ctx, T object) {
    const auto at = path(object.metadata.namespace_, "");
    NEAP_CO_TRY(const auto json, co_await client_.create(ctx, at, api::to_json(object), {}));
    co_return api::from_json<T>(json);
  }
  Task<Result<T>> update(CallContext ctx, T object) {
    const auto at = path(object.metadata.namespace_, object.metadata.name);
    NEAP_CO_TRY(const auto json, co_await client_.update(ctx, at, api::to_json(object), {}));
    co_return api::from_json<T>(json);
  }
  // Compare-and-swap on the status subresource when the object carries a resourceVersion.
  Task<Result<T>> update_status(CallContext ctx, T object) {
    const auto at = path(object.metadata.namespace_, object.metadata.name, "status");
    NEAP_CO_TRY(const auto json, co_await client_.update(ctx, at, api::to_json(object), {}));
    co_return api::from_json<T>(json);
  }
  Task<Status> remove(CallContext ctx, std::string ns, std::string name) {
    NEAP_CO_TRY(const auto json, co_await client_.remove(ctx, path(ns, name), {}));
    (void)json;
    co_return ok();
  }

 private:
  ResourceClient& client_;
};

}  // namespace neap::client
