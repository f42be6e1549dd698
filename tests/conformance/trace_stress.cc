// A great many fibers that do everything at random, traced all the while and cut about once a second.
//
//   trace_stress FILE --seconds=N --fibers=N --seed=N
//
// So many fibers are alive at any time; one that ends has spawned its successor. They sleep, yield, pass values through
// channels, lock, spawn and join, make blocking calls, set labels, and say what they do in tasks, regions and logs; the
// number of processors changes with every cut. Each action is followed by a sleep that is longer the more fibers there
// are: 20,000 actions a second, so that two minutes of them can be read back.
//
// Each generation is given to pprof/trace's strict reader by itself as it comes, which can be done as each names
// whatever it tells of, and written to FILE in the form of Go 1.22; at the end the reader gets all of them as one
// trace. What it counts is printed, to be compared with what Go's reader counts in FILE. Status 1 if a generation or
// the whole is refused, or if an event was left out after the first generation.
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
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
#include "pprof/symbolizer.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/blocking.h"
#include "runtime/execution_trace.h"
#include "runtime/labels.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"
#include "tests/testing/take_flag.h"

namespace stress {

using namespace std::chrono_literals;
using fiberscope::Channel;
using fiberscope::ExecutionTrace;
using fiberscope::Fiber;
using fiberscope::Mutex;
using fiberscope::Scheduler;
using fiberscope::TraceEvent;
using fiberscope::TraceGeneration;
using fiberscope::TraceGenerations;
using fiberscope::pprof::TraceTimeline;

uint64_t g_seed = 1;
int g_seconds = 3;
int64_t g_fibers = 3'000;

[[noreturn]] void Fail(const std::string& what, const absl::Status& status = absl::OkStatus()) {
  std::fprintf(stderr, "%s %s\n", what.c_str(), std::string(status.message()).c_str());
  std::exit(1);
}

// A call that blocks the thread.
void BlockThread(std::chrono::nanoseconds time) {
  const timespec until = {.tv_sec = 0, .tv_nsec = time.count()};
  (void)ppoll(nullptr, 0, &until, nullptr);
}

class World {
 public:
  explicit World(Scheduler& scheduler) : scheduler_(scheduler) {
    for (Channel<uint64_t>& channel : channels_) {
      services_.push_back(scheduler_.Spawn([&channel] {
        while (channel.Receive()) {
        }
      }));
    }
  }

  void Populate() {
    std::minstd_rand random(static_cast<uint32_t>(g_seed));
    alive_.Add(g_fibers);
    for (int64_t i = 0; i < g_fibers; ++i) scheduler_.Spawn([this, seed = random()] { Live(seed); });
  }

  void End() {
    ending_.store(true);
    alive_.Wait();
    for (Channel<uint64_t>& channel : channels_) channel.Close();
    for (const Fiber& each : services_) each.Join();
  }

 private:
  void Live(uint64_t seed) {
    std::minstd_rand random(static_cast<uint32_t>(seed) | 1);
    for (uint64_t steps = 5 + random() % 20; steps > 0; --steps) {
      if (ending_.load()) return alive_.Done();
      Act(random);
      // On average as long as 20,000 a second need for all of them to have had a turn.
      fiberscope::this_fiber::SleepFor(std::chrono::microseconds(random() % static_cast<uint64_t>(g_fibers * 100 + 1)));
    }
    fiberscope::Spawn([this, seed = random()] { Live(seed); });
  }

  void Act(std::minstd_rand& random) {
    switch (random() % 10) {
      case 0:
        return fiberscope::this_fiber::Yield();
      case 1:
      case 2: {
        channels_[random() % channels_.size()].Send(random());
        return;
      }
      case 3:
      case 4:
        return Count(random);
      case 5:
        return fiberscope::Blocking([&] { BlockThread(1us * (random() % 50)); }, {.expect_long = random() % 4 == 0});
      case 6:
        return Breed(random);
      case 7: {
        const fiberscope::this_fiber::LabelsScope labels({{"kind", std::to_string(random() % 8)}});
        return fiberscope::this_fiber::Yield();
      }
      default:
        return Work(random);
    }
  }

  void Count(std::minstd_rand& random) {
    const std::lock_guard lock(mutexes_[random() % mutexes_.size()]);
    if (random() % 4 == 0) fiberscope::this_fiber::Yield();
  }

  void Breed(std::minstd_rand& random) {
    std::array<Fiber, 3> children;
    for (Fiber& each : children) {
      each = fiberscope::Spawn([pause = random() % 2] {
        if (pause != 0) fiberscope::this_fiber::Yield();
      });
    }
    for (const Fiber& each : children) each.Join();
  }

  void Work(std::minstd_rand& random) {
    const fiberscope::TraceTask task("work");
    fiberscope::TraceLog("dice", std::to_string(random() % 6));
    std::optional<fiberscope::TraceRegion> first("first");
    std::optional<fiberscope::TraceRegion> second("second");
    if (random() % 8 == 0) first.reset();  // out of order: a program's mistake must not spoil the trace
    Count(random);
  }

  Scheduler& scheduler_;
  std::atomic<bool> ending_{false};
  std::array<Channel<uint64_t>, 4> channels_ = {Channel<uint64_t>(0), Channel<uint64_t>(1), Channel<uint64_t>(2),
                                                Channel<uint64_t>(8)};
  std::array<Mutex, 3> mutexes_;
  fiberscope::WaitGroup alive_;
  std::vector<Fiber> services_;
};

class FileSink : public fiberscope::pprof::ByteSink {
 public:
  explicit FileSink(const std::string& path) : file_(path, std::ios::binary) {}
  absl::Status Write(std::string_view bytes) override {
    file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return Flush();
  }
  absl::Status Flush() {
    file_.flush();
    return file_ ? absl::OkStatus() : absl::UnknownError("write error");
  }

 private:
  std::ofstream file_;
};

long PeakMiB() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

// Takes the trace: what is judged and written as it comes.
class Judge {
 public:
  Judge(const std::string& path, fiberscope::pprof::Symbolizer& symbolizer)
      : frames_(MakeTraceFrames(symbolizer)),
        sink_(path),
        encoder_(*frames_, sink_, fiberscope::pprof::TraceFormat::kGo122) {
    if (const absl::Status begun = encoder_.Begin(); !begun.ok()) Fail(path, begun);
  }

  void Add(const std::shared_ptr<const TraceGeneration>& one) {
    if (const auto alone = TraceTimeline::Make({&one, 1}); !alone.ok()) Fail("a generation by itself:", alone.status());
    if (const absl::Status written = encoder_.Write(*one); !written.ok()) Fail("the file:", written);
    recorded_bytes_ += one->recorded_bytes();
    all_.push_back(one);
  }

  // Of the whole, what Go's reader counts in its way.
  void Finish() const {
    std::printf("generations %zu\nfile %llu bytes, recorded %llu bytes, peak memory %ld MiB\n", all_.size(),
                static_cast<unsigned long long>(encoder_.bytes_written()),
                static_cast<unsigned long long>(recorded_bytes_), PeakMiB());
    const auto whole = TraceTimeline::Make(all_);
    if (!whole.ok()) Fail("the whole:", whole.status());
    std::array<uint64_t, 256> counts{};
    for (const auto& each : whole->events()) ++counts[static_cast<uint8_t>(each.type)];
    uint64_t events = 0;
    for (const uint64_t each : counts) events += each;
    std::printf("events %llu, %.2f bytes each; peak memory with all of them %ld MiB\n",
                static_cast<unsigned long long>(events),
                static_cast<double>(recorded_bytes_) / static_cast<double>(events), PeakMiB());
    const std::pair<const char*, TraceEvent> kinds[] = {
        {"creations", TraceEvent::kFiberCreate},
        {"starts", TraceEvent::kFiberStart},
        {"ends", TraceEvent::kFiberDestroy},
        {"blocks", TraceEvent::kFiberBlock},
        {"unblocks", TraceEvent::kFiberUnblock},
        {"calls", TraceEvent::kBlockingBegin},
        {"tasks", TraceEvent::kTaskBegin},
        {"regions", TraceEvent::kRegionBegin},
        {"logs", TraceEvent::kLog},
    };
    for (const auto& [name, type] : kinds) {
      std::printf("%s %llu\n", name, static_cast<unsigned long long>(counts[static_cast<uint8_t>(type)]));
    }
  }

 private:
  std::unique_ptr<fiberscope::pprof::TraceFrames> frames_;
  FileSink sink_;
  fiberscope::pprof::Go122Encoder encoder_;
  TraceGenerations all_;
  uint64_t recorded_bytes_ = 0;
};

void Run(const std::string& path, fiberscope::pprof::Symbolizer& symbolizer) {
  std::minstd_rand random(static_cast<uint32_t>(g_seed) + 1);
  Scheduler scheduler({.processors = 2, .on_stall = [](const fiberscope::StallReport&) {}});
  World world(scheduler);
  world.Populate();
  auto trace = ExecutionTrace::Start();
  if (!trace.ok()) Fail("no trace:", trace.status());
  Judge judge(path, symbolizer);
  int64_t fewest = g_fibers;
  std::chrono::duration<double, std::milli> longest_cut{0};
  uint64_t dropped = 0;
  const auto cut = [&](bool last) {
    const auto start = std::chrono::steady_clock::now();
    const TraceGenerations next = last ? (*trace)->Stop() : (*trace)->Next();
    longest_cut =
        std::max<std::chrono::duration<double, std::milli>>(longest_cut, std::chrono::steady_clock::now() - start);
    if (next.front()->number == 1) dropped = ExecutionTrace::dropped_events();
    for (const auto& each : next) judge.Add(each);
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(g_seconds);
  for (auto now = std::chrono::steady_clock::now(); now < end; now = std::chrono::steady_clock::now()) {
    fewest = std::min(fewest, fiberscope::FiberCount());
    BlockThread(std::min<std::chrono::nanoseconds>(end - now, 999ms));
    cut(/*last=*/false);
    scheduler.SetProcessors(1 + static_cast<int>(random() % 4));
  }
  cut(/*last=*/true);
  world.End();
  std::printf("fibers alive: %lld at least; longest cut: %.1f ms\n", static_cast<long long>(fewest),
              longest_cut.count());
  std::printf("left out: %llu events in the first generation, %llu later; %llu stacks, %llu texts\n",
              static_cast<unsigned long long>(dropped),
              static_cast<unsigned long long>(ExecutionTrace::dropped_events() - dropped),
              static_cast<unsigned long long>(ExecutionTrace::lost_stacks()),
              static_cast<unsigned long long>(ExecutionTrace::lost_texts()));
  judge.Finish();
  if (ExecutionTrace::dropped_events() != dropped) Fail("events were left out in the middle of the trace");
}

}  // namespace stress

int main(int argc, char** argv) {
  using fiberscope::testing::TakeFlag;
  std::string path;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool known = TakeFlag(argument, "--seconds=", stress::g_seconds) ||
                       TakeFlag(argument, "--fibers=", stress::g_fibers) ||
                       TakeFlag(argument, "--seed=", stress::g_seed);
    if (!known) path = argument;
  }
  if (path.empty()) stress::Fail("usage: trace_stress FILE --seconds=N --fibers=N --seed=N");
  std::printf("seed %llu\n", static_cast<unsigned long long>(stress::g_seed));
  const auto symbolizer = fiberscope::pprof::MakeProcessSymbolizer();
  symbolizer->WaitForLines(std::chrono::seconds(60));
  stress::Run(path, *symbolizer);
}
