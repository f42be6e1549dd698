#include "pprof/trace/trace_reason_text.h"

#include "runtime/trace/trace_reason.h"
#include "runtime/wait_reason.h"

namespace fiberscope::pprof {
namespace {

const char* Text(WaitReason reason) {
  switch (reason) {
    case WaitReason::kNone: return "unspecified";
    case WaitReason::kSleep: return "sleep";
    case WaitReason::kIo: return "network";
    case WaitReason::kChannelReceive: return "chan receive";
    case WaitReason::kChannelSend: return "chan send";
    case WaitReason::kMutexLock: return "sync";
    case WaitReason::kWaitGroup: return "sync (wait group)";
    case WaitReason::kJoin: return "sync (join)";
    case WaitReason::kSuspend: return "suspended";
    case WaitReason::kChannelReceiveNil: return "chan receive (nil chan)";
    case WaitReason::kChannelSendNil: return "chan send (nil chan)";
    case WaitReason::kSelect: return "select";
    case WaitReason::kSelectNoCases: return "select (no cases)";
    case WaitReason::kRwMutexRead: return "sync (read lock)";
    case WaitReason::kRwMutexWrite: return "sync (write lock)";
    case WaitReason::kSemaphore: return "sync (semaphore)";
    case WaitReason::kCondition: return "sync.(*Cond).Wait";
    case WaitReason::kBarrier: return "sync (barrier)";
  }
  return "unspecified";
}

}  // namespace

std::string_view TraceReasonText(uint64_t number) {
  if (number == kYieldTraceReason) return "runtime.Gosched";
  if (number == kUnknownTraceReason) return "unspecified";
  if (number < kFirstWaitTraceReason || number >= kFirstWaitTraceReason + kWaitReasonCount) return "";
  return Text(static_cast<WaitReason>(number - kFirstWaitTraceReason));
}

}  // namespace fiberscope::pprof
