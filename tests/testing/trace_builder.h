// Generations of an execution trace made by hand, event by event: also those that no runtime would record.
//
//   TraceBuilder trace;
//   trace.On(7).Add(TraceEvent::kProcessorStatus, 0, 1).Add(TraceEvent::kFiberCreate, 1, 0, 0);
//   trace.Build()
#ifndef FIBERSCOPE_TESTS_TESTING_TRACE_BUILDER_H_
#define FIBERSCOPE_TESTS_TESTING_TRACE_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/trace/trace_event.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope::testing {

// A tick is a nanosecond. Each event is 10 after the one added before, in whatever thread, unless At() says when. A
// generation begins 1000 * number.
class TraceBuilder {
 public:
  explicit TraceBuilder(uint64_t number = 1) : ticks_(1000 * number) {
    generation_.number = number;
    generation_.start = ticks_;
    generation_.ticks_per_second = 1'000'000'000;
  }

  // What follows is recorded by that thread.
  TraceBuilder& On(uint64_t thread) {
    thread_ = thread;
    return *this;
  }

  // The next event's time. Not before the event before in the same thread.
  TraceBuilder& At(uint64_t ticks) {
    ticks_ = ticks - 10;
    return *this;
  }

  template <typename... Args>
  TraceBuilder& Add(TraceEvent type, Args... args) {
    ticks_ += 10;
    const auto [at, added] = open_.try_emplace(thread_, Open{generation_.batches.size(), ticks_});
    if (added) generation_.batches.push_back({.thread = thread_, .time = ticks_});
    std::string& data = generation_.batches[at->second.batch].data;
    data += static_cast<char>(type);
    AddVarint(data, ticks_ - at->second.ticks);
    (AddVarint(data, static_cast<uint64_t>(args)), ...);
    at->second.ticks = ticks_;
    return *this;
  }

  TraceBuilder& Bytes(const std::string& bytes) {
    generation_.batches[open_.at(thread_).batch].data += bytes;
    return *this;
  }

  // What follows goes into new batches.
  TraceBuilder& NewBatches() {
    open_.clear();
    return *this;
  }

  uint64_t String(std::string text) {
    generation_.strings.push_back({kFirstTraceString + generation_.strings.size(), std::move(text)});
    return generation_.strings.back().number;
  }

  uint64_t Stack(std::vector<uintptr_t> pcs) {
    generation_.stacks.push_back({generation_.stacks.size() + 1, std::move(pcs)});
    return generation_.stacks.back().number;
  }

  TraceGeneration& generation() { return generation_; }

  std::shared_ptr<const TraceGeneration> Build() const { return std::make_shared<const TraceGeneration>(generation_); }

 private:
  struct Open {
    size_t batch;
    uint64_t ticks;
  };

  static void AddVarint(std::string& data, uint64_t value) {
    for (; value >= 0x80; value >>= 7) data += static_cast<char>(value | 0x80);
    data += static_cast<char>(value);
  }

  TraceGeneration generation_;
  std::map<uint64_t, Open> open_;  // by thread
  uint64_t thread_ = 1;
  uint64_t ticks_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_TRACE_BUILDER_H_
