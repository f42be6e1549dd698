// Some fibers in the order of their ids: one page of a long list.
#ifndef FIBERSCOPE_PPROF_FIBER_PAGE_H_
#define FIBERSCOPE_PPROF_FIBER_PAGE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/fiber_id.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/labels.h"

namespace fiberscope::pprof {

struct FiberPageOptions {
  FiberId after = {};  // only fibers with greater ids; none: from the first
  size_t limit = 1;    // at most so many fibers; at least 1
  // At most so much memory for their stacks, names and labels, but for one fiber that takes more by itself: then the page has
  // fewer fibers. 10,000 stacks 100 deep take 8 MiB.
  size_t max_bytes = 32 << 20;
};

// Is offered fibers in any order and keeps copies of the first ones after `after`. Asked for page after page, each after the
// last one's next_after(), every fiber that lives all the while is on exactly one of them.
//
// Thread-compatible. Memory as the options say, not as many as are offered. Cost: O(log limit) per fiber kept, a comparison per
// fiber that is not.
class FiberPage {
 public:
  explicit FiberPage(const FiberPageOptions& options) : options_(options) {}

  void Offer(const FiberSnapshot& fiber);

  // The last fiber of this page, when there are more after it.
  std::optional<FiberId> next_after() const;

  // Calls `visit` for the fibers in the order of their ids until it returns false.
  void ForEach(absl::FunctionRef<bool(const FiberSnapshot&)> visit) const;

 private:
  // A snapshot that owns what it shows.
  struct Copy {
    explicit Copy(const FiberSnapshot& fiber);
    FiberSnapshot View() const;
    size_t bytes() const;

    FiberSnapshot snapshot;
    std::string name;
    std::vector<Label> labels;
    std::vector<uintptr_t> stack;
  };

  void DropLast();

  const FiberPageOptions options_;
  std::map<FiberId, Copy> fibers_;  // all that were offered from options_.after up to end_
  size_t bytes_ = 0;
  FiberId end_{std::numeric_limits<uint64_t>::max()};  // of the fibers that did not fit, the first
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FIBER_PAGE_H_
