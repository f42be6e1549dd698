#include "runtime/saved_registers.h"

#include <algorithm>
#include <cstddef>

#include "runtime/stack/saved_frame.h"

namespace fiberscope::internal {
namespace {

Registers ParkedRegisters(uintptr_t sp) {
  const auto saved = [sp](size_t offset) { return LoadStackWord(sp + offset); };
  Registers registers;
  registers.pc = saved(offsetof(SavedFrame, rip));
  registers.sp = sp + sizeof(SavedFrame);
  registers.rbp = saved(offsetof(SavedFrame, rbp));
  registers.rbx = saved(offsetof(SavedFrame, rbx));
  registers.r12 = saved(offsetof(SavedFrame, r12));
  registers.r13 = saved(offsetof(SavedFrame, r13));
  registers.r14 = saved(offsetof(SavedFrame, r14));
  registers.r15 = saved(offsetof(SavedFrame, r15));
  return registers;
}

// What Blocking() left at `address`.
Registers BlockingRegisters(uintptr_t address) {
  const auto saved = [address](size_t offset) { return LoadStackWord(address + offset); };
  Registers registers;
  registers.pc = saved(offsetof(Registers, pc));
  registers.sp = saved(offsetof(Registers, sp));
  registers.rbp = saved(offsetof(Registers, rbp));
  registers.rbx = saved(offsetof(Registers, rbx));
  registers.r12 = saved(offsetof(Registers, r12));
  registers.r13 = saved(offsetof(Registers, r13));
  registers.r14 = saved(offsetof(Registers, r14));
  registers.r15 = saved(offsetof(Registers, r15));
  return registers;
}

}  // namespace

std::optional<Registers> SavedRegisters(const ControlBlock& fiber, FiberState state) {
  const StackBounds stack = fiber.stack();
  const uintptr_t sp = LoadStackWord(reinterpret_cast<uintptr_t>(&fiber.context.saved_sp));
  // Between two switches the pointer may be of the last one, or of the fiber before: then the word will have changed.
  constexpr size_t kSavedBytes = std::max(sizeof(SavedFrame), sizeof(Registers));
  if (sp < stack.low || sp > stack.high - kSavedBytes || sp % sizeof(uintptr_t) != 0) return std::nullopt;
  const Registers registers = state == FiberState::kBlocking ? BlockingRegisters(sp) : ParkedRegisters(sp);
  if (registers.sp < stack.low || registers.sp > stack.high) return std::nullopt;  // as above
  return registers;
}

}  // namespace fiberscope::internal
