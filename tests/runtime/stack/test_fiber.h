// A fiber without a scheduler: a function on a stack of its own that whoever holds it resumes by hand.
//
// Thread-compatible. A fiber may be resumed by one thread now and by another one later.
#ifndef FIBERSCOPE_TESTS_RUNTIME_STACK_TEST_FIBER_H_
#define FIBERSCOPE_TESTS_RUNTIME_STACK_TEST_FIBER_H_

#include <cstdint>
#include <functional>

#include "runtime/stack/context_switch.h"
#include "runtime/stack/stack_bounds.h"

namespace fiberscope {

// The bounds of a 64 KiB stack of the process-wide slab that nobody has used before.
StackBounds NewStack();

class TestFiber {
 public:
  using Body = std::function<void(TestFiber&)>;

  explicit TestFiber(Body body, StackBounds stack = NewStack());
  ~TestFiber() { ReleaseTarget(target_); }
  TestFiber(const TestFiber&) = delete;
  TestFiber& operator=(const TestFiber&) = delete;

  // Runs the body until it yields or returns. What the Yield() in progress returns is
  // `argument`; returns what the next Yield() is given, null if the body returns first.
  void* Resume(void* argument = nullptr);

  // Only in the body.
  void* Yield(void* result = nullptr);

  bool finished() const { return finished_; }
  StackBounds stack() const { return stack_; }
  // What the first Resume() was given.
  void* first_argument() const { return argument_; }
  // While it is not running.
  const SavedFrame& frame() const { return *static_cast<const SavedFrame*>(target_.saved_sp); }

 private:
  static LastSwitch Enter(void* self);

  const StackBounds stack_;
  const Body body_;
  SwitchTarget target_;
  void* argument_ = nullptr;
  bool finished_ = false;
  // Of the thread that runs it at the moment.
  SwitchTarget* resumer_ = nullptr;
  StackBounds resumer_stack_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_TESTS_RUNTIME_STACK_TEST_FIBER_H_
