// Fixture for tests that run fibers: a scheduler with as many processors as the parameter says, and proof at the end that no
// fiber is left.
#ifndef FIBERSCOPE_TESTS_TESTING_RUNTIME_TEST_H_
#define FIBERSCOPE_TESTS_TESTING_RUNTIME_TEST_H_

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "gtest/gtest.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/this_fiber.h"

namespace fiberscope::testing {

class RuntimeTest : public ::testing::TestWithParam<int> {
 protected:
  Scheduler& scheduler() {
    if (!scheduler_) {
      // Tests that keep a processor busy must not get another one lent.
      scheduler_ = std::make_unique<Scheduler>(
          SchedulerOptions{.processors = GetParam(), .stall_after = std::chrono::nanoseconds::max()});
    }
    return *scheduler_;
  }

  // Runs `body` on a fiber and waits for it.
  template <typename F>
  void RunInFiber(F&& body) {
    scheduler().Spawn(std::forward<F>(body), {.name = "test"}).Join();
  }

  // Until the fiber is in `state`, letting others run. The test's own time limit is the deadline.
  static void AwaitState(const Fiber& fiber, FiberState state) {
    while (fiber.state() != state) {
      if (this_fiber::id()) {
        this_fiber::Yield();
      } else {
        sched_yield();
      }
    }
  }

  // The snapshot of one fiber, if it is listed; `use` gets it while its views are valid.
  template <typename F>
  static bool WithSnapshot(FiberId id, F&& use) {
    bool found = false;
    ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
      if (snapshot.id != id) return true;
      found = true;
      use(snapshot);
      return false;
    });
    return found;
  }

  void StopScheduler() { scheduler_.reset(); }

  void TearDown() override {
    scheduler_.reset();
    EXPECT_EQ(FiberCount(), 0);
    ForEachFiber({}, [](const FiberSnapshot& snapshot) {
      ADD_FAILURE() << "fiber " << snapshot.id.value << " (" << snapshot.name << ") is left";
      return true;
    });
  }

 private:
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_RUNTIME_TEST_H_
