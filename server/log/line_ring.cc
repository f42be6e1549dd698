#include "server/log/line_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace fiberscope::log {
namespace {

constexpr uint64_t kPublished = uint64_t{1} << 63;
constexpr uint64_t kFiller = uint64_t{1} << 62;
constexpr int kLevelShift = 32;
constexpr size_t kHeaderBytes = sizeof(uint64_t);

uint64_t BytesOf(uint64_t header) { return header & 0xffff'ffff; }

// With its header.
uint64_t RecordBytes(uint64_t text_bytes) { return kHeaderBytes + (text_bytes + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes; }

}  // namespace

LineRing::LineRing(size_t bytes)
    : capacity_(std::bit_ceil(std::max(bytes, size_t{64}))), words_(std::make_unique<uint64_t[]>(capacity_ / sizeof(uint64_t))) {}

bool LineRing::Put(Level level, std::string_view text) {
  const uint64_t record = RecordBytes(text.size());
  uint64_t head = head_.load(std::memory_order_relaxed);
  uint64_t filler;
  for (;;) {
    const uint64_t until_end = capacity_ - (head & (capacity_ - 1));
    filler = record > until_end ? until_end : 0;
    // Acquire pairs with the store in Pop(): what was removed is clear. The tail may have passed a head that is out of date.
    const uint64_t tail = tail_.load(std::memory_order_acquire);
    if (tail > head || head - tail + filler + record > capacity_) {
      const uint64_t now = head_.load(std::memory_order_relaxed);
      if (now == head) return false;
      head = now;
    } else if (head_.compare_exchange_weak(head, head + filler + record)) {
      break;
    }
  }
  // Release: the reader that sees a header sees the text.
  if (filler != 0) {
    std::atomic_ref(WordAt(head)).store(kPublished | kFiller | (filler - kHeaderBytes), std::memory_order_release);
    head += filler;
  }
  if (!text.empty()) std::memcpy(&WordAt(head) + 1, text.data(), text.size());
  const uint64_t header = kPublished | static_cast<uint64_t>(level) << kLevelShift | text.size();
  std::atomic_ref(WordAt(head)).store(header, std::memory_order_release);
  return true;
}

std::optional<LineRing::Entry> LineRing::Front() {
  for (;;) {
    uint64_t& word = WordAt(tail_.load(std::memory_order_relaxed));
    const uint64_t header = std::atomic_ref(word).load(std::memory_order_acquire);
    if ((header & kPublished) == 0) return std::nullopt;
    if ((header & kFiller) == 0) {
      return Entry{static_cast<Level>(header >> kLevelShift & 0xff), {reinterpret_cast<const char*>(&word + 1), BytesOf(header)}};
    }
    Pop();
  }
}

void LineRing::Pop() {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  uint64_t& word = WordAt(tail);
  const uint64_t record = RecordBytes(BytesOf(word));
  std::memset(&word, 0, record);
  tail_.store(tail + record);  // pairs with the load in Put()
}

}  // namespace fiberscope::log
