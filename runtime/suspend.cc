#include "runtime/suspend.h"

namespace fiberscope::internal {

bool Suspension::Complete(const Token& token, absl::FunctionRef<void(void* slot)> write) {
  if (!ClaimWait(token)) return false;
  write(SlotOf(*token.record));
  EndClaimedWait(*token.record, WaitOutcome::kDone);
  return true;
}

}  // namespace fiberscope::internal
