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

constexpr FiberState kStatuses[] = {FiberState::kRunnable, FiberState::kRunning, FiberState::kBlocking, FiberState::kWaiting};

const char* Status(FiberState state) { return GoroutineState(state, WaitReason::kNone); }

void AppendWord(std::string& list, const char* word) {
  if (!list.empty()) list += ", ";
  list += word;
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

std::optional<FiberState> ParseGoroutineStatus(std::string_view text) {
  for (const FiberState state : kStatuses) {
    if (text == Status(state)) return state;
  }
  return std::nullopt;
}

std::string GoroutineStatuses() {
  std::string list;
  for (const FiberState state : kStatuses) AppendWord(list, Status(state));
  return list;
}

std::optional<WaitReason> ParseWaitReason(std::string_view text) {
  for (int i = 1; i < kWaitReasonCount; ++i) {
    if (text == WaitingState(static_cast<WaitReason>(i))) return static_cast<WaitReason>(i);
  }
  return std::nullopt;
}

std::string GoroutineWaitReasons() {
  std::string list;
  for (int i = 1; i < kWaitReasonCount; ++i) AppendWord(list, WaitingState(static_cast<WaitReason>(i)));
  return list;
}

}  // namespace fiberscope::pprof
