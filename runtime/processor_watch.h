// What the monitor concludes from looking at one processor again and again. It reads no clock and no processor: the caller
// says what it saw and when.
//
// Thread-compatible.
#ifndef FIBERSCOPE_RUNTIME_PROCESSOR_WATCH_H_
#define FIBERSCOPE_RUNTIME_PROCESSOR_WATCH_H_

#include <cstdint>

#include "runtime/processor_status.h"

namespace fiberscope::internal {

class ProcessorWatch {
 public:
  // As Go's sysmon (runtime/proc.go, retake).
  static constexpr int64_t kPatienceNs = 10'000'000;

  // A processor in a blocking call. `needed`: fibers are queued at it, or no processor is idle and nobody looks for work.
  // True: take it back. A call is left alone at the first look, so it has lasted for one tick of the monitor (20 us to 10 ms)
  // at least; and up to kPatienceNs while the processor is not needed.
  bool ShouldRetake(BlockingTicket ticket, bool needed, int64_t now_ns);

  // A processor that runs. `progress` differs whenever the fiber on it has let go in between; `on_fiber`: one is on it.
  enum class Finding {
    kNothing,
    kStalled,     // the same slice has been running for `stall_after_ns`: said once
    kStallEnded,  // the one that was found stalled has let go
  };
  Finding LookAtSlice(uint64_t progress, bool on_fiber, int64_t stall_after_ns, int64_t now_ns);

  // A processor in any other state. True: the one that was found stalled has let go.
  bool Forget();

  bool stalled() const { return stalled_; }
  // How long the slice has been seen running.
  int64_t slice_age_ns(int64_t now_ns) const { return now_ns - slice_since_ns_; }

 private:
  BlockingTicket ticket_;
  int64_t ticket_since_ns_ = 0;
  bool watching_ = false;
  bool stalled_ = false;
  uint64_t progress_ = 0;
  int64_t slice_since_ns_ = 0;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_PROCESSOR_WATCH_H_
