// Who holds a lock, in a word: a fiber or a plain thread.
//
//     fiber     bits 63..1: its id, never used again
//     thread    bit 63, then 31 bits of a number that tells this thread from others that had its id before it, then 31 bits
//               of the kernel's thread id
//     bit 0     free for the lock's own use; 0 in what is returned here
//
// Thread-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_SYNC_LOCK_OWNER_H_
#define FIBERSCOPE_RUNTIME_SYNC_LOCK_OWNER_H_

#include <cstdint>
#include <string>

#include "runtime/fiber_id.h"
#include "runtime/park.h"
#include "runtime/waiter.h"

namespace fiberscope {

// The holder of a lock at some moment; nobody's by default.
class LockOwner {
 public:
  constexpr LockOwner() = default;
  constexpr explicit LockOwner(uint64_t word) : word_(word & ~uint64_t{1}) {}

  // No fiber (id 0) when nobody or a thread holds it.
  constexpr FiberId fiber() const { return {is_thread() ? 0 : word_ >> 1}; }
  // The kernel's id; 0 when nobody or a fiber holds it.
  constexpr int thread() const { return is_thread() ? static_cast<int>(word_ >> 1 & 0x7fff'ffff) : 0; }
  constexpr bool nobody() const { return word_ == 0; }
  constexpr uint64_t word() const { return word_; }

  // "fiber 12", "thread 4711", "nobody".
  std::string ToString() const;

  bool operator==(const LockOwner&) const = default;

 private:
  constexpr bool is_thread() const { return word_ >> 63 != 0; }

  uint64_t word_ = 0;
};

namespace internal {

uint64_t ThreadOwnerWord();

// The caller, as an owner.
inline uint64_t SelfOwnerWord() {
  const ControlBlock* const self = CurrentFiber();
  return __builtin_expect(self != nullptr, true) ? self->fiber_id().value << 1 : ThreadOwnerWord();
}

// A waiter that becomes the owner.
uint64_t OwnerWordOf(WaitRecord& record);

// Whether the calling fiber is being ended by a stopping scheduler: then waits for locks may have ended without the lock.
bool IsUnwinding();

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_LOCK_OWNER_H_
