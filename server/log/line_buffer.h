// Where a line is put together: on the stack, and on the heap if it is long.
//
// Thread-compatible. Not thread_local, although that would be cheaper: a fiber may go on on another thread.
#ifndef FIBERSCOPE_SERVER_LOG_LINE_BUFFER_H_
#define FIBERSCOPE_SERVER_LOG_LINE_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace fiberscope::log {

class LineBuffer {
 public:
  static constexpr size_t kInlineBytes = 1024;  // a line of ten fields with ids; stacks of fibers are small

  LineBuffer() = default;
  LineBuffer(const LineBuffer&) = delete;
  LineBuffer& operator=(const LineBuffer&) = delete;

  void Append(char c) { *Reserve(1) = c; }
  void Append(std::string_view text) {
    // An empty view's data may be null.
    if (!text.empty()) std::memcpy(Reserve(text.size()), text.data(), text.size());
  }

  // Room for `count` characters that are part of the line from now on. Valid until the next call.
  char* Reserve(size_t count) {
    if (count > capacity_ - size_) Grow(count);
    return data_ + std::exchange(size_, size_ + count);
  }
  // Takes back the last ones.
  void Shorten(size_t count) { size_ -= count; }

  std::string_view text() const { return {data_, size_}; }
  size_t size() const { return size_; }

 private:
  void Grow(size_t count) {
    const size_t capacity = std::max(2 * capacity_, size_ + count);
    auto larger = std::make_unique<char[]>(capacity);
    std::memcpy(larger.get(), data_, size_);
    heap_ = std::move(larger);
    data_ = heap_.get();
    capacity_ = capacity;
  }

  char inline_[kInlineBytes];  // not initialised
  std::unique_ptr<char[]> heap_;
  char* data_ = inline_;
  size_t size_ = 0;
  size_t capacity_ = kInlineBytes;
};

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_LINE_BUFFER_H_
