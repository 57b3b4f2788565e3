#include "internal/local_client.h"

#include <deque>

namespace neap::apiserver {
namespace {

void set_write_options(Request& request, const client::WriteOptions& options) {
  request.parameters.field_manager = options.field_manager;
  request.parameters.dry_run = options.dry_run;
  // Programs of this repository know their own fields: what they misspell must not vanish silently.
  request.parameters.strictness = api::Strictness::kStrict;
}

class LocalWatch : public client::WatchStream {
 public:
  explicit LocalWatch(std::unique_ptr<WatchSession> session) : session_(std::move(session)) {}
  Task<Result<std::optional<client::WatchEvent>>> next(CallContext ctx) override {
    using Type = client::WatchEvent::Type;
    if (items_.empty()) {
      NEAP_CO_TRY(auto items, co_await session_->next(std::move(ctx)));
      for (auto& item : items) items_.push_back(std::move(item));
    }
    auto item = std::move(items_.front());
    items_.pop_front();
    auto object = item.event ? item.event->take_object() : std::move(item.bookmark);
    co_return client::WatchEvent{Type(int(item.type)), std::move(object)};
  }

 private:
  std::unique_ptr<WatchSession> session_;
  std::deque<WatchItem> items_;
};

}  // namespace

Result<Request> LocalClient::request_for(CallContext ctx, const client::ResourcePath& path,
                                         std::string_view verb) const {
  Request out;
  out.ctx = std::move(ctx);
  out.who = who_;
  out.kind = rest_.dependencies().kinds.find(path.group, path.version, path.plural);
  if (!out.kind) out.kind = find_review_kind(path.group, path.version, path.plural);
  if (!out.kind)
    return fail(Code::kNotFound, "api.resource.unknown", "the server could not find the requested resource");
  out.what.verb = verb;
  out.what.group = path.group;
  out.what.version = path.version;
  out.what.resource = path.plural;
  out.what.subresource = path.subresource;
  out.what.namespace_ = out.kind->namespaced ? path.namespace_ : std::string();
  out.what.name = verb == "create" ? std::string() : path.name;
  if (path.group.empty() && path.plural == "namespaces") out.what.namespace_ = out.what.name;
  out.what.is_resource = true;
  return out;
}

Task<Result<Json>> LocalClient::serve(Result<Request> request) {
  if (!request) co_return std::unexpected(std::move(request).error());
  auto reply = co_await rest_.serve(*std::move(request));
  if (reply.status >= 400) co_return fail(api::error_of_status(reply.body, reply.status));
  if (!reply.text.empty()) co_return parse_json(reply.text, {.bytes_max = std::size_t(-1), .depth_max = 256});
  co_return std::move(reply.body);
}

Task<Result<Json>> LocalClient::get(CallContext ctx, client::ResourcePath path) {
  co_return co_await serve(request_for(std::move(ctx), path, "get"));
}
Task<Result<Json>> LocalClient::list(CallContext ctx, client::ResourcePath path,
                                     client::ListOptions options) {
  auto request = request_for(std::move(ctx), path, "list");
  if (request) {
    request->parameters.label_selector = options.label_selector;
    request->parameters.field_selector = request->what.field_selector = options.field_selector;
    request->parameters.continue_token = options.continue_token;
    request->parameters.limit = options.limit;
  }
  co_return co_await serve(std::move(request));
}
Task<Result<Json>> LocalClient::create(CallContext ctx, client::ResourcePath path, Json object,
                                       client::WriteOptions options) {
  auto request = request_for(std::move(ctx), path, "create");
  if (request) {
    set_write_options(*request, options);
    request->body = std::move(object);
  }
  co_return co_await serve(std::move(request));
}
Task<Result<Json>> LocalClient::update(CallContext ctx, client::ResourcePath path, Json object,
                                       client::WriteOptions options) {
  auto request = request_for(std::move(ctx), path, "update");
  if (request) {
    set_write_options(*request, options);
    request->body = std::move(object);
  }
  co_return co_await serve(std::move(request));
}
Task<Result<Json>> LocalClient::patch(CallContext ctx, client::ResourcePath path, client::PatchType type,
                                      Json patch, client::WriteOptions options) {
  auto request = request_for(std::move(ctx), path, "patch");
  if (request) {
    set_write_options(*request, options);
    request->patch = PatchKind(int(type));
    request->body = std::move(patch);
  }
  co_return co_await serve(std::move(request));
}
Task<Result<Json>> LocalClient::remove(CallContext ctx, client::ResourcePath path,
                                       client::WriteOptions options) {
  auto request = request_for(std::move(ctx), path, "delete");
  if (request) set_write_options(*request, options);
  co_return co_await serve(std::move(request));
}
Task<Result<std::unique_ptr<client::WatchStream>>> LocalClient::watch(CallContext ctx,
                                                                      client::ResourcePath path,
                                                                      client::ListOptions options,
                                                                      std::string resource_version) {
  NEAP_CO_TRY(auto request, request_for(std::move(ctx), path, "watch"));
  request.parameters.label_selector = options.label_selector;
  request.parameters.field_selector = request.what.field_selector = options.field_selector;
  request.parameters.resource_version = std::move(resource_version);
  const Request asked = request;
  auto session = co_await rest_.watch(std::move(request));
  if (!session) {
    const auto reply = rest_.reply_of(session.error(), asked);
    co_return fail(api::error_of_status(reply.body, reply.status));
  }
  co_return std::make_unique<LocalWatch>(*std::move(session));
}

}  // namespace neap::apiserver
