#include "runtime/wait_reason.h"

namespace fiberscope {
namespace {

constexpr const char* NameOf(WaitReason reason) {
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

constexpr std::array<const char*, kWaitReasonCount> AllNames() {
  std::array<const char*, kWaitReasonCount> names{};
  for (int i = 0; i < kWaitReasonCount; ++i) names[i] = NameOf(static_cast<WaitReason>(i));
  return names;
}

}  // namespace

const char* WaitReasonName(WaitReason reason) { return NameOf(reason); }

constinit const std::array<const char*, kWaitReasonCount> kWaitReasonNames = AllNames();

}  // namespace fiberscope
