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
    case WaitReason::kChannelReceiveNil:
      return "chan receive (nil chan)";
    case WaitReason::kChannelSendNil:
      return "chan send (nil chan)";
    case WaitReason::kSelect:
      return "select";
    case WaitReason::kSelectNoCases:
      return "select (no cases)";
    case WaitReason::kRwMutexRead:
      return "sync.RWMutex.RLock";
    case WaitReason::kRwMutexWrite:
      return "sync.RWMutex.Lock";
    case WaitReason::kSemaphore:
      return "semacquire";
    case WaitReason::kCondition:
      return "sync.Cond.Wait";
    case WaitReason::kBarrier:
      return "barrier";
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
