// What every ResourceClient must do: instantiate for the fake, for HTTP, and for the API server in process.
//
//   INSTANTIATE_TEST_SUITE_P(Fake, ResourceClientConformance, testing::Values(ClientWorldFactory(...)));
//
// Include from one file of a test binary. The world's store is empty but for what a server makes itself.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>

#include "neap/api/resource.h"
#include "neap/client/resource_client.h"
#include "neap/client/typed.h"

namespace neap::client {

class ClientWorld {
 public:
  virtual ~ClientWorld() = default;
  virtual ResourceClient& client() = 0;
  // Runs `task` to its end.
  virtual void run(Task<void> task) = 0;
};
using ClientWorldFactory = std::function<std::unique_ptr<ClientWorld>()>;

class ResourceClientConformance : public testing::TestWithParam<ClientWorldFactory> {
 protected:
  void SetUp() override { world_ = GetParam()(); }
  void run(Task<void> (*scenario)(ResourceClient&)) { world_->run(scenario(world_->client())); }
  std::unique_ptr<ClientWorld> world_;
};

namespace conformance {

inline ResourcePath sites(std::string name = {}, std::string subresource = {}) {
  return {"neap.dev", "v1", "sites", "", std::move(name), std::move(subresource)};
}
inline ResourcePath datasets(std::string ns, std::string name = {}) {
  return {"neap.dev", "v1", "datasets", std::move(ns), std::move(name), ""};
}
inline Json site(std::string_view name, std::string_view label = "x") {
  api::Site out;
  out.metadata.name = name;
  out.metadata.labels = {{"color", std::string(label)}};
  out.spec.tier = api::Tier::kEdge;
  out.spec.jurisdiction = "DE";
  return api::to_json(out);
}
inline Json dataset(std::string_view name) {
  api::Dataset out;
  out.metadata.name = name;
  out.spec.jurisdiction = "DE";
  return api::to_json(out);
}
inline std::string version(const Json& object) {
  return std::string(get_string(object.at("metadata"), "resourceVersion"));
}
inline std::string name(const Json& object) { return std::string(get_string(object.at("metadata"), "name")); }
inline Code code(const Result<Json>& result) { return result ? Code(0) : result.error().code; }
inline std::string names(const Result<Json>& list) {
  if (!list) return list.error().to_string();
  std::string out;
  for (const auto& item : list->at("items").as_array()) out += (out.empty() ? "" : ",") + name(item);
  return out;
}

// EXPECT in a coroutine is fine; ASSERT is not, since it returns.
inline Task<void> creates_and_reads(ResourceClient& c) {
  const auto made = co_await c.create({}, sites(), site("a"), {});
  EXPECT_TRUE(made) << made.error().to_string();
  if (!made) co_return;
  EXPECT_NE(version(*made), "");
  EXPECT_NE(get_string(made->at("metadata"), "uid"), "");
  EXPECT_NE(get_string(made->at("metadata"), "creationTimestamp"), "");
  EXPECT_EQ(get_int(made->at("metadata"), "generation"), 1);
  const auto read = co_await c.get({}, sites("a"));
  EXPECT_TRUE(read && *read == *made);
  EXPECT_EQ(code(co_await c.create({}, sites(), site("a"), {})), Code::kAlreadyExists);
  EXPECT_EQ(code(co_await c.get({}, sites("absent"))), Code::kNotFound);
  EXPECT_EQ(code(co_await c.get({}, {"neap.dev", "v1", "nonsense", "", "a", ""})), Code::kNotFound);
}

inline Task<void> refuses_what_is_invalid(ResourceClient& c) {
  Json bad = site("a");
  bad.at("spec").as_object().erase("tier");
  const auto refused = co_await c.create({}, sites(), bad, {});
  EXPECT_EQ(code(refused), Code::kFailedPrecondition);
  if (!refused)
    EXPECT_NE(refused.error().message.find("spec.tier: is required"), std::string::npos)
        << refused.error().message;
  EXPECT_EQ(code(co_await c.get({}, sites("a"))), Code::kNotFound);
}

inline Task<void> update_is_compare_and_swap(ResourceClient& c) {
  auto first = co_await c.create({}, sites(), site("a"), {});
  EXPECT_TRUE(first);
  if (!first) co_return;
  Json next = *first;
  next.at("spec").as_object()["currency"] = "EUR";
  const auto second = co_await c.update({}, sites("a"), next, {});
  EXPECT_TRUE(second) << second.error().to_string();
  if (!second) co_return;
  EXPECT_NE(version(*second), version(*first));
  EXPECT_EQ(get_int(second->at("metadata"), "generation"), 2);
  EXPECT_EQ(code(co_await c.update({}, sites("a"), next, {})), Code::kAborted) << "the version is stale now";
  const auto again = co_await c.update({}, sites("a"), *second, {});
  EXPECT_TRUE(again && version(*again) == version(*second))
      << "a write that changes nothing makes no version";
  EXPECT_EQ(code(co_await c.update({}, sites("b"), site("b"), {})), Code::kNotFound);
}

inline Task<void> status_and_spec_are_written_apart(ResourceClient& c) {
  auto made = co_await c.create({}, sites(), site("a"), {});
  EXPECT_TRUE(made);
  if (!made) co_return;
  Json next = *made;
  next.as_object()["status"] = JsonObject{{"nodes", 3}};
  next.at("spec").as_object()["currency"] = "EUR";
  const auto status = co_await c.update({}, sites("a", "status"), next, {});
  EXPECT_TRUE(status) << status.error().to_string();
  if (!status) co_return;
  EXPECT_EQ(status->at("status").at("nodes"), 3);
  EXPECT_EQ(get_string(status->at("spec"), "currency"), "USD");
  EXPECT_EQ(get_int(status->at("metadata"), "generation"), 1);
  next.as_object()["metadata"] = status->at("metadata");
  next.at("status").as_object()["nodes"] = 9;
  const auto spec = co_await c.update({}, sites("a"), next, {});
  EXPECT_TRUE(spec) << spec.error().to_string();
  if (!spec) co_return;
  EXPECT_EQ(spec->at("status").at("nodes"), 3);
  EXPECT_EQ(get_string(spec->at("spec"), "currency"), "EUR");
}

inline Task<void> patches(ResourceClient& c) {
  EXPECT_TRUE(co_await c.create({}, sites(), site("a"), {}));
  const Json merge =
      JsonObject{{"metadata", JsonObject{{"labels", JsonObject{{"color", nullptr}, {"size", "m"}}}}}};
  const auto merged = co_await c.patch({}, sites("a"), PatchType::kMerge, merge, {});
  EXPECT_TRUE(merged) << merged.error().to_string();
  if (merged) EXPECT_EQ(to_text(merged->at("metadata").at("labels")), R"({"size":"m"})");
  const Json operations =
      JsonArray{JsonObject{{"op", "replace"}, {"path", "/spec/currency"}, {"value", "EUR"}}};
  const auto patched = co_await c.patch({}, sites("a"), PatchType::kJson, operations, {});
  EXPECT_TRUE(patched) << patched.error().to_string();
  if (patched) EXPECT_EQ(get_string(patched->at("spec"), "currency"), "EUR");
  const Json stale = JsonObject{{"metadata", JsonObject{{"resourceVersion", "1"}}},
                                {"spec", JsonObject{{"currency", "CHF"}}}};
  EXPECT_EQ(code(co_await c.patch({}, sites("a"), PatchType::kMerge, stale, {})), Code::kAborted);
  EXPECT_EQ(code(co_await c.patch({}, sites("absent"), PatchType::kMerge, merge, {})), Code::kNotFound);
}

inline Task<void> lists_by_namespace_label_and_field(ResourceClient& c) {
  for (const auto ns : {"one", "two", "three"}) {
    const Json project =
        JsonObject{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", JsonObject{{"name", ns}}}};
    EXPECT_TRUE(co_await c.create({}, {"", "v1", "namespaces", "", "", ""}, project, {}));
  }
  for (const auto ns : {"one", "two"})
    for (const auto n : {"a", "b"}) {
      const auto made = co_await c.create({}, datasets(ns), dataset(n), {});
      EXPECT_TRUE(made) << made.error().to_string();
    }
  EXPECT_EQ(names(co_await c.list({}, datasets("one"), {})), "a,b");
  EXPECT_EQ(names(co_await c.list({}, datasets(""), {})), "a,b,a,b");
  EXPECT_EQ(names(co_await c.list({}, datasets(""), {.field_selector = "metadata.name=b"})), "b,b");
  EXPECT_EQ(names(co_await c.list({}, datasets("three"), {})), "");
  EXPECT_TRUE(co_await c.create({}, sites(), site("red", "red"), {}));
  EXPECT_TRUE(co_await c.create({}, sites(), site("blue", "blue"), {}));
  EXPECT_EQ(names(co_await c.list({}, sites(), {.label_selector = "color in (red,green)"})), "red");
  EXPECT_EQ(code(co_await c.list({}, sites(), {.label_selector = "color in"})), Code::kInvalidArgument);
  EXPECT_EQ(code(co_await c.list({}, sites(), {.field_selector = "spec.secret=1"})), Code::kInvalidArgument);
}

inline Task<void> lists_in_pages(ResourceClient& c) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(co_await c.create({}, sites(), site("s" + std::to_string(i)), {}));
  ListOptions page{.limit = 2};
  std::string all;
  int pages = 0;
  do {
    const auto list = co_await c.list({}, sites(), page);
    EXPECT_TRUE(list);
    if (!list) co_return;
    all += names(list) + ";";
    ++pages;
    page.continue_token = get_string(list->at("metadata"), "continue");
  } while (!page.continue_token.empty() && pages < 10);
  EXPECT_EQ(all, "s0,s1;s2,s3;s4;");
}

inline Task<void> watches_from_a_version(ResourceClient& c) {
  EXPECT_TRUE(co_await c.create({}, sites(), site("old"), {}));
  const auto list = co_await c.list({}, sites(), {});
  EXPECT_TRUE(list);
  if (!list) co_return;
  auto stream = co_await c.watch({}, sites(), {}, version(*list));
  EXPECT_TRUE(stream);
  if (!stream) co_return;
  EXPECT_TRUE(co_await c.create({}, sites(), site("new"), {}));
  EXPECT_TRUE(co_await c.patch({}, sites("new"), PatchType::kMerge,
                               JsonObject{{"spec", JsonObject{{"currency", "EUR"}}}}, {}));
  EXPECT_TRUE(co_await c.remove({}, sites("new"), {}));
  using Type = WatchEvent::Type;
  std::uint64_t last = 0;
  for (const auto wanted : {Type::kAdded, Type::kModified, Type::kDeleted}) {
    auto event = co_await (*stream)->next({});
    while (event && *event && (*event)->type == Type::kBookmark) event = co_await (*stream)->next({});
    EXPECT_TRUE(event && *event) << (event ? "the stream ended" : event.error().to_string());
    if (!event || !*event) co_return;
    EXPECT_EQ((*event)->type, wanted);
    EXPECT_EQ(name((*event)->object), "new");
    const auto at = std::stoull(version((*event)->object));
    EXPECT_GT(at, last) << "versions only grow, also for the deletion";
    last = at;
  }
}

inline Task<void> a_watch_with_a_selector_sees_objects_enter_and_leave(ResourceClient& c) {
  const auto list = co_await c.list({}, sites(), {});
  if (!list) co_return;
  auto stream = co_await c.watch({}, sites(), {.label_selector = "color=red"}, version(*list));
  EXPECT_TRUE(stream);
  if (!stream) co_return;
  EXPECT_TRUE(co_await c.create({}, sites(), site("a", "blue"), {}));
  const auto paint = [](const char* color) {
    return Json(JsonObject{{"metadata", JsonObject{{"labels", JsonObject{{"color", color}}}}}});
  };
  EXPECT_TRUE(co_await c.patch({}, sites("a"), PatchType::kMerge, paint("red"), {}));
  EXPECT_TRUE(co_await c.patch({}, sites("a"), PatchType::kMerge, paint("blue"), {}));
  for (const auto wanted : {WatchEvent::Type::kAdded, WatchEvent::Type::kDeleted}) {
    auto event = co_await (*stream)->next({});
    EXPECT_TRUE(event && *event);
    if (!event || !*event) co_return;
    EXPECT_EQ((*event)->type, wanted);
  }
}

inline Task<void> deletes_and_honours_finalizers(ResourceClient& c) {
  Json held = site("held");
  held.at("metadata").as_object()["finalizers"] = JsonArray{"neap.dev/test"};
  EXPECT_TRUE(co_await c.create({}, sites(), held, {}));
  EXPECT_TRUE(co_await c.remove({}, sites("held"), {}));
  const auto dying = co_await c.get({}, sites("held"));
  EXPECT_TRUE(dying);
  if (!dying) co_return;
  EXPECT_NE(get_string(dying->at("metadata"), "deletionTimestamp"), "");
  const Json release = JsonObject{{"metadata", JsonObject{{"finalizers", nullptr}}}};
  EXPECT_TRUE(co_await c.patch({}, sites("held"), PatchType::kMerge, release, {}));
  EXPECT_EQ(code(co_await c.get({}, sites("held"))), Code::kNotFound);
  EXPECT_EQ(code(co_await c.remove({}, sites("held"), {})), Code::kNotFound);
}

inline Task<void> a_dry_run_stores_nothing(ResourceClient& c) {
  const auto made = co_await c.create({}, sites(), site("a"), {.dry_run = true});
  EXPECT_TRUE(made);
  EXPECT_EQ(code(co_await c.get({}, sites("a"))), Code::kNotFound);
  EXPECT_TRUE(co_await c.create({}, sites(), site("a"), {}));
  const auto patched =
      co_await c.patch({}, sites("a"), PatchType::kMerge,
                       JsonObject{{"spec", JsonObject{{"currency", "EUR"}}}}, {.dry_run = true});
  EXPECT_TRUE(patched && get_string(patched->at("spec"), "currency") == "EUR");
  EXPECT_TRUE(co_await c.remove({}, sites("a"), {.dry_run = true}));
  const auto read = co_await c.get({}, sites("a"));
  EXPECT_TRUE(read && get_string(read->at("spec"), "currency") == "USD");
}

inline Task<void> typed_access(ResourceClient& c) {
  TypedClient<api::Site> typed_sites(c);
  const auto wanted = api::from_json<api::Site>(site("typed"));
  EXPECT_TRUE(wanted);
  if (!wanted) co_return;
  auto made = co_await typed_sites.create({}, *wanted);
  EXPECT_TRUE(made) << made.error().to_string();
  if (!made) co_return;
  made->status.nodes = 4;
  auto updated = co_await typed_sites.update_status({}, *made);
  EXPECT_TRUE(updated && updated->status.nodes == 4);
  const auto listed = co_await typed_sites.list({}, "");
  EXPECT_TRUE(listed && listed->size() == 1);
}

}  // namespace conformance

#define NEAP_CONFORMANCE(scenario) \
  TEST_P(ResourceClientConformance, scenario) { run(conformance::scenario); }
NEAP_CONFORMANCE(creates_and_reads)
NEAP_CONFORMANCE(refuses_what_is_invalid)
NEAP_CONFORMANCE(update_is_compare_and_swap)
NEAP_CONFORMANCE(status_and_spec_are_written_apart)
NEAP_CONFORMANCE(patches)
NEAP_CONFORMANCE(lists_by_namespace_label_and_field)
NEAP_CONFORMANCE(lists_in_pages)
NEAP_CONFORMANCE(watches_from_a_version)
NEAP_CONFORMANCE(a_watch_with_a_selector_sees_objects_enter_and_leave)
NEAP_CONFORMANCE(deletes_and_honours_finalizers)
NEAP_CONFORMANCE(a_dry_run_stores_nothing)
NEAP_CONFORMANCE(typed_access)
#undef NEAP_CONFORMANCE

}  // namespace neap::client
