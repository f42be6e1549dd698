// Functions that a test finds again in the stacks of a profile.
//
//   template <int kNumber>
//   PLACE void At(...) { ...; asm volatile("" ::"i"(kNumber) : "memory"); }   // neither a tail call nor the same as another one
//
//   GoesThrough(stack, &At<7>)
//
// They lie in a section of their own, 512 bytes apart, so that a return address tells which one it is in.
#ifndef FIBERSCOPE_TESTS_TESTING_PLACE_H_
#define FIBERSCOPE_TESTS_TESTING_PLACE_H_

#include <algorithm>
#include <cstdint>
#include <span>

#define PLACE __attribute__((noinline, noipa, aligned(512), section("places")))

namespace fiberscope::testing {

template <typename F>
bool IsIn(uintptr_t return_address, F* place) {
  const auto start = reinterpret_cast<uintptr_t>(place);
  return return_address > start && return_address <= start + 512;
}

template <typename F>
bool GoesThrough(std::span<const uintptr_t> stack, F* place) {
  return std::ranges::any_of(stack, [place](uintptr_t address) { return IsIn(address, place); });
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_PLACE_H_
