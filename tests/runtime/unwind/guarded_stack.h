// Stack memory between two pages that cannot be accessed: reading a byte too far ends the test.
#ifndef FIBERSCOPE_TESTS_RUNTIME_UNWIND_GUARDED_STACK_H_
#define FIBERSCOPE_TESTS_RUNTIME_UNWIND_GUARDED_STACK_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/base/check.h"
#include "runtime/stack/stack_bounds.h"

namespace fiberscope::testing {

class GuardedStack {
 public:
  // At least `bytes`, in whole pages.
  explicit GuardedStack(size_t bytes)
      : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))), bytes_((bytes + page_ - 1) / page_ * page_) {
    base_ = static_cast<char*>(
        mmap(nullptr, bytes_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, /*fd=*/-1, /*offset=*/0));
    FIBERSCOPE_CHECK(base_ != MAP_FAILED, "mmap of %d bytes failed", bytes_);
    FIBERSCOPE_CHECK(mprotect(base_ + page_, bytes_, PROT_READ | PROT_WRITE) == 0, "mprotect failed");
  }
  ~GuardedStack() { munmap(base_, bytes_ + 2 * page_); }
  GuardedStack(const GuardedStack&) = delete;
  GuardedStack& operator=(const GuardedStack&) = delete;

  StackBounds bounds() const {
    const auto low = reinterpret_cast<uintptr_t>(base_ + page_);
    return {low, low + bytes_};
  }
  std::span<uintptr_t> words() const {
    return {reinterpret_cast<uintptr_t*>(base_ + page_), bytes_ / sizeof(uintptr_t)};
  }

 private:
  size_t page_;
  size_t bytes_;
  char* base_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_UNWIND_GUARDED_STACK_H_
