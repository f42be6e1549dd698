// The other threads of a process that fails, each with its stack, in memory that is there already.
//
//   threads.List(deadline_ns);
//   for (CrashThread& thread : threads.listed()) threads.Look(thread, may_interrupt);
//   threads.AskRest(deadline_ns);
//
// As in running_stack.h, a thread that sleeps is walked from outside, and one that runs is asked by a signal (stack_signal.h). A
// sleeping one is sent the signal, too, where the walk from outside ends early: if its system call outlives that, or if the process
// is about to die, when nobody minds a call that is cut short.
//
// Whose stack cannot be had is listed all the same, and says why.
//
// Not thread-safe. Async-signal-safe, but for errno. Blocks the thread for files that are not on a disk, and until the deadline for
// threads that do not answer. 1.7 MiB: have it static.
#ifndef FIBERSCOPE_RUNTIME_CRASH_THREADS_H_
#define FIBERSCOPE_RUNTIME_CRASH_THREADS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/stack_signal.h"
#include "runtime/thread_status.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

// All zero at first: 1024 of them take no room in the program file.
struct CrashThread {
  enum class Outcome : uint8_t {
    kCaptured,
    kNotYet,        // must be asked
    kEnded,         // listed while the process lives on without its first thread
    kStopped,       // by a debugger or by SIGSTOP
    kBlocksSignal,  // it runs, and does not take the signal that asks for its stack
    kNoAnswer,      // the time was up
    kRefused,       // no signal could be sent: RLIMIT_SIGPENDING
    kNoSignal,      // none was free when PrepareStackSignal() was called, or the application has taken it since
    kUnseen,        // it sleeps, and where is not to be seen: it woke up all the time, or the kernel does not tell
    kNoTime,        // the time was up before its turn came
    kFault,         // set by who calls Look()
    kGone,          // not to be listed: it ended meanwhile
  };

  int id() const { return stack.thread_id; }
  std::span<const uintptr_t> pcs() const { return std::span(stack.pcs).first(stack.walk.depth); }

  ThreadName name;
  char state = 0;  // ThreadIdentity::state; 0: not known
  Outcome outcome = Outcome::kCaptured;
  int failed_signal = 0;  // not 0: waits in the crash handler, too; the stack is the one where that signal struck
  uint64_t hash = 0;      // of the stack; any number without one
  CrashStack stack;       // but for its outcome
};

// Threads that fail while another one reports. They wait, the signal of stack_signal.h blocked, and leave here where they were.
//
// Thread-safe. Async-signal-safe. Never blocks.
class FailedThreads {
 public:
  struct Entry {
    std::atomic<int> thread_id{0};  // 0: free; negative: being written. Release: the rest.
    int signal = 0;
    Registers registers;
  };

  // Null: no room, of so many the last are not told apart from threads that sleep.
  Entry* Enter(int thread_id, int signal, const Registers& registers);
  // `entry`: may be null.
  void Leave(Entry* entry);
  // Valid until the thread leaves: only who it waits for may ask.
  const Entry* Find(int thread_id) const;

 private:
  std::array<Entry, 64> entries_;
};

class CrashThreads {
 public:
  static constexpr size_t kMost = 1024;

  // All threads but the calling one, in the order of their creation. False: /proc/self/task cannot be read.
  bool List(int64_t deadline_ns);
  std::span<CrashThread> listed() { return std::span(threads_).first(size_); }
  // Those that do not fit.
  size_t overflow() const { return overflow_; }

  // Name, state, and the stack if it can be had without a signal. `may_interrupt`: system calls may be cut short.
  void Look(CrashThread& thread, const FailedThreads& failed, bool may_interrupt);
  // All that Look() left for that. After this no outcome is kNotYet, and the hashes are set.
  void AskRest(int64_t deadline_ns);

 private:
  void LookAtSleeping(CrashThread& thread, bool may_interrupt);
  bool BlocksSignal(const CrashThread& thread);

  size_t size_ = 0;
  size_t overflow_ = 0;
  std::array<CrashThread, kMost> threads_;
  std::array<CrashStack*, kMost> asked_{};
  ThreadFileBuffer file_;
  alignas(16) std::array<char, 32 << 10> entries_{};   // getdents64(2)
  alignas(16) std::array<std::byte, 1 << 20> copy_{};  // of a stack
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CRASH_THREADS_H_
