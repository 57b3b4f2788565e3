// ByteQueue: bytes that arrive at one end and are taken, frame by frame, from the other.
//
// Taking costs nothing for what stays: bytes move only when at least as many have been taken before, so any
// number of small frames in a large buffer costs time in proportion to the buffer. Not thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "neap/base/assert.h"

namespace neap::io {

class ByteQueue {
 public:
  ByteQueue() = default;
  explicit ByteQueue(std::string bytes) : bytes_(std::move(bytes)) {}

  // Invalid after the next put(), tail() or take().
  std::string_view view() const { return std::string_view(bytes_).substr(begin_); }
  std::size_t size() const { return bytes_.size() - begin_; }
  bool empty() const { return size() == 0; }
  void put(std::string_view bytes) { tail() += bytes; }
  // What may be appended to, and nothing else.
  std::string& tail() {
    if (begin_ > 0 && begin_ >= size()) {
      bytes_.erase(0, begin_);
      begin_ = 0;
    }
    return bytes_;
  }
  // count <= size()
  void take(std::size_t count) {
    NEAP_ASSERT(count <= size());
    begin_ += count;
    if (begin_ < bytes_.size()) return;
    bytes_.clear();
    begin_ = 0;
  }

 private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

}  // namespace neap::io
