// A symbolizer that knows what a test told it.
#ifndef FIBERSCOPE_TESTS_TESTING_FAKE_SYMBOLIZER_H_
#define FIBERSCOPE_TESTS_TESTING_FAKE_SYMBOLIZER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Thread-safe once everything is defined.
class FakeSymbolizer : public Symbolizer {
 public:
  // The function with code [start, limit); `line` is that of every address in it that is not a call defined below.
  void Function(uintptr_t start, uintptr_t limit, Frame frame);

  // The call instruction at `pc` within a function defined before: `line` there, and what is inlined, innermost first.
  void Call(uintptr_t pc, int line, std::vector<Frame> inlined = {});

  const Symbolized& Lookup(uintptr_t pc) override;
  bool WaitForLines(std::chrono::milliseconds timeout) override;

  int waits() const { return waits_; }
  std::chrono::milliseconds longest_wait() const { return std::chrono::milliseconds(longest_wait_); }

 private:
  struct Range {
    uintptr_t limit;
    Symbolized symbolized;
  };

  const Symbolized unknown_;
  std::map<uintptr_t, Range> functions_;  // by start
  std::map<uintptr_t, Symbolized> calls_;
  std::atomic<int> waits_ = 0;
  std::atomic<int64_t> longest_wait_ = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_TESTS_TESTING_FAKE_SYMBOLIZER_H_
