// Where the process spends its CPU time: samples of the stacks of all its threads, whatever they run.
//
//   absl::StatusOr<std::unique_ptr<CpuProfiler>> profiler = CpuProfiler::Start({.hz = 100});
//   ...
//   CpuProfile profile = (*profiler)->Stop();
//
// Every thread has a timer on its own CPU clock, which signals that thread each 1/hz s of CPU time that it uses (cpu_sampler.h).
// So threads that sleep cost nothing and are not disturbed, and each thread's samples are in proportion to its CPU time, whatever
// the others do. Threads are looked for in /proc/self/task every 100 ms while profiling: one that is born meanwhile is profiled
// from then on; what it used before is in `unseen`. The first sample of a thread comes after a random part of a period, so that
// many short lives add up to the right sum.
//
// The kernel looks at such clocks at its tick only, often 250 times per second, and only at that of the thread which runs at that
// moment. If several periods have ended by then there is one sample that stands for all of them. So the sums of busy threads are
// right. A thread that works in bursts much shorter than a tick has few, heavy samples, where the tick meets it, of which `signals`
// tells; and what it has used since the last one is missing at the end, of which `process_cpu` tells: of a service that is nearly
// idle that may be nearly all. Longer profiles lose less.
//
// What it does to the process: SIGPROF interrupts running code, never a sleeping thread; a system call that has just begun
// may return EINTR, if it is one that SA_RESTART does not restart. Deep stacks on threads of the application that are walked in a
// copy end after 1 MiB. A thread that blocks SIGPROF is not profiled.
//
// fork: the child is not profiled, may start a profile of its own, and gets nothing from a profiler that it inherited. SIGPROF is
// blocked during fork() itself, which would otherwise have to begin anew at each signal.
//
// Thread-safe. One profile at a time in the process.
// Cost: at 100 Hz ~2 us per sample on a fiber's stack, ~10 us on another one, 0.02 to 0.1 % of the CPU time; and for looking for
// threads 10 us per second for each.
#ifndef FIBERSCOPE_RUNTIME_CPU_PROFILER_H_
#define FIBERSCOPE_RUNTIME_CPU_PROFILER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/labels.h"

namespace fiberscope {

struct CpuProfilerOptions {
  static constexpr int kMaxHz = 1000;
  int hz = 100;  // samples per second of CPU time; 1 to kMaxHz
};

// What ran with the same stack and labels.
struct CpuSamples {
  // Innermost first. As return addresses, all of them: the first one, which was interrupted, is one more than the pc.
  std::vector<uintptr_t> stack;
  std::vector<Label> labels;  // of the fiber that ran, at that moment; sorted by key
  int64_t count = 0;          // periods
};

struct CpuProfile {
  std::vector<CpuSamples> samples;
  std::chrono::sys_time<std::chrono::nanoseconds> start;
  std::chrono::nanoseconds duration{0};
  std::chrono::nanoseconds period{0};

  int64_t count = 0;      // of all samples together
  int64_t signals = 0;    // in so many signals; fewer than `count` where the kernel's tick is slower than the rate
  int64_t lost = 0;       // periods for which there was no room
  int64_t truncated = 0;  // periods of which outer frames are missing
  int64_t threads = 0;    // that had a timer
  int64_t refused_threads = 0;  // that could have none: the system's limit (RLIMIT_SIGPENDING)
  std::chrono::nanoseconds process_cpu{0};  // what all threads have used in the meantime, by the process's CPU clock
  std::chrono::nanoseconds unseen{0};       // of it, by threads before they were seen
};

class CpuProfiler {
 public:
  // kAlreadyExists: "cpu profiling already in use". kInvalidArgument: hz. kFailedPrecondition: the application has SIGPROF.
  // kResourceExhausted: no thread can be made, or /proc/self/task cannot be read. Blocks the thread until all threads have timers.
  static absl::StatusOr<std::unique_ptr<CpuProfiler>> Start(const CpuProfilerOptions& options = {});
  // Stops.
  ~CpuProfiler();
  CpuProfiler(const CpuProfiler&) = delete;
  CpuProfiler& operator=(const CpuProfiler&) = delete;

  // What was sampled; once, then nothing. Afterwards another profile can be started; no timer and no thread is left. Blocks the
  // thread for the time it takes to end the timers, milliseconds.
  CpuProfile Stop();

 private:
  class Impl;
  explicit CpuProfiler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CPU_PROFILER_H_
