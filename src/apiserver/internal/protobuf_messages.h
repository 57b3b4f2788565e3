// What the protobuf messages of Kubernetes look like: number, JSON name and type of each field.
#pragma once

#include <map>
#include <string_view>
#include <vector>

namespace neap::apiserver {

enum class ProtobufType {
  kText,
  kBytes,
  kInteger,
  kBool,
  kMessage,
  kTextMap,
  kBytesMap,
  kQuantityMap,
  kTime,
  kQuantity,
  kIntOrText
};
// Flags of a row. A field that is no pointer in Go travels even when it is zero, and is not meant then.
inline constexpr int kRepeated = 1, kPointer = 2, kInlined = 4;

struct ProtobufRow {
  int number;
  std::string_view name;
  ProtobufType type;
  std::string_view message = {};  // of kMessage
  int flags = 0;
};

// By message; whole documents are named by apiVersion and kind with a blank between, "DeleteOptions" aside.
const std::map<std::string_view, std::vector<ProtobufRow>>& protobuf_messages();

}  // namespace neap::apiserver
