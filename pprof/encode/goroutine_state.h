// How Go spells what a fiber is doing: the word in brackets in a dump.
#ifndef FIBERSCOPE_PPROF_ENCODE_GOROUTINE_STATE_H_
#define FIBERSCOPE_PPROF_ENCODE_GOROUTINE_STATE_H_

#include <optional>
#include <string>
#include <string_view>

#include "runtime/fiber_state.h"
#include "runtime/wait_reason.h"

namespace fiberscope::pprof {

// One of Go's own spellings wherever Go has the thing. It has no join and no suspend-until-a-callback; those are called
// "join" and "suspended", because every Go reason near them names a Go object that is not there ("sync.WaitGroup.Wait",
// "select"). Readers take any text without a comma or bracket.
// A waiting fiber without a reason is "waiting", a fiber that is not in a run queue yet "idle", as in Go.
const char* GoroutineState(FiberState state, WaitReason reason);

// The other way: of "runnable", "running", "syscall" and "waiting", the last whatever the reason.
std::optional<FiberState> ParseGoroutineStatus(std::string_view text);
// ParseGoroutineStatus takes these: "runnable, running, syscall, waiting".
std::string GoroutineStatuses();

// Of the reason as GoroutineState spells it: "chan receive". "waiting", of a fiber without one, is none.
std::optional<WaitReason> ParseWaitReason(std::string_view text);
// ParseWaitReason takes these: "sleep, IO wait, chan receive, ...", in the order of the enum.
std::string GoroutineWaitReasons();

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_GOROUTINE_STATE_H_
