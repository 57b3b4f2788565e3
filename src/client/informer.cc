#include "neap/client/informer.h"

#include <fmt/format.h>

namespace neap::client {

std::string object_key(const Json& object) {
  const Json* metadata = find_path(object, {"metadata"});
  if (!metadata) return {};
  const auto ns = get_string(*metadata, "namespace"), name = get_string(*metadata, "name");
  return ns.empty() ? std::string(name) : fmt::format("{}/{}", ns, name);
}

namespace {
std::string_view version_of(const Json& object) {
  const Json* metadata = find_path(object, {"metadata"});
  return metadata ? get_string(*metadata, "resourceVersion") : std::string_view{};
}
}  // namespace

struct Informer::Impl {
  Impl(Dependencies d, InformerOptions o)
      : runtime(d.runtime),
        client(d.client),
        options(std::move(o)),
        group(d.runtime.executor()),
        synced(d.runtime.executor()) {}

  io::Runtime& runtime;
  ResourceClient& client;
  InformerOptions options;
  TaskGroup group;
  Event synced;
  std::vector<InformerHandlers> handlers;
  std::map<std::string, ObjectPtr, std::less<>> objects;
  std::string position;  // resourceVersion to watch from; empty: list first
  std::uint64_t lists = 0, failures = 0;
  int failures_in_row = 0;
  std::optional<Error> error;
  bool started = false;

  // Handlers may add handlers: walk by index.
  void put(ObjectPtr next) {
    auto& slot = objects[object_key(*next)];
    const ObjectPtr before = std::exchange(slot, next);
    if (before && version_of(*before) == version_of(*next)) return;
    for (std::size_t i = 0; i < handlers.size(); ++i) {
      if (before && handlers[i].updated) handlers[i].updated(before, next);
      if (!before && handlers[i].added) handlers[i].added(next);
    }
  }
  void drop(const std::string& key, const ObjectPtr& last) {
    const auto found = objects.find(key);
    if (found == objects.end()) return;
    const ObjectPtr known = last ? last : found->second;
    objects.erase(found);
    for (std::size_t i = 0; i < handlers.size(); ++i)
      if (handlers[i].deleted) handlers[i].deleted(known);
  }

  Task<Status> list_all(CallContext ctx) {
    std::map<std::string, ObjectPtr> seen;
    ListOptions page{options.label_selector, options.field_selector, "", options.page_size};
    std::string version;
    do {
      NEAP_CO_TRY(Json list, co_await client.list(ctx, options.path, page));
      if (version.empty()) version = version_of(list);
      const Json* next = find_path(list, {"metadata", "continue"});
      page.continue_token = next && next->is_string() ? std::string(next->get_string()) : std::string();
      Json* items = list.is_object() ? list.get_object().if_contains("items") : nullptr;
      if (!items || !items->is_array())
        co_return fail(Code::kDataLoss, "informer.list.format",
                       "the server's list has no items; is it an API server?");
      for (auto& item : items->get_array()) {
        auto object = std::make_shared<const Json>(std::move(item));
        seen[object_key(*object)] = std::move(object);
      }
    } while (!page.continue_token.empty());
    ++lists;
    std::vector<std::string> gone;
    for (const auto& [key, object] : objects)
      if (!seen.contains(key)) gone.push_back(key);
    for (const auto& key : gone) drop(key, nullptr);
    for (auto& [key, object] : seen) put(std::move(object));
    position = std::move(version);
    synced.set();
    co_return ok();
  }

  // Ends with ok() when the server ended the stream.
  Task<Status> follow(CallContext ctx) {
    const ListOptions filter{options.label_selector, options.field_selector, "", 0};
    NEAP_CO_TRY(auto stream, co_await client.watch(ctx, options.path, filter, position));
    for (;;) {
      const auto patience = ctx.with_deadline(runtime.executor().now() + options.watch_silence_max);
      NEAP_CO_TRY(auto event, co_await stream->next(patience));
      if (!event) co_return ok();
      failures_in_row = 0;
      error.reset();
      const std::string version(version_of(event->object));
      if (event->type == WatchEvent::Type::kDeleted) {
        auto last = std::make_shared<const Json>(std::move(event->object));
        drop(object_key(*last), last);
      } else if (event->type != WatchEvent::Type::kBookmark) {
        put(std::make_shared<const Json>(std::move(event->object)));
      }
      if (!version.empty()) position = version;
    }
  }

  Duration next_pause() {
    Duration pause = options.backoff_first;
    for (int i = 1; i < failures_in_row && pause < options.backoff_max; ++i) pause *= 2;
    pause = std::min(pause, options.backoff_max);
    // Half fixed, half drawn: a thousand agents that lost one server do not come back at once.
    const auto half = std::uint64_t(pause.count() / 2);
    return Duration(pause.count() / 2 + std::int64_t(half == 0 ? 0 : runtime.random().below(half)));
  }

  static Task<void> run(Impl& self) {
    const CallContext ctx = self.group.context();
    auto& executor = self.runtime.executor();
    while (!ctx.cancel.is_cancelled()) {
      const MonoTime began = executor.now();
      const bool listing = self.position.empty();
      Status done = listing ? co_await self.list_all(ctx) : co_await self.follow(ctx);
      if (ctx.cancel.is_cancelled()) co_return;
      if (done && listing) {
        self.error.reset();
        continue;
      }
      // A watch that the server ended after a while is the ordinary way; at once, it is a refusal.
      if (done && executor.now() - began >= std::chrono::seconds(1)) continue;
      if (!done && done.error().code == Code::kOutOfRange) self.position.clear();
      const bool silence = !done && !listing && done.error().code == Code::kDeadlineExceeded;
      if (!done && !silence) {
        ++self.failures;
        self.error = done.error();
      }
      ++self.failures_in_row;
      if (auto slept = co_await sleep_for(executor, ctx, self.next_pause()); !slept) co_return;
    }
  }
};

Informer::Informer(Dependencies dependencies, InformerOptions options)
    : impl_(std::make_unique<Impl>(dependencies, std::move(options))) {}
Informer::~Informer() = default;

void Informer::add_handlers(InformerHandlers handlers) {
  impl_->handlers.push_back(std::move(handlers));
  const auto added = impl_->handlers.back().added;
  if (!added) return;
  const auto objects = impl_->objects;
  for (const auto& [key, object] : objects) added(object);
}
void Informer::start() {
  NEAP_ASSERT(!impl_->started);
  impl_->started = true;
  impl_->group.spawn(Impl::run(*impl_));
}
Task<void> Informer::stop() { co_await impl_->group.stop(); }
void Informer::abandon() { impl_->group.abandon(); }

bool Informer::has_synced() const { return impl_->synced.is_set(); }
Task<Status> Informer::wait_synced(CallContext ctx) { co_return co_await impl_->synced.wait(std::move(ctx)); }
ObjectPtr Informer::find(std::string_view key) const {
  const auto found = impl_->objects.find(key);
  return found == impl_->objects.end() ? nullptr : found->second;
}
std::vector<ObjectPtr> Informer::all() const {
  std::vector<ObjectPtr> out;
  out.reserve(impl_->objects.size());
  for (const auto& [key, object] : impl_->objects) out.push_back(object);
  return out;
}
std::vector<ObjectPtr> Informer::in_namespace(std::string_view ns) const {
  std::vector<ObjectPtr> out;
  const std::string prefix = fmt::format("{}/", ns);
  for (auto it = impl_->objects.lower_bound(prefix);
       it != impl_->objects.end() && it->first.starts_with(prefix); ++it)
    out.push_back(it->second);
  return out;
}
std::size_t Informer::size() const { return impl_->objects.size(); }
std::uint64_t Informer::lists() const { return impl_->lists; }
std::uint64_t Informer::failures() const { return impl_->failures; }
std::optional<Error> Informer::last_error() const { return impl_->error; }

}  // namespace neap::client
