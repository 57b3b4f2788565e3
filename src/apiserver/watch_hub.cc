#include "internal/watch_hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "neap/api/codec.h"
#include "neap/base/assert.h"

namespace neap::apiserver {
namespace {

// Writes that are no objects' move the store and not the hub: who waits for them asks the store instead.
constexpr Duration kReachWithin = 50ms;

constexpr std::size_t kLoadPage = 500;
constexpr int kAttempts = 20;
constexpr Duration kRetryAfter = 500ms, kLookAgain = 2ms;

constexpr std::array<std::string_view, 3> kTypeNames{"ADDED", "MODIFIED", "DELETED"};

Json parse_stored(const std::string& text) {
  // Written by this program; one that does not parse any more shows as an empty object.
  auto parsed = parse_json(text, {.bytes_max = store::kValueBytesMax, .depth_max = 256});
  return parsed ? *std::move(parsed) : Json(JsonObject());
}

}  // namespace

const Json& ObjectEvent::object() const {
  if (!object_json_) object_json_ = with_revision(parse_stored(*text_), revision);
  return *object_json_;
}
Json ObjectEvent::take_object() const {
  return object_json_ ? *object_json_ : with_revision(parse_stored(*text_), revision);
}
const Json* ObjectEvent::before() const {
  if (!before_) return nullptr;
  if (!before_json_) before_json_ = parse_stored(*before_);
  return &*before_json_;
}
const std::string& ObjectEvent::line(Type as) const {
  auto& line = lines_[std::size_t(as)];
  if (line.empty())
    line = fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", kTypeNames[std::size_t(as)],
                       text_with_revision(*text_, revision));
  return line;
}

Watcher::Watcher(WatchHub& hub, std::string prefix, FieldInterest interest, Revision after,
                 std::size_t queue_max)
    : hub_(&hub),
      prefix_(std::move(prefix)),
      interest_(std::move(interest)),
      after_(after),
      queue_max_(queue_max),
      changed_(hub.executor_) {}

Watcher::~Watcher() {
  if (hub_) hub_->forget(*this);
}

void Watcher::offer(const EventPtr& event) {
  if (overflowed_ || event->revision <= after_ || !event->key.starts_with(prefix_)) return;
  if (queue_.size() >= queue_max_) {
    overflowed_ = true;
    queue_.clear();
  } else {
    queue_.push_back(event);
  }
  changed_.notify_all();
}

Task<Result<std::vector<EventPtr>>> Watcher::take(CallContext ctx) {
  for (;;) {
    if (overflowed_)
      co_return fail(Code::kOutOfRange, "api.watch.lagging",
                     "this watch did not keep up and missed events; list again and watch from there");
    if (!queue_.empty()) {
      std::vector<EventPtr> out;
      out.swap(queue_);
      co_return out;
    }
    if (!hub_ || hub_->stopped_)
      co_return fail(Code::kUnavailable, "api.watch.stopped", "the server is stopping; watch again");
    NEAP_CO_TRY_VOID(co_await changed_.wait(ctx, changed_.generation()));
  }
}

Revision Watcher::position() const { return hub_ ? std::max(hub_->position_, after_) : after_; }

WatchHub::WatchHub(Executor& executor, store::Store& store, Options options)
    : executor_(executor), store_(store), options_(options), tasks_(executor), moved_(executor) {}

WatchHub::~WatchHub() {
  each_watcher([](Watcher& watcher) { watcher.hub_ = nullptr; });
}

template <class Visit>
void WatchHub::each_watcher(Visit visit) const {
  const auto visit_all = [&](const Watchers& watchers) {
    for (auto* watcher : watchers) visit(*watcher);
  };
  for (const auto& [prefix, channel] : channels_) {
    visit_all(channel.all);
    for (const auto& [key, watchers] : channel.by_key) visit_all(watchers);
    for (const auto& [path, values] : channel.by_field)
      for (const auto& [value, watchers] : values) visit_all(watchers);
  }
}

// Where a watcher stands, from what it watches: a kind, a namespace, one key, or one value of a field.
WatchHub::Watchers& WatchHub::place_of(const Watcher& watcher) {
  auto& channel = channels_[channel_of(watcher.prefix_)];
  if (!watcher.interest_.path.empty())
    return channel.by_field[watcher.interest_.path][watcher.interest_.value];
  return watcher.prefix_.ends_with('/') ? channel.all : channel.by_key[watcher.prefix_];
}

void WatchHub::forget(const Watcher& watcher) {
  auto& place = place_of(watcher);
  std::erase(place, &watcher);
  if (!place.empty()) return;
  auto& channel = channels_[channel_of(watcher.prefix_)];
  if (const auto field = channel.by_field.find(watcher.interest_.path); field != channel.by_field.end()) {
    field->second.erase(watcher.interest_.value);
    if (field->second.empty()) channel.by_field.erase(field);
  } else {
    channel.by_key.erase(watcher.prefix_);
  }
}

void WatchHub::offer(Channel& channel, const EventPtr& event) {
  const auto offer_all = [&](const Watchers& watchers) {
    for (auto* watcher : watchers) watcher->offer(event);
  };
  offer_all(channel.all);
  if (const auto one = channel.by_key.find(event->key); one != channel.by_key.end()) offer_all(one->second);
  for (const auto& [path, values] : channel.by_field) {
    const auto is = api::field_text(event->object(), path);
    if (const auto at = values.find(is); at != values.end()) offer_all(at->second);
    const auto was = event->before() ? api::field_text(*event->before(), path) : is;
    if (was == is) continue;
    if (const auto at = values.find(was); at != values.end()) offer_all(at->second);
  }
}

void WatchHub::index(const EventPtr& event) {
  const auto channel = channel_of(event->key);
  for (auto at = indexes_.lower_bound({channel, {}}); at != indexes_.end() && at->first.first == channel;
       ++at) {
    auto& [name, values] = *at;
    if (event->before()) {
      const auto old = values.find(api::field_text(*event->before(), name.second));
      if (old != values.end() && old->second.erase(event->key) && old->second.empty()) values.erase(old);
    }
    if (event->type != ObjectEvent::Type::kDeleted)
      values[api::field_text(event->object(), name.second)].insert(event->key);
  }
}

const std::set<std::string>& WatchHub::keys_with(const std::string& kind_prefix,
                                                 const FieldInterest& interest) {
  NEAP_ASSERT(is_whole_);
  static const std::set<std::string> kNone;
  const auto [at, is_new] = indexes_.try_emplace({kind_prefix, interest.path});
  if (is_new)
    for_each(kind_prefix, [&](const std::string& key, const Known& known) {
      at->second[api::field_text(parse_stored(*known.text), interest.path)].insert(key);
    });
  const auto found = at->second.find(interest.value);
  return found == at->second.end() ? kNone : found->second;
}

Task<bool> WatchHub::reach(CallContext ctx, Revision revision) {
  const auto soon = ctx.with_deadline(executor_.now() + kReachWithin);
  while (position_ < revision)
    if (!co_await moved_.wait(soon, moved_.generation())) break;
  co_return position_ >= revision;
}

// "/registry/<group>/<plural>/" of a key or of a prefix that may end right there.
std::string WatchHub::channel_of(std::string_view key) {
  const auto group_end = key.find('/', kRegistry.size());
  if (group_end == std::string_view::npos) return {};
  return std::string(key.substr(0, key.find('/', group_end + 1) + 1));
}

// Starting in the past lets clients of an earlier life of this server go on with their watches.
Status WatchHub::start(Revision now, Observers observers, std::vector<store::KeyValue> known) {
  observers_ = std::move(observers);
  for (auto& item : known)
    known_.emplace(std::move(item.key),
                   Known{std::make_shared<const std::string>(std::move(item.value)), item.mod_revision});
  observed_after_ = now;
  const auto newest = to_number(now);
  const std::uint64_t back = options_.history_events / 2;
  const Revision from{newest > back ? newest - back : std::min<std::uint64_t>(newest, 1)};
  auto watch = store_.watch(std::string(kRegistry), from);
  const bool is_forgotten = !watch && watch.error().code == Code::kOutOfRange;
  if (is_forgotten) watch = store_.watch(std::string(kRegistry), now);
  if (!watch) return std::unexpected(std::move(watch).error());
  begin_at(*std::move(watch), is_forgotten ? now : from);
  tasks_.spawn(follow());
  tasks_.spawn(load(now));
  return ok();
}

void WatchHub::begin_at(std::unique_ptr<store::Watch> watch, Revision revision) {
  watch_ = std::move(watch);
  position_ = history_after_ = revision;
}

Task<Status> WatchHub::whole(CallContext ctx) {
  while (!is_whole_) {
    if (stopped_) co_return fail(Code::kUnavailable, "api.hub.stopped", "the server is stopping; ask again");
    NEAP_CO_TRY_VOID(co_await moved_.wait(ctx, moved_.generation()));
  }
  co_return ok();
}

Task<void> WatchHub::load(Revision now) {
  const auto ctx = tasks_.context();
  const auto loaded = co_await load_pages(now);
  if (!loaded && !ctx.cancel.is_cancelled()) fail_for_good(loaded.error());
}

// A store that is away comes back. What it forgot, or what it holds under a key that is on its way here, may
// be another matter soon.
Task<Status> WatchHub::wait_to_retry(const Error& error, int& attempts) {
  // A store with a full queue is busy; an answer that is too large stays so.
  const bool is_busy = error.code == Code::kResourceExhausted && !error.reason.ends_with("too_large");
  const bool may_pass = error.code == Code::kUnavailable || error.code == Code::kOutOfRange || is_busy;
  if (!may_pass || (error.code == Code::kOutOfRange && ++attempts > kAttempts)) co_return fail(error);
  co_return co_await sleep_for(executor_, tasks_.context(), kRetryAfter);
}

// A page is of the newest state, which costs the store less than an old one; what was followed meanwhile
// tells what of it is not the newest any more.
Task<Status> WatchHub::load_pages(Revision now) {
  const auto ctx = tasks_.context();
  const auto reloads = reloads_;
  co_await let_past_come_first(now);
  store::ListOptions options{.limit = kLoadPage, .start_after = {}, .revision = {}};
  Revision newest = now;
  int attempts = 0;
  for (bool more = true; more;) {
    auto page = co_await store_.list(ctx, std::string(kRegistry), options);
    if (reloads != reloads_) co_return ok();
    if (!page) {
      NEAP_CO_TRY_VOID(co_await wait_to_retry(page.error(), attempts));
      continue;
    }
    more = page->more && !page->items.empty();
    newest = std::max(newest, page->revision);
    if (more) options.start_after = page->items.back().key;
    take_page(std::move(page->items));
  }
  // What is known of a later state than the followed one is not yet the state of any revision.
  co_await let_past_come_first(newest);
  if (reloads != reloads_) co_return ok();
  NEAP_CO_TRY_VOID(ctx.check(executor_.now()));
  gone_.clear();
  is_whole_ = true;
  moved_.notify_all();
  co_return ok();
}

// Returns when everything up to `now` was applied: who watches waits for that, and needs no page for it.
Task<void> WatchHub::let_past_come_first(Revision now) {
  const auto reloads = reloads_;
  while (reloads == reloads_ && !stopped_ && (watch_->position() < now || is_applying_))
    if (!co_await sleep_for(executor_, tasks_.context(), kLookAgain)) co_return;
}

void WatchHub::take_page(std::vector<store::KeyValue> items) {
  for (auto& item : items) {
    const auto gone = gone_.find(item.key);
    if (gone != gone_.end() && gone->second > item.mod_revision) continue;
    const auto [at, is_new] = known_.try_emplace(std::move(item.key));
    if (at->second.revision > item.mod_revision) continue;
    const bool is_there = !is_new && at->second.revision == item.mod_revision;
    if (!is_there)
      at->second = {std::make_shared<const std::string>(std::move(item.value)), item.mod_revision};
    // Of what came from the past alone observers know nothing yet.
    if (is_there && item.mod_revision > observed_after_) continue;
    if (observers_.on_known) observers_.on_known(at->first, at->second);
  }
}

// Everything anew, at one revision.
Task<Status> WatchHub::reload() {
  const auto ctx = tasks_.context();
  int attempts = 0;
  const auto before = std::exchange(known_, {});
  indexes_.clear();
  gone_.clear();
  for (;;) {
    known_.clear();
    store::ListOptions options{.limit = kLoadPage, .start_after = {}, .revision = {}};
    auto page = Result<store::ListPage>(store::ListPage{.items = {}, .revision = {}, .more = true});
    while (page && page->more) {
      page = co_await store_.list(ctx, std::string(kRegistry), options);
      if (!page) break;
      options.revision = page->revision;
      if (!page->items.empty()) options.start_after = page->items.back().key;
      for (auto& item : page->items)
        known_.insert_or_assign(
            std::move(item.key),
            Known{std::make_shared<const std::string>(std::move(item.value)), item.mod_revision});
    }
    auto watch = page ? store_.watch(std::string(kRegistry), options.revision)
                      : Result<std::unique_ptr<store::Watch>>(fail(page.error()));
    if (!watch) {
      NEAP_CO_TRY_VOID(co_await wait_to_retry(watch.error(), attempts));
      continue;
    }
    begin_at(*std::move(watch), options.revision);
    break;
  }
  // Who came while this was read saw a state that lies before what is followed now.
  fail_all();
  is_whole_ = true;
  tell_difference(before);
  moved_.notify_all();
  co_return ok();
}

Task<void> WatchHub::follow() {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    auto event = co_await watch_->next(ctx);
    if (event) {
      is_applying_ = true;
      auto before = co_await text_before(*event);
      apply(*std::move(event), std::move(before));
      is_applying_ = false;
      continue;
    }
    if (event.error().code == Code::kCancelled || event.error().code == Code::kUnavailable) break;
    // Fell behind the store's own history: everyone must list again.
    is_whole_ = false;
    ++reloads_;
    fail_all();
    forget_history(store_.current_revision());  // for those who come while the state is read again
    if (const auto loaded = co_await reload(); !loaded) {
      if (!ctx.cancel.is_cancelled()) fail_for_good(loaded.error());
      break;
    }
  }
  end();
}

void WatchHub::end() {
  stopped_ = true;
  moved_.notify_all();
  each_watcher([](Watcher& watcher) { watcher.changed_.notify_all(); });
}
void WatchHub::fail_for_good(const Error& error) {
  end();
  if (observers_.on_failure) observers_.on_failure(error);
}

void WatchHub::forget_history(Revision through) {
  history_.clear();
  history_bytes_ = 0;
  history_after_ = through;
}

// Null where it was not there. Of what was not read yet, or in a later state only, the store knows it.
Task<std::shared_ptr<const std::string>> WatchHub::text_before(const store::WatchEvent& event) {
  const auto at = known_.find(event.kv.key);
  if (at != known_.end() && at->second.revision < event.kv.mod_revision) co_return at->second.text;
  if ((is_whole_ && at == known_.end()) || event.type == store::WatchEvent::Type::kDelete ||
      event.is_create())
    co_return nullptr;
  const Revision just_before{to_number(event.kv.mod_revision) - 1};
  auto page = co_await store_.list(tasks_.context(), event.kv.key,
                                   {.limit = 1, .start_after = {}, .revision = just_before});
  if (!page) {
    // Whether a selector saw it before cannot be said any more: whoever watches lists again.
    fail_all();
    forget_history(event.kv.mod_revision);
    co_return nullptr;
  }
  // Keys that only begin like it come after it.
  if (page->items.empty() || page->items.front().key != event.kv.key) co_return nullptr;
  co_return std::make_shared<const std::string>(std::move(page->items.front().value));
}

void WatchHub::apply(store::WatchEvent event, std::shared_ptr<const std::string> before) {
  using Type = ObjectEvent::Type;
  auto text = std::make_shared<const std::string>(std::move(event.kv.value));
  position_ = event.kv.mod_revision;
  const bool deleted = event.type == store::WatchEvent::Type::kDelete;
  if (deleted && !before) before = text;
  const auto type = deleted ? Type::kDeleted : before ? Type::kModified : Type::kAdded;
  const auto at = known_.find(event.kv.key);
  // What a page showed of a later state stays.
  if (at == known_.end() || at->second.revision < position_) {
    if (!deleted)
      known_.insert_or_assign(event.kv.key, Known{text, position_});
    else if (at != known_.end())
      known_.erase(at);
  }
  if (deleted && !is_whole_) gone_.insert_or_assign(event.kv.key, position_);
  const auto shared = std::make_shared<const ObjectEvent>(type, std::move(event.kv.key), position_,
                                                          std::move(text), std::move(before));
  if (observers_.on_event && position_ > observed_after_) observers_.on_event(shared);
  index(shared);
  if (const auto channel = channels_.find(channel_of(shared->key)); channel != channels_.end())
    offer(channel->second, shared);
  moved_.notify_all();
  history_.push_back(shared);
  history_bytes_ += shared->bytes();
  while (history_.size() > options_.history_events || history_bytes_ > options_.history_bytes) {
    history_after_ = history_.front()->revision;
    history_bytes_ -= history_.front()->bytes();
    history_.pop_front();
  }
}

// The server's own observers cannot list again: they are told what changed while nobody looked.
void WatchHub::tell_difference(const std::map<std::string, Known, std::less<>>& before) {
  using Type = ObjectEvent::Type;
  if (!observers_.on_event) return;
  for (const auto& [key, known] : before)
    if (!known_.contains(key))
      observers_.on_event(
          std::make_shared<const ObjectEvent>(Type::kDeleted, key, position_, known.text, known.text));
  for (const auto& [key, known] : known_) {
    const auto old = before.find(key);
    if (old != before.end() && old->second.revision == known.revision) continue;
    const auto text_before = old == before.end() ? nullptr : old->second.text;
    observers_.on_event(std::make_shared<const ObjectEvent>(text_before ? Type::kModified : Type::kAdded, key,
                                                            known.revision, known.text, text_before));
  }
}

void WatchHub::fail_all() {
  each_watcher([](Watcher& watcher) {
    watcher.overflowed_ = true;
    watcher.queue_.clear();
    watcher.changed_.notify_all();
  });
}

Task<void> WatchHub::stop() { co_await tasks_.stop(); }
void WatchHub::abandon() {
  stopped_ = true;
  tasks_.abandon();
}

Result<std::unique_ptr<Watcher>> WatchHub::watch(std::string prefix, Revision after, FieldInterest interest) {
  if (after < history_after_ || after > std::max(position_, store_.current_revision()))
    return fail(
        Code::kOutOfRange, "api.watch.expired",
        fmt::format("too old resource version: {} ({})", to_number(after), to_number(history_after_)));
  // Registered first: nothing can arrive in between, as all of this runs on one executor without a pause.
  std::unique_ptr<Watcher> watcher(
      new Watcher(*this, std::move(prefix), std::move(interest), after, options_.watcher_queue_max));
  // The past may be longer than the live queue: it does not count against the bound.
  const auto first =
      std::ranges::upper_bound(history_, after, {}, [](const EventPtr& e) { return e->revision; });
  for (auto at = first; at != history_.end(); ++at)
    if ((*at)->key.starts_with(watcher->prefix_)) watcher->queue_.push_back(*at);
  place_of(*watcher).push_back(watcher.get());
  return watcher;
}

std::size_t WatchHub::watchers() const {
  std::size_t out = 0;
  each_watcher([&out](const Watcher&) { ++out; });
  return out;
}

const WatchHub::Known* WatchHub::find(std::string_view key) const {
  const auto at = known_.find(key);
  return at == known_.end() ? nullptr : &at->second;
}

std::int64_t WatchHub::count_after(std::string_view prefix, std::string_view key) const {
  std::int64_t out = 0;
  for (auto at = known_.upper_bound(key); at != known_.end() && at->first.starts_with(prefix); ++at) ++out;
  return out;
}

void WatchHub::for_each(std::string_view prefix,
                        const std::function<void(const std::string&, const Known&)>& visit) const {
  for (auto at = known_.lower_bound(prefix); at != known_.end() && at->first.starts_with(prefix); ++at)
    visit(at->first, at->second);
}

}  // namespace neap::apiserver
