// One API request after the transport is stripped off, and its answer. The HTTP front and the in-process
// client both speak this, so that both take the same path.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/kind.h"
#include "neap/apiserver/server.h"
#include "neap/auth/auth.h"
#include "neap/base/context.h"
#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/base/task.h"

namespace neap::apiserver {

enum class PatchKind { kMerge, kJson, kApply, kStrategic };

struct Parameters {
  std::string label_selector, field_selector, continue_token;
  std::string resource_version, resource_version_match;
  std::int64_t limit = 0;
  bool dry_run = false;
  bool force = false;
  bool allow_bookmarks = false;
  std::optional<bool> send_initial_events;
  std::int64_t timeout_seconds = 0;  // 0: the server's choice
  std::string field_manager;
  bool keeps_managers = false;  // a creation records its manager
  // Set when the answer is wanted as a Table: "None", "Metadata" or "Object" beside each row.
  std::optional<std::string> table;
  bool partial = false;  // the answer is wanted as PartialObjectMetadata
  api::Strictness strictness = api::Strictness::kWarn;
};

struct Request {
  CallContext ctx;
  auth::Identity who;
  auth::Attributes what;
  const api::KindEntry* kind = nullptr;
  Parameters parameters;
  PatchKind patch = PatchKind::kMerge;
  Json body;  // object, patch or DeleteOptions; null when there is none
  RequestOrigin origin;
};

struct Reply {
  int status = 200;
  Json body;
  std::string text;  // the body as text, where that was at hand without building a value
  std::vector<std::string> warnings;
};

// An Error, and what a Status object says beyond it.
struct Failure {
  Error error;
  JsonArray causes;
  int http = 0;                              // 0: by the error's code
  std::string status_reason;                 // empty: by the error's code
  int retry_after_seconds = 0;               // 0: nothing is said
  Failure(Error e) : error(std::move(e)) {}  // NOLINT: NEAP_CO_TRY converts
  Failure(Error e, JsonArray c) : error(std::move(e)), causes(std::move(c)) {}
};
template <class T>
using Outcome = std::expected<T, Failure>;

// "trainingjobs.neap.dev", "configmaps".
std::string qualified(const api::KindEntry& kind);
// Status sentences as Kubernetes clients know them.
std::unexpected<Error> not_found(const api::KindEntry& kind, std::string_view name);
std::unexpected<Error> already_exists(const api::KindEntry& kind, std::string_view name);
std::unexpected<Error> conflict(const api::KindEntry& kind, std::string_view name);
std::unexpected<Error> forbidden(const auth::Identity& who, const auth::Attributes& what,
                                 std::string_view reason);
std::unexpected<Error> bad_request(std::string reason, std::string message);
std::unexpected<Failure> invalid(const api::KindEntry& kind, std::string_view name,
                                 const std::vector<api::FieldProblem>& problems);
// 405: a kind that shows another's objects takes no writes.
std::unexpected<Failure> view_is_read(const api::KindEntry& kind);
// 405: the path is known, and is not asked this way.
std::unexpected<Failure> method_not_allowed();
// The Status of a failure, with details.
Json status_of(const Failure& failure, const auth::Attributes& what, const api::KindEntry* kind);
int http_status_of(const Failure& failure);

// --- request_info.cc
struct RequestInfo {
  auth::Attributes what;
  const api::KindEntry* kind = nullptr;  // null for paths that are no resource
  bool is_watch = false;
};
// `path` is decoded. Paths outside /api and /apis are no resources; a resource path that names nothing
// known is kNotFound ("the server could not find the requested resource").
Result<RequestInfo> parse_request_info(const api::KindTable& kinds, std::string_view method,
                                       std::string_view path, bool watch_asked);
// Kinds that are only ever created and answered, never stored.
struct ReviewKind {
  std::string_view group, version, kind, plural;
  bool namespaced = false;
};
const std::vector<ReviewKind>& review_kinds();
// A KindEntry of a review kind, for the code that wants one.
const api::KindEntry* find_review_kind(std::string_view group, std::string_view version,
                                       std::string_view plural);

}  // namespace neap::apiserver
