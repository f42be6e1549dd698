// What a process says as a signal ends it: the signal, where it struck, and what all fibers were doing, on standard error.
//
//   fatal signal: SIGSEGV: Segmentation fault, code 1, address 0x8
//   pc 0x55d3c0a1b2c3 sp 0x7f1000001e40 ...
//   thread 4711 "worker/0"
//   fiber 42 [running] "request":
//       0x55d3c0a1b2c3 demo::Orders::Find(int)
//       ...
//   created by demo::Serve() (0x55d3c0a1b111) in fiber 7
//
//   10006 other fibers
//
//   10000 fibers [channel receive, longest 12 s], one is fiber 9 "parked":
//       0x55d3c0a1c2c3 demo::Park(int)
//       ...
//   created by ...
//
// Fibers with equal stacks, entry functions and states, told by a 64-bit hash, are one group; the largest groups come first.
//
// Signals: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, thus also uncaught exceptions (fatal_report.h tells those first) and
// failed assertions; and SIGQUIT, as in Go: `kill -QUIT` shows what a live process is doing. Afterwards the process ends as it
// would have without: the handler that the application had installed before runs, or the default action, core dump included. An
// application that handles one of these signals in the course of its normal work must not install this. A signal that was ignored
// ends the process, too.
//
// The environment variable FIBERSCOPE_TRACEBACK overrules CrashDumpOptions::traceback: none, single, all.
//
// Not shown: stacks of other running fibers and of other threads, and inlined functions (addr2line -i finds them). Nobody is
// stopped: the others run on while the dump is written, and a fiber that keeps changing state is only counted.
//
// Survives its own faults: a fiber whose stack cannot be read is named and passed over, after three the dump ends. Ends after
// 10 s in any case. Of threads that fail at the same time one reports, the others wait for the end.
//
// Cost: none until then; 2.4 MiB of address space. With 100,000 fibers in six groups a process is gone 0.1 s after the signal.
#ifndef FIBERSCOPE_RUNTIME_CRASH_DUMP_H_
#define FIBERSCOPE_RUNTIME_CRASH_DUMP_H_

#include <cstdint>

namespace fiberscope {

struct CrashDumpOptions {
  enum class Traceback : uint8_t {
    kNone,    // the signal only
    kSingle,  // and the stack where it struck
    kAll,     // and all fibers
  };
  Traceback traceback = Traceback::kAll;
  bool quit_ends_process = true;  // false: after the dump for SIGQUIT the process goes on
};

// Process-wide; a later call changes the options. Opt-in: Scheduler does not call it. A handler that the application installs later
// for one of the signals replaces this one's.
//
// The code in the handlers runs on the alternate signal stack of a thread that has one; workers do.
//
// Thread-safe. Blocks the thread, some milliseconds, the first time.
void InstallCrashDump(const CrashDumpOptions& options);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CRASH_DUMP_H_
