// Memory for fiber stacks: one never-unmapped reservation per size class, cut into equal slots.
//
// A slot is a guard page (lowest) and the usable stack above it. Slots are made ready in batches, in order, and are
// then valid for ever: reading any byte of a ready slot above its guard never faults, whatever its fiber does, which is
// what lets a dump read foreign stacks without a lock. A slot's number and its addresses are arithmetic, so any stack
// pointer leads to its slot, from a signal handler too.
//
// Reservation: 64 GiB of MAP_NORESERVE address space per class at its first use, further chunks when it is full. On
// ENOMEM it is halved until it fits, and then only an eighth of that is taken: where address space is that short
// (RLIMIT_AS, strict overcommit), the heap needs some too. Never huge pages (MADV_NOHUGEPAGE): a touched stack costs
// 4 KiB, not 2 MiB.
//
// In a core file are the slots that are ready, not the rest of the reservation (MADV_DONTDUMP).
//
// How a slot is guarded depends on the machine: stack_guard.h. A slot that could not be guarded keeps its lowest page
// unused, as a canary: it reads as zero until something overflows into it (CanaryIntact).
//
// Thread-safe. FindStack, SlotOf, Bounds and IsGuard are async-signal-safe and never block; AddBatch and Discard
// allocate and block the thread for the system calls. Never destroyed.
#ifndef FIBERSCOPE_RUNTIME_STACK_STACK_SLAB_H_
#define FIBERSCOPE_RUNTIME_STACK_STACK_SLAB_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/stack/stack_guard.h"

namespace fiberscope {

// Slot sizes, guard included. The default, 64 KiB, costs address space only: a parked fiber touches one or two pages.
enum class StackClass : uint8_t { k16KiB, k32KiB, k64KiB, k128KiB, k256KiB, k1MiB, k8MiB };
inline constexpr int kStackClassCount = 7;
inline constexpr std::array<size_t, kStackClassCount> kStackClassBytes = {16 << 10,  32 << 10, 64 << 10, 128 << 10,
                                                                          256 << 10, 1 << 20,  8 << 20};

// Slots that become ready at a time, unless StackSlab::Options say otherwise: 1024 (one process_madvise: its limit is 1024
// ranges), or as many as fit 64 MiB.
constexpr size_t SlotsPerBatch(StackClass stack_class) {
  return std::min(size_t{1024}, (size_t{64} << 20) / kStackClassBytes[static_cast<size_t>(stack_class)]);
}

// The smallest class of at least `bytes`, or nothing when there is none that large. Classes of fewer than four pages
// are passed over (none with pages of 4 KiB).
std::optional<StackClass> StackClassFor(size_t bytes);

class StackSlab {
 public:
  struct Options {
    StackClass stack_class = StackClass::k64KiB;
    StackFacilities facilities = DefaultStackFacilities();  // and-ed with what the kernel offers
    size_t reservation_bytes = size_t{64} << 30;          // of one chunk
    size_t slots_per_batch = 0;                           // 0: SlotsPerBatch(stack_class)
  };

  // The process-wide slab of a class. Async-signal-safe once it has returned for that class before.
  static StackSlab& ForClass(StackClass stack_class);

  // For tests: a slab of its own. Its mappings are never unmapped either.
  explicit StackSlab(const Options& options);
  StackSlab(const StackSlab&) = delete;
  StackSlab& operator=(const StackSlab&) = delete;

  size_t slot_bytes() const;
  size_t slots_per_batch() const;

  // Makes the next slots_per_batch() slots ready and returns the first one's number (a multiple of slots_per_batch()).
  // kResourceExhausted, naming the limit that was hit (address space, vm.max_map_count), when there is no room.
  absl::StatusOr<uint32_t> AddBatch();

  // Slots that are ready.
  uint32_t slot_count() const;

  // The usable part of a ready slot.
  StackBounds Bounds(uint32_t slot) const;

  // The ready slot whose bytes, guard included, contain `address`.
  std::optional<uint32_t> SlotOf(uintptr_t address) const;

  // Whether `address` lies in the guard page of a ready slot.
  bool IsGuard(uintptr_t address) const;

  // Gives the memory of unused stacks back to the kernel (MADV_DONTNEED, in as few calls as it can); guards stay.
  // The slots remain ready and read as zero.
  void Discard(std::span<const uint32_t> slots);

  // False when the slot has no guard and something was written where its guard would be. Reads one page, and the first
  // time faults it in (the kernel's shared zero page: no memory); Discard makes it intact again.
  bool CanaryIntact(uint32_t slot) const;

  struct Stats {
    GuardMode mode = GuardMode::kNone;  // of the newest slot
    size_t reserved_bytes = 0;
    uint32_t slots = 0;
    uint32_t unguarded_slots = 0;
  };
  Stats stats() const;

 private:
  struct Rep;
  Rep* const rep_;  // never freed: readers hold no lock
};

// One slot of a process-wide slab.
struct StackLocation {
  StackClass stack_class = StackClass::k64KiB;
  uint32_t slot = 0;
  bool operator==(const StackLocation&) const = default;
};

// The ready slot whose bytes, guard included, contain `address`, among all process-wide slabs. Async-signal-safe.
std::optional<StackLocation> FindStack(uintptr_t address);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_STACK_SLAB_H_
