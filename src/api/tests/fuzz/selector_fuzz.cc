// First byte: what kind of text. Selectors answer the same for the same object; a patch that fails says
// which operation, and leaves what it was given for the caller to drop.
#include <cstdint>
#include <cstdlib>

#include "neap/api/codec.h"

namespace {

const neap::Json& object() {
  static const auto value = neap::parse_json(R"({"metadata":{"name":"a","labels":{"app":"web","tier":"",
    "x.y/z":"1"}},"spec":{"node":"n1","list":[1,{"k":"v"},[]],"a/b":{"m~n":null}}})")
                                .value();
  return value;
}

void try_labels(std::string_view text) {
  const auto selector = neap::api::LabelSelector::parse(text);
  if (selector && selector->empty() && !selector->matches(object())) std::abort();
  if (selector && selector->matches(object()) != selector->matches(object())) std::abort();
}

void try_fields(std::string_view text) {
  static const std::vector<std::string> allowed{"metadata.name", "spec.node"};
  const auto selector = neap::api::FieldSelector::parse(text, allowed);
  if (!selector) return;
  const auto name = selector->required_value("metadata.name");
  if (name && *name != "a" && selector->matches(object())) std::abort();
}

void try_patch(std::string_view text, bool is_merge) {
  const auto patch = neap::parse_json(text, {.bytes_max = 1 << 16, .depth_max = 32});
  if (!patch) return;
  auto target = object();
  if (is_merge) {
    neap::api::merge_patch(target, *patch);
    auto twice = target;
    neap::api::merge_patch(twice, *patch);
    if (twice != target) std::abort();
  } else if (const auto done = neap::api::json_patch(target, *patch); !done && done.error().message.empty()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      try_labels(text);
      break;
    case 1:
      try_fields(text);
      break;
    default:
      try_patch(text, data[0] % 4 == 2);
  }
  return 0;
}
