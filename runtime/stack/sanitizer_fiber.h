// What a sanitizer has to know about a switch target, with an empty twin for builds without one.
//
// AddressSanitizer keeps the bounds of the stack that a thread is on, and a "fake stack" per stack for locals whose
// address escapes. ThreadSanitizer keeps a context (vector clock, shadow call stack) per fiber; a switch also orders
// what was done before it and what follows, as the real switch does.
//
// Only context_switch.h calls these. Every function on the path of a switch must be inlined into a function that starts
// and ends on the same stack: ThreadSanitizer counts entries and exits of functions on the context that is current
// then.
//
// Thread-compatible, like the SwitchTarget it is part of. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_STACK_SANITIZER_FIBER_H_
#define FIBERSCOPE_RUNTIME_STACK_SANITIZER_FIBER_H_

#include "runtime/stack/stack_bounds.h"

// gcc says by macro, clang by feature. Both are asked: with gcc, some library headers define __has_feature to say no.
#if defined(__SANITIZE_ADDRESS__)
#define FIBERSCOPE_HAS_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define FIBERSCOPE_HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBERSCOPE_HAS_ASAN 1
#elif __has_feature(thread_sanitizer)
#define FIBERSCOPE_HAS_TSAN 1
#endif
#endif

#if defined(FIBERSCOPE_HAS_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(FIBERSCOPE_HAS_TSAN)
#include <sanitizer/tsan_interface.h>

#include <utility>
#endif

namespace fiberscope {

#if defined(FIBERSCOPE_HAS_ASAN)

class SanitizerFiber {
 public:
  static constexpr bool kWatches = true;

  // The target will start at the top of `stack`. Frames of the last user may have left their red zones there.
  void Prepare(StackBounds stack) {
    __asan_unpoison_memory_region(reinterpret_cast<void*>(stack.low), stack.size());
    fake_stack_ = nullptr;
  }
  // The target is the current thread's own stack: whoever switches to it says where that is.
  void AdoptThread() { fake_stack_ = nullptr; }

  // This target is about to continue `to`.
  [[gnu::always_inline]] void StartSwitch(SanitizerFiber&, StackBounds to_stack) {
    __sanitizer_start_switch_fiber(&fake_stack_, reinterpret_cast<void*>(to_stack.low), to_stack.size());
  }
  // As StartSwitch, but this target never runs again: null lets its fake stack go. The frames that are left here without a return
  // take their red zones with them: the next user's function object may lie where they were.
  [[gnu::always_inline]] void StartLastSwitch(SanitizerFiber&, StackBounds to_stack) {
    __asan_handle_no_return();
    __sanitizer_start_switch_fiber(nullptr, reinterpret_cast<void*>(to_stack.low), to_stack.size());
    fake_stack_ = nullptr;
  }
  // This target runs again, or for the first time.
  [[gnu::always_inline]] void FinishSwitch() { __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr); }

  void Release() {}

 private:
  void* fake_stack_ = nullptr;  // while not running
};

#elif defined(FIBERSCOPE_HAS_TSAN)

class SanitizerFiber {
 public:
  static constexpr bool kWatches = true;

  void Prepare(StackBounds) {
    Release();  // a used context is not used again: its shadow call stack still holds the dead fiber's frames
    owned_ = context_ = __tsan_create_fiber(0);
  }
  void AdoptThread() {
    Release();
    context_ = __tsan_get_current_fiber();
  }

  // Flags 0: the switch is a synchronisation point.
  [[gnu::always_inline]] void StartSwitch(SanitizerFiber& to, StackBounds) { __tsan_switch_to_fiber(to.context_, 0); }
  [[gnu::always_inline]] void StartLastSwitch(SanitizerFiber& to, StackBounds to_stack) { StartSwitch(to, to_stack); }
  [[gnu::always_inline]] void FinishSwitch() {}

  // A context cannot destroy itself, so a dead fiber's stays until somebody else calls this.
  void Release() {
    if (owned_ != nullptr) __tsan_destroy_fiber(std::exchange(owned_, nullptr));
    context_ = nullptr;
  }

 private:
  void* context_ = nullptr;
  void* owned_ = nullptr;  // context_ when it is ours to destroy, null when it is a thread's own
};

#else

class SanitizerFiber {
 public:
  static constexpr bool kWatches = false;

  void Prepare(StackBounds) {}
  void AdoptThread() {}
  void StartSwitch(SanitizerFiber&, StackBounds) {}
  void StartLastSwitch(SanitizerFiber&, StackBounds) {}
  void FinishSwitch() {}
  void Release() {}
};

#endif

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_SANITIZER_FIBER_H_
