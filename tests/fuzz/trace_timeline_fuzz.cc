// Any bytes as the batches and tables of an execution trace: the strict reader takes or refuses them, and what it takes
// can be written in every form. Nothing crashes, and no output is larger than its input explains.
//
// An input is a list of parts, each a letter, numbers of one byte, and what they count:
//   b thread later size size' bytes    a batch, `later` ticks after the one before; thread 255: nobody's
//   s fiber status thread stack        a status
//   t size bytes                       a string, numbered from 100 on
//   k size bytes                       a stack, numbered from 1 on; a byte is an address
//   p time thread processor fiber stack  a sample
//   g                                  what follows is of the next generation
#include <boost/json/parse.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pprof/byte_sink.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/perfetto.h"
#include "pprof/trace/trace_profile.h"
#include "pprof/trace/trace_timeline.h"
#include "tests/testing/fake_trace_frames.h"
#include "tests/testing/go_trace_readers.h"

namespace {

using namespace fiberscope;
using namespace fiberscope::pprof;

void Check(bool condition) {
  if (!condition) std::abort();
}

// 0 after the end.
class Input {
 public:
  explicit Input(std::string_view rest) : rest_(rest) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  std::string_view Take(size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view rest_;
};

uint64_t OrNobody(uint8_t thread) { return thread == 255 ? kNoTraceThread : thread; }

TraceGenerations ReadInput(Input input) {
  std::vector<TraceGeneration> generations;
  uint64_t now = 1000;
  const auto begin = [&] {
    generations.push_back({.number = generations.size() + 1, .start = now, .ticks_per_second = 1'000'000'000});
  };
  begin();
  while (!input.empty()) {
    TraceGeneration& generation = generations.back();
    switch (input.Byte()) {
      case 'b': {
        const uint64_t thread = OrNobody(input.Byte());
        now += input.Byte();
        const size_t size = input.Byte() + size_t{256} * input.Byte();
        generation.batches.push_back({.thread = thread, .time = now, .data = std::string(input.Take(size))});
        break;
      }
      case 's': {
        TraceStatus status{.fiber = input.Byte()};
        status.status = static_cast<TraceFiberStatus>(input.Byte());
        status.thread = OrNobody(input.Byte());
        status.stack = input.Byte();
        generation.statuses.push_back(status);
        break;
      }
      case 't':
        generation.strings.push_back(
            {kFirstTraceString + generation.strings.size(), std::string(input.Take(input.Byte()))});
        break;
      case 'k': {
        TraceStack& stack = generation.stacks.emplace_back();
        stack.number = generation.stacks.size();
        for (const char each : input.Take(input.Byte())) stack.pcs.push_back(static_cast<uint8_t>(each));
        break;
      }
      case 'p': {
        TraceSample& sample = generation.samples.emplace_back();
        sample.time = now + input.Byte();
        for (uint64_t* const each : {&sample.thread, &sample.processor, &sample.fiber, &sample.stack})
          *each = input.Byte();
        break;
      }
      case 'g':
        begin();
        break;
      default:
        break;
    }
  }
  TraceGenerations all;
  for (TraceGeneration& each : generations) all.push_back(std::make_shared<const TraceGeneration>(std::move(each)));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const TraceGenerations generations = ReadInput(Input({reinterpret_cast<const char*>(data), size}));
  FakeTraceFrames frames;
  // This one looks at nothing, so it writes anything; the tables of a generation with a head and the texts of reasons
  // are 500 bytes.
  for (const TraceFormat format : {TraceFormat::kGo122, TraceFormat::kGo123}) {
    StringSink sink;
    Go122Encoder encoder(frames, sink, format);
    Check(encoder.Begin().ok());
    for (const auto& each : generations) Check(encoder.Write(*each).ok());
    Check(sink.text().size() == encoder.bytes_written());
    Check(sink.text().size() <= 16 + 2000 * generations.size() + 100 * size);
  }

  const auto timeline = TraceTimeline::Make(generations);
  if (!timeline.ok()) {
    Check(timeline.status().code() == absl::StatusCode::kInvalidArgument);
    Check(!timeline.status().message().empty());
    return 0;
  }
  Check(timeline->events().size() <= size);
  int64_t before = 0;
  for (const TimelineEvent& each : timeline->events()) {
    Check(each.time_ns >= before);
    before = each.time_ns;
  }
  Check(timeline->end_ns() >= before);

  StringSink go119;
  const absl::Status made = WriteGo119Trace(*timeline, frames, go119);
  Check(made.ok() || made.code() == absl::StatusCode::kInvalidArgument);
  if (made.ok()) Check(testing::CountGo119Records(go119.text()).has_value());
  // A text may be written with each event, and escaped.
  const size_t most = 2000 + 100 * size + timeline->events().size() * (1000 + 4 * 6 * 256);
  Check(go119.text().size() <= most);
  StringSink perfetto;
  Check(WritePerfettoTrace(*timeline, frames, perfetto).ok());
  Check(perfetto.text().size() <= most);
  boost::system::error_code error;
  (void)boost::json::parse(perfetto.text(), error);
  Check(!error);
  for (const auto kind :
       {TraceProfileKind::kSched, TraceProfileKind::kSync, TraceProfileKind::kNet, TraceProfileKind::kSyscall}) {
    const Profile profile = MakeTraceProfile(*timeline, kind, frames);
    Check(profile.samples.size() <= timeline->events().size());
  }
  return 0;
}
