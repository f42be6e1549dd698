#include "pprof/encode/goroutine_state.h"

namespace fiberscope::pprof {
namespace {

const char* WaitingState(WaitReason reason) {
  switch (reason) {
    case WaitReason::kNone:
      return "waiting";
    case WaitReason::kSleep:
      return "sleep";
    case WaitReason::kIo:
      return "IO wait";
    case WaitReason::kChannelReceive:
      return "chan receive";
    case WaitReason::kChannelSend:
      return "chan send";
    case WaitReason::kMutexLock:
      return "sync.Mutex.Lock";
    case WaitReason::kWaitGroup:
      return "sync.WaitGroup.Wait";
    case WaitReason::kJoin:
      return "join";
    case WaitReason::kSuspend:
      return "suspended";
  }
  return "unknown wait reason";
}

}  // namespace

const char* GoroutineState(FiberState state, WaitReason reason) {
  switch (state) {
    case FiberState::kDead:
      return "dead";
    case FiberState::kNew:
      return "idle";
    case FiberState::kRunnable:
      return "runnable";
    case FiberState::kRunning:
      return "running";
    case FiberState::kWaiting:
      return WaitingState(reason);
    case FiberState::kBlocking:
      return "syscall";
  }
  return "???";
}

}  // namespace fiberscope::pprof
