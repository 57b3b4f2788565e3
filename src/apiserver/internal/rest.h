// Rest: what the API does with a request, whoever carried it here. Everything is authorized, admitted
// and audited in here, so that no caller can forget it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "internal/request.h"
#include "internal/table.h"
#include "internal/watch_hub.h"
#include "neap/api/codec.h"
#include "neap/apiserver/admission.h"
#include "neap/apiserver/server.h"

namespace neap::apiserver {

// Which objects a list or watch is about.
struct Selection {
  api::LabelSelector labels;
  api::FieldSelector fields;
  std::string prefix;      // of keys
  std::string key;         // the one key, where metadata.name pins it
  FieldInterest interest;  // by which the objects are found without looking at all of the kind
  bool is_all() const { return labels.empty() && fields.empty(); }
  bool matches(const Json& object) const { return labels.matches(object) && fields.matches(object); }
};

struct WatchItem {
  enum class Type { kAdded, kModified, kDeleted, kBookmark } type = Type::kAdded;
  EventPtr event;  // null for a bookmark
  Json bookmark;   // the object of a bookmark
};

// A running watch: selectors applied, initial events first.
class WatchSession {
 public:
  WatchSession(const api::KindEntry& kind, Selection selection, std::unique_ptr<Watcher> watcher)
      : kind_(kind), selection_(std::move(selection)), watcher_(std::move(watcher)) {}
  // At least one item; the context's deadline passes as kDeadlineExceeded. kOutOfRange: list again.
  Task<Result<std::vector<WatchItem>>> next(CallContext ctx);
  Json bookmark(bool initial_end = false) const;
  bool is_idle() const { return initial_.empty() && watcher_->is_idle(); }
  const api::KindEntry& kind() const { return kind_; }

 private:
  friend class Rest;
  const api::KindEntry& kind_;
  Selection selection_;
  std::unique_ptr<Watcher> watcher_;
  std::vector<WatchItem> initial_;
};

class Rest {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    store::Store& store;
    const api::KindTable& kinds;
    const auth::Authorizer& authorizer;
    std::vector<Admission*> admission;
    AuditSink audit;
    const auth::AuditPolicy* audit_policy;
    WatchHub& hub;
    const std::vector<ExtraSubresource>& subresources;
    const Authenticator& authenticator;
    const TokenIssuer* token_issuer = nullptr;
  };
  explicit Rest(Dependencies dependencies) : deps_(std::move(dependencies)) {}

  // Everything but watch. A failure is a reply with a Status body.
  Task<Reply> serve(Request request);
  Task<Outcome<std::unique_ptr<WatchSession>>> watch(Request request);
  Reply reply_of(const Failure& failure, const Request& request) const;
  // Returns when the record is where the sink keeps it.
  Task<void> audit(const Request& request, int status, std::string reason) const;
  // The same with the bodies its level asks for; `sent` and `answered` may be null.
  Task<void> audit(const Request& request, int status, std::string reason, Json sent,
                   const Reply* answered) const;
  auth::AuditLevel audit_level(const Request& request) const;
  // Writes of the server itself: no authorization, no admission.
  Task<Outcome<Reply>> remove_now(CallContext ctx, const api::KindEntry& kind, std::string ns,
                                  std::string name, std::string uid);
  // Whether what the token of `who` was made for is still there: its ServiceAccount, and the object it is
  // bound to, neither made anew since. kUnauthenticated "auth.token.account", "auth.token.bound";
  // kUnavailable "auth.token.unchecked" where the store does not say within 10 s.
  Task<Status> check_token_objects(CallContext ctx, const auth::Identity& who);
  Task<Status> create_namespace(CallContext ctx, std::string name);
  const Dependencies& dependencies() const { return deps_; }

 private:
  Task<Outcome<Reply>> dispatch(Request& request);
  // service_account.cc
  Task<Outcome<Reply>> create_token(const Request& request);
  Task<Outcome<Reply>> review_token(const Request& request);
  Task<Outcome<std::optional<auth::BoundObject>>> bound_object(const Request& request);
  Task<Status> find_token_objects(CallContext ctx, const auth::Identity& who);
  Task<Result<std::optional<Json>>> token_object(CallContext ctx, std::string group, std::string plural,
                                                 std::string ns, std::string name);
  // rest_read.cc
  Task<Outcome<Reply>> get(const Request& request);
  Task<Outcome<Reply>> list(const Request& request);
  Outcome<Selection> selection_of(const Request& request) const;
  // Newest state of what a selection with an interest is about, from the hub; nothing where the hub is not
  // that far.
  Task<std::optional<store::ListPage>> list_indexed(const Request& request, const Selection& selection);
  // Whether the store has come to that revision, which another server may have given out a moment ago.
  Task<bool> reach(CallContext ctx, Revision revision);
  // rest_write.cc
  // `managed_fields`: an array when server-side apply made the object.
  Task<Outcome<Reply>> create(Request& request, Json managed_fields = nullptr);
  Task<Outcome<Reply>> update(const Request& request);
  Task<Outcome<std::optional<store::KeyValue>>> stored_object(const Request& request, std::string key,
                                                              bool may_be_old);
  Task<Outcome<Reply>> patch(const Request& request);
  Task<Outcome<Reply>> write_changed(const Request& request, const store::KeyValue& stored, Json before,
                                     Json after, std::vector<std::string> warnings, bool applied,
                                     bool& lost_race);
  Outcome<Json> updated_object(const Request& request, const Json& before, Json sent,
                               std::vector<std::string>& warnings, bool sent_by_patch) const;
  Outcome<Json> patched_object(const Request& request, const Json& before, Revision revision,
                               std::vector<std::string>& warnings) const;
  Task<Outcome<Reply>> commit_create(const Request& request, std::string key, Json object,
                                     std::vector<std::string> warnings);
  Task<Outcome<void>> admit(const Request& request, const Json* before, Json* after,
                            std::vector<std::string>& warnings);
  // `before`: what is replaced, null for a new object.
  Outcome<void> check_fields(const Request& request, const Json* before, Json& object, std::string_view name,
                             std::vector<std::string>& warnings) const;
  Task<Outcome<Revision>> namespace_for_write(CallContext ctx, std::string ns, const Request& request,
                                              bool fresh);
  // deletion.cc
  Task<Outcome<Reply>> remove(const Request& request);
  Task<Outcome<Reply>> remove_collection(const Request& request);
  Task<Outcome<Reply>> remove_one(const Request& request, std::string ns, std::string name);

  Dependencies deps_;
};

// --- patch.cc
// Strategic merge for the built-in kinds, reduced to what their shapes need: merge patch, plus lists merged
// by key, plus $patch directives.
void strategic_merge(Json& target, const Json& patch);

// --- apply.cc: server-side apply
// Merges `applied` into `live` (null: it does not exist) as `manager`, keeping field ownership in
// metadata.managedFields. A conflict with another manager is a Failure unless `force`.
Outcome<Json> apply_configuration(const api::KindEntry& kind, const Json* live, const Json& applied,
                                  std::string_view manager, bool force, WallTime now);
// Makes `manager` the owner of everything a new object says.
void record_create(const api::KindEntry& kind, Json& object, std::string_view manager, WallTime now);
// Gives what an update changed to its manager, on objects that have managers.
void record_update(const api::KindEntry& kind, const Json& before, Json& after, std::string_view manager,
                   std::string_view subresource, WallTime now);

// --- reviews.cc
// Refuses questions that ask nothing, two things at once, or about nobody.
Outcome<void> check_review(const Request& request);
Json answer_review(const Request& request, const auth::Authorizer& authorizer);
// The userInfo of a review.
Json user_info(const auth::Identity& who);

// Removes null members of objects: a null is an absent member.
void drop_nulls(Json& value);
// Erases the member a validation path names ("spec.list[0].x").
void erase_path(Json& object, std::string_view path);

}  // namespace neap::apiserver
