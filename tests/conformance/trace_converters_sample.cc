// Writes what the converters make of a trace in which everything happens: DIRECTORY/every.go119, DIRECTORY/every.json.
#include <cstdio>
#include <fstream>
#include <string>

#include "pprof/byte_sink.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/perfetto.h"
#include "pprof/trace/trace_timeline.h"
#include "tests/testing/every_trace_event.h"
#include "tests/testing/fake_trace_frames.h"

namespace {

using namespace fiberscope::pprof;

bool Save(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  return !file.fail();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string directory = argv[1];
  const auto timeline = TraceTimeline::Make(fiberscope::testing::EveryTraceEvent());
  if (!timeline.ok()) {
    std::fprintf(stderr, "%s\n", std::string(timeline.status().message()).c_str());
    return 1;
  }
  FakeTraceFrames frames;
  StringSink go119;
  if (!WriteGo119Trace(*timeline, frames, go119).ok()) return 1;
  StringSink json;
  if (!WritePerfettoTrace(*timeline, frames, json).ok()) return 1;
  return Save(directory + "/every.go119", go119.text()) && Save(directory + "/every.json", json.text()) ? 0 : 1;
}
