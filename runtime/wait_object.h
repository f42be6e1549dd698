// Identity of something fibers wait on: a channel, a mutex, a wait group.
//
// Every synchronisation object embeds one. The id is given at the first wait, so an object that nobody ever waited on
// costs nothing but these bytes; it appears in dumps as "who waits on the same thing".
//
// Thread-compatible: EnsureId() is called under the object's own lock; the rest is set at construction.
#ifndef FIBERSCOPE_RUNTIME_WAIT_OBJECT_H_
#define FIBERSCOPE_RUNTIME_WAIT_OBJECT_H_

#include <atomic>
#include <cstdint>

namespace fiberscope {

enum class WaitObjectKind : uint8_t { kNone, kChannel, kMutex, kWaitGroup, kFiber, kRwMutex, kSemaphore, kCondition, kBarrier };

class WaitObject {
 public:
  // `name` must be a literal or otherwise outlive the object; null: none. `creation_pc` is an address in the code that
  // made the object.
  WaitObject(WaitObjectKind kind, const char* name, uintptr_t creation_pc)
      : creation_pc_(creation_pc), name_(name), kind_(kind) {}
  WaitObject(const WaitObject&) = delete;
  WaitObject& operator=(const WaitObject&) = delete;

  WaitObjectKind kind() const { return kind_; }
  const char* name() const { return name_; }
  uintptr_t creation_pc() const { return creation_pc_; }

  // 0 until somebody waited. Thread-safe.
  uint64_t id() const { return id_.load(std::memory_order_relaxed); }

  uint64_t EnsureId() {
    uint64_t id = id_.load(std::memory_order_relaxed);
    if (id == 0) {
      static std::atomic<uint64_t> last{0};
      id = last.fetch_add(1, std::memory_order_relaxed) + 1;
      id_.store(id, std::memory_order_relaxed);
    }
    return id;
  }

 private:
  std::atomic<uint64_t> id_{0};
  const uintptr_t creation_pc_;
  const char* const name_;
  const WaitObjectKind kind_;
};

// An address inside the calling function, for creation_pc.
__attribute__((always_inline)) inline uintptr_t CurrentPc() {
  uintptr_t pc;
#if defined(__x86_64__)
  asm volatile("leaq 0(%%rip), %0" : "=r"(pc));
#elif defined(__aarch64__)
  asm volatile("adr %0, ." : "=r"(pc));
#endif
  return pc;
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_WAIT_OBJECT_H_
