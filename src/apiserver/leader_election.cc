#include "neap/apiserver/leader_election.h"

#include "internal/object_text.h"
#include "neap/api/kind.h"

namespace neap::apiserver {
namespace {

std::int64_t seconds_of(Duration duration) {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}
bool is_refusal(const Error& error) {
  return error.code == Code::kAborted || error.code == Code::kNotFound || error.code == Code::kAlreadyExists;
}

}  // namespace

LeaderElection::LeaderElection(Dependencies dependencies, Options options)
    : deps_(std::move(dependencies)), options_(std::move(options)), tasks_(deps_.runtime.executor()) {
  const auto* kind = api::KindTable::standard().find("coordination.k8s.io", "v1", "leases");
  lease_key_ = object_key(*kind, kLeaseNamespace, kLeaseName);
  deps_.fence.on_lost([this] { lose(); });
}

void LeaderElection::start() { tasks_.spawn(run()); }

bool LeaderElection::leads() const { return leading_ && deps_.runtime.executor().now() < valid_until_; }

Task<void> LeaderElection::run() {
  const auto ctx = tasks_.context();
  do {
    if (leading_)
      co_await renew();
    else
      co_await seek();
  } while (co_await sleep_for(deps_.runtime.executor(), ctx, leads() ? options_.renew : options_.retry));
}

std::string LeaderElection::lease_text(std::string_view holder) {
  const auto now = deps_.runtime.clock().wall();
  if (!lease_object_.is_object())
    lease_object_ = JsonObject{{"apiVersion", "coordination.k8s.io/v1"},
                               {"kind", "Lease"},
                               {"metadata", JsonObject{{"name", kLeaseName},
                                                       {"namespace", kLeaseNamespace},
                                                       {"uid", deps_.runtime.random().uuid()},
                                                       {"creationTimestamp", format_rfc3339(now)}}}};
  Json spec = JsonObject();
  if (const auto* known = find_path(lease_object_, {"spec"}); known && known->is_object()) spec = *known;
  auto& fields = spec.get_object();
  if (get_string(spec, "holderIdentity") != holder) {
    fields["holderIdentity"] = holder;
    fields["leaseTransitions"] = get_int(spec, "leaseTransitions") + (holder.empty() ? 0 : 1);
    fields["acquireTime"] = format_rfc3339(now, 6);
  }
  fields["leaseDurationSeconds"] = seconds_of(options_.lease);
  fields["renewTime"] = format_rfc3339(now, 6);
  lease_object_.get_object()["spec"] = std::move(spec);
  return stored_text(lease_object_);
}

void LeaderElection::lead(Revision term, Revision lease, MonoTime since) {
  lease_revision_ = lease;
  valid_until_ = since + options_.lease;
  leading_ = true;
  deps_.fence.open(term);
  if (deps_.changed) deps_.changed(true);
}

void LeaderElection::lose() {
  if (!std::exchange(leading_, false)) return;
  if (const auto term = deps_.fence.term()) lost_term_ = *term;
  deps_.fence.close_fence();
  has_seen_ = false;
  if (deps_.changed) deps_.changed(false);
}

Task<void> LeaderElection::seek() {
  const auto& fence_key = deps_.fence.fence_key();
  const auto now = deps_.runtime.executor().now();
  const auto ctx = tasks_.context().with_deadline(now + options_.lease);
  const auto fence = co_await deps_.store.get(ctx, fence_key);
  if (!fence) co_return;
  auto lease = co_await deps_.store.get(ctx, lease_key_);
  if (!lease) co_return;
  const Revision revision = *lease ? (*lease)->mod_revision : Revision{};
  lease_object_ = nullptr;
  if (*lease)
    if (auto parsed = parse_json((*lease)->value)) lease_object_ = *std::move(parsed);
  if (!has_seen_ || revision != lease_revision_) seen_at_ = deps_.runtime.executor().now();
  has_seen_ = true;
  lease_revision_ = revision;
  const auto* spec = find_path(lease_object_, {"spec"});
  const std::string holder(spec ? get_string(*spec, "holderIdentity") : "");
  // Taken by a commit of this process whose answer was lost. A term that it led in is not taken up again, but
  // made anew: a write of that time may still be under way, which nobody counts on any more.
  const bool is_own = holder == options_.holder && *fence && (*fence)->value == options_.holder;
  if (is_own && (*fence)->mod_revision != lost_term_) {
    lead((*fence)->mod_revision, revision, now);
    co_return;
  }
  const auto duration =
      spec
          ? Duration(std::chrono::seconds(get_int(*spec, "leaseDurationSeconds", seconds_of(options_.lease))))
          : options_.lease;
  if (!holder.empty() && !is_own &&
      deps_.runtime.executor().now() - seen_at_ < std::min(duration, options_.lease * 4))
    co_return;
  const auto sent = deps_.runtime.executor().now();
  std::vector<store::Op> ops{
      store::Op::put(lease_key_, lease_text(options_.holder), revision),
      store::Op::put(fence_key, options_.holder, *fence ? (*fence)->mod_revision : Revision{})};
  if (const auto term = co_await deps_.store.commit(tasks_.context(), std::move(ops)))
    lead(*term, *term, sent);
}

Task<void> LeaderElection::renew() {
  const auto term = deps_.fence.term();
  if (!term) co_return lose();
  const auto sent = deps_.runtime.executor().now();
  std::vector<store::Op> ops{store::Op::put(lease_key_, lease_text(options_.holder), lease_revision_),
                             store::Op::check(deps_.fence.fence_key(), *term)};
  const auto done = co_await deps_.store.commit(tasks_.context(), std::move(ops));
  if (!leading_) co_return;
  if (done) {
    lease_revision_ = *done;
    valid_until_ = sent + options_.lease;
    co_return;
  }
  if (is_refusal(done.error())) co_await check_after_refusal();
  if (deps_.runtime.executor().now() >= valid_until_) lose();
}

// Another leader, or somebody who edited the Lease: only the first ends this term.
Task<void> LeaderElection::check_after_refusal() {
  const auto fence = co_await deps_.store.get(tasks_.context(), deps_.fence.fence_key());
  if (!fence || !leading_) co_return;
  if (!*fence || (*fence)->mod_revision != deps_.fence.term()) co_return lose();
  const auto lease = co_await deps_.store.get(tasks_.context(), lease_key_);
  if (!lease) co_return;
  lease_revision_ = *lease ? (*lease)->mod_revision : Revision{};
  if (!*lease) lease_object_ = nullptr;
}

Task<void> LeaderElection::stop() {
  co_await tasks_.stop();
  if (!leading_) co_return;
  const auto term = deps_.fence.term();
  const auto text = lease_text("");
  if (term) {
    std::vector<store::Op> ops{store::Op::put(lease_key_, text, lease_revision_),
                               store::Op::check(deps_.fence.fence_key(), *term)};
    // Without it the others wait for the Lease to run out.
    (void)co_await deps_.store.commit({}, std::move(ops));
  }
  lose();
}

}  // namespace neap::apiserver
