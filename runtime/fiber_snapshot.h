// What a dump knows of one fiber: a copy, taken while the fiber went on with its life.
#ifndef FIBERSCOPE_RUNTIME_FIBER_SNAPSHOT_H_
#define FIBERSCOPE_RUNTIME_FIBER_SNAPSHOT_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/fiber_id.h"
#include "runtime/fiber_state.h"
#include "runtime/labels.h"
#include "runtime/wait_reason.h"

namespace fiberscope {

// Views are valid during the callback that receives the snapshot, no longer.
struct FiberSnapshot {
  FiberId id;
  FiberId parent_id;                 // the fiber that spawned it; none when spawned from a plain thread
  FiberState state = FiberState::kDead;
  WaitReason wait_reason = WaitReason::kNone;  // kNone unless kWaiting
  std::chrono::nanoseconds waited{0};          // since it parked or began to block; 0 unless kWaiting or kBlocking
  uint64_t wait_object_id = 0;                 // the channel, mutex ... it waits on; 0: none
  FiberId wait_owner;                          // who held the lock it waits on when the wait began, if known
  std::string_view name;                       // may be empty; arbitrary bytes
  std::span<const Label> labels;               // sorted by key; arbitrary bytes
  uintptr_t creator_pc = 0;                    // return address of the call to Spawn
  uintptr_t entry_pc = 0;                      // first instruction of the fiber's function

  bool locked_to_thread = false;               // thread_lock.h

  // Accounting since it was spawned. The times are estimates where they are made of many short pieces (slice_clock.h says how
  // good), and do not include the piece that goes on at the moment; the counts are exact.
  std::chrono::nanoseconds run_time{0};        // on a processor
  std::chrono::nanoseconds runnable_time{0};   // in a queue, ready to run
  uint64_t slices = 0;                         // times it went on after it had left its processor, and the first time
  uint64_t wakeups = 0;                        // times it was unparked

  // Return addresses, innermost first, when stack_available. A running fiber's first one is the address behind the instruction's
  // first byte, so that it can be looked up like the others; without RegistryOptions::running_stacks it has none. Of a fiber in
  // kBlocking the stack begins where Blocking() was called.
  bool stack_available = false;
  bool stack_truncated = false;                // the walk did not reach the root: outer frames are missing
  std::span<const uintptr_t> stack;
  // Within one listing stacks of the same number are equal; 0: this one has none, because it is not available or there are too
  // many distinct ones (unwind/stack_table.h). Its addresses stay valid until the listing ends.
  uint32_t stack_number = 0;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FIBER_SNAPSHOT_H_
