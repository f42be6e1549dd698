// How a function becomes a fiber. Internal: users call Scheduler::Spawn or fiberscope::Spawn.
//
// The function object lies at the top of the new fiber's own stack, so spawning allocates nothing:
//
//     stack_high ─►  (two unused words) | function object | frames of FiberMain, RunEntry<F>, F ...  ─► low
//
// Everything here that is a template is inlined into the caller, so that the return address of StartFiber() lies in the
// user's code: it is the "created by" of dumps.
#ifndef FIBERSCOPE_RUNTIME_SPAWN_H_
#define FIBERSCOPE_RUNTIME_SPAWN_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/fiber.h"
#include "runtime/labels.h"
#include "runtime/park.h"

namespace fiberscope {

class Context;

namespace internal {

class SchedulerCore;

// Larger function objects go to the heap: the smallest stack has 12 KiB.
inline constexpr size_t kMaxCallableBytes = 1024;

struct SpawnRequest {
  std::string_view name;
  size_t stack_bytes = 64 * 1024;
  const Labels* labels = nullptr;    // null: the spawning fiber's
  const Context* context = nullptr;  // null: the spawning fiber's
};

// A dead control block and the room for the function object on its stack.
struct SpawnSlot {
  ControlBlock* block = nullptr;
  void* callable = nullptr;
};

absl::StatusOr<SpawnSlot> PrepareSpawn(SchedulerCore& core, size_t stack_bytes, size_t callable_bytes, size_t alignment);
void CancelSpawn(SchedulerCore& core, const SpawnSlot& slot);
__attribute__((noinline)) Fiber StartFiber(SchedulerCore& core, const SpawnSlot& slot, void (*run)(void*, bool),
                                           uintptr_t entry_pc, const SpawnRequest& request);
[[noreturn]] void ThrowSpawnError(const absl::Status& status);

// The scheduler of the calling fiber, which must be one.
SchedulerCore& CurrentCore();
// Whether the caller is a fiber of `core`.
bool RunsOn(const SchedulerCore& core);

// The outermost C++ frame of a fiber that belongs to the function. It must neither be noexcept nor catch anything that is not
// ours: then an exception that nobody catches finds no handler, and std::terminate is called where it was thrown.
template <typename F>
void RunEntry(void* callable, bool call) {
  F& function = *static_cast<F*>(callable);
  if (call) {
    try {
      function();
    } catch (const ForcedUnwind&) {
    }
  }
  function.~F();
}

// For function objects that do not fit.
template <typename F>
struct HeapCallable {
  std::unique_ptr<F> function;
  void operator()() { (*function)(); }
};

// The first instruction of the user's function as far as it can be told: the target of a function pointer, the call
// operator of a lambda; otherwise `fallback`.
template <typename F>
uintptr_t EntryPc(const F& function, uintptr_t fallback) {
  if constexpr (std::is_pointer_v<F>) {
    return reinterpret_cast<uintptr_t>(function);
  } else if constexpr (requires { &F::operator(); }) {
    // Itanium C++ ABI, section 2.3: a pointer to a non-virtual member function begins with the function's address.
    auto member = &F::operator();
    uintptr_t address = 0;
    if constexpr (sizeof(member) >= sizeof(address)) std::memcpy(&address, &member, sizeof(address));
    return (address & 1) != 0 ? fallback : address;
  } else {
    return fallback;
  }
}

template <typename Callable>
__attribute__((always_inline)) inline absl::StatusOr<Fiber> SpawnPlaced(SchedulerCore& core, Callable&& callable,
                                                                        uintptr_t entry_pc,
                                                                        const SpawnRequest& request) {
  using F = std::decay_t<Callable>;
  absl::StatusOr<SpawnSlot> slot = PrepareSpawn(core, request.stack_bytes, sizeof(F), alignof(F));
  if (!slot.ok()) return slot.status();
  if constexpr (std::is_nothrow_constructible_v<F, Callable>) {
    new (slot->callable) F(std::forward<Callable>(callable));
  } else {
    try {
      new (slot->callable) F(std::forward<Callable>(callable));
    } catch (...) {
      CancelSpawn(core, *slot);
      throw;
    }
  }
  return StartFiber(core, *slot, &RunEntry<F>, entry_pc, request);
}

// For wrappers, which know the address of the user's function.
template <typename Callable>
__attribute__((always_inline)) inline absl::StatusOr<Fiber> SpawnFunctionAs(SchedulerCore& core, Callable&& callable,
                                                                            uintptr_t entry_pc,
                                                                            const SpawnRequest& request) {
  using F = std::decay_t<Callable>;
  if constexpr (sizeof(F) <= kMaxCallableBytes && alignof(F) <= 64) {
    return SpawnPlaced(core, std::forward<Callable>(callable), entry_pc, request);
  } else {
    return SpawnPlaced(core, HeapCallable<F>{std::make_unique<F>(std::forward<Callable>(callable))}, entry_pc, request);
  }
}

template <typename Callable>
__attribute__((always_inline)) inline absl::StatusOr<Fiber> SpawnFunction(SchedulerCore& core, Callable&& callable,
                                                                          const SpawnRequest& request) {
  using F = std::decay_t<Callable>;
  static_assert(std::is_invocable_v<F&>, "a fiber's function is called without arguments");
  const uintptr_t entry_pc = EntryPc<F>(callable, reinterpret_cast<uintptr_t>(&RunEntry<F>));
  return SpawnFunctionAs(core, std::forward<Callable>(callable), entry_pc, request);
}

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SPAWN_H_
