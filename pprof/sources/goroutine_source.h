// The goroutine profile over any listing of fibers; goroutine.h binds it to the process's own.
#ifndef FIBERSCOPE_PPROF_SOURCES_GOROUTINE_SOURCE_H_
#define FIBERSCOPE_PPROF_SOURCES_GOROUTINE_SOURCE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "pprof/fiber_enumerator.h"
#include "pprof/fiber_filter.h"
#include "pprof/fiber_groups.h"
#include "pprof/fiber_page.h"
#include "pprof/fiber_profile_source.h"
#include "pprof/mappings.h"
#include "pprof/profile_builder.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/registry.h"

namespace fiberscope::pprof {

// Where a GoroutineSource gets what it shows. All are called from several threads at once.
struct GoroutineInputs {
  FiberEnumerator for_each_fiber;
  std::function<int64_t()> fiber_count;
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// debug=0 and 1: fibers grouped by exactly equal stacks and labels; of a stack the 128 innermost addresses count, as in
// Go since 1.23. A fiber of which there is no stack, because it has not run yet, or runs and its thread did not answer,
// counts at its entry function. Memory grows with the distinct stacks.
//
// All as of one instant, those that run too; where that was not to be had, a comment of the profile (debug=0) or a last line "# not
// one instant: ..." (debug=1) says why.
//
// debug=2: every fiber in the order of the listing, one at a time, each of its own moment, never cut. A page: collected in one
// listing, then written. Running fibers have stacks as of the beginning.
//
// A filter is applied while fibers are being listed, so that those it leaves out are neither grouped nor copied nor written, and
// their stacks are walked only to look for a function. All forms choose the same fibers, also by function, for which the whole
// stack counts. Without a filter nothing is tested.
//
// Tags (debug=0 only) split groups: with `wait` or `id` memory and profile grow with the number of fibers.
//
// Every form waits up to 2 s, once, for file names and lines; after that it goes on with function names alone.
class GoroutineSource : public FiberProfileSource {
 public:
  // `symbolizer` must outlive the source.
  GoroutineSource(Symbolizer& symbolizer, GoroutineInputs inputs);

  std::string_view name() const override;
  std::string_view description() const override;
  int64_t Count() const override;
  bool has_delta() const override { return true; }
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;
  absl::StatusOr<Profile> Collect(const FiberFilter& filter, const FiberTags& tags) override;
  absl::Status WriteText(const FiberFilter& filter, int debug, ByteSink& sink) override;
  FiberPage CollectPage(const FiberFilter& filter, const FiberPageOptions& options) override;
  absl::Status WritePage(const FiberPage& page, ByteSink& sink) override;

 private:
  enum class Moments { kOne, kOneEach };
  FiberListing ForEach(const FiberFilter& filter, Moments moments, absl::FunctionRef<bool(const FiberSnapshot&)> visit) const;
  FiberListing Group(const FiberFilter& filter, FiberGroups& groups) const;
  std::vector<StackGroup> StacksAsShown(const FiberGroups& groups) const;
  void AddTaggedSamples(const FiberGroups& groups, ProfileBuilder& builder) const;
  absl::Status WriteDump(const FiberFilter& filter, ByteSink& sink) const;

  Symbolizer& symbolizer_;
  const GoroutineInputs inputs_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_GOROUTINE_SOURCE_H_
