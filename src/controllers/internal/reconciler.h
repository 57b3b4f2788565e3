// What every controller of the loop gets, and the small operations they share.
#pragma once

#include <string>

#include "neap/client/typed.h"
#include "neap/controllers/controller.h"

namespace neap::controllers {

struct Pass {
  io::Runtime& runtime;
  client::ResourceClient& client;
  ModelPublisher& publisher;
  const RecordSink& decisions;
  const Options& options;
  const ClusterState& state;
  CallContext ctx;

  WallTime wall() const { return runtime.clock().wall(); }
};

// A conflict or a concurrent create is not a failure: the next pass sees the newer object.
Status tolerate_races(Status status);

template <class T>
Task<Status> create_if_absent(const Pass& pass, T object) {
  if (pass.state.find<T>(object.metadata.namespace_, object.metadata.name)) co_return ok();
  client::TypedClient<T> client(pass.client);
  auto created = co_await client.create(pass.ctx, std::move(object));
  if (!created && created.error().code != Code::kAlreadyExists) co_return fail(std::move(created).error());
  co_return ok();
}

template <class T>
Task<Status> write_status(const Pass& pass, T object) {
  client::TypedClient<T> client(pass.client);
  auto updated = co_await client.update_status(pass.ctx, std::move(object));
  if (!updated) co_return tolerate_races(fail(std::move(updated).error()));
  co_return ok();
}

template <class T>
Task<Status> write_spec(const Pass& pass, T object) {
  client::TypedClient<T> client(pass.client);
  auto updated = co_await client.update(pass.ctx, std::move(object));
  if (!updated) co_return tolerate_races(fail(std::move(updated).error()));
  co_return ok();
}

// True when both map to the same JSON: nothing to write.
template <class T>
bool same_object(const T& a, const T& b) {
  return api::to_json(a) == api::to_json(b);
}

template <class T>
api::OwnerReference owner_reference(const T& owner) {
  return {.apiVersion = std::string(api::kGroup) + "/" + std::string(api::kVersion),
          .kind = std::string(api::KindOf<T>::kind),
          .name = owner.metadata.name,
          .uid = owner.metadata.uid,
          .controller = true,
          .blockOwnerDeletion = true};
}

// Labels that the bill groups by, carried from owner to owned.
api::Labels billing_labels(const api::ObjectMeta& owner);

Task<Status> reconcile_nodes(const Pass& pass);
Task<Status> reconcile_training(const Pass& pass);
Task<Status> reconcile_services(const Pass& pass);
Task<Status> reconcile_strategies(const Pass& pass);

}  // namespace neap::controllers
