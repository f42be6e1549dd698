// What the process says before a fiber's mistake ends it: an exception that nobody caught, or a stack that overflowed.
//
//   panic: std::runtime_error: no such order
//
//   fiber 42 [running] "request":
//       0x55d3c0a1b2c3 demo::Orders::Find(int)
//       ...
//   created by demo::Serve() (0x55d3c0a1b111) in fiber 7
//
//   fatal error: stack overflow
//   fiber 42 "request": stack [0x7f10_0001_0000, 0x7f10_0002_0000), 61440 bytes, fault at 0x7f10_0000_fff8 in its guard page
//   created by ...
//
// Names come from the symbol tables of the loaded objects (absl::Symbolize); addresses are printed for addr2line. Text from
// outside, names and what(), is escaped: it cannot forge a line.
//
// Threads that fail while another one reports wait for it, and with it for the end.
//
// Afterwards the process ends as it would have: the application's terminate handler runs, if it had one, otherwise abort(); and
// the overflow is raised again with the previous signal handler. Core dumps included.
#ifndef FIBERSCOPE_RUNTIME_FATAL_REPORT_H_
#define FIBERSCOPE_RUNTIME_FATAL_REPORT_H_

#include <cstdint>

namespace fiberscope {

namespace internal {
struct ControlBlock;

// For crash_dump.h, on the thread that failed; async-signal-safe. Reports the overflow of the running fiber's stack, once, if a
// fault at `address` is one.
void ReportIfOverflow(uintptr_t address);
// Whether an uncaught exception has been reported, with its stack: the SIGABRT that follows is its end. Async-signal-safe.
bool PanicReported();
}  // namespace internal

// Installs the terminate handler and the SIGSEGV/SIGBUS handler, once per process; later calls do nothing. A handler that the
// application had is called for whatever is not ours; one that it installs later replaces ours. Called by Scheduler.
//
// The signal handler runs on the alternate stack that PrepareThreadForFatalReports() gives the calling thread; a thread without
// one cannot report the overflow of a stack it stands on.
//
// Thread-safe.
void InstallFatalReports();

// Gives the calling thread an alternate signal stack for its life, unless it has one. Workers call it. The handler of
// stack_signal.h runs on it too, which needs much less.
void PrepareThreadForFatalReports();

// For a fiber that has ended on a stack without a guard page: ends the process with a report if it wrote below its stack,
// into other memory by then. Cost: reads one page.
void CheckUnguardedStack(const internal::ControlBlock& fiber);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FATAL_REPORT_H_
