// Assertions that end the process with the values that broke them.
//
// FIBERSCOPE_CHECK is always on: for bugs of ours or misuse of an API that cannot be reported any other way.
// FIBERSCOPE_DCHECK is compiled in when FIBERSCOPE_DCHECK_ENABLED is defined (--config=dbg and the sanitizers) and is for
// invariants on paths too hot to test in production. Never check what the environment can cause: return a Status.
//
//   FIBERSCOPE_CHECK(state == FiberState::kWaiting, "Unpark of fiber %d in state %s", id, StateName(state));
//
// The message is formatted with absl::StrFormat. Not async-signal-safe (formats, allocates).
#ifndef FIBERSCOPE_RUNTIME_BASE_CHECK_H_
#define FIBERSCOPE_RUNTIME_BASE_CHECK_H_

#include <string>

#include "absl/strings/str_format.h"

namespace fiberscope::internal {

// Writes "file:line: CHECK failed: condition: message" to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace fiberscope::internal

#define FIBERSCOPE_CHECK(condition, ...)                                                                      \
  (__builtin_expect(static_cast<bool>(condition), true)                                                       \
       ? static_cast<void>(0)                                                                                 \
       : ::fiberscope::internal::CheckFailed(__FILE__, __LINE__, #condition, ::absl::StrFormat(__VA_ARGS__)))

#ifdef FIBERSCOPE_DCHECK_ENABLED
#define FIBERSCOPE_DCHECK(condition, ...) FIBERSCOPE_CHECK(condition, __VA_ARGS__)
#else
#define FIBERSCOPE_DCHECK(condition, ...) static_cast<void>(0)
#endif

#endif  // FIBERSCOPE_RUNTIME_BASE_CHECK_H_
