// Everything the runtime keeps about one fiber.
//
// Control blocks live in slabs that are never unmapped (fiber_pool.h) and are used again after their fiber has ended, so
// a pointer to one is always readable: what it says is checked by id or by state word, never by trusting the pointer. A
// block and its stack belong together for ever: free blocks keep their stacks, and a stack address leads to its block.
//
// Readers outside (dumps, handlers) load only the atomics. The fields under "identity" are written while the id is 0,
// then the id is stored: a reader that sees the same id before and after has read one fiber's fields. The fields under
// "wait" belong to one value of the state word (fiber_state.h).
//
#ifndef FIBERSCOPE_RUNTIME_CONTROL_BLOCK_H_
#define FIBERSCOPE_RUNTIME_CONTROL_BLOCK_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/futex_lock.h"
#include "runtime/fiber_id.h"
#include "runtime/fiber_state.h"
#include "runtime/labels.h"
#include "runtime/stack/context_switch.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/stack/stack_slab.h"
#include "runtime/trace/traced_state.h"
#include "runtime/wait_reason.h"
#include "runtime/waiter.h"

namespace fiberscope {

namespace internal {

struct ContextBinding;
class SchedulerCore;
class Worker;

// The part of the C++ runtime's per-thread state that belongs to the fiber: which exceptions are being handled and how
// many are in flight. Layout: Itanium C++ ABI, "Exception Handling", section 2.2.2, __cxa_eh_globals.
struct ExceptionState {
  void* caught_exceptions = nullptr;
  unsigned int uncaught_exceptions = 0;
};

// A fiber's name, cut to 32 bytes, readable while it is being written (a reader may then see half of each).
class AtomicName {
 public:
  static constexpr size_t kBytes = 32;
  void Store(std::string_view name);
  // Copies into `buffer` and returns the part in use.
  std::string_view Load(std::array<char, kBytes>& buffer) const;

 private:
  std::array<std::atomic<uint64_t>, kBytes / sizeof(uint64_t)> words_{};
};

// When a fiber was made runnable, if that was measured.
struct RunnableStamp {
  int64_t at_ns = 0;    // TickNowNs(); 0: not measured
  uint32_t weight = 0;  // how many such moments it stands for
};

struct alignas(64) ControlBlock {
  // -- The first line: touched by every switch.
  // While the fiber is in kBlocking, saved_sp points at a Registers instead (blocking.h).
  SwitchTarget context;
  AtomicStateWord state;
  ControlBlock* next = nullptr;            // link of the one list the block is in: inject queue, free list ...
  void* caught_exceptions = nullptr;       // while not running: the fiber's ExceptionState
  unsigned int uncaught_exceptions = 0;    // the same
  std::atomic<WaitReason> wait_reason{WaitReason::kNone};  // wait
  std::atomic<bool> locked_to_thread{false};               // only `locked_worker` may run it (thread_lock.h)
  std::atomic<int64_t> since_ns{0};        // CoarseNowNs(): since when it has been waiting or blocking
  RunnableStamp runnable_stamp;            // owned by whoever owns the state word

  // -- The second line: touched by waits.
  std::atomic<uint64_t> wait_object_id{0};  // wait
  std::atomic<uint64_t> wait_owner_id{0};   // wait: fiber that holds the lock waited for
  SchedulerCore* scheduler = nullptr;       // set before kNew, unchanged until kDead
  std::atomic<uint64_t> id{0};              // identity
  // Accounting (slice_clock.h). One writer at a time: the owner of the state word.
  std::atomic<uint32_t> parks{0};
  // How often a stopping scheduler has told the fiber to end; it may swallow the exception, but not for ever.
  uint32_t stop_requests = 0;
  std::atomic<int64_t> run_ns{0};       // in slices that are over
  std::atomic<int64_t> runnable_ns{0};  // in waits for a processor that are over
  ControlBlock* prev = nullptr;         // as `next`, in the inject queue

  // -- Waiting and being waited for.
  WaitRecord wait;
  Waiter waiter;  // the first node; its record is `wait`, for ever
  FutexLock join_lock;
  // Whether waits of this fiber may be cancelled and whether it was asked to; bits of Cancellation (park.h).
  std::atomic<uint8_t> cancellation{0};
  WaitQueue joiners;                          // GUARDED_BY(join_lock)
  ContextBinding* context_binding = nullptr;  // the fiber's own, of its current context; null: the background

  // -- Identity.
  std::atomic<uint64_t> parent_id{0};
  std::atomic<uintptr_t> creator_pc{0};
  std::atomic<uintptr_t> entry_pc{0};
  std::atomic<LabelsRep*> labels{nullptr};  // holds one reference; see LabelsReadScope
  // Destroys the fiber's function after calling it, or without, if the scheduler stopped before the fiber first ran.
  void (*run)(void* callable, bool call) = nullptr;
  AtomicName name;

  // -- The stack.
  void* callable = nullptr;                     // lies at the top of the stack
  uintptr_t stack_high = 0;                     // for ever
  uint32_t stack_slot = 0;                      // for ever
  uint32_t stack_bytes = 0;                     // for ever
  StackClass stack_class = StackClass::k64KiB;  // for ever
  bool stack_guarded = true;                    // for ever

  // -- The rest.
  Worker* locked_worker = nullptr;          // meaningful while locked_to_thread
  std::atomic<uint64_t> first_sequence{0};  // of the state word when the fiber was spawned
  TracedState trace;                        // as traced_state.h says

  FiberId fiber_id() const { return {id.load(std::memory_order_relaxed)}; }
  StackBounds stack() const { return {stack_high - stack_bytes, stack_high}; }
};

// With a sanitizer there is more to switch.
inline constexpr bool kControlBlockIsPlain = sizeof(SwitchTarget) == sizeof(uintptr_t);
static_assert(!kControlBlockIsPlain || (offsetof(ControlBlock, wait_object_id) == 64 && offsetof(ControlBlock, wait) == 128),
              "cache lines as described");
static_assert(!kControlBlockIsPlain || sizeof(ControlBlock) <= 384, "a million fibers should cost 384 MB of blocks at most");

// The fiber whose record, or whose wait's timer, this is.
inline ControlBlock& FiberOf(WaitRecord& record) {
  return *reinterpret_cast<ControlBlock*>(reinterpret_cast<char*>(&record) - offsetof(ControlBlock, wait));
}
inline ControlBlock& FiberOfTimer(TimerNode& node) {
  return *reinterpret_cast<ControlBlock*>(reinterpret_cast<char*>(&node) - offsetof(ControlBlock, wait.timer));
}

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CONTROL_BLOCK_H_
