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
    case WaitReason::kChannelReceiveNil: return "channel receive (no channel)";
    case WaitReason::kChannelSendNil: return "channel send (no channel)";
    case WaitReason::kSelect: return "select";
    case WaitReason::kSelectNoCases: return "select (no cases)";
    case WaitReason::kRwMutexRead: return "rw-mutex read";
    case WaitReason::kRwMutexWrite: return "rw-mutex write";
    case WaitReason::kSemaphore: return "semaphore";
    case WaitReason::kCondition: return "condition";
    case WaitReason::kBarrier: return "barrier";
  }
  return "?";
}

}  // namespace fiberscope
