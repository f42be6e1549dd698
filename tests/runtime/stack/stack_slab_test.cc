#include "runtime/stack/stack_slab.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/stack/sanitizer_fiber.h"
#include "runtime/stack/stack_guard.h"
#include "tests/runtime/stack/test_fiber.h"

namespace fiberscope {
namespace {

char& ByteAt(uintptr_t address) { return *reinterpret_cast<char*>(address); }

void AddBatches(StackSlab& slab, int count) {
  for (int i = 0; i < count; ++i) ASSERT_TRUE(slab.AddBatch().ok());
}

TEST(StackClassTest, SmallestClassThatIsLargeEnough) {
  struct Row {
    size_t bytes;
    std::optional<StackClass> expected;
  };
  const Row rows[] = {
      {0, StackClass::k16KiB},          {1, StackClass::k16KiB},
      {16 << 10, StackClass::k16KiB},   {(16 << 10) + 1, StackClass::k32KiB},
      {32 << 10, StackClass::k32KiB},   {33 << 10, StackClass::k64KiB},
      {64 << 10, StackClass::k64KiB},   {128 << 10, StackClass::k128KiB},
      {200 << 10, StackClass::k256KiB}, {(256 << 10) + 1, StackClass::k1MiB},
      {1 << 20, StackClass::k1MiB},     {2 << 20, StackClass::k8MiB},
      {8 << 20, StackClass::k8MiB},     {(8 << 20) + 1, std::nullopt},
      {SIZE_MAX, std::nullopt},
  };
  for (const Row& row : rows) EXPECT_EQ(StackClassFor(row.bytes), row.expected) << row.bytes;
}

TEST(StackSlabTest, BatchesHold1024SlotsOrAsManyAsFit64MiB) {
  const std::vector<std::pair<StackClass, size_t>> rows = {
      {StackClass::k16KiB, 1024}, {StackClass::k32KiB, 1024}, {StackClass::k64KiB, 1024}, {StackClass::k128KiB, 512},
      {StackClass::k256KiB, 256}, {StackClass::k1MiB, 64},    {StackClass::k8MiB, 8}};
  ASSERT_EQ(rows.size(), static_cast<size_t>(kStackClassCount));
  for (const auto& [stack_class, slots] : rows) {
    const StackSlab slab({.stack_class = stack_class});
    EXPECT_EQ(slab.slots_per_batch(), slots);
    EXPECT_EQ(slab.slot_bytes(), kStackClassBytes[static_cast<size_t>(stack_class)]);
    EXPECT_EQ(slab.slot_count(), 0u);
    EXPECT_EQ(slab.stats().reserved_bytes, 0u);
  }
}

TEST(StackSlabTest, EveryClassGivesStacksThatCanBeUsedFromEndToEnd) {
  for (int c = 0; c < kStackClassCount; ++c) {
    StackSlab& slab = StackSlab::ForClass(static_cast<StackClass>(c));
    const absl::StatusOr<uint32_t> first = slab.AddBatch();
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(*first % slab.slots_per_batch(), 0u);
    EXPECT_EQ(slab.slot_count(), *first + slab.slots_per_batch());
    for (const uint32_t slot : {*first, slab.slot_count() - 1}) {
      const StackBounds bounds = slab.Bounds(slot);
      EXPECT_EQ(bounds.size(), slab.slot_bytes() - static_cast<size_t>(sysconf(_SC_PAGESIZE)));
      ByteAt(bounds.low) = 1;
      ByteAt(bounds.high - 1) = 1;
      EXPECT_EQ(FindStack(bounds.low), (StackLocation{static_cast<StackClass>(c), slot}));
      EXPECT_EQ(FindStack(bounds.high - 1), (StackLocation{static_cast<StackClass>(c), slot}));
      EXPECT_EQ(FindStack(bounds.low - 1), (StackLocation{static_cast<StackClass>(c), slot}));
    }
    EXPECT_EQ(&StackSlab::ForClass(static_cast<StackClass>(c)), &slab);
  }
  int on_this_stack = 0;
  EXPECT_EQ(FindStack(reinterpret_cast<uintptr_t>(&on_this_stack)), std::nullopt);
  EXPECT_EQ(FindStack(0), std::nullopt);
  EXPECT_EQ(FindStack(UINTPTR_MAX), std::nullopt);
}

// Slabs of other tests' own must not answer for the process-wide ones.
TEST(StackSlabTest, FindStackKnowsProcessWideSlabsOnly) {
  StackSlab slab({.slots_per_batch = 1});
  AddBatches(slab, 1);
  EXPECT_EQ(FindStack(slab.Bounds(0).low), std::nullopt);
  EXPECT_EQ(slab.SlotOf(slab.Bounds(0).low), 0u);
}

TEST(StackSlabTest, AddressesAndNumbersAgreeAcrossChunks) {
  // Two batches of four to a chunk; the odd 10 KiB are not used.
  StackSlab slab({.stack_class = StackClass::k16KiB, .reservation_bytes = (8 * 16 + 10) << 10, .slots_per_batch = 4});
  for (uint32_t batch = 0; batch < 5; ++batch) {
    const absl::StatusOr<uint32_t> first = slab.AddBatch();
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(*first, batch * 4);
  }
  EXPECT_EQ(slab.slot_count(), 20u);
  EXPECT_EQ(slab.stats().slots, 20u);
  EXPECT_EQ(slab.stats().reserved_bytes, 3u * (8 * 16 << 10)) << "three chunks";

  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (uint32_t slot = 0; slot < slab.slot_count(); ++slot) {
    const StackBounds bounds = slab.Bounds(slot);
    const uintptr_t base = bounds.high - slab.slot_bytes();
    for (const uintptr_t inside : {base, base + 1, bounds.low - 1, bounds.low, bounds.low + 1, bounds.high - 1}) {
      EXPECT_EQ(slab.SlotOf(inside), slot) << inside - base;
      EXPECT_EQ(slab.IsGuard(inside), inside < base + page && slab.stats().mode != GuardMode::kNone) << inside - base;
    }
    EXPECT_NE(slab.SlotOf(base - 1), slot);
    EXPECT_NE(slab.SlotOf(bounds.high), slot);
    const bool has_neighbour = slot % 8 != 7 && slot + 1 < slab.slot_count();
    EXPECT_TRUE(!has_neighbour || slab.Bounds(slot + 1).low == bounds.low + slab.slot_bytes());
  }
}

TEST(StackSlabTest, ReservationsAreFinite) {
  // Smaller than a batch: each is rounded up to one.
  StackSlab slab({.stack_class = StackClass::k16KiB, .reservation_bytes = 1, .slots_per_batch = 2});
  AddBatches(slab, 256);
  EXPECT_EQ(slab.stats().reserved_bytes, 256u * 2 * (16 << 10));
  for (const uint32_t slot : {0, 1, 255, 256, 511}) EXPECT_EQ(slab.SlotOf(slab.Bounds(slot).low), slot);
  const absl::Status status = slab.AddBatch().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "stacks of 16384 bytes: 256 reservations of address space are full");
  EXPECT_EQ(slab.slot_count(), 512u);
}

TEST(StackSlabTest, ReservedSlotsThatAreNotReadyAreNobodys) {
  StackSlab slab({.stack_class = StackClass::k16KiB, .reservation_bytes = 16 * 16 << 10, .slots_per_batch = 4});
  AddBatches(slab, 1);
  const uintptr_t next = slab.Bounds(3).high;
  EXPECT_EQ(slab.SlotOf(next), std::nullopt);
  EXPECT_FALSE(slab.IsGuard(next));
  AddBatches(slab, 1);
  EXPECT_EQ(slab.SlotOf(next), 4u);
}

// Whether the kernel writes the mapping that contains `address` to a core file. Format: proc_pid_smaps(5), "VmFlags: ... dd ...".
bool IsInCoreFile(uintptr_t address) {
  std::ifstream maps("/proc/self/smaps");
  bool is_in_mapping = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long low = 0, high = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &low, &high) == 2) is_in_mapping = low <= address && address < high;
    if (is_in_mapping && line.starts_with("VmFlags:")) return line.find(" dd") == std::string::npos;
  }
  ADD_FAILURE() << "no mapping at " << address;
  return false;
}

TEST(StackSlabTest, OfTheReservationOnlyReadySlotsAreInACoreFile) {
  StackSlab slab({.stack_class = StackClass::k16KiB, .slots_per_batch = 4});
  for (uint32_t ready = 4; ready <= 12; ready += 4) {
    AddBatches(slab, 1);
    for (uint32_t slot = 0; slot < ready; ++slot) EXPECT_TRUE(IsInCoreFile(slab.Bounds(slot).low)) << slot;
    EXPECT_FALSE(IsInCoreFile(slab.Bounds(ready - 1).high));
  }
}

TEST(StackSlabDeathTest, AskingForASlotThatIsNotReadyIsABug) {
  StackSlab slab({.slots_per_batch = 2});
  AddBatches(slab, 1);
  EXPECT_DEATH(slab.Bounds(2), "stack slot 2 is not ready");
}

TEST(StackSlabDeathTest, MoreSlotsInABatchThanTheKernelTakesIsABug) {
  EXPECT_DEATH(StackSlab({.slots_per_batch = 1025}), "1025 slots in a batch");
}

// -- The same in each guard mode.

struct Mode {
  std::string name;
  StackFacilities facilities;
};

class StackSlabModeTest : public testing::TestWithParam<Mode> {
 protected:
  StackSlabModeTest() { AddBatches(slab_, 2); }

  // The kernel may lack what the mode asks for.
  bool guarded() const { return slab_.stats().mode != GuardMode::kNone; }

  StackSlab slab_{{.stack_class = StackClass::k32KiB, .facilities = GetParam().facilities, .slots_per_batch = 8}};
};

INSTANTIATE_TEST_SUITE_P(Modes, StackSlabModeTest,
                         testing::Values(Mode{"Batched", {}}, Mode{"OneByOne", {.process_madvise = false}},
                                         Mode{"Mprotect", {.guard_install = false}},
                                         Mode{"MprotectWithoutBatches",
                                              {.guard_install = false, .process_madvise = false}},
                                         Mode{"None", {.guard_install = false, .mprotect = false}}),
                         [](const testing::TestParamInfo<Mode>& info) { return info.param.name; });

using StackSlabModeDeathTest = StackSlabModeTest;
INSTANTIATE_TEST_SUITE_P(Modes, StackSlabModeDeathTest,
                         testing::Values(Mode{"Batched", {}}, Mode{"OneByOne", {.process_madvise = false}},
                                         Mode{"Mprotect", {.guard_install = false}}),
                         [](const testing::TestParamInfo<Mode>& info) { return info.param.name; });

TEST_P(StackSlabModeTest, StatsSayWhatGuardsThereAre) {
  const StackFacilities& asked = GetParam().facilities;
  const StackFacilities& offered = ProbeStackFacilities();
  const GuardMode expected = asked.guard_install && offered.guard_install ? GuardMode::kGuardInstall
                             : asked.mprotect && offered.mprotect         ? GuardMode::kMprotect
                                                                          : GuardMode::kNone;
  EXPECT_EQ(slab_.stats().mode, expected);
  EXPECT_EQ(slab_.stats().slots, 16u);
  EXPECT_EQ(slab_.stats().unguarded_slots, expected == GuardMode::kNone ? 16u : 0u);
  EXPECT_GE(slab_.stats().reserved_bytes, 16u * (32 << 10));
}

TEST_P(StackSlabModeTest, DiscardedStacksReadAsZeroAndOthersKeepTheirBytes) {
  for (uint32_t slot = 0; slot < 16; ++slot) {
    const StackBounds bounds = slab_.Bounds(slot);
    std::memset(reinterpret_cast<void*>(bounds.low), 0x5a, bounds.size());
  }
  // Neighbours, across a batch border too, in any order; and a lone one.
  const std::vector<uint32_t> discarded = {8, 6, 7, 12, 0};
  slab_.Discard(discarded);
  for (uint32_t slot = 0; slot < 16; ++slot) {
    const StackBounds bounds = slab_.Bounds(slot);
    const bool gone = std::count(discarded.begin(), discarded.end(), slot) != 0;
    const auto* const begin = reinterpret_cast<const char*>(bounds.low);
    EXPECT_EQ(std::count(begin, begin + bounds.size(), gone ? 0 : 0x5a), static_cast<ptrdiff_t>(bounds.size())) << slot;
  }
  slab_.Discard({});
}

TEST_P(StackSlabModeTest, CanaryOfAnUnguardedSlotTellsOfAnOverflow) {
  for (uint32_t slot = 0; slot < 16; ++slot) EXPECT_TRUE(slab_.CanaryIntact(slot)) << slot;
  // A stack may be used to its last byte.
  ByteAt(slab_.Bounds(3).low) = 1;
  EXPECT_TRUE(slab_.CanaryIntact(3));
  if (guarded()) return;
  ByteAt(slab_.Bounds(3).low - 1) = 1;
  ByteAt(slab_.Bounds(5).low - static_cast<uintptr_t>(sysconf(_SC_PAGESIZE))) = 1;
  for (uint32_t slot = 0; slot < 16; ++slot) EXPECT_EQ(slab_.CanaryIntact(slot), slot != 3 && slot != 5) << slot;
  EXPECT_FALSE(slab_.IsGuard(slab_.Bounds(3).low - 1));
  slab_.Discard(std::vector<uint32_t>{3, 5});
  EXPECT_TRUE(slab_.CanaryIntact(3));
  EXPECT_TRUE(slab_.CanaryIntact(5));
}

TEST_P(StackSlabModeDeathTest, TouchingAGuardDies) {
  for (const uint32_t slot : {0, 7, 8, 15}) {
    const uintptr_t low = slab_.Bounds(slot).low;
    EXPECT_DEATH(ByteAt(low - 1) = 1, "") << slot;
    EXPECT_DEATH(ByteAt(slab_.Bounds(slot).high - slab_.slot_bytes()) = 1, "") << slot;
    ByteAt(low) = 1;
  }
}

TEST_P(StackSlabModeDeathTest, GuardsSurviveDiscard) {
  slab_.Discard(std::vector<uint32_t>{4, 5});
  EXPECT_DEATH(ByteAt(slab_.Bounds(4).low - 1) = 1, "");
  EXPECT_DEATH(ByteAt(slab_.Bounds(5).low - 1) = 1, "");
  ByteAt(slab_.Bounds(5).low) = 1;
}

// -- Overflow of a fiber's stack, found out in the handler.

void ReportOverflow(int, siginfo_t* info, void*) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  const std::optional<StackLocation> location = FindStack(address);
  char message[128];
  const int length =
      !location.has_value()
          ? std::snprintf(message, sizeof(message), "not in any stack\n")
          : std::snprintf(message, sizeof(message), "class %d, slot %u, %s\n", static_cast<int>(location->stack_class),
                          location->slot,
                          StackSlab::ForClass(location->stack_class).IsGuard(address) ? "its guard" : "not its guard");
  if (write(STDERR_FILENO, message, static_cast<size_t>(length)) != length) _exit(8);
  _exit(7);
}

[[gnu::noinline]] int Recurse(int depth) {
  volatile char frame[200];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : Recurse(depth + 1) + frame[0];
}

[[noreturn]] void OverflowOnAFiber() {
  // Room for a signal frame (3 KiB with AVX-512) and the handler.
  static char alternate_stack[64 << 10];
  const stack_t stack = {.ss_sp = alternate_stack, .ss_flags = 0, .ss_size = sizeof(alternate_stack)};
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = &ReportOverflow;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  for (int i = 0; i < 3; ++i) NewStack();
  TestFiber fiber([](TestFiber&) { Recurse(0); });
  std::fprintf(stderr, "stack of slot %u overflows; ",
               StackSlab::ForClass(StackClass::k64KiB).SlotOf(fiber.stack().low).value_or(999));
  fiber.Resume();
  _exit(9);
}

TEST(StackSlabDeathTest, OverflowOfAFiberHitsTheGuardAndTheHandlerFindsTheSlot) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // starts over in the child: slots are counted from 0 there
  EXPECT_EXIT(OverflowOnAFiber(), testing::ExitedWithCode(7), "stack of slot 3 overflows; class 2, slot 3, its guard");
}

// -- Limits of the machine.

size_t VirtualBytes() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Ends the process with 0 when all is as it should be, else with the number of what was not.
[[noreturn]] void LiveWithLittleAddressSpace() {
  const size_t left = size_t{4} << 30;
  const rlimit limit = {.rlim_cur = VirtualBytes() + left, .rlim_max = VirtualBytes() + left};
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
  StackSlab slab({.stack_class = StackClass::k256KiB});
  if (!slab.AddBatch().ok()) _exit(3);
  if (slab.stats().reserved_bytes > left / 8) _exit(4);  // an eighth of what fits
  if (slab.stats().reserved_bytes < left / 64) _exit(5);
  // The heap still has room.
  void* const block = std::malloc(left / 4);
  if (block == nullptr) _exit(6);
  asm volatile("" : : "r"(block) : "memory");
  std::free(block);
  // More chunks follow until nothing is left.
  absl::StatusOr<uint32_t> last;
  size_t batches = 1;
  for (; (last = slab.AddBatch()).ok(); ++batches) {
    const StackBounds bounds = slab.Bounds(*last);
    ByteAt(bounds.high - 1) = 1;
    if (slab.SlotOf(bounds.high - 1) != *last) _exit(7);
  }
  if (last.status().code() != absl::StatusCode::kResourceExhausted) _exit(8);
  if (batches * slab.slots_per_batch() != slab.slot_count()) _exit(9);
  if (batches * (64 << 20) < left / 2) _exit(10);
  std::fprintf(stderr, "%s\n", std::string(last.status().message()).c_str());
  _exit(0);
}

TEST(StackSlabDeathTest, UnderAnAddressSpaceLimitTheHeapKeepsMostOfIt) {
  EXPECT_EXIT(LiveWithLittleAddressSpace(), testing::ExitedWithCode(0),
              "stacks of 262144 bytes: no address space \\(RLIMIT_AS, vm.overcommit_memory\\): mmap of 67108864 bytes: "
              "Cannot allocate memory");
}

[[noreturn]] void RunOutOfMemoryMapEntries() {
  StackSlab slab({.stack_class = StackClass::k16KiB, .facilities = {.guard_install = false}});
  uint32_t batches = 0;
  do {
    if (!slab.AddBatch().ok()) _exit(2);
    ++batches;
  } while (slab.stats().mode == GuardMode::kMprotect && batches < 1000);
  const StackSlab::Stats stats = slab.stats();
  if (stats.mode != GuardMode::kNone) _exit(3);
  // The batch at the limit is guarded in part: up to a slot, and not from there on.
  if (stats.unguarded_slots == 0 || stats.unguarded_slots > slab.slots_per_batch()) _exit(4);
  const uint32_t first_unguarded = stats.slots - stats.unguarded_slots;
  if (!slab.IsGuard(slab.Bounds(first_unguarded - 1).low - 1)) _exit(5);
  if (slab.IsGuard(slab.Bounds(first_unguarded).low - 1)) _exit(6);
  ByteAt(slab.Bounds(first_unguarded).low - 1) = 1;
  if (slab.CanaryIntact(first_unguarded)) _exit(7);
  // From now on there are stacks, without guards.
  if (!slab.AddBatch().ok()) _exit(8);
  if (slab.stats().unguarded_slots != stats.unguarded_slots + slab.slots_per_batch()) _exit(9);
  _exit(0);
}

TEST(StackSlabDeathTest, WithoutMemoryMapEntriesToSpareStacksComeUnguarded) {
  EXPECT_EXIT(RunOutOfMemoryMapEntries(), testing::ExitedWithCode(0), "");
}

#if !defined(FIBERSCOPE_HAS_ASAN) && !defined(FIBERSCOPE_HAS_TSAN)  // their own allocators need mappings to report

[[noreturn]] void UseUpMemoryMapEntries() {
  StackSlab slab({.stack_class = StackClass::k16KiB, .slots_per_batch = 4});
  // Every other page of a large mapping protected: an entry each, until the kernel refuses.
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t pages = MappingLimit().value() * 2;
  char* const memory = static_cast<char*>(
      mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  for (size_t i = 1; i < pages && mprotect(memory + i * page, page, PROT_NONE) == 0; i += 2) {
  }
  // Whatever the kernel still grants before it counts.
  while (mmap(nullptr, page, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
  }
  const absl::Status status = slab.AddBatch().status();
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  _exit(status.code() == absl::StatusCode::kResourceExhausted && slab.slot_count() == 0 ? 0 : 1);
}

TEST(StackSlabDeathTest, AtTheLimitOfTheMemoryMapTheErrorNamesIt) {
  EXPECT_EXIT(UseUpMemoryMapEntries(), testing::ExitedWithCode(0),
              "stacks of 16384 bytes: the process has vm.max_map_count = [0-9]+ memory mappings");
}

#endif

// -- Concurrency.

TEST(StackSlabTest, BatchesAddedByManyThreadsAreDistinctAndReadersSeeOnlyReadySlots) {
  constexpr int kThreads = 4, kBatches = 50;
  constexpr uint32_t kSlots = 4;
  // Three batches to a chunk: 67 chunks.
  StackSlab slab(
      {.stack_class = StackClass::k16KiB, .reservation_bytes = 3 * kSlots * (16 << 10), .slots_per_batch = kSlots});
  std::atomic<bool> done{false};
  std::atomic<uint64_t> checked{0};
  std::thread reader([&] {
    while (!done) {
      const uint32_t count = slab.slot_count();
      for (uint32_t slot = count > 16 ? count - 16 : 0; slot < count; ++slot) {
        const StackBounds bounds = slab.Bounds(slot);
        EXPECT_EQ(slab.SlotOf(bounds.low), slot);
        EXPECT_TRUE(slab.CanaryIntact(slot));
        EXPECT_EQ(LoadStackWord(bounds.high - 8), 0u);
        ++checked;
      }
      const StackSlab::Stats stats = slab.stats();
      EXPECT_GE(stats.slots, count);
    }
  });
  std::vector<std::vector<uint32_t>> firsts(kThreads);
  std::vector<std::thread> writers;
  for (std::vector<uint32_t>& mine : firsts) {
    writers.emplace_back([&] {
      for (int i = 0; i < kBatches; ++i) mine.push_back(slab.AddBatch().value());
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  reader.join();

  std::vector<uint32_t> all;
  for (const std::vector<uint32_t>& mine : firsts) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), size_t{kThreads * kBatches});
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], i * kSlots);
  EXPECT_EQ(slab.slot_count(), kThreads * kBatches * kSlots);
  EXPECT_EQ(slab.stats().reserved_bytes, 67u * 3 * kSlots * (16 << 10));
}

TEST(StackSlabTest, FirstUseOfAClassByManyThreadsMakesOneSlab) {
  std::vector<StackSlab*> seen(8);
  std::vector<std::thread> threads;
  for (StackSlab*& mine : seen) threads.emplace_back([&mine] { mine = &StackSlab::ForClass(StackClass::k8MiB); });
  for (std::thread& thread : threads) thread.join();
  for (StackSlab* const slab : seen) EXPECT_EQ(slab, seen[0]);
}

}  // namespace
}  // namespace fiberscope
