// Asks threads for their stacks: a signal to each, all at once, and each walks its own stack in the handler.
//
// Process-wide. The first request chooses a real-time signal, from SIGRTMAX down the first one whose disposition is SIG_DFL, and
// installs a handler (SA_SIGINFO, SA_ONSTACK, SA_RESTART, all signals blocked). A number that the application has a handler for,
// or ignores, is never taken; an application that takes ours later may: the next request sees it and chooses another. What cannot
// be seen is a number that is only waited for (sigwait, signalfd): as that requires the signal to be blocked, numbers that the
// requesting thread blocks are passed over, unless it blocks all. The handler stays for ever, because a signal may be late; a
// stray signal of the number is ignored.
//
// The answer names the fiber that the thread stands on, told by the stack pointer, and the fiber's state word at that moment. The
// walk stays inside the fiber's stack, or inside `own_stack` when the thread stands on that; elsewhere (a signal handler of the
// application's on an alternate stack) the answer is the pc alone, unless the thread is asked to copy its stack: then the walk is
// of the 64 KiB above the stack pointer, as far as they can be read, and outer frames beyond them are missing. A copy because the
// bounds are not known: what lies above a thread's own stack may be somebody else's, and go away. The copy is made by
// process_vm_readv, so a thread that lives under a seccomp filter of its own that kills for this must not be asked for one.
//
// The handler and the kernel's frame take 3.4 KiB of the alternate stack (AVX-512; 4.5 KiB under AddressSanitizer). It takes no
// lock, allocates nothing and keeps errno, so it may come at any instruction: in a switch, in malloc, in a throw. What it must not
// meet is a system call that does not outlive signals: that is running_stack.h's business, which is what to use.
//
// With an instant the thread, having answered, waits in the handler for up to 1 ms (instant.h).
//
// Thread-safe; requests take turns. Blocks the thread until all have answered or the time is up.
// Cost: 15 us for one thread that runs; one that waits for a CPU answers when it gets it.
#ifndef FIBERSCOPE_RUNTIME_STACK_SIGNAL_H_
#define FIBERSCOPE_RUNTIME_STACK_SIGNAL_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "runtime/fiber_id.h"
#include "runtime/fiber_state.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {

namespace internal {
struct ControlBlock;
}

struct RunningThread {
  int thread_id = 0;  // of the kernel; one of this process
  // ThreadStackBounds() on that thread; must stay readable during the request. Empty: only what runs on fibers' stacks is walked.
  StackBounds own_stack;
  // `own_stack` is not known: copy.
  bool copy_stack = false;
  // The fiber that it said it runs, when it was looked at.
  internal::ControlBlock* runs = nullptr;
};

struct RunningStack {
  enum class Outcome : uint8_t {
    kCaptured,
    kNoAnswer,  // the time was up: the thread blocks the signal, or got no CPU
    kNoThread,  // it has ended
    kRefused,   // no signal could be sent: RLIMIT_SIGPENDING, or too many threads still owe an answer
    kNoSignal,  // the application uses all real-time signals
    kRestless,  // CaptureRunningStacks: it slept and woke all the time, in calls that a signal could have cut short
    kNoTime,    // CaptureRunningStacks: walk_timeout was over before its turn came
  };
  // Outer frames of deeper stacks are left out (UnwindEnd::kBufferFull).
  static constexpr size_t kMaxFrames = 512;

  Outcome outcome = Outcome::kNoAnswer;
  // The rest: of a captured stack.
  FiberId fiber;   // that the thread stood on; none: its own stack, or a fiber that has ended
  StateWord word;  // the fiber's
  std::vector<uintptr_t> pcs;  // innermost first: the exact pc, then return addresses
  UnwindEnd end = UnwindEnd::kRoot;
};

namespace internal {

class Instant;

// The threads record what they run and wait in the handler until the instant is declared (instant.h).
struct InstantRequest {
  Instant* instant = nullptr;
  // Called once, whatever happens: when all threads wait, or it has become too late for that. Declares the instant. It may not
  // allocate or take a lock.
  absl::FunctionRef<void(bool all_wait)> declare;
};

// One result per thread, in the same order. kResourceExhausted: the application uses all real-time signals; nothing was sent.
// UnwindTable::Refresh() must have been called.
absl::Status AskForStacks(std::span<const RunningThread> threads, std::chrono::nanoseconds timeout,
                          std::span<RunningStack> stacks, const InstantRequest* instant = nullptr);

// The signal in use; 0 before the first request and before PrepareStackSignal().
int StackSignalNumber();

// Chooses the signal now, as a request would. kResourceExhausted: the application uses all.
absl::Status PrepareStackSignal();

struct ControlBlock;

// One thread of a request by AskInCrash.
struct CrashStack {
  static constexpr size_t kMaxFrames = 64;
  int thread_id = 0;
  RunningStack::Outcome outcome = RunningStack::Outcome::kCaptured;
  // The rest: of a captured stack, otherwise as it was before.
  const ControlBlock* fiber = nullptr;  // on whose stack the thread stood
  uint64_t fiber_id = 0;
  UnwindResult walk = {};
  std::array<uintptr_t, kMaxFrames> pcs = {};
};

// The same for the handler of a fatal signal (crash_dump.h): takes no lock, waits for no other request, allocates nothing, because
// it has places of its own. PrepareStackSignal() must have been called; kNoSignal: not done, or the application has taken the
// number since. Each of `stacks` gets its outcome; kNoTime: the deadline was over before its turn came, at 64 threads a turn.
//
// Every stack is walked in a copy, a fiber's too: what its control block says may be wrong by now, and a fault in the thread that
// is asked would end the process.
//
// Async-signal-safe, but for errno. One thread of the process at a time.
void AskInCrash(std::span<CrashStack* const> stacks, int64_t deadline_ns);

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_SIGNAL_H_
