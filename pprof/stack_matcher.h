// Which stacks have a function whose name matches a pattern.
#ifndef FIBERSCOPE_PPROF_STACK_MATCHER_H_
#define FIBERSCOPE_PPROF_STACK_MATCHER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "pprof/function_pattern.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// For the length of one listing. Looks at what profiles show of a fiber (UserStack and UserFrames of machinery.h), inlined calls
// included.
//
// Thread-compatible. Blocks the thread while the symbolizer works. Memory grows with the distinct addresses and function names.
// Cost: the pattern is tried once per distinct name; one hash look-up per known address.
class StackMatcher {
 public:
  // `symbolizer` must outlive this object.
  StackMatcher(FunctionPattern pattern, Symbolizer& symbolizer) : pattern_(std::move(pattern)), symbolizer_(symbolizer) {}

  // `stack`: return addresses. `entry_pc`: the fiber's function, which counts when there is nothing else to show.
  bool Matches(std::span<const uintptr_t> stack, uintptr_t entry_pc);

  // How often the pattern was tried.
  size_t tried() const { return tried_; }

 private:
  struct Location {
    bool matches = false;
    bool root = false;  // nothing but root machinery: not shown at the outer end
  };

  Location Lookup(uintptr_t return_address);
  bool NameMatches(const std::string& function);

  const FunctionPattern pattern_;
  Symbolizer& symbolizer_;
  absl::flat_hash_map<uintptr_t, Location> locations_;
  absl::flat_hash_map<std::string, bool> names_;
  size_t tried_ = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_STACK_MATCHER_H_
