#include "runtime/own_stack.h"

#include <algorithm>

#include "runtime/control_block.h"
#include "runtime/current_fiber.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {
namespace {

enum class BoundsState : uint8_t { kUnknown, kAsking, kKnown };

// Constant-initialised and trivially destroyed: may be used at any time in a thread's life.
constinit thread_local BoundsState t_bounds_state = BoundsState::kUnknown;
constinit thread_local StackBounds t_bounds;

// Of the calling thread, on whose own stack the caller is. Empty while they are being asked for.
StackBounds OwnThreadBounds(bool may_ask) {
  if (t_bounds_state == BoundsState::kUnknown && may_ask) {
    t_bounds_state = BoundsState::kAsking;
    t_bounds = ThreadStackBounds();
    t_bounds_state = BoundsState::kKnown;
  }
  return t_bounds_state == BoundsState::kKnown ? t_bounds : StackBounds();
}

}  // namespace

// Not inlined: the first frame, left out below, must be this function's own. And a caller that was on another thread before it
// waited must not hand us addresses of that thread's variables.
__attribute__((noinline)) size_t CaptureOwnStack(std::span<uintptr_t> pcs, const OwnStackOptions& options) {
  const internal::ControlBlock* const fiber = internal::CurrentFiber();
  const StackBounds bounds = fiber != nullptr ? fiber->stack() : OwnThreadBounds(options.may_ask);
  const Registers registers = CaptureRegisters();
  if (!bounds.ContainsWord(registers.sp)) return 0;
  const UnwindTable* table = UnwindTable::Current();
  if (table == nullptr) {
    if (!options.may_refresh) return 0;
    table = &UnwindTable::Refresh();
  }
  UnwindResult walk = Unwind(*table, registers, bounds, pcs);
  if (walk.end == UnwindEnd::kNoRule && options.may_refresh) {
    const UnwindTable& newest = UnwindTable::Refresh();
    if (&newest != table) walk = Unwind(newest, registers, bounds, pcs);
  }
  const std::span<uintptr_t> wanted = pcs.first(walk.depth).subspan(std::min(options.skip + 1, walk.depth));
  std::ranges::copy(wanted, pcs.begin());
  return wanted.size();
}

size_t CaptureInterruptedStack(const void* context, std::span<uintptr_t> pcs) {
  const internal::ControlBlock* const fiber = internal::CurrentFiber();
  const StackBounds bounds = fiber != nullptr ? fiber->stack() : OwnThreadBounds(/*may_ask=*/false);
  const Registers registers = InterruptedRegisters(context);
  const UnwindTable* const table = UnwindTable::Current();
  return table == nullptr ? 0 : Unwind(*table, registers, bounds, pcs).depth;
}

}  // namespace fiberscope
