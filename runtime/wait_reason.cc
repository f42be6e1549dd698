#include "runtime/wait_reason.h"

namespace fiberscope {

const char* WaitReasonName(WaitReason reason) {
  switch (reason) {
    case WaitReason::kNone: return "none";
    case WaitReason::kSleep: return "sleep";
    case WaitReason::kIo: return "io";
    case WaitReason::kChannelReceive: return "channel receive";
    case WaitReason::kChannelSend: return "channel send";
    case WaitReason::kMutexLock: return "mutex lock";
    case WaitReason::kWaitGroup: return "wait group";
    case WaitReason::kJoin: return "join";
    case WaitReason::kSuspend: return "suspend";
  }
  return "?";
}

}  // namespace fiberscope
