// Reads the process as a debugger does: from the description alone, by addresses and offsets.
#include "runtime/debugger_layout.h"

#include <sched.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "gtest/gtest.h"
#include "runtime/fiber_state.h"
#include "runtime/scheduler.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/sync/channel.h"
#include "runtime/wait_reason.h"

namespace fiberscope {
namespace {

using internal::DebuggerLayout;

const DebuggerLayout& Layout() { return fiberscope_debugger_layout; }

template <typename T>
T ReadAt(const void* base, size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char*>(base) + offset, sizeof(value));
  return value;
}

// The control block with this id.
const void* FindBlock(uint64_t id) {
  const auto* const directory = static_cast<const void* const*>(Layout().slabs);
  for (uint32_t c = 0; c < Layout().class_count; ++c) {
    for (uint32_t s = 0; s < Layout().slabs_per_class; ++s) {
      const void* const slab = directory[c * Layout().slabs_per_class + s];
      if (slab == nullptr) break;
      for (uint32_t i = 0; i < Layout().blocks_per_slab[c]; ++i) {
        const void* const block = static_cast<const char*>(slab) + i * Layout().block_bytes;
        if (ReadAt<uint64_t>(block, Layout().id) == id) return block;
      }
    }
  }
  return nullptr;
}

uint64_t StateOf(const void* block) { return ReadAt<uint64_t>(block, Layout().state) >> (64 - Layout().state_bits); }

TEST(DebuggerLayoutTest, SaysWhatItIs) {
  EXPECT_EQ(std::string_view(Layout().magic, sizeof(Layout().magic)), "fbrscope");
  EXPECT_EQ(Layout().version, DebuggerLayout::kVersion);
  EXPECT_EQ(Layout().bytes, sizeof(DebuggerLayout));
  EXPECT_TRUE(std::string_view(Layout().source_file).ends_with("runtime/debugger_layout.cc"));
}

TEST(DebuggerLayoutTest, NamesEveryStateAndReason) {
  ASSERT_EQ(Layout().wait_reason_count, static_cast<uint32_t>(kWaitReasonCount));
  for (int i = 0; i < kWaitReasonCount; ++i) {
    EXPECT_STREQ(Layout().wait_reason_names[i], WaitReasonName(static_cast<WaitReason>(i)));
  }
  EXPECT_STREQ(WaitReasonName(static_cast<WaitReason>(kWaitReasonCount)), "?");
  for (uint32_t i = 0; i < Layout().state_count; ++i) {
    EXPECT_STREQ(Layout().state_names[i], StateName(static_cast<FiberState>(i)));
  }
  EXPECT_STREQ(StateName(static_cast<FiberState>(Layout().state_count)), "?");
}

TEST(DebuggerLayoutTest, LeadsToAParkedFiberAndItsRegisters) {
  Channel<int> channel;
  Scheduler scheduler;
  const Fiber fiber = scheduler.Spawn([&] { channel.Receive(); }, {.name = "waits"});
  while (fiber.state() != FiberState::kWaiting) sched_yield();

  const void* const block = FindBlock(fiber.id().value);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(StateOf(block), Layout().waiting_state);
  EXPECT_EQ(ReadAt<WaitReason>(block, Layout().wait_reason), WaitReason::kChannelReceive);
  EXPECT_STREQ(static_cast<const char*>(block) + Layout().name, "waits");
  EXPECT_EQ(ReadAt<uint64_t>(block, Layout().parent_id), 0u);
  EXPECT_NE(ReadAt<uint64_t>(block, Layout().entry_pc), 0u);
  EXPECT_NE(ReadAt<uint64_t>(block, Layout().creator_pc), 0u);
  EXPECT_GT(ReadAt<int64_t>(block, Layout().since_ns), 0);
  EXPECT_EQ(ReadAt<uint8_t>(block, Layout().locked_to_thread), 0);

  const auto high = ReadAt<uintptr_t>(block, Layout().stack_high);
  const auto low = high - ReadAt<uint32_t>(block, Layout().stack_bytes);
  const auto saved_sp = ReadAt<uintptr_t>(block, Layout().saved_sp);
  ASSERT_GE(saved_sp, low);
  ASSERT_LE(saved_sp, high - Layout().saved_frame_bytes);
  const auto saved = [&](int i) { return LoadStackWord(saved_sp + Layout().saved_registers[i].offset); };
  ASSERT_GT(Layout().saved_register_count, 1u);
  const uintptr_t pc = saved(0);
  EXPECT_NE(pc, 0u);
  EXPECT_TRUE(pc < low || pc >= high) << "a return address is no stack address";

  channel.Close();
  fiber.Join();
  EXPECT_NE(StateOf(block), Layout().waiting_state);
}

}  // namespace
}  // namespace fiberscope
