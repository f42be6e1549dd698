// File, line and inlined calls of code addresses, from DWARF, by libbacktrace.
#ifndef FIBERSCOPE_PPROF_LINE_READER_H_
#define FIBERSCOPE_PPROF_LINE_READER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

struct backtrace_state;

namespace fiberscope::pprof {

// One call at an address. `function` is as DWARF has it: the mangled name, or the plain one if there is no other.
struct SourceFrame {
  std::string function;  // "" when unknown
  std::string file;      // "" when unknown
  int line = 0;          // 0 when unknown
};

// Reading the debug information of all loaded objects takes 75-150 ms for a large binary, so a thread of its own
// ("dbg-symbols") does it. What it makes covers the objects loaded at that moment; after a dlopen, ask again.
//
// libbacktrace can neither extend what it has read nor free it (about 55 MB for 10 MB of -g1 debug information). Hence
// a further reading is only worth it for an object that has debug information, and at most kMaxReadings are made.
//
// Thread-safe. The destructor waits for a reading under way; the memory of readings stays until the process ends.
class LineReader {
 public:
  static constexpr size_t kMaxReadings = 8;

  LineReader() = default;
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader();

  // Asks for the lines of all objects loaded up to now. `added` is LoadGeneration::added of a list of objects that has
  // been read before the call. Does not wait.
  void Request(uint64_t added);

  // Waits until the lines asked for with `added` can be had, or never can. False when `timeout` has passed first.
  bool WaitFor(uint64_t added, std::chrono::milliseconds timeout);

  // True when Lookup gives for objects of generation `added` all that it will ever give. Never blocks.
  bool IsSettled(uint64_t added) const { return added <= settled_.load(std::memory_order_acquire); }

  // A reading is under way. It holds the dynamic loader's lock: dlopen, dlclose and dl_iterate_phdr wait until it has ended.
  bool IsReading() const { return reading_.load(std::memory_order_acquire); }

  // The calls at `pc`, an address in an object of generation `added`: innermost inlined call first, the physical
  // function last. Empty when nothing is known, or when no reading has covered that object. ~0.1 ms for the first
  // address in a source file's code, less for the next.
  std::vector<SourceFrame> Lookup(uintptr_t pc, uint64_t added) const;

 private:
  struct Reading {
    backtrace_state* state;
    uint64_t added;  // covers objects up to this generation; later ones may lie where unloaded ones have been
  };

  void Run();

  // Written after newest_. Pairs with the acquire load in IsSettled.
  std::atomic<uint64_t> settled_{0};
  std::atomic<const Reading*> newest_{nullptr};  // into readings_

  std::atomic<bool> reading_{false};  // running_, for those who do not want the mutex

  std::mutex mutex_;
  std::condition_variable changed_;  // settled_ or running_
  std::deque<Reading> readings_;     // GUARDED_BY(mutex_); elements never move nor change
  uint64_t requested_ = 0;           // GUARDED_BY(mutex_)
  bool running_ = false;             // GUARDED_BY(mutex_)
  std::thread thread_;               // GUARDED_BY(mutex_)
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_LINE_READER_H_
