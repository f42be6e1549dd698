// Why a fiber is parked. Our own names; how Go spells them on the wire is a table in pprof/encode.
//
// Thread-safe (values only).
#ifndef FIBERSCOPE_RUNTIME_WAIT_REASON_H_
#define FIBERSCOPE_RUNTIME_WAIT_REASON_H_

#include <array>
#include <cstdint>

namespace fiberscope {

enum class WaitReason : uint8_t {
  kNone = 0,           // not parked
  kSleep,              // SleepFor, SleepUntil
  kIo,                 // an Asio operation through use_fiber
  kChannelReceive,     // empty channel
  kChannelSend,        // full channel, or nobody receives
  kMutexLock,          // Mutex held by another fiber
  kWaitGroup,          // WaitGroup::Wait
  kJoin,               // Fiber::Join
  kSuspend,            // Suspend: some callback is to resume it
  kChannelReceiveNil,  // from no channel (a null pointer): for ever
  kChannelSendNil,     // to no channel: for ever
  kSelect,             // none of several channel operations is possible
  kSelectNoCases,      // Select without cases: for ever
  kRwMutexRead,        // RwMutex held by, or promised to, a writer
  kRwMutexWrite,       // RwMutex held by others
  kSemaphore,          // not enough permits
  kCondition,          // ConditionVariable, until notified
  kBarrier,            // until the others have arrived
};

inline constexpr int kWaitReasonCount = static_cast<int>(WaitReason::kBarrier) + 1;

// "none", "sleep", "io", "channel receive", "channel send", "mutex lock", and so on: the enumerators in words.
const char* WaitReasonName(WaitReason reason);

// The same by value, for who reads the process from outside (debugger_layout.h).
extern const std::array<const char*, kWaitReasonCount> kWaitReasonNames;

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_WAIT_REASON_H_
