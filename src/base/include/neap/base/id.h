// Ids and names as types: a NodeName is not a SiteName, and neither is a string by accident.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace neap {

template <class Tag>
class StringId {
 public:
  StringId() = default;
  explicit StringId(std::string value) : value_(std::move(value)) {}
  const std::string& str() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend auto operator<=>(const StringId&, const StringId&) = default;

 private:
  std::string value_;
};

using SiteName = StringId<struct SiteTag>;
using NodeName = StringId<struct NodeTag>;
using ProjectName = StringId<struct ProjectTag>;
using Uid = StringId<struct UidTag>;

// A store's global, monotonic position. 0 is before the first write.
enum class Revision : std::uint64_t {};
inline std::uint64_t to_number(Revision r) { return static_cast<std::uint64_t>(r); }
// A gang's commit number: members of two epochs never run at once.
enum class Epoch : std::uint64_t {};
inline std::uint64_t to_number(Epoch e) { return static_cast<std::uint64_t>(e); }

}  // namespace neap

template <class Tag>
struct std::hash<neap::StringId<Tag>> {
  std::size_t operator()(const neap::StringId<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
