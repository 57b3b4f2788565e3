#include "neap/store/etcd_store.h"

#include <fmt/format.h>

#include <deque>

#include "internal/etcd_client.h"
#include "internal/history.h"
#include "internal/limits.h"
#include "neap/base/task_group.h"

namespace neap::store {
namespace {

using internal::EtcdClient;
using internal::EventId;
using internal::from_base64;
using internal::History;
using internal::HistoryEntry;
using internal::last_id_of;
using internal::number_of;
using internal::revision_of;
using internal::to_base64;

// Calls at etcd at a time; the rest wait here, where they cost nothing.
constexpr std::size_t kCallsMax = 64;
constexpr std::size_t kListItems = 500;
constexpr Duration kReconnectPause = 200ms;
constexpr Duration kFeedCheckInterval = 5s;
constexpr Duration kForgetInterval = 60s;
constexpr Duration kHistoryTimeout = 10s;
// How long a write is tried again while etcd elects a leader or no member is reached; above etcd's own limit
// on a proposal (5 s and two elections).
constexpr Duration kWriteTime = 12s, kUnreachableTime = 4s;
constexpr Duration kWritePause = 100ms;

Revision revision_in(const Json& reply) {
  const auto* header = find_path(reply, {"header"});
  return header ? Revision{number_of(*header, "revision")} : Revision{};
}
const JsonArray& array_in(const Json& object, std::string_view field) {
  static const JsonArray kNone;
  const auto* found = find_path(object, {field});
  return found && found->is_array() ? found->as_array() : kNone;
}

// The commits in the replies of a watch of everything, each whole and with the places of its events as
// every reader of the same history numbers them.
class CommitDecoder {
 public:
  struct Commit {
    Revision revision{};
    std::vector<HistoryEntry> entries;
  };
  explicit CommitDecoder(std::string key_prefix) : key_prefix_(std::move(key_prefix)) {}

  Result<std::vector<Commit>> take(const Json& reply) {
    for (const auto& event : array_in(reply, "events")) NEAP_TRY_VOID(add(event));
    std::vector<Commit> out = std::move(commits_);
    commits_.clear();
    // A fragment may end in the middle of its last commit.
    if (get_bool(reply, "fragment") && !out.empty()) {
      commits_.push_back(std::move(out.back()));
      out.pop_back();
    }
    return out;
  }

 private:
  Status add(const Json& event) {
    const auto* kv = find_path(event, {"kv"});
    if (!kv) return ok();
    const Revision revision{number_of(*kv, "mod_revision")};
    if (commits_.empty() || commits_.back().revision != revision) commits_.push_back({revision, {}});
    auto& entries = commits_.back().entries;
    NEAP_TRY(auto key, from_base64(get_string(*kv, "key")));
    // Others' keys count as revisions only.
    if (!key.starts_with(key_prefix_) || entries.size() == kCommitOpsMax) return ok();
    const bool is_delete = get_string(event, "type") == "DELETE";
    const auto* state = is_delete ? find_path(event, {"prev_kv"}) : kv;
    WatchEvent out{is_delete ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut, {}};
    out.kv.key = key.substr(key_prefix_.size());
    out.kv.mod_revision = revision;
    if (state) {
      NEAP_TRY(out.kv.value, from_base64(get_string(*state, "value")));
      out.kv.create_revision = Revision{number_of(*state, "create_revision")};
    }
    entries.push_back({internal::event_id(revision, entries.size()), std::move(out)});
    return ok();
  }

  std::string key_prefix_;
  std::vector<Commit> commits_;
};

// A transaction that holds all expectations or reads the keys they are about.
std::string txn_body(const std::string& prefix, const std::vector<Op>& ops) {
  std::string compare, success, failure;
  const auto separate = [](std::string& list) -> std::string& { return list.empty() ? list : list += ','; };
  for (const auto& op : ops) {
    const std::string key = to_base64(prefix + op.key);
    const bool is_remove = op.kind == Op::Kind::kRemove;
    // Nothing can be removed that must not exist: revision -1 never is, so that the answer is an error.
    const std::string at = !op.expected ? "0"
                           : is_remove && *op.expected == Revision{}
                               ? "-1"
                               : std::to_string(to_number(*op.expected));
    if (op.expected || is_remove)
      separate(compare) += fmt::format(R"({{"key":"{}","target":"MOD","result":"{}","mod_revision":"{}"}})",
                                       key, op.expected ? "EQUAL" : "GREATER", at);
    separate(failure) += fmt::format(R"({{"request_range":{{"key":"{}","keys_only":true}}}})", key);
    if (op.kind == Op::Kind::kPut)
      separate(success) +=
          fmt::format(R"({{"request_put":{{"key":"{}","value":"{}"}}}})", key, to_base64(op.value));
    if (is_remove) separate(success) += fmt::format(R"({{"request_delete_range":{{"key":"{}"}}}})", key);
  }
  return fmt::format(R"({{"compare":[{}],"success":[{}],"failure":[{}]}})", compare, success, failure);
}

// Tried again, such a commit is made once at most: the first time moves what the second expects.
bool is_conditional(const std::vector<Op>& ops) {
  return std::ranges::all_of(
             ops, [](const Op& op) { return op.kind == Op::Kind::kCheck || op.expected.has_value(); }) &&
         std::ranges::any_of(ops, [](const Op& op) { return op.kind == Op::Kind::kPut; });
}

// Why a transaction was refused, from what it read instead.
std::unexpected<Error> refusal_of(const std::vector<Op>& ops, const Json& reply) {
  const auto& responses = array_in(reply, "responses");
  for (std::size_t i = 0; i < ops.size() && i < responses.size(); ++i) {
    const auto* range = find_path(responses[i], {"response_range"});
    const JsonArray& kvs = range ? array_in(*range, "kvs") : array_in(reply, "none");
    const Revision actual = kvs.empty() ? Revision{} : Revision{number_of(kvs[0], "mod_revision")};
    if (auto status = internal::check_expected(ops[i], actual); !status)
      return fail(std::move(status).error());
  }
  return fail(Code::kAborted, "store.revision.conflict",
              "etcd refused a commit whose expectations it says hold; read again and retry");
}

}  // namespace

struct EtcdStore::Impl : std::enable_shared_from_this<EtcdStore::Impl> {
  Impl(io::Runtime& r, EtcdStoreOptions o)
      : runtime(r),
        options(std::move(o)),
        group(r.executor()),
        calls(r.executor(), kCallsMax),
        changed(r.executor()) {}

  io::Runtime& runtime;
  EtcdStoreOptions options;
  std::unique_ptr<EtcdClient> client;
  std::shared_ptr<History> history;
  TaskGroup group;
  Semaphore calls;
  // The feed moved, a commit ended, or the store closes.
  Notifier changed;
  std::size_t pending_commits = 0;
  bool closing = false;
  CancelSource feed_cancel;
  std::deque<std::pair<MonoTime, Revision>> samples;

  Task<Status> start();
  Status check_open() const { return closing ? Status(internal::closed()) : ok(); }
  // Until the feed has delivered everything up to `revision`.
  Task<Status> seen(CallContext ctx, Revision revision) {
    while (history->newest() < revision) {
      NEAP_CO_TRY_VOID(check_open());
      NEAP_CO_TRY_VOID(co_await changed.wait(ctx, changed.generation()));
    }
    co_return ok();
  }
  std::unexpected<Error> named(Error error, Revision asked) const {
    if (error.reason == "store.etcd.compacted") return internal::compacted(asked, history->compacted());
    if (error.reason == "store.etcd.future") return internal::future(asked, history->newest());
    return fail(std::move(error));
  }
  Result<KeyValue> key_value(const Json& kv) const {
    KeyValue out;
    NEAP_TRY(out.key, from_base64(get_string(kv, "key")));
    out.key.erase(0, std::min(out.key.size(), options.key_prefix.size()));
    NEAP_TRY(out.value, from_base64(get_string(kv, "value")));
    out.create_revision = Revision{number_of(kv, "create_revision")};
    out.mod_revision = Revision{number_of(kv, "mod_revision")};
    return out;
  }
  Task<Result<Revision>> ask_revision(CallContext ctx);
  Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions asked);
  Task<Result<Revision>> commit(const std::vector<Op>& ops);
  Task<std::optional<Revision>> find_made(const std::vector<Op>& ops);
  Task<Status> forget(CallContext ctx, Revision at);

  static Task<void> feed_loop(Impl& self);
  Task<Status> follow(CallContext ctx);
  Status take_feed(CommitDecoder& decoder, const Json& reply);
  static Task<void> keep_watch(Impl& self);
  Revision forget_target();
  static Task<Result<std::vector<HistoryEntry>>> load_events(std::weak_ptr<Impl> weak, std::string prefix,
                                                             EventId after, EventId through, std::size_t max);
};

Task<Result<Revision>> EtcdStore::Impl::ask_revision(CallContext ctx) {
  // Any linearizable read says what the newest revision is.
  NEAP_CO_TRY(const auto reply, co_await client->read(ctx, "/v3/kv/range",
                                                      fmt::format(R"({{"key":"{}","count_only":true}})",
                                                                  to_base64(options.key_prefix))));
  co_return revision_in(reply);
}

Task<Status> EtcdStore::Impl::start() {
  NEAP_CO_TRY(client, EtcdClient::create(runtime, options.endpoints, options.tls));
  NEAP_CO_TRY(const auto newest, co_await ask_revision(group.context()));
  std::weak_ptr<Impl> weak = weak_from_this();
  // How far etcd has forgotten shows when a watch asks for it.
  history = std::make_shared<History>(
      runtime.executor(), internal::HistoryLimits{.events_max = 8192, .bytes_max = 16u << 20}, newest,
      Revision{}, [weak](std::string prefix, EventId after, EventId through, std::size_t max) {
        return load_events(weak, std::move(prefix), after, through, max);
      });
  group.spawn(feed_loop(*this));
  group.spawn(keep_watch(*this));
  co_return ok();
}

Task<void> EtcdStore::Impl::feed_loop(Impl& self) {
  while (!self.closing) {
    self.feed_cancel = CancelSource(self.group.context().cancel);
    CallContext ctx;
    ctx.cancel = self.feed_cancel.token();
    (void)co_await self.follow(ctx);
    if (self.closing) co_return;
    (void)co_await sleep_for(self.runtime.executor(), self.group.context(), kReconnectPause);
  }
}

Task<Status> EtcdStore::Impl::follow(CallContext ctx) {
  NEAP_CO_TRY(auto replies, co_await client->watch(ctx, to_number(history->newest()) + 1));
  CommitDecoder decoder(options.key_prefix);
  for (;;) {
    NEAP_CO_TRY(const auto reply, co_await replies->next(ctx));
    NEAP_CO_TRY_VOID(take_feed(decoder, reply));
  }
}

Status EtcdStore::Impl::take_feed(CommitDecoder& decoder, const Json& reply) {
  if (get_bool(reply, "canceled")) {
    const Revision gone{number_of(reply, "compact_revision")};
    if (gone > history->newest()) {
      // This store was cut off for longer than the history lasts: every watch here has missed something.
      history->compact(gone);
      history->append({}, gone);
      changed.notify_all();
    }
    return fail(Code::kUnavailable, "store.etcd.watch", "etcd ended the feed; it is begun again");
  }
  NEAP_TRY(auto commits, decoder.take(reply));
  for (auto& commit : commits)
    if (commit.revision > history->newest()) history->append(std::move(commit.entries), commit.revision);
  if (!commits.empty()) changed.notify_all();
  return ok();
}

// Breaks a feed that stands still although etcd went on, as after a connection that died unseen; and
// forgets old history.
Task<void> EtcdStore::Impl::keep_watch(Impl& self) {
  auto& executor = self.runtime.executor();
  MonoTime forgotten_at = executor.now();
  while (co_await sleep_for(executor, self.group.context(), kFeedCheckInterval)) {
    const auto newest = co_await self.ask_revision(self.group.context());
    if (!newest) continue;
    const Revision before = self.history->newest();
    if (before < *newest) {
      if (!co_await sleep_for(executor, self.group.context(), kFeedCheckInterval)) co_return;
      if (self.history->newest() == before) self.feed_cancel.cancel();
    }
    if (executor.now() - forgotten_at < kForgetInterval) continue;
    forgotten_at = executor.now();
    if (const auto target = self.forget_target(); target > self.history->compacted())
      (void)co_await self.forget(self.group.context(), target);
  }
}

// The oldest revision that both limits allow to forget.
Revision EtcdStore::Impl::forget_target() {
  const auto now = runtime.executor().now();
  samples.emplace_back(now, history->newest());
  Revision old_enough{};
  while (!samples.empty() && now - samples.front().first >= options.history_age) {
    old_enough = samples.front().second;
    samples.pop_front();
  }
  const auto newest = to_number(history->newest());
  if (newest <= options.history_revisions) return Revision{};
  return std::min(old_enough, Revision{newest - options.history_revisions});
}

Task<Status> EtcdStore::Impl::forget(CallContext ctx, Revision at) {
  auto done =
      co_await client->read(ctx, "/v3/kv/compaction", fmt::format(R"({{"revision":"{}"}})", to_number(at)));
  // Forgotten already, perhaps by another server.
  if (!done && done.error().reason != "store.etcd.compacted") co_return named(std::move(done).error(), at);
  history->compact(at);
  co_return ok();
}

// What has left the ring is read from etcd's own history, by a watch that ends when it has caught up:
// every revision that is still kept has an event, so its last one shows that the rest has been seen.
Task<Result<std::vector<HistoryEntry>>> EtcdStore::Impl::load_events(std::weak_ptr<Impl> weak,
                                                                     std::string prefix, EventId after,
                                                                     EventId through, std::size_t max) {
  auto self = weak.lock();
  if (!self || self->closing) co_return internal::closed();
  std::vector<HistoryEntry> out;
  // etcd counts from 1, and 1 is the empty store.
  if (revision_of(through) <= Revision{1}) co_return out;
  auto ctx = self->group.context().with_deadline(self->runtime.executor().now() + kHistoryTimeout);
  const bool is_whole = after == last_id_of(revision_of(after));
  NEAP_CO_TRY(auto replies, co_await self->client->watch(
                                ctx, std::max<std::uint64_t>(1, to_number(revision_of(after)) + is_whole)));
  CommitDecoder decoder(self->options.key_prefix);
  for (;;) {
    NEAP_CO_TRY(const auto reply, co_await replies->next(ctx));
    if (get_bool(reply, "canceled")) {
      // The watch that asked finds itself behind this.
      self->history->compact(Revision{number_of(reply, "compact_revision")});
      co_return out;
    }
    NEAP_CO_TRY(auto commits, decoder.take(reply));
    for (auto& commit : commits) {
      for (auto& entry : commit.entries) {
        if (entry.id <= after || entry.id > through || !entry.event.kv.key.starts_with(prefix)) continue;
        out.push_back(std::move(entry));
        if (out.size() == max) co_return out;
      }
      if (commit.revision >= revision_of(through)) co_return out;
    }
  }
}

Task<Result<ListPage>> EtcdStore::Impl::list(CallContext ctx, std::string prefix, ListOptions asked) {
  ListPage page;
  page.revision = asked.revision;
  const std::string own = options.key_prefix + prefix;
  std::string first = asked.start_after >= prefix && !asked.start_after.empty()
                          ? options.key_prefix + asked.start_after + '\0'
                          : own;
  // Without an end of its own the prefix ends where the keys of this store end.
  std::string end = internal::prefix_end(own);
  if (end.empty() || !end.starts_with(options.key_prefix)) end = internal::prefix_end(options.key_prefix);
  std::size_t bytes = 0, batch = kListItems;
  for (;;) {
    const std::size_t left = asked.limit == 0 ? batch : std::min(batch, asked.limit - page.items.size());
    auto reply =
        co_await client->read(ctx, "/v3/kv/range",
                              fmt::format(R"({{"key":"{}","range_end":"{}","limit":"{}","revision":"{}"}})",
                                          to_base64(first), to_base64(end), left, to_number(page.revision)));
    if (!reply && reply.error().reason == "http.body.too_large" && batch > 1) {
      batch = std::max<std::size_t>(1, batch / 8);
      continue;
    }
    if (!reply) co_return named(std::move(reply).error(), asked.revision);
    if (page.revision == Revision{}) page.revision = revision_in(*reply);
    for (const auto& kv : array_in(*reply, "kvs")) {
      if (bytes > kPageBytesMax) {
        page.more = true;
        co_return page;
      }
      NEAP_CO_TRY(auto item, key_value(kv));
      bytes += item.key.size() + item.value.size();
      page.items.push_back(std::move(item));
    }
    page.more = get_bool(*reply, "more");
    if (!page.more || page.items.empty() || page.items.size() == asked.limit) co_return page;
    first = options.key_prefix + page.items.back().key + '\0';
  }
}

Task<Result<Revision>> EtcdStore::Impl::commit(const std::vector<Op>& ops) {
  NEAP_CO_TRY(const auto permit, co_await calls.acquire({}));
  auto& executor = runtime.executor();
  const auto began = executor.now();
  const auto body = txn_body(options.key_prefix, ops);
  bool is_unsure = false;
  for (;;) {
    const auto reply = co_await client->write({}, "/v3/kv/txn", body);
    if (reply && get_bool(*reply, "succeeded")) co_return revision_in(*reply);
    if (reply) {
      // Perhaps it was this commit that moved what it expected, and only its answer was lost.
      if (is_unsure)
        if (const auto made = co_await find_made(ops)) co_return *made;
      co_return refusal_of(ops, *reply);
    }
    const auto& error = reply.error();
    const bool is_unknown = error.reason == "store.outcome.unknown";
    if (is_unknown && !is_conditional(ops)) co_return fail(error);
    is_unsure = is_unsure || is_unknown;
    const bool may_retry = is_unknown || error.reason == "store.etcd.unreachable";
    const auto left = began + (is_unsure ? kWriteTime : kUnreachableTime) - executor.now();
    if (may_retry && !closing && left > Duration::zero()) {
      (void)co_await sleep_for(executor, group.context(), kWritePause);
      continue;
    }
    if (is_unsure && !is_unknown)
      co_return fail(Code::kUnavailable, "store.outcome.unknown",
                     fmt::format("etcd did not say whether it took a write ({}); read before trying again",
                                 error.message));
    co_return fail(error);
  }
}

// The revision at which all of `ops` stand as written; nothing when they do not. Another commit of the same
// bytes over the same states would look the same, and be as good.
Task<std::optional<Revision>> EtcdStore::Impl::find_made(const std::vector<Op>& ops) {
  std::optional<Revision> made;
  for (const auto& op : ops) {
    if (op.kind == Op::Kind::kCheck) continue;
    const auto reply = co_await client->read(
        {}, "/v3/kv/range", fmt::format(R"({{"key":"{}"}})", to_base64(options.key_prefix + op.key)));
    if (!reply) co_return std::nullopt;
    const auto& kvs = array_in(*reply, "kvs");
    if (op.kind == Op::Kind::kRemove) {
      if (!kvs.empty()) co_return std::nullopt;
      continue;
    }
    const auto found = kvs.empty() ? Result<KeyValue>(fail(Code::kNotFound, "", "")) : key_value(kvs[0]);
    if (!found || found->value != op.value || (made && *made != found->mod_revision)) co_return std::nullopt;
    made = found->mod_revision;
  }
  co_return made;
}

EtcdStore::EtcdStore(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
EtcdStore::~EtcdStore() {
  impl_->closing = true;
  impl_->group.abandon();
  if (impl_->history) impl_->history->close();
}

Task<Result<std::unique_ptr<EtcdStore>>> EtcdStore::open(io::Runtime& runtime, EtcdStoreOptions options) {
  auto impl = std::make_shared<Impl>(runtime, std::move(options));
  std::unique_ptr<EtcdStore> out(new EtcdStore(impl));
  NEAP_CO_TRY_VOID(co_await impl->start());
  co_return out;
}

Task<Result<std::optional<KeyValue>>> EtcdStore::get(CallContext ctx, std::string key) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  NEAP_CO_TRY_VOID(ctx.check(impl->runtime.executor().now()));
  // No key is as long; and etcd takes an empty one for a mistake.
  if (key.empty() || key.size() > kKeyBytesMax) co_return std::nullopt;
  NEAP_CO_TRY(
      const auto reply,
      co_await impl->client->read(
          ctx, "/v3/kv/range", fmt::format(R"({{"key":"{}"}})", to_base64(impl->options.key_prefix + key))));
  const auto& kvs = array_in(reply, "kvs");
  NEAP_CO_TRY_VOID(co_await impl->seen(ctx, revision_in(reply)));
  if (kvs.empty()) co_return std::nullopt;
  NEAP_CO_TRY(auto found, impl->key_value(kvs[0]));
  co_return std::optional(std::move(found));
}

Task<Result<ListPage>> EtcdStore::list(CallContext ctx, std::string prefix, ListOptions options) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  NEAP_CO_TRY_VOID(ctx.check(impl->runtime.executor().now()));
  if (options.revision != Revision{} && options.revision < impl->history->compacted())
    co_return internal::compacted(options.revision, impl->history->compacted());
  NEAP_CO_TRY(auto page, co_await impl->list(ctx, std::move(prefix), std::move(options)));
  NEAP_CO_TRY_VOID(co_await impl->seen(ctx, page.revision));
  co_return page;
}

Task<Result<Revision>> EtcdStore::commit(CallContext ctx, std::vector<Op> ops) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  NEAP_CO_TRY_VOID(ctx.check(impl->runtime.executor().now()));
  NEAP_CO_TRY_VOID(internal::check_ops(ops));
  if (impl->pending_commits >= impl->options.pending_commits_max)
    co_return fail(Code::kResourceExhausted, "store.queue.full",
                   fmt::format("{} writes wait already; slow down and retry", impl->pending_commits));
  ++impl->pending_commits;
  auto done = co_await impl->commit(ops);
  // Written is written, also when the store closes before its own feed has shown it.
  if (done) (void)co_await impl->seen({}, *done);
  --impl->pending_commits;
  impl->changed.notify_all();
  co_return done;
}

Result<std::unique_ptr<Watch>> EtcdStore::watch(std::string prefix, Revision after) {
  NEAP_TRY_VOID(impl_->check_open());
  return impl_->history->watch(std::move(prefix), after);
}

Task<Status> EtcdStore::compact(CallContext ctx, Revision at) {
  auto impl = impl_;
  NEAP_CO_TRY_VOID(impl->check_open());
  if (at > impl->history->newest()) co_return internal::future(at, impl->history->newest());
  if (at == Revision{}) co_return ok();
  co_return co_await impl->forget(ctx, at);
}

Revision EtcdStore::current_revision() const { return impl_->history->newest(); }

Task<void> EtcdStore::close() {
  auto impl = impl_;
  if (impl->closing) co_return;
  impl->closing = true;
  impl->history->close();
  impl->changed.notify_all();
  while (impl->pending_commits > 0) (void)co_await impl->changed.wait({}, impl->changed.generation());
  co_await impl->group.stop();
  impl->client->close_idle();
}

}  // namespace neap::store
