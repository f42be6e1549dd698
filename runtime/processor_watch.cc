#include "runtime/processor_watch.h"

#include <utility>

namespace fiberscope::internal {

bool ProcessorWatch::ShouldRetake(BlockingTicket ticket, bool needed, int64_t now_ns) {
  if (ticket != ticket_) {
    ticket_ = ticket;
    ticket_since_ns_ = now_ns;
    return false;
  }
  return needed || now_ns - ticket_since_ns_ >= kPatienceNs;
}

ProcessorWatch::Finding ProcessorWatch::LookAtSlice(uint64_t progress, bool on_fiber, int64_t stall_after_ns,
                                                    int64_t now_ns) {
  if (!on_fiber) return Forget() ? Finding::kStallEnded : Finding::kNothing;
  if (!watching_ || progress != progress_) {
    const bool ended = Forget();
    watching_ = true;
    progress_ = progress;
    slice_since_ns_ = now_ns;
    return ended ? Finding::kStallEnded : Finding::kNothing;
  }
  if (stalled_ || now_ns - slice_since_ns_ < stall_after_ns) return Finding::kNothing;
  stalled_ = true;
  return Finding::kStalled;
}

bool ProcessorWatch::Forget() {
  watching_ = false;
  return std::exchange(stalled_, false);
}

}  // namespace fiberscope::internal
