#include "runtime/stack_signal.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/futex.h"
#include "runtime/current_fiber.h"
#include "runtime/fiber_pool.h"
#include "runtime/instant.h"
#include "runtime/stack/stack_memory.h"
#include "runtime/stack_slot.h"
#include "runtime/thread_status.h"

namespace fiberscope::internal {
namespace {

// One per processor that a scheduler can have, and some for threads that owe an answer.
constexpr size_t kRequestSlots = 256;
// The last ones, which AskInCrash has for itself.
constexpr size_t kCrashSlots = 64;
constexpr size_t kSlots = kRequestSlots + kCrashSlots;

// Of AskInCrash, which looks for answers so often.
constexpr int kStepMs = 1;

// Of a stack whose bounds are not known. Frames of 128 bytes, on average, fill as many of these as RunningStack has room for.
constexpr size_t kCopyBytes = 64 << 10;

struct StackCopy {
  alignas(16) std::array<std::byte, kCopyBytes> bytes;
};

// Where one thread answers. Untouched pages of it cost nothing.
struct Place {
  StackSlot slot;
  // The request: written before Ask.
  RunningThread thread;
  StackCopy* copy;  // made at the first request that needs it, never freed: a handler may be at work in it
  InstantWord instant;  // none: do not wait
  bool copy_always;
  // The answer: written between Begin and Finish.
  const ControlBlock* fiber;
  uint64_t fiber_id;
  StateWord word;
  UnwindResult walk;
  std::array<uintptr_t, RunningStack::kMaxFrames> pcs;
};

constinit std::mutex g_mutex;  // requests take turns
constinit std::atomic<int> g_signal{0};  // written under g_mutex
constinit std::array<Place, kSlots> g_places{};
constinit std::array<StackCopy, kCrashSlots> g_crash_copies{};
// Whom the crash places have been asked for, in this turn.
constinit std::array<CrashStack*, kCrashSlots> g_crash_asked{};
// A futex: counts answers, so that who waits for one looks again.
constinit std::atomic<uint32_t> g_answers{0};

// What a signal carries: the place and the number of the request.
uintptr_t Ticket(size_t place, uint64_t number) { return number * kSlots + place; }

bool IsIn(StackBounds stack, uintptr_t address) { return address >= stack.low && address < stack.high; }

// Async-signal-safe.
void Answer(Place& place, const Registers& interrupted) {
  place.fiber_id = 0;
  place.word = {};
  ControlBlock* const fiber = FiberPool::Instance().BlockOfStack(interrupted.sp);
  const bool on_own_stack = fiber == nullptr && IsIn(place.thread.own_stack, interrupted.sp);
  StackMemory stack;
  place.fiber = fiber;
  if (fiber != nullptr) {
    stack = fiber->stack();
    place.fiber_id = fiber->id.load(std::memory_order_relaxed);
    place.word = fiber->state.Load();
  } else if (on_own_stack) {
    stack = place.thread.own_stack;
  } else if (place.thread.copy_stack) {
    stack = CopyStack(interrupted.sp, place.copy->bytes);
  }
  if (place.copy_always) stack = CopyStack(interrupted.sp, place.copy->bytes);
  place.walk = Unwind(*UnwindTable::Current(), interrupted, stack, place.pcs);
  if (place.instant.phase() == InstantWord::Phase::kNone) return;
  // ThreadSanitizer puts handlers off and calls them where the thread stands by then: the registers are of an earlier moment.
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (FiberPool::Instance().BlockOfStack(here) != nullptr || IsIn(place.thread.own_stack, here)) {
    MissFiber(place.instant);
    return;
  }
  const RunningFiber* const running = CurrentRunningFiber();
  RecordHeld(place.instant, {.stands_on = fiber,
                             .on_own_stack = on_own_stack,
                             .runs = running == nullptr ? nullptr : running->fiber.load(std::memory_order_relaxed),
                             .pcs = std::span(place.pcs).first(place.walk.depth),
                             .truncated = place.walk.end != UnwindEnd::kRoot});
}

void OnSignal(int, siginfo_t* info, void* context) {
  // Others may send what they like; the number of a request that is open cannot be guessed by mistake.
  if (info->si_code != SI_QUEUE) return;
  const int saved_errno = errno;
  const auto ticket = reinterpret_cast<uintptr_t>(info->si_value.sival_ptr);
  Place& place = g_places[ticket % kSlots];
  if (place.slot.Begin(ticket / kSlots)) {
    const InstantWord instant = place.instant;
    Answer(place, InterruptedRegisters(context));
    place.slot.Finish(ticket / kSlots);
    g_answers.fetch_add(1, std::memory_order_release);
    FutexWake(g_answers, 1);
    if (instant.gathering()) HoldThread(instant);
  }
  errno = saved_errno;
}

bool IsOurs(const struct sigaction& action) { return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == OnSignal; }

bool IsDefault(const struct sigaction& action) { return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL; }

// Takes the number if nobody has it.
bool Take(int signal_number) {
  struct sigaction before;
  if (sigaction(signal_number, nullptr, &before) != 0 || !IsDefault(before)) return false;
  struct sigaction ours = {};
  ours.sa_sigaction = OnSignal;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&ours.sa_mask);
  if (sigaction(signal_number, &ours, &before) != 0) return false;
  if (IsDefault(before)) return true;
  sigaction(signal_number, &before, nullptr);  // somebody was faster
  return false;
}

// The real-time signals that the calling thread may wait for: those it blocks. None if it blocks all of them, as the debug server's
// threads do: that says nothing about any.
sigset_t AwaitedSignals() {
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    if (sigismember(&blocked, number) == 0) return blocked;
  }
  sigemptyset(&blocked);
  return blocked;
}

// The signal to send, installed. g_mutex held.
absl::Status ChooseSignal() {
  struct sigaction now;
  const int current = g_signal.load(std::memory_order_relaxed);
  if (current != 0 && sigaction(current, nullptr, &now) == 0 && IsOurs(now)) return absl::OkStatus();
  const sigset_t awaited = AwaitedSignals();
  for (int number = SIGRTMAX; number >= SIGRTMIN; --number) {
    if (sigismember(&awaited, number) != 0 || !Take(number)) continue;
    g_signal.store(number, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError("stacks of running threads: the application uses all real-time signals");
}

// A signal to one thread, which carries the ticket. 0, or an error number.
int Send(int thread_id, uintptr_t ticket) {
  const int number = g_signal.load(std::memory_order_relaxed);
  siginfo_t info = {};
  info.si_signo = number;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = reinterpret_cast<void*>(ticket);
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), thread_id, number, &info) == 0 ? 0 : errno;
}

std::span<Place> RequestPlaces() { return std::span(g_places).first(kRequestSlots); }
std::span<Place> CrashPlaces() { return std::span(g_places).last(kCrashSlots); }

// One request. g_mutex held.
class Request {
 public:
  Request() {
    for (Place& place : RequestPlaces()) {
      place.slot.Release();  // answered after its time
      if (place.slot.IsOwed() && !SignalIsPending(place.thread.thread_id, g_signal.load(std::memory_order_relaxed))) {
        place.slot.ForgiveDebt();
      }
    }
  }

  // Asks as many threads as there are places for, at least one; sets at once the outcome of those that cannot be asked. Returns
  // how many were dealt with.
  size_t Ask(std::span<const RunningThread> threads, InstantWord instant, std::span<RunningStack> stacks) {
    size_t done = 0;
    asked_count_ = 0;
    for (; done < threads.size(); ++done) {
      Place* const place = FindPlace(threads[done]);
      if (place == nullptr) {
        if (asked_count_ != 0) break;  // the rest later
        stacks[done].outcome = RunningStack::Outcome::kRefused;
        continue;
      }
      place->thread = threads[done];
      place->instant = instant;
      if (place->thread.copy_stack && place->copy == nullptr) place->copy = new StackCopy;
      const int error = place->slot.AskAgain()
                            ? 0
                            : Send(threads[done].thread_id, Ticket(place - g_places.data(), place->slot.Ask()));
      if (error == 0) {
        asked_[asked_count_++] = {place, &stacks[done]};
      } else {
        place->slot.TakeBack();
        stacks[done].outcome = error == ESRCH ? RunningStack::Outcome::kNoThread : RunningStack::Outcome::kRefused;
      }
    }
    return done;
  }

  // True: all have answered.
  bool Await(int64_t deadline_ns) {
    for (;;) {
      const uint32_t seen = g_answers.load(std::memory_order_acquire);
      if (std::ranges::all_of(asked(), [](const Asked& a) { return a.place->slot.IsAnswered(); })) return true;
      const int64_t left_ns = deadline_ns - MonotonicNowNs();
      if (left_ns <= 0) return false;
      FutexWaitFor(g_answers, seen, std::chrono::nanoseconds(left_ns));
    }
  }

  size_t asked_count() const { return asked_count_; }

  void Collect() {
    for (const Asked& a : asked()) {
      a.place->slot.Withdraw();
      if (!a.place->slot.IsAnswered()) {
        a.stack->outcome = RunningStack::Outcome::kNoAnswer;
        continue;
      }
      a.stack->outcome = RunningStack::Outcome::kCaptured;
      a.stack->fiber = {a.place->fiber_id};
      a.stack->word = a.place->word;
      a.stack->pcs.assign(a.place->pcs.begin(), a.place->pcs.begin() + static_cast<ptrdiff_t>(a.place->walk.depth));
      a.stack->end = a.place->walk.end;
      a.place->slot.Release();
    }
  }

 private:
  struct Asked {
    Place* place;
    RunningStack* stack;
  };
  std::span<const Asked> asked() const { return std::span(asked_).first(asked_count_); }

  // The one where the thread owes an answer, else a free one.
  static Place* FindPlace(const RunningThread& thread) {
    Place* free = nullptr;
    for (Place& place : RequestPlaces()) {
      if (place.slot.IsOwed() && place.thread.thread_id == thread.thread_id) return &place;
      if (free == nullptr && place.slot.IsFree()) free = &place;
    }
    return free;
  }

  std::array<Asked, kRequestSlots> asked_;
  size_t asked_count_ = 0;
};

// ---- In a crash

// Asks as many as there are places for; returns how many were dealt with.
size_t AskInOneTurn(std::span<CrashStack* const> stacks) {
  size_t done = 0;
  const std::span<Place> places = CrashPlaces();
  for (size_t i = 0; i < places.size(); ++i) {
    Place& place = places[i];
    g_crash_asked[i] = nullptr;
    if (done == stacks.size()) continue;
    // What earlier turns have left. A signal that is still on its way will find another number; a handler at work keeps the place.
    place.slot.Release();
    place.slot.ForgiveDebt();
    if (!place.slot.IsFree()) continue;
    CrashStack& stack = *stacks[done++];
    place.thread = {.thread_id = stack.thread_id, .own_stack = {}};
    place.copy = &g_crash_copies[i];
    place.copy_always = true;
    const int error = Send(stack.thread_id, Ticket(kRequestSlots + i, place.slot.Ask()));
    if (error == 0) {
      stack.outcome = RunningStack::Outcome::kNoAnswer;
      g_crash_asked[i] = &stack;
    } else {
      place.slot.TakeBack();
      stack.outcome = error == ESRCH ? RunningStack::Outcome::kNoThread : RunningStack::Outcome::kRefused;
    }
  }
  return done;
}

// In steps, not by the futex: of two who wait for it, one would be woken.
void AwaitCrashAnswers(int64_t deadline_ns) {
  const auto is_open = [](size_t i) { return g_crash_asked[i] != nullptr && !CrashPlaces()[i].slot.IsAnswered(); };
  for (size_t i = 0; i < kCrashSlots;) {
    if (!is_open(i)) {
      ++i;
    } else if (MonotonicNowNs() >= deadline_ns) {
      return;
    } else {
      poll(nullptr, 0, kStepMs);
    }
  }
}

void CollectCrashAnswers() {
  for (size_t i = 0; i < kCrashSlots; ++i) {
    if (g_crash_asked[i] == nullptr) continue;
    Place& place = CrashPlaces()[i];
    place.slot.Withdraw();
    if (!place.slot.IsAnswered()) continue;
    CrashStack& stack = *g_crash_asked[i];
    stack.outcome = RunningStack::Outcome::kCaptured;
    stack.fiber = place.fiber;
    stack.fiber_id = place.fiber_id;
    stack.walk = place.walk;
    if (stack.walk.depth > stack.pcs.size()) stack.walk = {.depth = stack.pcs.size(), .end = UnwindEnd::kBufferFull};
    std::copy_n(place.pcs.begin(), stack.walk.depth, stack.pcs.begin());
    place.slot.Release();
  }
}

}  // namespace

void AskInCrash(std::span<CrashStack* const> stacks, int64_t deadline_ns) {
  struct sigaction now;
  const int number = g_signal.load(std::memory_order_relaxed);
  const bool is_ours = number != 0 && sigaction(number, nullptr, &now) == 0 && IsOurs(now) && UnwindTable::Current() != nullptr;
  for (CrashStack* const stack : stacks) {
    stack->outcome = is_ours ? RunningStack::Outcome::kNoTime : RunningStack::Outcome::kNoSignal;
  }
  if (!is_ours) return;
  while (!stacks.empty()) {
    // As in AskForStacks.
    const size_t turns = (stacks.size() + kCrashSlots - 1) / kCrashSlots;
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns >= deadline_ns) return;
    const size_t done = AskInOneTurn(stacks);
    if (done == 0) poll(nullptr, 0, kStepMs);  // late handlers are at work in all places
    stacks = stacks.subspan(done);
    AwaitCrashAnswers(now_ns + (deadline_ns - now_ns) / static_cast<int64_t>(turns));
    CollectCrashAnswers();
  }
}

absl::Status AskForStacks(std::span<const RunningThread> threads, std::chrono::nanoseconds timeout,
                          std::span<RunningStack> stacks, const InstantRequest* instant) {
  FIBERSCOPE_CHECK(threads.size() == stacks.size(), "%d threads, %d results", threads.size(), stacks.size());
  FIBERSCOPE_CHECK(UnwindTable::Current() != nullptr, "no unwind table");
  const std::lock_guard lock(g_mutex);
  if (absl::Status status = ChooseSignal(); !status.ok()) {
    if (instant != nullptr) instant->declare(threads.empty());
    return status;
  }
  const int64_t deadline_ns = MonotonicNowNs() + timeout.count();
  const InstantWord word = instant == nullptr ? InstantWord() : instant->instant->word();
  Request request;
  for (size_t done = 0; done < threads.size() || instant != nullptr;) {
    // One silent thread among the first must not take the time of all: each turn has its share of what is left.
    const size_t turns = (threads.size() - done + kRequestSlots - 1) / kRequestSlots;
    const int64_t now_ns = MonotonicNowNs();
    done += request.Ask(threads.subspan(done), word, stacks.subspan(done));
    if (instant != nullptr) {
      const bool all_are_asked = request.asked_count() == threads.size();
      instant->declare(request.Await(instant->instant->deadline_ns()) && all_are_asked);
      instant = nullptr;
      if (threads.empty()) break;
    }
    request.Await(now_ns + (deadline_ns - now_ns) / static_cast<int64_t>(turns));
    request.Collect();
  }
  return absl::OkStatus();
}

absl::Status PrepareStackSignal() {
  const std::lock_guard lock(g_mutex);
  return ChooseSignal();
}

int StackSignalNumber() { return g_signal.load(std::memory_order_relaxed); }

}  // namespace fiberscope::internal
