#include "runtime/control_block.h"

#include <algorithm>
#include <cstring>

namespace fiberscope::internal {

void AtomicName::Store(std::string_view name) {
  for (size_t i = 0; i < words_.size(); ++i) {
    uint64_t word = 0;
    const size_t at = i * sizeof(word);
    if (at < name.size()) std::memcpy(&word, name.data() + at, std::min(sizeof(word), name.size() - at));
    words_[i].store(word, std::memory_order_relaxed);
  }
}

std::string_view AtomicName::Load(std::array<char, kBytes>& buffer) const {
  for (size_t i = 0; i < words_.size(); ++i) {
    const uint64_t word = words_[i].load(std::memory_order_relaxed);
    std::memcpy(buffer.data() + i * sizeof(word), &word, sizeof(word));
  }
  return {buffer.data(), strnlen(buffer.data(), kBytes)};
}

}  // namespace fiberscope::internal
