// Lines on their way from fibers to the one thread that writes them: a bounded ring of bytes that nobody ever waits for.
//
// Why not the queue of spdlog's asynchronous loggers: it takes a mutex for each line, so a worker that loses its CPU within stops
// all others at their next line, for as long as that takes (tests/bench/log_bench.cc counts how often); and to keep what is new it
// throws away what is old.
//
// A line is one record: a header of one word, and the text, padded to words of 8 bytes. Records do not wrap around: where the
// memory ends too early a filler goes first. The header's bits:
//
//     63         62       32..39   0..31
//     published  filler   level    bytes of text (of a filler: all that it fills, but for its header)
//
//     tail                      head
//      v                         v
//   ...[ 48 text ][ 0 ......... ][free                 ]
//                   reserved, not written yet: the reader waits here, writers go on
//
// A writer (1) takes room by moving `head`, (2) writes the text, (3) stores the header: from then on the reader sees it. The reader
// clears what it has read before it moves `tail`, so a header that is not zero has always been stored by (3).
//
// Invariant: head - tail <= capacity, both counted in bytes since the beginning. The hard case is a writer that loses its CPU
// between (1) and (3): nobody waits for it but the reader, and when the ring is full lines are dropped; the caller counts them.
//
// Put() is thread-safe and never blocks; the rest is for one thread at a time, the reader. Cost of Put(): one CAS and a copy.
#ifndef FIBERSCOPE_SERVER_LOG_LINE_RING_H_
#define FIBERSCOPE_SERVER_LOG_LINE_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "server/log/level.h"

namespace fiberscope::log {

class LineRing {
 public:
  // `bytes` is made a power of two, 64 at least.
  explicit LineRing(size_t bytes);
  LineRing(const LineRing&) = delete;
  LineRing& operator=(const LineRing&) = delete;

  // False: it does not fit in what is free. What is longer than half of the ring may not fit in an empty one.
  bool Put(Level level, std::string_view text);

  struct Entry {
    Level level;
    std::string_view text;  // valid until Pop()
  };
  // The oldest line; nothing if there is none, or if it is still being written.
  std::optional<Entry> Front();
  // Removes what Front() has returned.
  void Pop();

  // Bytes that were put, and removed, since the beginning, headers and fillers included; with those that are still being written.
  // Any thread.
  uint64_t put() const { return head_.load(); }
  uint64_t removed() const { return tail_.load(); }
  size_t capacity() const { return capacity_; }

 private:
  uint64_t& WordAt(uint64_t position) { return words_[(position & (capacity_ - 1)) / sizeof(uint64_t)]; }

  const size_t capacity_;
  const std::unique_ptr<uint64_t[]> words_;
  // Bytes since the beginning. Changed in the single order of all sequentially consistent operations, on which the reader's sleep
  // relies (log.cc).
  alignas(64) std::atomic<uint64_t> head_{0};  // written by whoever puts
  alignas(64) std::atomic<uint64_t> tail_{0};  // written by the reader
};

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_LINE_RING_H_
