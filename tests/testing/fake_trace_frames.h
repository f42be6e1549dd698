// Frames of addresses that are no code: 7 is "f7" in line 7 of /src/f.cc, unless it has a name.
#ifndef FIBERSCOPE_TESTS_TESTING_FAKE_TRACE_FRAMES_H_
#define FIBERSCOPE_TESTS_TESTING_FAKE_TRACE_FRAMES_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pprof/trace/trace_frames.h"

namespace fiberscope::pprof {

class FakeTraceFrames : public TraceFrames {
 public:
  FakeTraceFrames() = default;
  explicit FakeTraceFrames(std::map<uintptr_t, std::string> names) : names_(std::move(names)) {}

  std::vector<TraceFrame> Frames(std::span<const uintptr_t> pcs) override {
    std::vector<TraceFrame> frames;
    for (const uintptr_t pc : pcs) {
      const auto name = names_.find(pc);
      frames.push_back({.pc = pc,
                        .function = name == names_.end() ? "f" + std::to_string(pc) : name->second,
                        .file = "/src/f.cc",
                        .line = static_cast<int>(pc)});
    }
    return frames;
  }

 private:
  std::map<uintptr_t, std::string> names_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_TESTS_TESTING_FAKE_TRACE_FRAMES_H_
