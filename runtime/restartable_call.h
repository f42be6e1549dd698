// Whether a sleeping system call outlives a signal: the handler runs, and the kernel takes the call up again as if nothing had
// happened (SA_RESTART). Others end with EINTR or with less than they were asked for, which changes what the program does.
//
// Says yes only where the kernel's code leaves no doubt: waits for a futex without a deadline (mutexes, condition variables,
// thread joins), reads from pipes and sockets that have no receive timeout and no minimum of bytes, accept, and waits for
// child processes. Not for sleeps, polls, deadlines (signal(7), "Interruption of system calls and library functions"), writes
// (which end with what has been written so far), and file systems, whose servers decide for themselves.
//
// Thread-safe. Async-signal-safe, but for errno. Looks at descriptors of this process (readlink, getsockopt: never blocks). A
// descriptor that is closed or replaced by another thread while the call sleeps on it is judged as what it has become.
#ifndef FIBERSCOPE_RUNTIME_RESTARTABLE_CALL_H_
#define FIBERSCOPE_RUNTIME_RESTARTABLE_CALL_H_

#include "runtime/thread_status.h"

namespace fiberscope::internal {

bool OutlivesSignal(const SystemCall& call);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_RESTARTABLE_CALL_H_
