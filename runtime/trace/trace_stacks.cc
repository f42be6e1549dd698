#include "runtime/trace/trace_stacks.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "runtime/stack/stack_memory.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope::internal {
namespace {

constexpr size_t kMaxFrames = 128;  // what readers accept
constexpr size_t kMaxKeptBytes = 32 << 20;

struct Kept {
  std::mutex mutex;
  std::deque<KeptTraceStack> stacks;                           // GUARDED_BY(mutex)
  absl::flat_hash_map<size_t, std::vector<KeptTraceStack*>> by_hash;  // GUARDED_BY(mutex)
  size_t bytes = 0;                                            // GUARDED_BY(mutex)
  std::atomic<uint64_t> lost{0};
};

Kept& TheKept() {
  static Kept& kept = *new Kept;  // threads may record until the very end
  return kept;
}

size_t HashOf(std::span<const uintptr_t> pcs, std::span<const uint32_t> places, uintptr_t above) {
  size_t hash = above;
  for (size_t i = 0; i < pcs.size(); ++i) hash = (hash ^ pcs[i] ^ uint64_t{places[i]} << 48) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

KeptTraceStack* Keep(std::span<const uintptr_t> pcs, std::span<const uint32_t> places, uintptr_t above) {
  Kept& kept = TheKept();
  const size_t hash = HashOf(pcs, places, above);
  const std::lock_guard lock(kept.mutex);
  std::vector<KeptTraceStack*>& same = kept.by_hash[hash];
  for (KeptTraceStack* const each : same) {
    if (each->above == above && std::ranges::equal(pcs, std::span(each->pcs.get(), each->depth)) &&
        std::ranges::equal(places, std::span(each->places.get(), each->depth))) {
      return each;
    }
  }
  if (kept.bytes >= kMaxKeptBytes) {
    kept.lost.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  kept.bytes += sizeof(KeptTraceStack) + pcs.size() * (sizeof(uintptr_t) + sizeof(uint32_t));
  KeptTraceStack& made = kept.stacks.emplace_back();
  made.number = static_cast<uint32_t>(kept.stacks.size());
  made.depth = static_cast<uint32_t>(pcs.size());
  made.above = above;
  made.pcs = std::make_unique<uintptr_t[]>(pcs.size());
  made.places = std::make_unique<uint32_t[]>(pcs.size());
  std::ranges::copy(pcs, made.pcs.get());
  std::ranges::copy(places, made.places.get());
  same.push_back(&made);
  return &made;
}

bool IsThere(const KeptTraceStack& stack, uintptr_t pc, uintptr_t sp, uintptr_t above) {
  if (stack.above != above || stack.pcs[0] != pc) return false;
  for (uint32_t i = 1; i < stack.depth; ++i) {
    if (LoadStackWord(sp + stack.places[i]) != stack.pcs[i]) return false;
  }
  return true;
}

uint64_t Use(KeptTraceStack& stack, uint32_t generation) {
  std::atomic<uint32_t>& used = stack.used[generation % 2];
  if (used.load(std::memory_order_relaxed) != generation) used.store(generation, std::memory_order_relaxed);
  return stack.number;
}

__attribute__((noinline)) KeptTraceStack* WalkAndKeep(StackBounds bounds, uintptr_t pc, uintptr_t sp, const Registers* given) {
  const UnwindTable* const table = UnwindTable::Current();
  if (table == nullptr) return nullptr;
  const Registers here = given != nullptr ? *given : CaptureRegisters();
  std::array<uintptr_t, kMaxFrames + 8> pcs;
  std::array<uintptr_t, kMaxFrames + 8> sps;
  const size_t depth = UnwindWithSps(*table, here, bounds, pcs, sps).depth;
  size_t first = 0;
  while (first < depth && (pcs[first] != pc || sps[first] != sp)) ++first;
  if (first == depth) return nullptr;
  const size_t count = std::min(depth - first, kMaxFrames);
  std::array<uint32_t, kMaxFrames> places;
  for (size_t i = 0; i < count; ++i) {
    places[i] = i == 0 ? 0 : static_cast<uint32_t>(sps[first + i] - sizeof(uintptr_t) - sp);
  }
  return Keep(std::span(pcs).subspan(first, count), std::span(places).first(count), bounds.high - sp);
}

}  // namespace

uint64_t TraceStackMemo::Number(uint32_t generation, StackBounds stack, uintptr_t pc, uintptr_t sp, const Registers* registers) {
  if (sp < stack.low || sp >= stack.high) return 0;
  const uintptr_t above = stack.high - sp;
  KeptTraceStack*& entry = Entry(pc, above);
#if defined(__x86_64__)  // elsewhere return addresses are not just below the frame above
  if (entry != nullptr && IsThere(*entry, pc, sp, above)) return Use(*entry, generation);
#endif
  KeptTraceStack* const walked = WalkAndKeep(stack, pc, sp, registers);
  if (walked == nullptr) return 0;
  entry = walked;
  return Use(*walked, generation);
}

uint64_t TraceStackMemo::NumberOf(uint32_t generation, uintptr_t pc) {
  if (pc == 0) return 0;
  KeptTraceStack*& entry = Entry(pc, 0);
  if (entry == nullptr || entry->depth != 1 || entry->pcs[0] != pc || entry->above != 0) {
    const uint32_t place = 0;
    KeptTraceStack* const kept = Keep({&pc, 1}, {&place, 1}, 0);
    if (kept == nullptr) return 0;
    entry = kept;
  }
  return Use(*entry, generation);
}

std::vector<TraceStack> TraceStacksOf(uint32_t generation) {
  Kept& kept = TheKept();
  std::vector<TraceStack> stacks;
  const std::lock_guard lock(kept.mutex);
  for (const KeptTraceStack& each : kept.stacks) {
    if (each.used[generation % 2].load(std::memory_order_relaxed) != generation) continue;
    stacks.push_back({.number = each.number, .pcs = {each.pcs.get(), each.pcs.get() + each.depth}});
  }
  return stacks;
}

uint64_t LostTraceStacks() { return TheKept().lost.load(std::memory_order_relaxed); }

}  // namespace fiberscope::internal
