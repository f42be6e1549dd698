#include "runtime/suspend_fiber.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/context.h"
#include "runtime/wait_cancelled.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using SuspendFiberTest = testing::RuntimeTest;

TEST_P(SuspendFiberTest, AResumeBeforeTheFiberParksIsNotLost) {
  RunInFiber([] {
    EXPECT_EQ(Suspend<int>([](const Resume<int>& resume) { EXPECT_TRUE(resume(5)); }), 5);
    Suspend([](const Resume<>& resume) { EXPECT_TRUE(resume()); });
  });
}

TEST_P(SuspendFiberTest, AnotherThreadResumesAParkedFiber) {
  std::thread thread;
  std::optional<Resume<std::unique_ptr<int>>> kept;
  std::atomic<bool> ready{false};
  const Fiber fiber = scheduler().Spawn([&] {
    const std::unique_ptr<int> value = Suspend<std::unique_ptr<int>>([&](const auto& resume) {
      kept = resume;
      ready = true;
    });
    EXPECT_EQ(*value, 9);
  });
  while (!ready) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  thread = std::thread([&] {
    EXPECT_FALSE(kept->ended());
    EXPECT_TRUE((*kept)(std::make_unique<int>(9)));
    EXPECT_TRUE(kept->ended());
    EXPECT_FALSE((*kept)(std::make_unique<int>(10)));
  });
  thread.join();
  fiber.Join();
}

TEST_P(SuspendFiberTest, TheWaitIsListedAsSuspended) {
  std::optional<Resume<>> kept;
  std::atomic<bool> ready{false};
  const Fiber fiber = scheduler().Spawn([&] {
    Suspend([&](const Resume<>& resume) {
      kept = resume;
      ready = true;
    });
  });
  while (!ready) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kSuspend);
  }));
  (*kept)();
  fiber.Join();
}

TEST_P(SuspendFiberTest, ADeadlineEndsTheWaitAndALateResumeKeepsItsValue) {
  RunInFiber([] {
    std::optional<Resume<std::shared_ptr<int>>> kept;
    const auto result = SuspendFor<std::shared_ptr<int>>(microseconds(300), [&](const auto& resume) { kept = resume; });
    EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
    const auto value = std::make_shared<int>(1);
    EXPECT_FALSE((*kept)(value));
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_TRUE(SuspendFor<int>(hours(1), [](const auto& resume) { resume(1); }).ok());
    EXPECT_TRUE(SuspendUntil(std::chrono::steady_clock::now(), [](const auto& resume) { resume(); }).ok())
        << "what is there already is taken";
  });
}

TEST_P(SuspendFiberTest, CancellingTheFiberEndsTheWait) {
  const CancelSource source = Context().WithCancel();
  std::optional<Resume<int>> kept;
  std::atomic<int> suspended{0};
  const Fiber fiber = scheduler().Spawn(
      [&] {
        const auto start = [&](const Resume<int>& resume) {
          kept = resume;
          ++suspended;
        };
        EXPECT_THROW(Suspend<int>(start), WaitCancelled);
        const absl::Status status = SuspendFor<int>(hours(1), start).status();
        EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
        EXPECT_NE(status.message().find("client gone"), absl::string_view::npos) << status;
      },
      {.context = source.context()});
  while (suspended == 0) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  source.Cancel(absl::AbortedError("client gone"));
  fiber.Join();
  EXPECT_EQ(suspended, 2);
  EXPECT_FALSE((*kept)(1));
}

TEST_P(SuspendFiberTest, ExceptionsOfTheCallbackAndOfTheStartReachTheCaller) {
  RunInFiber([] {
    EXPECT_THROW(Suspend<int>([](const auto& resume) {
                   resume.Fail(std::make_exception_ptr(std::out_of_range("callback")));
                 }),
                 std::out_of_range);
    EXPECT_THROW(SuspendFor<int>(hours(1), [](const Resume<int>&) { throw std::runtime_error("start"); }), std::runtime_error);
    struct ThrowsWhenMade {
      explicit ThrowsWhenMade(int) { throw std::length_error("value"); }
    };
    EXPECT_THROW(Suspend<ThrowsWhenMade>([](const auto& resume) { resume(1); }), std::length_error);
  });
}

TEST_P(SuspendFiberTest, ACallbackThatWasDroppedEndsTheWait) {
  RunInFiber([] {
    EXPECT_THROW(Suspend<int>([](const Resume<int>&) {}), std::future_error);
    const absl::Status status = SuspendFor(hours(1), [](Resume<> resume) {
      Spawn([resume] { this_fiber::Yield(); });  // ends, and its copy with it
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  });
}

TEST_P(SuspendFiberTest, TheStartMayWaitItself) {
  RunInFiber([] {
    EXPECT_EQ(Suspend<int>([](const Resume<int>& outer) {
                this_fiber::SleepFor(microseconds(10));
                outer(Suspend<int>([](const Resume<int>& inner) { inner(3); }) + 1);
              }),
              4);
  });
}

TEST_P(SuspendFiberTest, PlainThreadsSuspendToo) {
  Scheduler& on = scheduler();
  EXPECT_EQ(Suspend<int>([&](Resume<int> resume) { on.Spawn([resume] { resume(11); }); }), 11);
  EXPECT_EQ(SuspendFor(microseconds(200), [](Resume<> resume) { static std::optional<Resume<>> kept; kept = resume; }).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_P(SuspendFiberTest, StopUnwindsASuspendedFiberAndALateResumeFindsNobody) {
  std::optional<Resume<int>> kept;
  std::atomic<bool> ready{false};
  bool unwound = false;
  const Fiber fiber = scheduler().Spawn([&] {
    struct Guard {
      bool& flag;
      ~Guard() { flag = true; }
    } guard{unwound};
    Suspend<int>([&](const Resume<int>& resume) {
      kept = resume;
      ready = true;
    });
    ADD_FAILURE() << "returned";
  });
  while (!ready) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_TRUE(unwound);
  EXPECT_FALSE((*kept)(1));
}

// Goal: each wait ends exactly once, and a value is delivered if and only if the resume said so. Method: two plain threads resume
// while deadlines pass and a context is cancelled; both sides count.
TEST_P(SuspendFiberTest, StressOfResumeAgainstDeadlineAndCancellation) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  constexpr int kRounds = 1500;
  std::mutex mutex;
  std::vector<Resume<int>> pending;  // GUARDED_BY(mutex)
  std::atomic<bool> finished{false};
  std::atomic<int> accepted{0};
  std::atomic<int> received{0};
  std::vector<std::thread> resumers;
  for (int t = 0; t < 2; ++t) {
    resumers.emplace_back([&] {
      while (!finished) {
        std::vector<Resume<int>> batch;
        {
          const std::lock_guard lock(mutex);
          batch = pending;  // both threads may have the same ones
          if (pending.size() > 4) pending.clear();
        }
        for (const Resume<int>& resume : batch) accepted += resume(1) ? 1 : 0;
        sched_yield();
      }
    });
  }
  std::vector<Fiber> fibers;
  for (int f = 0; f < 4; ++f) {
    fibers.push_back(scheduler().Spawn([&, f] {
      std::minstd_rand random(seed + static_cast<uint32_t>(f));
      for (int i = 0; i < kRounds / 4; ++i) {
        const ContextScope scope(Context().WithTimeout(microseconds(random() % 200)));
        const auto result = SuspendFor<int>(microseconds(random() % 200), [&](const Resume<int>& resume) {
          const std::lock_guard lock(mutex);
          pending.push_back(resume);
        });
        if (result.ok()) received += *result;
      }
    }));
  }
  for (const Fiber& fiber : fibers) fiber.Join();
  finished = true;
  for (std::thread& thread : resumers) thread.join();
  EXPECT_EQ(received, accepted);
}

INSTANTIATE_TEST_SUITE_P(Processors, SuspendFiberTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
