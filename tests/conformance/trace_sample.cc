// Takes execution traces of a program that does everything a trace can show, at random, and writes them to files for Go's reader.
//
//   trace_sample DIRECTORY TRACES SEED
//
// Each is given to the strict reader of pprof/trace as well, which ends the program if it finds a fault, and saved in all other
// forms: NAME.go119, NAME.json, NAME.KIND.pb.
//
// storm-N.trace: short ones, begun and ended in the middle of it all, of one to four generations each, half of them while a flight
// recorder is on, of which there is a storm-N-flight.trace now and then. counted.trace: of known
// contents: 1000 fibers of CountedFiber() that sleep 3 times each, in two generations. spinning.trace: of a fiber
// that runs all the while.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/symbolizer.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/perfetto.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_profile.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/blocking.h"
#include "runtime/execution_trace.h"
#include "runtime/flight_recorder.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"

namespace sample {

using namespace std::chrono_literals;
using fiberscope::Blocking;
using fiberscope::Channel;
using fiberscope::ExecutionTrace;
using fiberscope::Fiber;
using fiberscope::Mutex;
using fiberscope::Scheduler;
using fiberscope::TraceGeneration;
using fiberscope::pprof::StringSink;
using fiberscope::pprof::TraceFormat;

std::atomic<bool> g_stop{false};
std::atomic<int> g_bred{0};

// A call that blocks the thread.
void BlockThread(std::chrono::microseconds time) {
  const timespec until = {.tv_sec = 0, .tv_nsec = time.count() * 1000};
  (void)ppoll(nullptr, 0, &until, nullptr);
}

void PassOn(Channel<int>& from, Channel<int>& to) {
  while (const auto value = from.Receive()) {
    if (!to.Send(*value)) return;
  }
}

void Contend(Mutex& mutex, unsigned seed) {
  std::minstd_rand random(seed);
  while (!g_stop.load()) {
    const std::lock_guard lock(mutex);
    if (random() % 4 == 0) fiberscope::this_fiber::Yield();
  }
}

void Block(unsigned seed) {
  std::minstd_rand random(seed);
  while (!g_stop.load()) {
    const auto time = std::chrono::microseconds(random() % 8 == 0 ? 2000 : random() % 60);
    Blocking([&] { BlockThread(time); }, {.expect_long = random() % 3 == 0});
    if (random() % 2 == 0) fiberscope::this_fiber::SleepFor(time);
  }
}

void Breed(unsigned seed) {
  std::minstd_rand random(seed);
  while (!g_stop.load()) {
    std::vector<Fiber> children;
    for (unsigned i = random() % 20; i > 0; --i) {
      children.push_back(fiberscope::Spawn([pause = random() % 3] {
        if (pause == 1) fiberscope::this_fiber::Yield();
        if (pause == 2) fiberscope::this_fiber::SleepFor(100us);
      }));
    }
    const fiberscope::TraceTask task("brood");
    std::optional<fiberscope::TraceRegion> first("first");
    std::optional<fiberscope::TraceRegion> second("second");
    if (random() % 2 == 0) first.reset();  // out of order: a program's mistake must not spoil the trace
    for (Fiber& child : children) child.Join();
    second.reset();
    first.reset();
    fiberscope::TraceLog("children", std::to_string(children.size()));
    g_bred.fetch_add(1);
  }
}

[[gnu::noinline]] void CountedFiber() {
  const fiberscope::TraceTask task("counted task");
  for (int i = 0; i < 3; ++i) {
    const fiberscope::TraceRegion region("nap");
    fiberscope::this_fiber::SleepFor(1ms);
  }
}

void SaveBytes(const std::string& path, const absl::Status& made, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  if (made.ok() && file) return;
  std::fprintf(stderr, "%s cannot be written: %s\n", path.c_str(), std::string(made.message()).c_str());
  std::exit(1);
}

void Save(const std::string& path, const fiberscope::TraceGenerations& generations, fiberscope::pprof::Symbolizer& symbolizer,
          TraceFormat format = TraceFormat::kGo122) {
  const auto frames = fiberscope::pprof::MakeTraceFrames(symbolizer);
  StringSink sink;
  absl::Status made = WriteGo122Trace(generations, format, *frames, sink);
  SaveBytes(path, made, sink.text());

  // The strict reader finds what Go's might not.
  const auto timeline = fiberscope::pprof::TraceTimeline::Make(generations);
  if (!timeline.ok()) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), std::string(timeline.status().message()).c_str());
    std::exit(1);
  }
  StringSink go119;
  made = WriteGo119Trace(*timeline, *frames, go119);
  SaveBytes(path + ".go119", made, go119.text());
  StringSink json;
  made = WritePerfettoTrace(*timeline, *frames, json);
  SaveBytes(path + ".json", made, json.text());
  using enum fiberscope::pprof::TraceProfileKind;
  for (const auto& [kind, name] : {std::pair{kSched, "sched"}, {kSync, "sync"}, {kNet, "net"}, {kSyscall, "syscall"}}) {
    StringSink profile;
    made = EncodeProfile(MakeTraceProfile(*timeline, kind, *frames), profile);
    SaveBytes(path + "." + name + ".pb", made, profile.text());
  }
}

std::unique_ptr<ExecutionTrace> Begin() {
  auto trace = ExecutionTrace::Start();
  if (trace.ok()) return *std::move(trace);
  std::fprintf(stderr, "%s\n", std::string(trace.status().message()).c_str());
  std::exit(1);
}

// So little is kept that most of the past is forgotten.
std::unique_ptr<fiberscope::FlightRecorder> Record() {
  auto recorder = fiberscope::FlightRecorder::Start({.min_age = 1ms, .max_bytes = 64 << 10});
  if (recorder.ok()) return *std::move(recorder);
  std::fprintf(stderr, "%s\n", std::string(recorder.status().message()).c_str());
  std::exit(1);
}

void TakeCounted(const std::string& directory, fiberscope::pprof::Symbolizer& symbolizer) {
  Scheduler scheduler({.processors = 2});
  fiberscope::TraceGenerations generations;
  const auto trace = Begin();
  for (int part = 0; part < 2; ++part) {
    scheduler.Spawn([] {
      std::vector<Fiber> fibers;
      for (int i = 0; i < 500; ++i) fibers.push_back(fiberscope::Spawn(&CountedFiber));
      for (Fiber& fiber : fibers) fiber.Join();
    }).Join();
    if (part == 0) std::ranges::move(trace->Next(), std::back_inserter(generations));
  }
  scheduler.Stop();  // the last end is written
  std::ranges::move(trace->Stop(), std::back_inserter(generations));
  Save(directory + "/counted.trace", generations, symbolizer);
}

// One that computes while three generations pass.
void TakeSpinning(const std::string& directory, fiberscope::pprof::Symbolizer& symbolizer) {
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  std::atomic<bool> runs{false};
  std::atomic<bool> stop{false};
  Fiber spinner = scheduler.Spawn([&] {
    runs.store(true);
    while (!stop.load()) {
    }
    fiberscope::this_fiber::SleepFor(1ms);
  });
  while (!runs.load()) std::this_thread::yield();
  fiberscope::TraceGenerations generations;
  const auto trace = Begin();
  std::ranges::move(trace->Next(), std::back_inserter(generations));
  std::ranges::move(trace->Next(), std::back_inserter(generations));
  stop.store(true);
  spinner.Join();
  scheduler.Stop();
  std::ranges::move(trace->Stop(), std::back_inserter(generations));
  Save(directory + "/spinning.trace", generations, symbolizer);
}

void TakeStorm(const std::string& directory, int traces, unsigned seed, fiberscope::pprof::Symbolizer& symbolizer) {
  std::minstd_rand random(seed);
  Scheduler scheduler({.processors = 2, .on_stall = [](const fiberscope::StallReport&) {}, .run_queue_slots = 4});
  Channel<int> ring[3] = {Channel<int>(0), Channel<int>(1), Channel<int>(4)};
  Mutex mutex;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3; ++i) fibers.push_back(scheduler.Spawn([&, i] { PassOn(ring[i], ring[(i + 1) % 3]); }));
  for (unsigned i = 0; i < 3; ++i) {
    fibers.push_back(scheduler.Spawn([&, i] { Contend(mutex, seed + i); }));
    fibers.push_back(scheduler.Spawn([&, i] { Block(seed + i); }));
    fibers.push_back(scheduler.Spawn([&, i] { Breed(seed + i); }));
  }
  ring[0].Send(1);
  // From outside: wakes, spawns, and another scheduler that comes and goes.
  std::thread foreign([&] {
    while (!g_stop.load()) {
      scheduler.Spawn([] { fiberscope::this_fiber::Yield(); }).Join();
      Scheduler other({.processors = 1});
      other.Spawn([] { fiberscope::this_fiber::SleepFor(50us); }).Join();
    }
  });
  const auto go_on = [&random] {
    for (const int until = g_bred.load() + static_cast<int>(random() % 50); g_bred.load() < until;) std::this_thread::yield();
  };
  std::unique_ptr<fiberscope::FlightRecorder> recorder;
  for (int i = 0; i < traces; ++i) {
    if (i % 10 == 0) recorder = nullptr;
    if (i % 10 == 5) recorder = Record();
    fiberscope::TraceGenerations generations;
    const auto trace = Begin();
    for (unsigned more = random() % 4; more > 0; --more) {
      go_on();
      std::ranges::move(trace->Next(), std::back_inserter(generations));
      scheduler.SetProcessors(1 + static_cast<int>(random() % 3));
    }
    go_on();
    std::ranges::move(trace->Stop(), std::back_inserter(generations));
    Save(directory + "/storm-" + std::to_string(i) + ".trace", generations, symbolizer,
         i % 2 == 0 ? TraceFormat::kGo122 : TraceFormat::kGo123);
    const bool also_flight = i % 10 == 6 || i % 10 == 8;
    if (also_flight) Save(directory + "/storm-" + std::to_string(i) + "-flight.trace", recorder->Snapshot(), symbolizer);
  }
  g_stop.store(true);
  foreign.join();
  for (Channel<int>& each : ring) each.Close();
  for (Fiber& each : fibers) each.Join();
}

}  // namespace sample

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s DIRECTORY TRACES SEED\n", argv[0]);
    return 2;
  }
  const auto symbolizer = fiberscope::pprof::MakeProcessSymbolizer();
  symbolizer->WaitForLines(std::chrono::seconds(60));
  sample::TakeCounted(argv[1], *symbolizer);
  sample::TakeSpinning(argv[1], *symbolizer);
  sample::TakeStorm(argv[1], std::atoi(argv[2]), static_cast<unsigned>(std::atoi(argv[3])), *symbolizer);
  std::printf("dropped %llu\n", static_cast<unsigned long long>(sample::ExecutionTrace::dropped_events()));
}
