// Any bytes as a body in Kubernetes' protobuf envelope: an object that can be written as JSON, or a reason.
#include <cstdint>
#include <cstdlib>

#include "internal/protobuf_body.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace neap;
  const auto body = apiserver::decode_protobuf_body({reinterpret_cast<const char*>(data), size});
  if (!body && body.error().message.empty()) std::abort();
  if (body && !parse_json(to_text(*body), {.bytes_max = 1 << 26, .depth_max = 256})) std::abort();
  return 0;
}
