#include "runtime/fiber.h"

#include "runtime/base/check.h"
#include "runtime/control_block.h"
#include "runtime/park.h"

namespace fiberscope {

void Fiber::Join() const {
  if (block_ == nullptr) return;
  internal::ControlBlock* const self = internal::CurrentFiber();
  FIBERSCOPE_CHECK(self == nullptr || self->fiber_id() != id_, "fiber %d joins itself", id_.value);
  block_->join_lock.lock();
  // The id is taken away under this lock when the fiber has finished.
  if (block_->fiber_id() != id_) {
    block_->join_lock.unlock();
    return;
  }
  const internal::ParkInfo info{.reason = WaitReason::kJoin, .object_id = 0, .owner_id = id_.value};
  internal::ThrowInterrupted(internal::WaitIn(block_->joiners, block_->join_lock, info, nullptr));
}

FiberState Fiber::state() const {
  if (block_ == nullptr) return FiberState::kDead;
  const StateWord word = block_->state.Load();
  // The id is stored before the word leaves kDead and taken away before it returns there.
  return block_->id.load(std::memory_order_acquire) == id_.value ? word.state() : FiberState::kDead;
}

}  // namespace fiberscope
