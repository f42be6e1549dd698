// What a process says as a signal ends it: the signal, where it struck, and what all threads and fibers were doing; on standard
// error.
//
//   fatal signal: SIGSEGV: Segmentation fault, code 1, address 0x8
//   pc 0x55d3c0a1b2c3 sp 0x7f1000001e40 ...
//   thread 4711 "worker/0"
//   fiber 42 [running] "request":
//       0x55d3c0a1b2c3 demo::Orders::Find(int)
//       ...
//   created by demo::Serve() (0x55d3c0a1b111) in fiber 7
//
//   3 other threads
//
//   thread 4712 "worker/1" [running] runs fiber 43 "audit":
//       0x55d3c0a1d2c3 demo::Audit(int)
//       ...
//   created by demo::Serve() (0x55d3c0a1b111) in fiber 7
//
//   2 threads [sleeping]:
//       0x7f8be8226f36 epoll_wait
//       ...
//   these are 4713 "worker/2", 4714 "worker/3"
//
//   10006 other fibers
//
//   10000 fibers [channel receive, longest 12 s], one is fiber 9 "parked":
//       0x55d3c0a1c2c3 demo::Park(int)
//       ...
//   created by ...
//
// Fibers with equal stacks, entry functions and states, told by a 64-bit hash, are one group; the largest groups come first. Of
// those that run, the stacks are among the threads': threads that run fibers come first there, the others follow in the order of
// their creation, equal stacks told once. At most 1024 threads are told, with 64 frames each; the others are counted.
//
// How the threads' stacks are had: one that sleeps in the kernel is walked from outside (running_stack.h). One that runs is asked
// by the signal of stack_signal.h, a real-time signal that the application does not use, chosen when this is installed. So is one
// that sleeps, where the walk from outside ends early: nobody minds a system call that is cut short in a process that is about to
// die. When it is not to die (SIGQUIT, see below), only threads are asked whose call outlives a signal, as running_stack.h
// promises. A thread that does not answer within a second is listed as such, and so is one that blocks the signal, or an
// application that has taken the number since. A thread that failed, too, while the dump was written shows where that was:
// [SIGSEGV, too].
//
// Signals: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, thus also uncaught exceptions (fatal_report.h tells those first) and
// failed assertions; and SIGQUIT, as in Go: `kill -QUIT` shows what a live process is doing. Afterwards the process ends as it
// would have without: the handler that the application had installed before runs, or the default action, core dump included. An
// application that handles one of these signals in the course of its normal work must not install this. A signal that was ignored
// ends the process, too.
//
// The environment variable FIBERSCOPE_TRACEBACK overrules CrashDumpOptions::traceback: none, single, all.
//
// Not shown: inlined functions (addr2line -i finds them). Nobody is stopped: the others run on while the dump is written, so the
// threads' stacks are of different moments, and a fiber that keeps changing state is only counted. In a process that is not
// dumpable (prctl(2), PR_SET_DUMPABLE) the kernel does not tell where threads sleep.
//
// Survives its own faults: a fiber whose stack cannot be read is named and passed over, after three the dump ends. Ends after
// 10 s in any case. Of threads that fail at the same time one reports, the others wait for the end.
//
// Cost: none until then; 8.2 MiB of address space. With 100,000 fibers in six groups a process is gone 0.1 s after the signal.
#ifndef FIBERSCOPE_RUNTIME_CRASH_DUMP_H_
#define FIBERSCOPE_RUNTIME_CRASH_DUMP_H_

#include <cstdint>

namespace fiberscope {

struct CrashDumpOptions {
  enum class Traceback : uint8_t {
    kNone,    // the signal only
    kSingle,  // and the stack where it struck
    kAll,     // and all other threads and fibers
  };
  Traceback traceback = Traceback::kAll;
  bool quit_ends_process = true;  // false: after the dump for SIGQUIT the process goes on
};

// Process-wide; a later call changes the options. Opt-in: Scheduler does not call it. A handler that the application installs later
// for one of the signals replaces this one's.
//
// The code in the handlers runs on the alternate signal stack of a thread that has one; workers do. It takes 8 KiB with AVX-512,
// the kernel's part included.
//
// Thread-safe. Blocks the thread, some milliseconds, the first time.
void InstallCrashDump(const CrashDumpOptions& options);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CRASH_DUMP_H_
