// Bytes that outlive the read they came in, with kPadding readable bytes after them as decoders expect.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

// Grows by doubling and keeps its memory when cleared, except for what one exceptional event needed. A NUL
// follows the bytes: simdjson looks at the first byte behind a document whose brackets do not match, and its
// verdict must not depend on what was in the buffer before.
class PaddedBuffer {
 public:
  // More than this is given back by Clear, so that one huge event does not stay with its connection.
  static constexpr size_t kKeep = 256 * 1024;

  char* data() { return data_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_.get(), size_}; }

  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    if (size_ + bytes.size() > capacity_) Grow(size_ + bytes.size());
    std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
    SetSize(size_ + bytes.size());
  }
  // `size` must not exceed size().
  void Truncate(size_t size) {
    if (size < size_) SetSize(size);
  }
  void Clear() {
    size_ = 0;
    if (capacity_ > kKeep) {
      data_.reset();
      capacity_ = 0;
    }
  }

 private:
  void SetSize(size_t size) {
    size_ = size;
    data_[size] = '\0';
  }

  void Grow(size_t needed) {
    const size_t capacity = std::max({needed, 2 * capacity_, size_t{1024}});
    std::unique_ptr<char[]> grown(new char[capacity + kPadding]());
    if (size_ > 0) std::memcpy(grown.get(), data_.get(), size_);
    data_ = std::move(grown);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace llmbench::wire
