// Two lines: an object and what is put on it, first by strategic merge, then by server-side apply by two
// managers. Applying the same again changes nothing, and what one applied by force is there afterwards.
#include <cstdint>
#include <cstdlib>

#include "internal/rest.h"

namespace {

using namespace neap;

const api::KindEntry& kind() { return *api::KindTable::standard().find("neap.dev", "v1", "trainingjobs"); }

Json as_job(Json value) {
  auto& object = value.get_object();
  object["apiVersion"] = kind().api_version();
  object["kind"] = kind().kind;
  return value;
}

std::optional<Json> applied(const Json* live, const Json& wanted, std::string_view manager) {
  auto out = apiserver::apply_configuration(kind(), live, wanted, manager, true, WallTime{});
  if (out) return *std::move(out);
  if (out.error().error.message.empty()) std::abort();
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find('\n');
  if (cut == std::string_view::npos) return 0;
  const JsonLimits limits{.bytes_max = 1 << 16, .depth_max = 32};
  const auto first = parse_json(text.substr(0, cut), limits),
             second = parse_json(text.substr(cut + 1), limits);
  if (!first || !second || !first->is_object() || !second->is_object()) return 0;
  auto merged = *first;
  apiserver::strategic_merge(merged, *second);

  const auto live = applied(nullptr, as_job(*first), "ann");
  if (!live) return 0;
  const auto wanted = as_job(*second);
  const auto once = applied(&*live, wanted, "bob");
  if (!once) return 0;
  const auto twice = applied(&*once, wanted, "bob");
  if (!twice) std::abort();
  auto a = *once, b = *twice;
  for (auto* object : {&a, &b})
    if (auto* metadata = object->get_object().if_contains("metadata"); metadata && metadata->is_object())
      metadata->get_object().erase("managedFields");
  if (a != b) std::abort();
  return 0;
}
