#include "runtime/crash_threads.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string_view>
#include <system_error>

#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/restartable_call.h"
#include "runtime/sleeping_stack.h"
#include "runtime/stack/stack_memory.h"

namespace fiberscope::internal {
namespace {

using Outcome = CrashThread::Outcome;

constexpr int kMaxAttempts = 3;  // to see a restless thread asleep

// Of getdents64(2): the kernel's record, of which the name is the rest.
constexpr size_t kLengthOffset = 16;
constexpr size_t kNameOffset = 19;

// 0: no thread.
int ThreadIdOf(std::string_view name) {
  int id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  return error == std::errc() && end == name.data() + name.size() ? id : 0;
}

void SetFiber(const ControlBlock* fiber, CrashStack& stack) {
  stack.fiber = fiber;
  stack.fiber_id = fiber != nullptr ? fiber->id.load(std::memory_order_relaxed) : 0;
}

Outcome OutcomeOf(RunningStack::Outcome outcome) {
  using From = RunningStack::Outcome;
  switch (outcome) {
    case From::kCaptured: return Outcome::kCaptured;
    case From::kNoAnswer: return Outcome::kNoAnswer;
    case From::kNoThread: return Outcome::kGone;
    case From::kRefused: return Outcome::kRefused;
    case From::kNoSignal: return Outcome::kNoSignal;
    case From::kRestless: return Outcome::kUnseen;
    case From::kNoTime: return Outcome::kNoTime;
  }
  return Outcome::kNoAnswer;
}

uint64_t HashOf(const CrashThread& thread) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by words
  for (const uintptr_t pc : thread.pcs()) hash = (hash ^ pc) * 0x100000001b3;
  return hash;
}

}  // namespace

FailedThreads::Entry* FailedThreads::Enter(int thread_id, int signal, const Registers& registers) {
  for (Entry& entry : entries_) {
    int free = 0;
    if (!entry.thread_id.compare_exchange_strong(free, -1, std::memory_order_acquire)) continue;
    entry.signal = signal;
    entry.registers = registers;
    entry.thread_id.store(thread_id, std::memory_order_release);
    return &entry;
  }
  return nullptr;
}

void FailedThreads::Leave(Entry* entry) {
  if (entry != nullptr) entry->thread_id.store(0, std::memory_order_release);
}

const FailedThreads::Entry* FailedThreads::Find(int thread_id) const {
  for (const Entry& entry : entries_) {
    // Pairs with Enter.
    if (entry.thread_id.load(std::memory_order_acquire) == thread_id) return &entry;
  }
  return nullptr;
}

bool CrashThreads::List(int64_t deadline_ns) {
  size_ = 0;
  overflow_ = 0;
  const int self = gettid();
  const int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return false;
  // Not readdir(3), which allocates and locks.
  long bytes = 0;
  while (MonotonicNowNs() < deadline_ns && (bytes = syscall(SYS_getdents64, tasks, entries_.data(), entries_.size())) > 0) {
    uint16_t length = 0;
    for (size_t at = 0; at < static_cast<size_t>(bytes); at += length) {
      std::memcpy(&length, &entries_[at + kLengthOffset], sizeof(length));
      const int id = ThreadIdOf(&entries_[at + kNameOffset]);
      if (id == 0 || id == self) continue;
      if (size_ == kMost) {
        ++overflow_;
        continue;
      }
      CrashThread& thread = threads_[size_++];
      thread.name = {};
      thread.state = 0;
      thread.outcome = Outcome::kNoTime;
      thread.failed_signal = 0;
      thread.stack.thread_id = id;
      thread.stack.walk = {};
      SetFiber(nullptr, thread.stack);
    }
  }
  close(tasks);
  return bytes >= 0;
}

void CrashThreads::Look(CrashThread& thread, const FailedThreads& failed, bool may_interrupt) {
  const auto identity = IdentityOfThread(thread.id(), file_);
  if (!identity) {
    thread.outcome = Outcome::kGone;
    return;
  }
  thread.name = identity->name;
  thread.state = identity->state;
  if (const FailedThreads::Entry* const entry = failed.Find(thread.id())) {
    thread.failed_signal = entry->signal;
    SetFiber(FiberPool::Instance().BlockOfStack(entry->registers.sp), thread.stack);
    thread.stack.walk = Unwind(*UnwindTable::Current(), entry->registers, CopyStack(entry->registers.sp, copy_), thread.stack.pcs);
    thread.outcome = Outcome::kCaptured;
    return;
  }
  switch (identity->state) {
    case 'Z':
    case 'X': thread.outcome = Outcome::kEnded; return;
    case 'T':
    case 't': thread.outcome = Outcome::kStopped; return;
    case 'R': thread.outcome = Outcome::kNotYet; return;
    default: LookAtSleeping(thread, may_interrupt);
  }
}

void CrashThreads::LookAtSleeping(CrashThread& thread, bool may_interrupt) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const auto walked = WalkSleeping(*UnwindTable::Current(), thread.id(), {},
                                     {.file = file_, .copy = copy_, .pcs = thread.stack.pcs});
    if (walked) {
      SetFiber(walked->fiber, thread.stack);
      thread.stack.walk = walked->walk;
      const bool ask = walked->walk.end == UnwindEnd::kUnknownRegister && thread.state == 'S' &&
                       (may_interrupt || OutlivesSignal(walked->call));
      thread.outcome = ask ? Outcome::kNotYet : Outcome::kCaptured;
      return;
    }
    thread.outcome = may_interrupt ? Outcome::kNotYet : Outcome::kUnseen;
    // It may have gone on in the meantime, to compute.
    const auto identity = IdentityOfThread(thread.id(), file_);
    if (!identity) {
      thread.outcome = Outcome::kGone;
      return;
    }
    if (identity->state == 'R') {
      thread.state = 'R';
      thread.outcome = Outcome::kNotYet;
      return;
    }
  }
}

bool CrashThreads::BlocksSignal(const CrashThread& thread) { return SignalIsBlocked(thread.id(), StackSignalNumber(), file_); }

void CrashThreads::AskRest(int64_t deadline_ns) {
  size_t count = 0;
  for (CrashThread& thread : listed()) {
    if (thread.outcome != Outcome::kNotYet) continue;
    if (BlocksSignal(thread)) {
      thread.outcome = Outcome::kBlocksSignal;
    } else {
      asked_[count++] = &thread.stack;
    }
  }
  AskInCrash(std::span(asked_).first(count), deadline_ns);
  for (CrashThread& thread : listed()) {
    if (thread.outcome == Outcome::kNotYet) thread.outcome = OutcomeOf(thread.stack.outcome);
    if (thread.outcome == Outcome::kNoAnswer && BlocksSignal(thread)) thread.outcome = Outcome::kBlocksSignal;
    // Half a stack, if it was walked from outside, is better than none.
    if (thread.stack.walk.depth != 0 && thread.outcome != Outcome::kGone) thread.outcome = Outcome::kCaptured;
    thread.hash = HashOf(thread);
  }
}

}  // namespace fiberscope::internal
