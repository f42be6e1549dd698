// A slab is a list of chunks, each one reservation, cut into batches, cut into slots:
//
//   chunk 0                                    chunk 1
//   | batch 0             | batch 1    | ...   | batch 4096   | ...
//   |g|stack|g|stack| ... |g|stack| ...        |g|stack| ...            g: guard page, the lowest of its slot
//   slot 0   slot 1        slot 1024            slot 4194304
//
// Slots are numbered through all chunks, in the order in which they become ready; a chunk is filled before the next one
// is reserved. Writers (AddBatch) hold the mutex. Readers hold nothing: a chunk's entry is written before chunk_count
// that admits it, a batch's guard count before slot_count that admits its slots, and neither changes afterwards.
#include "runtime/stack/stack_slab.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"

namespace fiberscope {
namespace {

constexpr size_t kMaxSlotsPerBatch = 1024;           // one process_madvise: its limit is 1024 ranges
constexpr uint32_t kMaxChunks = 256;                 // mostly one is used; many only where address space is short
constexpr size_t kMaxSlots = UINT32_MAX;             // 64 TiB of the smallest class

// Linux 5.17; Debian 12's headers have them, the kernel may be built without.
void NameMapping(void* memory, size_t bytes) {
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, bytes, "fiberscope stacks");
}

size_t PageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Not instrumented: a stack that overflows into these bytes races with us, and is what we look for.
__attribute__((no_sanitize("address", "thread"))) bool IsZero(uintptr_t address, size_t bytes) {
  const auto* const words = reinterpret_cast<const volatile uintptr_t*>(address);
  uintptr_t seen = 0;
  for (size_t i = 0; i < bytes / sizeof(uintptr_t); ++i) seen |= words[i];
  return seen == 0;
}

// Memory of the slab's own bookkeeping: never freed, and not on the heap, where a leak scan would search it.
void* MapForEver(size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// Maps `bytes`, or as much less as the machine demands, in multiples of `unit`; sets `bytes` to what it got. Null when
// not even one unit fits.
void* Reserve(size_t& bytes, size_t unit) {
  const auto map = [](size_t size) {
    void* const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  };
  const auto in_units = [unit](size_t size) { return std::max(size / unit, size_t{1}) * unit; };

  bytes = in_units(bytes);
  void* memory = map(bytes);
  if (memory != nullptr) return memory;
  while (memory == nullptr && bytes > unit) {
    bytes = in_units(bytes / 2);
    memory = map(bytes);
  }
  if (memory == nullptr) return nullptr;
  // Between a quarter and all of what is left: the heap would starve. Nobody has seen the mapping yet.
  const size_t share = in_units(bytes / 8);
  munmap(static_cast<char*>(memory) + share, bytes - share);
  bytes = share;
  return memory;
}

}  // namespace

struct StackSlab::Rep {
  struct Chunk {
    uintptr_t base = 0;
    uint32_t first_slot = 0;
    uint32_t slots = 0;
    uint16_t* guarded = nullptr;  // per batch: its slots below this number have a guard
  };

  struct Place {
    const Chunk* chunk = nullptr;
    uint32_t index = 0;  // of the slot in its chunk
  };

  explicit Rep(const Options& options);

  // Set once at construction.
  const StackFacilities facilities;
  const size_t slot_bytes;
  const size_t guard_bytes;  // one page
  const size_t slots_per_batch;
  const size_t reservation_bytes;

  std::mutex mutex;  // serialises the writers of everything below
  std::array<Chunk, kMaxChunks> chunks;
  std::atomic<uint32_t> chunk_count{0};  // release store in AddChunk
  std::atomic<uint32_t> slot_count{0};   // release store in AddBatch
  // Counters, relaxed.
  std::atomic<size_t> reserved_bytes{0};
  std::atomic<uint32_t> unguarded_slots{0};
  std::atomic<GuardMode> mode{GuardMode::kNone};

  uintptr_t SlotBase(Place place) const { return place.chunk->base + place.index * slot_bytes; }

  Place Find(uint32_t slot) const {
    // Pairs with AddBatch.
    FIBERSCOPE_CHECK(slot < slot_count.load(std::memory_order_acquire), "stack slot %d is not ready", slot);
    const Chunk* chunk = &chunks[0];
    while (slot - chunk->first_slot >= chunk->slots) ++chunk;
    return {chunk, slot - chunk->first_slot};
  }

  std::optional<Place> FindAddress(uintptr_t address) const {
    // Pairs with AddChunk.
    const uint32_t count = chunk_count.load(std::memory_order_acquire);
    for (const Chunk& chunk : std::span(chunks).first(count)) {
      const uintptr_t offset = address - chunk.base;
      if (offset >= chunk.slots * slot_bytes) continue;
      const uint32_t index = static_cast<uint32_t>(offset / slot_bytes);
      // Pairs with AddBatch.
      if (chunk.first_slot + index >= slot_count.load(std::memory_order_acquire)) return std::nullopt;
      return Place{&chunk, index};
    }
    return std::nullopt;
  }

  bool HasGuard(Place place) const {
    return place.index % slots_per_batch < place.chunk->guarded[place.index / slots_per_batch];
  }

  // Writers only, mutex held.
  bool IsFull() const {
    const uint32_t count = chunk_count.load(std::memory_order_relaxed);
    return count == 0 ||
           slot_count.load(std::memory_order_relaxed) == chunks[count - 1].first_slot + chunks[count - 1].slots;
  }
  absl::Status AddChunk();
};

absl::Status StackSlab::Rep::AddChunk() {
  const uint32_t count = chunk_count.load(std::memory_order_relaxed);
  const uint32_t first_slot = slot_count.load(std::memory_order_relaxed);
  if (count == kMaxChunks) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("stacks of %d bytes: %d reservations of address space are full", slot_bytes, kMaxChunks));
  }
  const size_t batch_bytes = slots_per_batch * slot_bytes;
  const size_t numbers_left = kMaxSlots - first_slot;
  if (numbers_left < slots_per_batch) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("stacks of %d bytes: all %d numbers are given", slot_bytes, kMaxSlots));
  }
  size_t bytes = std::min(reservation_bytes, numbers_left * slot_bytes);
  void* const memory = Reserve(bytes, batch_bytes);
  auto* const guarded =
      memory == nullptr ? nullptr : static_cast<uint16_t*>(MapForEver(bytes / batch_bytes * sizeof(uint16_t)));
  if (guarded == nullptr) {
    const int error = errno;
    if (memory != nullptr) munmap(memory, bytes);
    const std::optional<size_t> limit = MappingLimit();
    if (limit.has_value() && MappingCount() >= limit) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "stacks of %d bytes: the process has vm.max_map_count = %d memory mappings", slot_bytes, *limit));
    }
    return absl::ResourceExhaustedError(
        absl::StrFormat("stacks of %d bytes: no address space (RLIMIT_AS, vm.overcommit_memory): mmap of %d bytes: %s",
                        slot_bytes, batch_bytes, strerrordesc_np(error)));
  }
  // Fails only on a kernel without transparent huge pages.
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  // Until AddBatch. Otherwise a core file is as long as the reservation, and the kernel looks at each page of it.
  madvise(memory, bytes, MADV_DONTDUMP);
  NameMapping(memory, bytes);
  chunks[count] = {.base = reinterpret_cast<uintptr_t>(memory),
                   .first_slot = first_slot,
                   .slots = static_cast<uint32_t>(bytes / slot_bytes),
                   .guarded = guarded};
  chunk_count.store(count + 1, std::memory_order_release);
  reserved_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

StackSlab::Rep::Rep(const Options& options)
    : facilities{.guard_install = options.facilities.guard_install && ProbeStackFacilities().guard_install,
                 .process_madvise = options.facilities.process_madvise && ProbeStackFacilities().process_madvise,
                 .mprotect = options.facilities.mprotect && ProbeStackFacilities().mprotect},
      slot_bytes(kStackClassBytes[static_cast<size_t>(options.stack_class)]),
      guard_bytes(PageBytes()),
      slots_per_batch(options.slots_per_batch != 0 ? options.slots_per_batch : SlotsPerBatch(options.stack_class)),
      reservation_bytes(options.reservation_bytes) {
  FIBERSCOPE_CHECK(slots_per_batch <= kMaxSlotsPerBatch, "%d slots in a batch", slots_per_batch);
  FIBERSCOPE_CHECK(guard_bytes < slot_bytes, "pages of %d bytes, stacks of %d", guard_bytes, slot_bytes);
}

absl::StatusOr<uint32_t> StackSlab::AddBatch() {
  const std::lock_guard lock(rep_->mutex);
  const uint32_t first_slot = rep_->slot_count.load(std::memory_order_relaxed);
  if (rep_->IsFull()) {
    if (absl::Status status = rep_->AddChunk(); !status.ok()) return status;
  }
  const Rep::Chunk& chunk = rep_->chunks[rep_->chunk_count.load(std::memory_order_relaxed) - 1];
  const uint32_t index = first_slot - chunk.first_slot;
  const uint32_t count = static_cast<uint32_t>(rep_->slots_per_batch);
  // Before the guards, which may cut the mapping up. Fails where there are too many mappings: then no core file has these stacks.
  madvise(reinterpret_cast<void*>(rep_->SlotBase({&chunk, index})), count * rep_->slot_bytes, MADV_DODUMP);
  const GuardedPages guarded =
      InstallGuards(rep_->SlotBase({&chunk, index}), rep_->slot_bytes, count, rep_->facilities);
  chunk.guarded[index / count] = static_cast<uint16_t>(guarded.count);

  rep_->mode.store(guarded.mode, std::memory_order_relaxed);
  rep_->unguarded_slots.fetch_add(count - static_cast<uint32_t>(guarded.count), std::memory_order_relaxed);
  rep_->slot_count.store(first_slot + count, std::memory_order_release);
  return first_slot;
}

StackBounds StackSlab::Bounds(uint32_t slot) const {
  const uintptr_t base = rep_->SlotBase(rep_->Find(slot));
  return {.low = base + rep_->guard_bytes, .high = base + rep_->slot_bytes};
}

std::optional<uint32_t> StackSlab::SlotOf(uintptr_t address) const {
  const std::optional<Rep::Place> place = rep_->FindAddress(address);
  if (!place.has_value()) return std::nullopt;
  return place->chunk->first_slot + place->index;
}

bool StackSlab::IsGuard(uintptr_t address) const {
  const std::optional<Rep::Place> place = rep_->FindAddress(address);
  return place.has_value() && address - rep_->SlotBase(*place) < rep_->guard_bytes && rep_->HasGuard(*place);
}

void StackSlab::Discard(std::span<const uint32_t> slots) {
  std::vector<uintptr_t> bases;
  bases.reserve(slots.size());
  for (const uint32_t slot : slots) bases.push_back(rep_->SlotBase(rep_->Find(slot)));
  std::sort(bases.begin(), bases.end());
  // Neighbours become one range, guards between them included: a guard survives MADV_DONTNEED. What the kernel does not
  // take, because it is locked in memory, stays.
  std::vector<iovec> ranges;
  for (const uintptr_t base : bases) {
    void* const start = reinterpret_cast<void*>(base);
    if (!ranges.empty() && static_cast<char*>(ranges.back().iov_base) + ranges.back().iov_len == start) {
      ranges.back().iov_len += rep_->slot_bytes;
    } else {
      ranges.push_back({start, rep_->slot_bytes});
    }
  }
  AdviseRanges(ranges, MADV_DONTNEED, rep_->facilities);
}

bool StackSlab::CanaryIntact(uint32_t slot) const {
  const Rep::Place place = rep_->Find(slot);
  return rep_->HasGuard(place) || IsZero(rep_->SlotBase(place), rep_->guard_bytes);
}

StackSlab::Stats StackSlab::stats() const {
  return {.mode = rep_->mode.load(std::memory_order_relaxed),
          .reserved_bytes = rep_->reserved_bytes.load(std::memory_order_relaxed),
          .slots = slot_count(),
          .unguarded_slots = rep_->unguarded_slots.load(std::memory_order_relaxed)};
}

size_t StackSlab::slot_bytes() const { return rep_->slot_bytes; }
size_t StackSlab::slots_per_batch() const { return rep_->slots_per_batch; }
// Pairs with AddBatch.
uint32_t StackSlab::slot_count() const { return rep_->slot_count.load(std::memory_order_acquire); }

StackSlab::StackSlab(const Options& options)
    : rep_([&options] {
        void* const memory = MapForEver(sizeof(Rep));
        FIBERSCOPE_CHECK(memory != nullptr, "no memory for the bookkeeping of a stack slab: errno %d", errno);
        return new (memory) Rep(options);
      }()) {}

namespace {
constinit std::array<std::atomic<StackSlab*>, kStackClassCount> g_class_slabs{};
}  // namespace

StackSlab& StackSlab::ForClass(StackClass stack_class) {
  std::atomic<StackSlab*>& place = g_class_slabs[static_cast<size_t>(stack_class)];
  // Pairs with the release store below.
  if (StackSlab* const slab = place.load(std::memory_order_acquire); slab != nullptr) return *slab;
  static constinit std::mutex creation;
  const std::lock_guard lock(creation);
  if (place.load(std::memory_order_relaxed) == nullptr) {
    place.store(new StackSlab({.stack_class = stack_class}), std::memory_order_release);
  }
  return *place.load(std::memory_order_relaxed);
}

std::optional<StackLocation> FindStack(uintptr_t address) {
  for (int c = 0; c < kStackClassCount; ++c) {
    const StackSlab* const slab = g_class_slabs[c].load(std::memory_order_acquire);
    if (slab == nullptr) continue;
    if (const std::optional<uint32_t> slot = slab->SlotOf(address); slot.has_value()) {
      return StackLocation{static_cast<StackClass>(c), *slot};
    }
  }
  return std::nullopt;
}

std::optional<StackClass> StackClassFor(size_t bytes) {
  const size_t wanted = std::max(bytes, 4 * PageBytes());
  for (int c = 0; c < kStackClassCount; ++c) {
    if (kStackClassBytes[c] >= wanted) return static_cast<StackClass>(c);
  }
  return std::nullopt;
}

}  // namespace fiberscope
