// What the flight recorder (flight_recorder.h) wants to hear of, for those who see it happen. They must not know the recorder,
// which knows them.
//
// Thread-safe. Cost while there is no recorder: a load.
#ifndef FIBERSCOPE_RUNTIME_FLIGHT_TRIGGERS_H_
#define FIBERSCOPE_RUNTIME_FLIGHT_TRIGGERS_H_

#include <atomic>
#include <cstdint>
#include <string_view>

namespace fiberscope::internal {

// Tasks that took longer. INT64_MAX: none.
inline constinit std::atomic<int64_t> g_slow_task_ns{INT64_MAX};
// Whether stalls are.
inline constinit std::atomic<bool> g_stalls_wanted{false};
// Set for ever by the first recorder; null before.
inline constinit std::atomic<void (*)(std::string_view reason)> g_flight_trigger{nullptr};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_FLIGHT_TRIGGERS_H_
