#include "tests/testing/fake_symbolizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fiberscope::pprof {

void FakeSymbolizer::Function(uintptr_t start, uintptr_t limit, Frame frame) {
  functions_[start] = {limit, {.frames = {std::move(frame)}, .function_start = start}};
}

void FakeSymbolizer::Call(uintptr_t pc, int line, std::vector<Frame> inlined) {
  Symbolized call = Lookup(pc);
  call.frames.back().line = line;
  call.frames.insert(call.frames.begin(), inlined.begin(), inlined.end());
  calls_[pc] = std::move(call);
}

const Symbolized& FakeSymbolizer::Lookup(uintptr_t pc) {
  if (const auto call = calls_.find(pc); call != calls_.end()) return call->second;
  const auto after = functions_.upper_bound(pc);
  if (after == functions_.begin()) return unknown_;
  const Range& range = std::prev(after)->second;
  return pc < range.limit ? range.symbolized : unknown_;
}

bool FakeSymbolizer::WaitForLines(std::chrono::milliseconds timeout) {
  ++waits_;
  longest_wait_ = std::max(longest_wait_.load(), int64_t{timeout.count()});
  return true;
}

}  // namespace fiberscope::pprof
