// The events of a generation, decoded: for tests that look at what was recorded.
#ifndef FIBERSCOPE_TESTS_TESTING_TRACE_EVENTS_H_
#define FIBERSCOPE_TESTS_TESTING_TRACE_EVENTS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/trace/trace_event.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope::testing {

struct DecodedEvent {
  uint64_t thread = 0;
  uint64_t time = 0;
  TraceEvent type{};
  std::vector<uint64_t> arguments = {};
};

inline uint64_t TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) {
      ADD_FAILURE() << "a batch ends within a number";
      return 0;
    }
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  ADD_FAILURE() << "a number of more than 10 bytes";
  return 0;
}

// Of a trace that nobody else cuts.
inline TraceGeneration Only(const TraceGenerations& generations) {
  EXPECT_EQ(generations.size(), 1u);
  return generations.empty() ? TraceGeneration() : *generations.front();
}

// In the order of the batches.
inline std::vector<DecodedEvent> Decode(const TraceGeneration& generation) {
  std::vector<DecodedEvent> events;
  for (const TraceBatch& batch : generation.batches) {
    EXPECT_LE(batch.data.size(), TraceBatch::kMaxBytes);
    EXPECT_GE(batch.time, generation.start);
    std::string_view bytes = batch.data;
    uint64_t time = batch.time;
    while (!bytes.empty()) {
      const auto type = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      if (!IsTraceEvent(type)) {
        ADD_FAILURE() << "no event: " << int{type};
        return events;
      }
      DecodedEvent event{.thread = batch.thread, .time = time += TakeVarint(bytes), .type = static_cast<TraceEvent>(type)};
      for (size_t i = 0; i < TraceArguments(event.type); ++i) event.arguments.push_back(TakeVarint(bytes));
      events.push_back(std::move(event));
    }
  }
  return events;
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_TRACE_EVENTS_H_
