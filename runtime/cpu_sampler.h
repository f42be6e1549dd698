// The signal side of the CPU profile: a timer on a thread's own CPU clock, the handler of its signal, and the ring between that
// handler and the thread that reads samples. cpu_profiler.h is what to use.
//
//      timer of thread T ──SIGPROF──► handler, on T ──► ring of T's slot ──► Drain(), on the profiler's thread
//
// A slot is for one thread at a time. Its ticket, a generation and an index, travels in the timer's signal; a handler that comes
// with a ticket of the past, or of nobody's, does nothing. So signals may be late, or sent by others:
// - A handler says that it is at work (sequentially consistent), then looks whether the ticket is the slot's; Close() changes the
//   ticket (sequentially consistent), then waits until no handler is at work. One of the two sees the other.
// - A slot is memory for ever, found by a table that is for ever.
// The ring has one producer, the thread of the slot: while its handler runs all signals are blocked, and a timer signals one
// thread. The producer publishes a record by a release store of written_, the consumer gives it back by a release store of read_.
//
// Labels: the handler takes a reference to those of the fiber it stands on, and the reader gives it back. It may: the control block
// holds one itself, of which only its own fiber, interrupted here, can let go; and it takes the pointer out before that
// (labels.h). ThreadSanitizer puts handlers off, so that another fiber may be running by then: it is looked at which.
//
// The disposition of SIGPROF is never put back to SIG_DFL, which would end the process at the next late signal.
//
// Source of the clock id: clock_getcpuclockid(3), kernel include/linux/posix-timers.h (CPUCLOCK_PERTHREAD_MASK, CPUCLOCK_SCHED).
#ifndef FIBERSCOPE_RUNTIME_CPU_SAMPLER_H_
#define FIBERSCOPE_RUNTIME_CPU_SAMPLER_H_

#include <signal.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "runtime/labels.h"

namespace fiberscope::internal {

struct CpuSample {
  static constexpr size_t kMaxFrames = 128;

  uint32_t weight = 0;       // periods of the timer
  uint16_t depth = 0;
  bool truncated = false;    // outer frames are missing
  LabelsRep* labels = nullptr;  // holds a reference
  // For a trace that is being taken (trace_samples.h).
  int64_t time_ns = 0;                     // TickNowNs()
  uint64_t fiber = 0;                      // 0: none
  uint64_t processor = UINT64_MAX;  // that: none
  std::array<uintptr_t, kMaxFrames> pcs;  // innermost first: the exact pc, then return addresses
};

// Installs the handler, unless it is. kFailedPrecondition: the application has SIGPROF. Blocks the thread shortly.
absl::Status TakeProfilingSignal();

class CpuSampler {
 public:
  // A free slot; null when all are in use. One thread at a time calls this and everything else but the handler.
  static CpuSampler* Acquire();

  // Starts a timer for the thread. 0, or an error number: ESRCH, or EINVAL, the thread has ended; EAGAIN, no more timers
  // (RLIMIT_SIGPENDING). `first` is when the first sample is due, `period` that of the others, in CPU time of the thread; both > 0.
  int Open(int thread_id, std::chrono::nanoseconds first, std::chrono::nanoseconds period);

  // Whether the thread of the timer has ended.
  bool ThreadHasEnded() const;

  // The CPU time that the thread has used so far; 0 if it has ended.
  std::chrono::nanoseconds ThreadCpu() const;

  // Hands over what has been sampled. Labels: the reference goes over.
  void Drain(absl::FunctionRef<void(const CpuSample&)> use);

  // Periods for which there was no room since the last call.
  uint64_t TakeLost() { return lost_.exchange(0, std::memory_order_relaxed); }

  // Ends the timer. No handler writes into the slot any more when it returns; Drain() gets the last samples. Then Release().
  void Close();

  // The slot is free again; the memory of the ring goes back to the system.
  void Release();

  int thread_id() const { return thread_id_; }

  // In the child of a fork, which has no timers and no other threads: all slots are free.
  static void ForgetAll();

  // The handler. Async-signal-safe.
  static void OnSignal(int, siginfo_t* info, void* context);

 private:
  static constexpr size_t kRecords = 64;
  static constexpr size_t kSmallCopy = 64 << 10;  // of a stack whose bounds are not known
  static constexpr size_t kLargeCopy = 1 << 20;   // if that was not enough

  struct Memory {
    std::array<CpuSample, kRecords> ring;
    alignas(16) std::array<std::byte, kLargeCopy> copy;
  };

  void Sample(uint32_t weight, const void* context);
  uint64_t NewTicket();

  size_t index_ = 0;
  Memory* memory_ = nullptr;
  bool in_use_ = false;
  int thread_id_ = 0;
  timer_t timer_{};
  std::atomic<uint64_t> ticket_{0};   // 0: no timer
  std::atomic<uint32_t> at_work_{0};  // handlers that are: the thread's, and late ones of threads before
  std::atomic<uint64_t> written_{0};  // by the handler
  std::atomic<uint64_t> read_{0};     // by Drain()
  std::atomic<uint64_t> lost_{0};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CPU_SAMPLER_H_
