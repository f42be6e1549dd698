#include "tests/runtime/stack/test_fiber.h"

#include <atomic>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/stack/stack_slab.h"

namespace fiberscope {

StackBounds NewStack() {
  static std::atomic<uint32_t> next{0};
  StackSlab& slab = StackSlab::ForClass(StackClass::k64KiB);
  const uint32_t slot = next.fetch_add(1);
  while (slot >= slab.slot_count()) FIBERSCOPE_CHECK(slab.AddBatch().ok(), "no stack for the test");
  return slab.Bounds(slot);
}

TestFiber::TestFiber(Body body, StackBounds stack) : stack_(stack), body_(std::move(body)) {
  PrepareTarget(target_, stack_, &TestFiber::Enter);
}

void* TestFiber::Resume(void* argument) {
  FIBERSCOPE_CHECK(!finished_, "the fiber has ended");
  const bool first = resumer_ == nullptr;
  if (first) argument_ = argument;
  SwitchTarget thread;
  AdoptThreadStack(thread);
  resumer_ = &thread;
  thread_local const StackBounds own_stack = ThreadStackBounds();
  resumer_stack_ = own_stack;
  return SwitchTo(thread, target_, stack_, first ? this : argument);
}

void* TestFiber::Yield(void* result) { return SwitchTo(target_, *resumer_, resumer_stack_, result); }

LastSwitch TestFiber::Enter(void* self) {
  TestFiber& fiber = *static_cast<TestFiber*>(self);
  FinishFirstSwitch(fiber.target_);
  fiber.body_(fiber);
  fiber.finished_ = true;
  return SwitchForGood(fiber.target_, *fiber.resumer_, fiber.resumer_stack_, nullptr);
}

}  // namespace fiberscope
