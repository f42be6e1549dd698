// Identity of a fiber within the process.
#ifndef FIBERSCOPE_RUNTIME_FIBER_ID_H_
#define FIBERSCOPE_RUNTIME_FIBER_ID_H_

#include <compare>
#include <cstdint>

namespace fiberscope {

// Unique for the life of the process, never used again, roughly in order of creation. 0 is "no fiber".
struct FiberId {
  uint64_t value = 0;

  explicit operator bool() const { return value != 0; }
  auto operator<=>(const FiberId&) const = default;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FIBER_ID_H_
