#include "runtime/running_fibers.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

#include "runtime/control_block.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::RunningFiber;

struct FiberThread {
  int thread_id;
  const RunningFiber* running;
  StackBounds own_stack;
};

// Never destroyed: threads may end after static objects do.
struct FiberThreads {
  std::mutex mutex;
  std::vector<FiberThread> threads;  // guarded by mutex
};

FiberThreads& AllThreads() {
  static FiberThreads* const threads = new FiberThreads;
  return *threads;
}

// The control block may be another fiber's by now, or nobody's: then the capture says so.
ControlBlock* RunsNow(const FiberThread& thread) {
  ControlBlock* const fiber = thread.running->fiber.load(std::memory_order_acquire);
  return fiber != nullptr && fiber->state.Load().running() ? fiber : nullptr;
}

std::vector<RunningThread> ThreadsThatRunFibers() {
  std::vector<RunningThread> result;
  FiberThreads& all = AllThreads();
  const std::lock_guard lock(all.mutex);
  for (const FiberThread& thread : all.threads) {
    ControlBlock* const runs = RunsNow(thread);
    if (runs != nullptr) result.push_back({.thread_id = thread.thread_id, .own_stack = thread.own_stack, .runs = runs});
  }
  return result;
}

}  // namespace

std::vector<RunningStack> CaptureRunningFibers(const CaptureOptions& options) {
  std::vector<RunningStack> stacks = CaptureRunningStacks(ThreadsThatRunFibers(), options);
  // The thread may have let go of its fiber before the signal came, or the fiber have begun to block.
  std::erase_if(stacks, [](const RunningStack& stack) {
    return stack.outcome != RunningStack::Outcome::kCaptured || !stack.fiber || !stack.word.running() ||
           stack.pcs.empty();
  });
  return stacks;
}

namespace internal {

void AddFiberThread(const RunningFiber& running, StackBounds own_stack) {
  FiberThreads& all = AllThreads();
  const std::lock_guard lock(all.mutex);
  all.threads.push_back({static_cast<int>(syscall(SYS_gettid)), &running, own_stack});
}

void RemoveFiberThread(const RunningFiber& running) {
  FiberThreads& all = AllThreads();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.threads, [&running](const FiberThread& thread) { return thread.running == &running; });
}

void ForEachFiberThread(absl::FunctionRef<void(const RunningFiber&)> visit) {
  FiberThreads& all = AllThreads();
  const std::lock_guard lock(all.mutex);
  for (const FiberThread& thread : all.threads) visit(*thread.running);
}

}  // namespace internal
}  // namespace fiberscope
