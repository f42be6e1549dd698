#include "runtime/crash_dump.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <span>
#include <string_view>

#include "absl/debugging/symbolize.h"
#include "runtime/base/clock.h"
#include "runtime/crash_groups.h"
#include "runtime/crash_threads.h"
#include "runtime/fatal_report.h"
#include "runtime/fatal_text.h"
#include "runtime/fiber_pool.h"
#include "runtime/saved_registers.h"
#include "runtime/stack_signal.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::CrashGroup;
using internal::CrashGroups;
using internal::CrashThread;
using internal::CrashThreads;
using internal::FailedThreads;
using internal::FatalText;
using Traceback = CrashDumpOptions::Traceback;

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT};
// Raised by an instruction, which runs again when the handler returns.
constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr int kMostFaults = 3;
constexpr int kMaxAttempts = 100;  // to see a restless fiber hold still
constexpr int64_t kMostNs = 10'000'000'000;
constexpr int64_t kMostThreadsNs = 1'000'000'000;  // of that, until all threads' stacks must be there
constexpr size_t kMostFrames = 1024;

// Everything that a dump needs, so that it has only to be written to: a handler may not allocate, and its stack is
// small.
constinit std::atomic<Traceback> g_traceback{Traceback::kAll};
constinit std::atomic<bool> g_quit_ends_process{true};
constinit std::array<struct sigaction, NSIG> g_previous{};

// The thread that reports. The rest is its own.
constinit std::atomic<pid_t> g_owner{0};
// A dump has been written and the process is to end; the application's own handler may still be at work on that.
constinit std::atomic<bool> g_done{false};
constinit FatalText g_text;
constinit CrashGroups g_groups;
constinit CrashThreads g_threads;
// Not the reporting thread's own: who fails meanwhile enters itself.
constinit FailedThreads g_failed;
constinit std::array<uintptr_t, kMostFrames> g_pcs{};
constinit int g_faults = 0;
constinit int64_t g_deadline_ns = 0;
// Where a fault in the dump is gone on from; the compiler is told that what lies between may change.
sigjmp_buf g_recovery;
constinit volatile sig_atomic_t g_can_recover = 0;

bool TimeIsUp() { return MonotonicNowNs() > g_deadline_ns; }

// Calls `step`. False: it failed. Only what can fail because memory is corrupt.
template <typename F>
bool Try(F&& step) {
  if (sigsetjmp(g_recovery, 0) != 0) {
    g_can_recover = 0;
    return false;
  }
  g_can_recover = 1;
  step();
  g_can_recover = 0;
  return true;
}

// ---- Where it struck

// The mapping that `address` lies in, of a thread whose stack's bounds nobody knows; by read(2) alone.
// Format: proc_pid_maps(5), "LOW-HIGH permissions ...".
StackBounds MappingOf(uintptr_t address) {
  const int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  static constinit std::array<char, 4096> buffer{};
  StackBounds result;
  StackBounds line;
  enum class In { kLow, kHigh, kRest } in = In::kLow;
  for (ssize_t size;
       result.high == 0 && ((size = read(file, buffer.data(), buffer.size())) > 0 || (size < 0 && errno == EINTR));) {
    for (ssize_t i = 0; i < size && result.high == 0; ++i) {
      const char c = buffer[static_cast<size_t>(i)];
      if (c == '\n') {
        line = {};
        in = In::kLow;
      } else if (in == In::kLow && c == '-') {
        in = In::kHigh;
      } else if (in == In::kHigh && c == ' ') {
        in = In::kRest;
        if (line.low <= address && address < line.high) result = line;
      } else if (in != In::kRest) {
        uintptr_t& value = in == In::kLow ? line.low : line.high;
        value = value << 4 | static_cast<uintptr_t>(c <= '9' ? c - '0' : c - 'a' + 10);
      }
    }
  }
  close(file);
  return result;
}

void AddFrames(const UnwindResult& result, bool first_is_exact) {
  for (size_t i = 0; i < result.depth; ++i) g_text.AddPc(g_pcs[i], first_is_exact && i == 0);
  if (result.end != UnwindEnd::kRoot) g_text.Add("    ... (outer frames are missing)\n");
}

void AddSignal(int signal, const siginfo_t& info, const Registers& registers) {
  const char* const name = sigabbrev_np(signal);
  const char* const description = sigdescr_np(signal);
  g_text.Add("\nfatal signal: SIG%s: %s, code %d", name, description, info.si_code);
  if (info.si_code > 0) {
    g_text.Add(", address 0x%" PRIxPTR "\n", reinterpret_cast<uintptr_t>(info.si_addr));
  } else {
    g_text.Add(", sent by process %d\n", info.si_pid);
  }
  g_text.Add("pc 0x%" PRIxPTR " sp 0x%" PRIxPTR " rbp 0x%" PRIxPTR " rbx 0x%" PRIxPTR "\n", registers.pc, registers.sp,
             registers.rbp, registers.rbx);
  g_text.Add("r12 0x%" PRIxPTR " r13 0x%" PRIxPTR " r14 0x%" PRIxPTR " r15 0x%" PRIxPTR "\n", registers.r12,
             registers.r13, registers.r14, registers.r15);
  std::array<char, 16> thread_name{};
  prctl(PR_GET_NAME, thread_name.data());
  g_text.Add("thread %d \"", gettid());
  g_text.AddEscaped(thread_name.data());
  g_text.Add("\"\n");
}

void AddStackWhereItStruck(const ControlBlock* fiber, const Registers& registers) {
  if (fiber != nullptr) {
    g_text.Add("fiber %" PRIu64 " [%s]", fiber->id.load(std::memory_order_relaxed),
               StateName(fiber->state.Load().state()));
    g_text.AddFiberName(*fiber);
    g_text.Add(":\n");
  }
  const StackBounds bounds = fiber != nullptr ? fiber->stack() : MappingOf(registers.sp);
  if (const UnwindTable* const table = UnwindTable::Current())
    AddFrames(Unwind(*table, registers, bounds, g_pcs), true);
  if (fiber != nullptr) g_text.AddCreator(*fiber);
  g_text.Flush();
}

// ---- The other threads

const char* StateOfThread(char state) {
  switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "waiting for a disk";
    case 'T':
    case 't': return "stopped";
    case 'Z':
    case 'X': return "ended";
    default: return "unknown";
  }
}

void CollectThreads(bool may_interrupt) {
  const int64_t deadline_ns = std::min(g_deadline_ns, MonotonicNowNs() + kMostThreadsNs);
  if (!g_threads.List(deadline_ns)) g_text.Add("the threads cannot be listed: /proc/self/task: errno %d\n", errno);
  for (CrashThread& thread : g_threads.listed()) {
    if (g_faults >= kMostFaults || MonotonicNowNs() >= deadline_ns) break;
    if (!Try([&] { g_threads.Look(thread, g_failed, may_interrupt); })) thread.outcome = CrashThread::Outcome::kFault;
  }
  g_threads.AskRest(deadline_ns);
}

// Whether both are told by one text.
bool IsAlike(const CrashThread& a, const CrashThread& b) {
  return a.hash == b.hash && a.state == b.state && a.outcome == b.outcome && a.failed_signal == b.failed_signal &&
         a.stack.fiber == nullptr && b.stack.fiber == nullptr && a.stack.walk.end == b.stack.walk.end &&
         std::ranges::equal(a.pcs(), b.pcs());
}

void AddThreadName(const CrashThread& thread) {
  g_text.Add("%d \"", thread.id());
  g_text.AddEscaped(thread.name.view());
  g_text.Add("\"");
}

void AddThreadState(const CrashThread& thread) {
  if (thread.failed_signal != 0) {
    g_text.Add(" [SIG%s, too]", sigabbrev_np(thread.failed_signal));
  } else {
    g_text.Add(" [%s]", StateOfThread(thread.state));
  }
}

void AddWhyNoStack(CrashThread::Outcome outcome) {
  using Outcome = CrashThread::Outcome;
  const int number = internal::StackSignalNumber();
  switch (outcome) {
    case Outcome::kEnded:
    case Outcome::kStopped: g_text.Add("    no stack\n"); return;
    case Outcome::kBlocksSignal: g_text.Add("    no stack: the thread blocks signal %d, which asks for it\n", number); return;
    case Outcome::kRefused: g_text.Add("    no stack: no signal could be sent\n"); return;
    case Outcome::kNoSignal: g_text.Add("    no stack: the application uses the signal that asks for it\n"); return;
    case Outcome::kUnseen: g_text.Add("    no stack: where it sleeps was not to be seen\n"); return;
    case Outcome::kFault: g_text.Add("    fault while reading this stack\n"); return;
    default: g_text.Add("    no stack: no answer in time\n"); return;
  }
}

void AddThreadStack(const CrashThread& thread) {
  if (thread.pcs().empty()) {
    AddWhyNoStack(thread.outcome);
    return;
  }
  bool is_first = true;
  for (const uintptr_t pc : thread.pcs()) {
    g_text.AddPc(pc, is_first);
    is_first = false;
  }
  if (thread.stack.walk.end != UnwindEnd::kRoot) g_text.Add("    ... (outer frames are missing)\n");
}

void AddThreadOnFiber(const CrashThread& thread) {
  const ControlBlock& fiber = *thread.stack.fiber;
  g_text.Add("\nthread ");
  AddThreadName(thread);
  AddThreadState(thread);
  const bool is_same = thread.stack.fiber_id != 0 && fiber.id.load(std::memory_order_relaxed) == thread.stack.fiber_id;
  if (thread.stack.fiber_id != 0) g_text.Add(" runs fiber %" PRIu64, thread.stack.fiber_id);
  if (is_same) g_text.AddFiberName(fiber);
  g_text.Add(":\n");
  AddThreadStack(thread);
  if (is_same) g_text.AddCreator(fiber);
}

// `threads`: the first one and those after it; the ones that are like it are marked as told.
void AddThreadsAlike(std::span<CrashThread> threads) {
  CrashThread& first = threads.front();
  const auto is_alike = [&first](const CrashThread& thread) { return IsAlike(first, thread); };
  const auto count = std::ranges::count_if(threads, is_alike);
  if (count == 1) {
    g_text.Add("\nthread ");
    AddThreadName(first);
    AddThreadState(first);
  } else {
    g_text.Add("\n%td threads", count);
    AddThreadState(first);
  }
  g_text.Add(":\n");
  AddThreadStack(first);
  if (count == 1) return;
  constexpr int kOnOneLine = 6;
  int names = 0;
  for (CrashThread& thread : threads) {
    if (!is_alike(thread)) continue;
    g_text.Add(names == 0 ? "these are " : names % kOnOneLine == 0 ? ",\n    " : ", ");
    AddThreadName(thread);
    ++names;
    if (&thread != &first) thread.outcome = CrashThread::Outcome::kGone;
  }
  g_text.Add("\n");
}

// Those that run fibers first: what was running is what a reader looks for.
void AddThreads(bool may_interrupt) {
  CollectThreads(may_interrupt);
  const std::span<CrashThread> threads = g_threads.listed();
  const auto is_listed = [](const CrashThread& thread) { return thread.outcome != CrashThread::Outcome::kGone; };
  g_text.Add("\n%zu other threads\n", static_cast<size_t>(std::ranges::count_if(threads, is_listed)) + g_threads.overflow());
  for (const bool on_fiber : {true, false}) {
    for (size_t i = 0; i < threads.size(); ++i) {
      if (!is_listed(threads[i]) || (threads[i].stack.fiber != nullptr) != on_fiber) continue;
      if (g_faults >= kMostFaults || TimeIsUp()) {
        g_text.Add("cut off: %s\n", TimeIsUp() ? "it took too long" : "too many faults");
        g_text.Flush();
        return;
      }
      const auto add = [&] { on_fiber ? AddThreadOnFiber(threads[i]) : AddThreadsAlike(threads.subspan(i)); };
      if (!Try(add)) g_text.Add("\nfault while writing of thread %d\n", threads[i].id());
    }
  }
  if (const size_t count = g_threads.overflow(); count != 0) {
    g_text.Add("\n%zu more threads, beyond the first %zu\n", count, CrashThreads::kMost);
  }
  g_text.Flush();
}

// ---- All fibers

struct Listing {
  const UnwindTable* table = nullptr;
  const ControlBlock* struck = nullptr;
  uint64_t fibers = 0;
  uint64_t restless = 0;
  bool complete = true;
};

// As registry.cc reads a fiber, into memory that is there already.
void Collect(const ControlBlock& block, Listing& listing) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const StateWord word = block.state.Load();
    const uint64_t id = block.id.load(std::memory_order_acquire);
    if (word.state() == FiberState::kDead || id == 0) return;
    internal::CrashFiber fiber{.block = &block, .id = id, .state = word.state(), .stack = {}};
    const bool waits = word.state() == FiberState::kWaiting;
    if (waits) fiber.reason = block.wait_reason.load(std::memory_order_relaxed);
    fiber.since_ns =
        waits || word.state() == FiberState::kBlocking ? block.since_ns.load(std::memory_order_relaxed) : 0;
    if (!word.running() && listing.table != nullptr) {
      if (const auto registers = internal::SavedRegisters(block, word.state())) {
        const UnwindResult result = Unwind(*listing.table, *registers, StackBounds{registers->sp, block.stack().high}, g_pcs);
        fiber.stack = {g_pcs.data(), result.depth};
      }
    }
    if (!block.state.Unchanged(word) || block.id.load(std::memory_order_relaxed) != id) continue;
    ++listing.fibers;
    g_groups.Add(fiber);
    return;
  }
  ++listing.fibers;
  ++listing.restless;
}

Listing CollectAll(const ControlBlock* struck) {
  Listing listing{.table = UnwindTable::Current(), .struck = struck};
  internal::FiberPool::Instance().ForEachBlock([&listing](ControlBlock& block) {
    if (&block == listing.struck) return true;
    if (!Try([&] { Collect(block, listing); })) {
      g_text.Add("fault while reading fiber %" PRIu64 "\n", block.id.load(std::memory_order_relaxed));
      ++listing.fibers;
    }
    listing.complete = g_faults < kMostFaults && !TimeIsUp();
    return listing.complete;
  });
  return listing;
}

void AddDuration(int64_t ns) {
  const int64_t seconds = ns / 1'000'000'000;
  if (seconds < 60) {
    g_text.Add(", longest %" PRId64 " s", seconds);
  } else {
    g_text.Add(", longest %" PRId64 " minutes", seconds / 60);
  }
}

void AddGroup(const CrashGroup& group, int64_t now_ns) {
  g_text.Add("%" PRIu64 " %s [%s", group.count, group.count == 1 ? "fiber" : "fibers",
             group.state == FiberState::kWaiting ? WaitReasonName(group.reason) : StateName(group.state));
  if (group.oldest_ns != 0) AddDuration(now_ns > group.oldest_ns ? now_ns - group.oldest_ns : 0);
  g_text.Add(group.count == 1 ? "], fiber %" PRIu64 : "], one is fiber %" PRIu64, group.id);
  const bool is_same = group.block->id.load(std::memory_order_relaxed) == group.id;
  if (is_same) g_text.AddFiberName(*group.block);
  g_text.Add(":\n");
  for (size_t i = 0; i < group.depth; ++i) g_text.AddPc(group.pcs[i]);
  if (group.cut) g_text.Add("    ...\n");
  if (is_same && group.depth == 0) {
    g_text.Add("    (no stack; entry function)\n");
    g_text.AddPc(group.block->entry_pc.load(std::memory_order_relaxed), true);
  }
  if (is_same) g_text.AddCreator(*group.block);
  g_text.Add("\n");
}

void AddAllFibers(const ControlBlock* struck) {
  const int64_t now_ns = CoarseNowNs();
  const Listing listing = CollectAll(struck);
  g_text.Add("\n%" PRIu64 " other fibers\n\n", listing.fibers);
  for (const CrashGroup* const group : g_groups.Sorted()) {
    if (g_faults >= kMostFaults || TimeIsUp()) {
      g_text.Add("cut off: %s\n", TimeIsUp() ? "it took too long" : "too many faults");
      g_text.Flush();
      return;
    }
    if (!Try([&] { AddGroup(*group, now_ns); })) g_text.Add("\nfault while writing of fiber %" PRIu64 "\n", group->id);
  }
  if (listing.restless != 0) g_text.Add("%" PRIu64 " fibers changed state all the time\n", listing.restless);
  if (g_groups.overflow() != 0) g_text.Add("%" PRIu64 " fibers with further stacks\n", g_groups.overflow());
  if (!listing.complete) g_text.Add("the list is not complete\n");
  g_text.Flush();
}

// ---- The handler

bool IsFault(int signal) {
  for (const int each : kFaults) {
    if (each == signal) return true;
  }
  return false;
}

void Dump(int signal, const siginfo_t& info, const void* context, bool process_may_go_on) {
  const Registers registers = InterruptedRegisters(context);
  const Traceback traceback = g_traceback.load(std::memory_order_relaxed);
  if (IsFault(signal) && info.si_code > 0) internal::ReportIfOverflow(reinterpret_cast<uintptr_t>(info.si_addr));
  AddSignal(signal, info, registers);
  g_text.Flush();
  const ControlBlock* const fiber = internal::FiberPool::Instance().BlockOfStack(registers.sp);
  const bool has_been_told = signal == SIGABRT && internal::PanicReported();
  if (traceback != Traceback::kNone && !has_been_told) {
    if (!Try([&] { AddStackWhereItStruck(fiber, registers); })) g_text.Add("fault while reading this stack\n");
  }
  if (traceback == Traceback::kAll) {
    AddThreads(!process_may_go_on);
    AddAllFibers(fiber);
  }
  g_text.Flush();
}

// The previous handler, or the default action, takes over: at once where an instruction faults again, otherwise by the
// same signal, which waits until this handler has returned.
void PassOn(int signal, const siginfo_t& info) {
  struct sigaction previous = g_previous[static_cast<size_t>(signal)];
  // Shells start background processes with SIGQUIT ignored. As in Go it ends the process nevertheless.
  if (previous.sa_handler == SIG_IGN) previous.sa_handler = SIG_DFL;
  sigaction(signal, &previous, nullptr);
  if (!IsFault(signal) || info.si_code <= 0) tgkill(getpid(), gettid(), signal);
}

bool HasOwnHandler(int signal) {
  const auto& previous = g_previous[static_cast<size_t>(signal)];
  return previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN;
}

void OnSignal(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const pid_t self = gettid();
  pid_t owner = 0;
  FailedThreads::Entry* waiting = nullptr;
  while (!g_owner.compare_exchange_strong(owner, self)) {
    if (owner == self) {  // a fault in the dump itself
      if (g_can_recover != 0 && ++g_faults <= kMostFaults) siglongjmp(g_recovery, 1);
      // After the dump: what the application's handler does, abort() for instance.
      if (!g_done) {
        g_text.Add("\nthe crash dump failed: SIG%s\n", sigabbrev_np(signal));
        g_text.Flush();
      }
      PassOn(signal, *info);
      return;
    }
    if (g_done) {
      PassOn(signal, *info);
      return;
    }
    if (waiting == nullptr) waiting = g_failed.Enter(self, signal, InterruptedRegisters(context));
    poll(nullptr, 0, 10);
    owner = 0;
  }
  g_failed.Leave(waiting);
  g_faults = 0;
  g_deadline_ns = MonotonicNowNs() + kMostNs;
  const bool quit_ends_process = g_quit_ends_process.load(std::memory_order_relaxed);
  const bool process_may_go_on = signal == SIGQUIT && (!quit_ends_process || HasOwnHandler(signal));
  Dump(signal, *info, context, process_may_go_on);
  if (process_may_go_on) {
    g_groups.Clear();
    g_owner.store(0);
  } else {
    g_done = true;
  }
  if (signal != SIGQUIT || quit_ends_process) PassOn(signal, *info);
  errno = saved_errno;
}

Traceback FromEnvironment(Traceback otherwise) {
  const char* const value = std::getenv("FIBERSCOPE_TRACEBACK");
  if (value == nullptr) return otherwise;
  const std::string_view text = value;
  if (text == "none") return Traceback::kNone;
  if (text == "single") return Traceback::kSingle;
  if (text == "all") return Traceback::kAll;
  FatalText warning;
  warning.Add("fiberscope: FIBERSCOPE_TRACEBACK=\"");
  warning.AddEscaped(text);
  warning.Add("\" is ignored: it is none, single or all\n");
  warning.Flush();
  return otherwise;
}

}  // namespace

void InstallCrashDump(const CrashDumpOptions& options) {
  g_traceback = FromEnvironment(options.traceback);
  g_quit_ends_process = options.quit_ends_process;
  static std::once_flag once;
  std::call_once(once, [] {
    InstallFatalReports();  // first: its handlers are the previous ones of ours
    UnwindTable::Refresh();
    PrepareThreadForFatalReports();
    // Without a free number the dump says so.
    (void)internal::PrepareStackSignal();
    struct sigaction action = {};
    action.sa_sigaction = OnSignal;
    // The faults stay unblocked: the kernel ends a process whose handler faults while the signal is blocked.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    sigfillset(&action.sa_mask);
    for (const int fault : kFaults) sigdelset(&action.sa_mask, fault);
    for (const int signal : kSignals) sigaction(signal, &action, &g_previous[static_cast<size_t>(signal)]);
  });
}

}  // namespace fiberscope
