#include "neap/apiserver/server.h"

#include "internal/collector.h"
#include "internal/discovery.h"
#include "internal/front.h"
#include "internal/local_client.h"
#include "internal/quota.h"
#include "internal/rest.h"
#include "internal/watch_hub.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kRbacPrefix = "/registry/rbac.authorization.k8s.io/";

}  // namespace

struct ApiServer::Impl {
  Impl(Dependencies d, Options o)
      : deps(std::move(d)),
        options(std::move(o)),
        hub(deps.runtime.executor(), deps.store, {.watcher_queue_max = options.watch_buffer_events}),
        rest({deps.runtime, deps.store, deps.kinds, deps.authorizer, deps.admission, deps.audit,
              deps.audit_policy, hub, subresources, deps.authenticator,
              options.token_issuer ? &*options.token_issuer : nullptr}),
        upkeep(through(deps.upkeep)),
        collector(deps.runtime.executor(), upkeep, {.event_lifetime = options.event_lifetime}),
        quotas(deps.runtime.executor(), upkeep),
        discovery(deps.kinds, subresources, streams, options.version),
        front(rest, deps.authenticator, discovery, streams, options) {}

  // The same service with its writes going through `writes`.
  Rest through(store::Store* writes) {
    if (!writes) return rest;
    return Rest({deps.runtime, *writes, deps.kinds, deps.authorizer, deps.admission, deps.audit,
                 deps.audit_policy, hub, subresources, deps.authenticator,
                 options.token_issuer ? &*options.token_issuer : nullptr});
  }
  // Who may do what, before the first request; and of which revision it is.
  Task<Result<store::ListPage>> load_rbac() {
    NEAP_CO_TRY(auto page, co_await store::list_all(deps.store, {}, std::string(kRbacPrefix)));
    for (const auto& item : page.items)
      if (const auto object = parse_json(item.value); object && rbac) rbac->set(*object);
    co_return page;
  }
  void feed_rbac(const EventPtr& event) {
    if (!rbac || !event->key.starts_with(kRbacPrefix)) return;
    const auto parts = split_key(event->key);
    if (event->type != ObjectEvent::Type::kDeleted)
      rbac->set(event->object());
    else
      rbac->erase(get_string(event->object(), "kind"), parts.ns, parts.name);
  }

  Dependencies deps;
  Options options;
  std::vector<ExtraSubresource> subresources;
  std::vector<StreamSubresource> streams;
  WatchHub hub;
  Rest rest, upkeep;
  Collector collector;
  QuotaKeeper quotas;
  Discovery discovery;
  Front front;
  auth::RbacAuthorizer* rbac = nullptr;
};

ApiServer::ApiServer(Dependencies dependencies, Options options)
    : impl_(std::make_unique<Impl>(std::move(dependencies), std::move(options))) {}
ApiServer::~ApiServer() = default;

Task<Status> ApiServer::start() {
  auto& self = *impl_;
  for (const auto name :
       {std::string_view("default"), std::string_view("neap-system"), auth::kNodeLeaseNamespace})
    NEAP_CO_TRY_VOID(co_await self.rest.create_namespace({}, std::string(name)));
  NEAP_CO_TRY(auto rbac, co_await self.load_rbac());
  NEAP_CO_TRY_VOID(self.hub.start(rbac.revision,
                                  {.on_event =
                                       [&self](const EventPtr& event) {
                                         self.feed_rbac(event);
                                         self.collector.observe(event);
                                         self.quotas.observe(event);
                                       },
                                   .on_known =
                                       [&self](const std::string& key, const WatchHub::Known& known) {
                                         self.collector.learn(key, known);
                                         self.quotas.learn(key);
                                       },
                                   .on_failure = self.deps.on_failure},
                                  std::move(rbac.items)));
  self.collector.start();
  self.quotas.start();
  self.front.set_ready(true);
  co_return ok();
}

Task<void> ApiServer::stop() {
  impl_->front.set_ready(false);
  co_await impl_->quotas.stop();
  co_await impl_->collector.stop();
  co_await impl_->hub.stop();
}

void ApiServer::abandon() {
  impl_->quotas.abandon();
  impl_->collector.abandon();
  impl_->hub.abandon();
}

io::HttpHandler ApiServer::handler() {
  return [impl = impl_.get()](io::HttpExchange& exchange) { return impl->front.handle(exchange); };
}
void ApiServer::add_route(ExtraRoute route) { impl_->front.add_route(std::move(route)); }
void ApiServer::add_subresource(ExtraSubresource subresource) {
  impl_->subresources.push_back(std::move(subresource));
}
void ApiServer::add_stream(StreamSubresource stream) { impl_->streams.push_back(std::move(stream)); }
void ApiServer::serve_logs(LogSource& logs) {
  impl_->front.use(logs);
  for (const auto* plural : {"allocations", "pods"})
    impl_->streams.push_back({.plural = plural, .subresource = "log", .handler = {}});
}
void ApiServer::forward_streams(StreamForward forward) { impl_->front.use(std::move(forward)); }
void ApiServer::serve_sessions(SessionSource& sessions) {
  impl_->front.use(sessions);
  for (const auto* plural : {"allocations", "pods"})
    for (const auto* subresource : {"exec", "attach", "portforward"})
      impl_->streams.push_back({.plural = plural, .subresource = subresource, .handler = {}});
}
void ApiServer::keep_rbac(auth::RbacAuthorizer& rbac) { impl_->rbac = &rbac; }
std::size_t ApiServer::open_watches() const { return impl_->hub.watchers(); }

void ApiServer::do_upkeep(bool on) {
  impl_->collector.set_active(on);
  impl_->quotas.set_active(on);
}

std::unique_ptr<client::ResourceClient> ApiServer::local_client(auth::Identity identity,
                                                                store::Store* writes) {
  if (!writes) return std::make_unique<LocalClient>(impl_->rest, std::move(identity));
  return std::make_unique<LocalClient>(std::make_unique<Rest>(impl_->through(writes)), std::move(identity));
}

}  // namespace neap::apiserver
