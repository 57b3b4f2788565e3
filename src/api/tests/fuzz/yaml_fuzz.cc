// What is read from YAML is written as YAML that means the same.
#include <cstdint>
#include <cstdlib>

#include "neap/api/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace neap;
  const api::YamlLimits limits{.bytes_max = 1 << 16, .depth_max = 24, .nodes_max = 4000, .documents_max = 8};
  const auto documents = api::parse_yaml({reinterpret_cast<const char*>(data), size}, limits);
  if (!documents) {
    if (documents.error().message.empty()) std::abort();
    return 0;
  }
  if (documents->size() > limits.documents_max) std::abort();
  for (const auto& document : *documents) {
    const auto again = api::parse_yaml(api::to_yaml(document));
    if (!again || again->size() != 1 || to_text(again->front()) != to_text(document)) std::abort();
  }
  return 0;
}
