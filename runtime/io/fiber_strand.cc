#include "runtime/io/fiber_strand.h"

#include <atomic>
#include <mutex>

#include "runtime/base/futex_lock.h"
#include "runtime/context.h"
#include "runtime/fiber_id.h"
#include "runtime/spawn.h"
#include "runtime/this_fiber.h"

namespace fiberscope::internal {

class StrandQueue {
 public:
  explicit StrandQueue(const SchedulerExecutor& executor) : executor_(executor) {}
  ~StrandQueue() { Discard(); }

  bool runs_here() const { return runner_.load(std::memory_order_relaxed) == this_fiber::id().value && this_fiber::id(); }

  // True: the caller must see to it that Run() runs.
  bool Push(std::unique_ptr<StrandFunction> function) {
    std::lock_guard guard(lock_);
    (last_ != nullptr ? last_->next : first_) = function.get();
    last_ = function.release();
    return !std::exchange(running_, true);
  }

  void Run() {
    runner_.store(this_fiber::id().value, std::memory_order_relaxed);
    while (const std::unique_ptr<StrandFunction> function = Pop()) function->Call();
  }

  // Nobody will run them: the scheduler has stopped.
  void Discard() {
    while (Pop() != nullptr) {
    }
  }

  const SchedulerExecutor& executor() const { return executor_; }

 private:
  std::unique_ptr<StrandFunction> Pop() {
    std::lock_guard guard(lock_);
    StrandFunction* const function = first_;
    if (function == nullptr) {
      running_ = false;
      runner_.store(0, std::memory_order_relaxed);
      return nullptr;
    }
    first_ = function->next;
    if (first_ == nullptr) last_ = nullptr;
    return std::unique_ptr<StrandFunction>(function);
  }

  const SchedulerExecutor executor_;
  // The id of the fiber that runs the functions. A fiber that reads its own id here has written it.
  std::atomic<uint64_t> runner_{0};
  FutexLock lock_;
  StrandFunction* first_ = nullptr;  // GUARDED_BY(lock_), as the next two
  StrandFunction* last_ = nullptr;
  bool running_ = false;
};

std::shared_ptr<StrandQueue> NewStrandQueue(const SchedulerExecutor& executor) {
  return std::make_shared<StrandQueue>(executor);
}

bool RunsInStrand(const StrandQueue& queue) { return queue.runs_here(); }

void GiveToStrand(const std::shared_ptr<StrandQueue>& queue, std::unique_ptr<StrandFunction> function) {
  if (!queue->Push(std::move(function))) return;
  const Context background;
  const absl::StatusOr<Fiber> fiber = SpawnFunction(queue->executor().core(), [queue] { queue->Run(); },
                                                    {.name = "strand", .context = &background});
  if (fiber.ok()) return;
  queue->Discard();
  if (fiber.status().code() != absl::StatusCode::kFailedPrecondition) ThrowSpawnError(fiber.status());
}

}  // namespace fiberscope::internal
