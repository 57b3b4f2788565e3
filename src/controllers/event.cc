#include "internal/event.h"

namespace neap::controllers {

Task<Status> tell(const Pass& pass, ObjectEvent event) {
  const auto now = format_rfc3339(pass.wall());
  JsonObject out;
  out["apiVersion"] = "v1";
  out["kind"] = "Event";
  out["metadata"] = JsonObject{{"name", event.name}, {"namespace", event.namespace_}};
  out["involvedObject"] = JsonObject{{"apiVersion", event.api_version},
                                     {"kind", event.kind},
                                     {"namespace", event.namespace_},
                                     {"name", event.object},
                                     {"uid", event.uid}};
  out["type"] = event.is_warning ? "Warning" : "Normal";
  out["reason"] = event.reason;
  out["message"] = event.message;
  out["source"] = JsonObject{{"component", event.component}};
  out["firstTimestamp"] = now;
  out["lastTimestamp"] = now;
  out["count"] = 1;
  client::ResourcePath path{.group = "",
                            .version = "v1",
                            .plural = "events",
                            .namespace_ = event.namespace_,
                            .name = {},
                            .subresource = {}};
  auto made = co_await pass.client.create(pass.ctx, std::move(path), Json(std::move(out)), {});
  co_return made ? ok() : tolerate_races(fail(std::move(made).error()));
}

}  // namespace neap::controllers
