// The thread that watches the workers, because they cannot watch themselves (Go's sysmon).
//
// It takes processors back from blocking calls that take long, finds fibers that do not let go of their worker, lends a
// processor in their place and reports them, makes worker threads when they are asked for, and is the last resort for work
// that nobody was woken for because no thread could be made.
//
// It looks every 20 us while there is something to take back, up to every 10 ms while there is not, and not at all while all
// processors are idle and nothing is queued. What it concludes is processor_watch.h's business.
//
// Thread-safe. Wake and RequestWorker never block.
#ifndef FIBERSCOPE_RUNTIME_MONITOR_H_
#define FIBERSCOPE_RUNTIME_MONITOR_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/processor_watch.h"
#include "runtime/stall_report.h"

namespace fiberscope::internal {

struct ControlBlock;
class Processor;
class SchedulerCore;
class Worker;

class Monitor {
 public:
  // `on_stall` may be empty: then a line goes to standard error. Throws std::system_error when there is no thread.
  Monitor(SchedulerCore& core, std::chrono::nanoseconds stall_after, StallHandler on_stall);
  ~Monitor();  // Stop()
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // Ends the thread. Afterwards the other calls do nothing.
  void Stop();

  // Something runs again, or should be looked at.
  void Wake();

  // A worker thread is needed; it is made soon.
  void RequestWorker();

  struct Counts {
    std::atomic<uint64_t> ticks{0};
    std::atomic<uint64_t> retakes{0};
    std::atomic<uint64_t> stalls_blocked{0};
    std::atomic<uint64_t> stalls_computing{0};
  };
  const Counts& counts() const { return counts_; }
  // Until Wake(): all processors are idle, and nothing is queued.
  bool asleep() const { return asleep_.load(std::memory_order_relaxed); }

 private:
  static constexpr int64_t kShortestNs = 20'000;
  static constexpr int64_t kLongestNs = 10'000'000;
  static constexpr int64_t kReportIntervalNs = 1'000'000'000;
  // For the culprit's stack. A thread that waits for a CPU answers when it gets one.
  static constexpr std::chrono::milliseconds kStackTimeout{10};

  struct Watched {
    ProcessorWatch watch;
    StallReport::Kind kind = StallReport::Kind::kComputing;  // of the stall
    bool lent = false;                                       // a processor in its place
    int64_t stalled_since_ns = 0;                            // 0: there is no stall, or none that was counted
  };

  void Run();
  bool Tick(int64_t now_ns);
  bool LookAt(Processor& processor, Watched& watched, int64_t now_ns);
  void OnStall(Processor& processor, Watched& watched, uint64_t progress, int64_t now_ns);
  static void AddStack(Processor& processor, uint64_t progress, StallReport& report);
  void LendInPlaceOf(Watched& watched);
  void EndStall(Watched& watched, int64_t now_ns);

  SchedulerCore& core_;
  const int64_t stall_after_ns_;
  const StallHandler on_stall_;
  std::vector<Watched> watched_;  // by processor index; the monitor's own
  uint32_t lent_ = 0;  // of watched_
  uint32_t open_stalls_ = 0;  // of watched_: those with a beginning and no end
  int64_t last_report_ns_;
  uint64_t suppressed_ = 0;
  Counts counts_;
  std::atomic<uint32_t> wake_word_{0};  // a futex
  std::atomic<bool> worker_wanted_{false};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_MONITOR_H_
