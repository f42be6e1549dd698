// Why a fiber stopped running, as a number of a string in a trace: kFiberBlock, kFiberStop.
//
// Thread-safe (values only).
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_REASON_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_REASON_H_

#include <cstdint>

namespace fiberscope {

// Of a wait: 1 + WaitReason. Of the rest:
inline constexpr uint64_t kFirstWaitTraceReason = 1;
inline constexpr uint64_t kYieldTraceReason = 90;    // it let others run
inline constexpr uint64_t kUnknownTraceReason = 91;  // the trace did not see why

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_REASON_H_
