#include "pprof/trace/trace_frames.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "pprof/machinery.h"

namespace fiberscope::pprof {
namespace {

constexpr size_t kMaxFrames = 128;  // what readers accept

class SymbolizedTraceFrames : public TraceFrames {
 public:
  explicit SymbolizedTraceFrames(Symbolizer& symbolizer) : symbolizer_(symbolizer) {}

  std::vector<TraceFrame> Frames(std::span<const uintptr_t> pcs) override {
    std::vector<Frame> frames;
    for (const uintptr_t pc : UserStack(pcs, /*entry_pc=*/0, symbolizer_)) {
      const Symbolized& symbolized = symbolizer_.Lookup(pc - 1);
      for (Frame& frame : UserFrames(symbolized.frames)) frames.push_back(std::move(frame));
      if (symbolized.frames.empty()) frames.push_back({.function = "unknown"});
    }
    auto first = std::ranges::find_if_not(frames, IsMachinery);
    if (first == frames.end()) first = frames.begin();
    if (const auto count = static_cast<size_t>(frames.end() - first); count > kMaxFrames) first += count - kMaxFrames;
    std::vector<TraceFrame> named;
    for (; first != frames.end(); ++first) named.push_back(Named(*first));
    return named;
  }

 private:
  TraceFrame Named(const Frame& frame) {
    const auto [at, is_new] = numbers_.try_emplace({frame.function, frame.file, frame.line}, numbers_.size() + 1);
    std::string function = frame.function.empty() ? "unknown" : ShortFunctionName(frame.function);
    return {.pc = at->second, .function = std::move(function), .file = frame.file, .line = frame.line};
  }

  Symbolizer& symbolizer_;
  std::map<std::tuple<std::string, std::string, int>, uint64_t> numbers_;
};

}  // namespace

std::unique_ptr<TraceFrames> MakeTraceFrames(Symbolizer& symbolizer) { return std::make_unique<SymbolizedTraceFrames>(symbolizer); }

}  // namespace fiberscope::pprof
