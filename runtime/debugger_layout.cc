#include "runtime/debugger_layout.h"

#include <array>
#include <bit>
#include <cstddef>
#include <iterator>
#include <type_traits>

#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_state.h"
#include "runtime/stack/stack_slab.h"
#include "runtime/wait_reason.h"

namespace fiberscope::internal {

struct DebuggerLayoutAccess {
  static constexpr const void* Slabs() { return &FiberPool::instance_.slabs_; }
  static constexpr uint32_t kSlabsPerClass = FiberPool::kMaxSlabs;
};

namespace {

// The reader's own assumptions.
static_assert(std::endian::native == std::endian::little && sizeof(void*) == 8);
static_assert(std::is_standard_layout_v<DebuggerLayout> && sizeof(DebuggerLayout) == 176);
static_assert(sizeof(std::atomic<ControlBlock*>) == sizeof(void*), "the slab directory consists of pointers");
static_assert(sizeof(AtomicStateWord) == 8);
static_assert(sizeof(AtomicName) == AtomicName::kBytes);
static_assert(sizeof(ControlBlock::wait_reason) == 1 && sizeof(ControlBlock::locked_to_thread) == 1);
static_assert(sizeof(ControlBlock::since_ns) == 8 && sizeof(ControlBlock::stack_bytes) == 4);
static_assert(sizeof(SavedRegister) == 16 && offsetof(SavedRegister, offset) == 8);

constexpr int kStateCount = static_cast<int>(FiberState::kBlocking) + 1;

constexpr std::array<const char*, kStateCount> StateNames() {
  std::array<const char*, kStateCount> names{};
  for (int i = 0; i < kStateCount; ++i) names[i] = StateName(static_cast<FiberState>(i));
  return names;
}
constexpr std::array<const char*, kStateCount> kStateNames = StateNames();

constexpr std::array<uint32_t, kStackClassCount> BlocksPerSlab() {
  std::array<uint32_t, kStackClassCount> counts{};
  for (int c = 0; c < kStackClassCount; ++c)
    counts[c] = static_cast<uint32_t>(SlotsPerBatch(static_cast<StackClass>(c)));
  return counts;
}
constexpr std::array<uint32_t, kStackClassCount> kBlocksPerSlab = BlocksPerSlab();

}  // namespace
}  // namespace fiberscope::internal

using fiberscope::FiberState;
using fiberscope::internal::ControlBlock;
using fiberscope::internal::DebuggerLayout;
using fiberscope::internal::DebuggerLayoutAccess;

// `retain`: nothing refers to it, so the linker would drop it.
[[gnu::used, gnu::retain,
  gnu::section("fiberscope_layout")]] constinit const DebuggerLayout fiberscope_debugger_layout = {
    .magic = {'f', 'b', 'r', 's', 'c', 'o', 'p', 'e'},
    .version = DebuggerLayout::kVersion,
    .bytes = sizeof(DebuggerLayout),
    .slabs = DebuggerLayoutAccess::Slabs(),
    .blocks_per_slab = fiberscope::internal::kBlocksPerSlab.data(),
    .class_count = fiberscope::kStackClassCount,
    .slabs_per_class = DebuggerLayoutAccess::kSlabsPerClass,
    .block_bytes = sizeof(ControlBlock),
    .saved_sp = offsetof(ControlBlock, context) + offsetof(fiberscope::SwitchTarget, saved_sp),
    .state = offsetof(ControlBlock, state),
    .wait_reason = offsetof(ControlBlock, wait_reason),
    .since_ns = offsetof(ControlBlock, since_ns),
    .locked_to_thread = offsetof(ControlBlock, locked_to_thread),
    .id = offsetof(ControlBlock, id),
    .parent_id = offsetof(ControlBlock, parent_id),
    .creator_pc = offsetof(ControlBlock, creator_pc),
    .entry_pc = offsetof(ControlBlock, entry_pc),
    .name = offsetof(ControlBlock, name),
    .name_bytes = fiberscope::internal::AtomicName::kBytes,
    .stack_high = offsetof(ControlBlock, stack_high),
    .stack_bytes = offsetof(ControlBlock, stack_bytes),
    .state_bits = 8,
    .state_count = fiberscope::internal::kStateCount,
    .state_names = fiberscope::internal::kStateNames.data(),
    .dead_state = static_cast<uint32_t>(FiberState::kDead),
    .running_state = static_cast<uint32_t>(FiberState::kRunning),
    .waiting_state = static_cast<uint32_t>(FiberState::kWaiting),
    .blocking_state = static_cast<uint32_t>(FiberState::kBlocking),
    .wait_reason_names = fiberscope::kWaitReasonNames.data(),
    .wait_reason_count = fiberscope::kWaitReasonCount,
    .saved_register_count = std::size(fiberscope::kSavedRegisters),
    .saved_registers = fiberscope::kSavedRegisters,
    .stack_pointer_name = fiberscope::kStackPointerName,
    .saved_frame_bytes = sizeof(fiberscope::SavedFrame),
    .reserved = 0,
    .source_file = __FILE__,
};
