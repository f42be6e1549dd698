// A profile of fibers, of which a request may choose some.
#ifndef FIBERSCOPE_PPROF_FIBER_PROFILE_SOURCE_H_
#define FIBERSCOPE_PPROF_FIBER_PROFILE_SOURCE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/byte_sink.h"
#include "pprof/fiber_filter.h"
#include "pprof/fiber_groups.h"
#include "pprof/fiber_page.h"
#include "pprof/profile.h"
#include "pprof/profile_source.h"

namespace fiberscope::pprof {

// The forms of ProfileSource, of the fibers that pass a filter. Thread-safe and blocking like it.
class FiberProfileSource : public ProfileSource {
 public:
  FiberProfileSource* fibers() final { return this; }

  using ProfileSource::Collect;
  using ProfileSource::WriteText;
  // `tags`: what else tells samples apart, as labels of theirs.
  virtual absl::StatusOr<Profile> Collect(const FiberFilter& filter, const FiberTags& tags) = 0;
  virtual absl::Status WriteText(const FiberFilter& filter, int debug, ByteSink& sink) = 0;

  // One page of debug=2; the second writes what the first collected. Returns the sink's error.
  virtual FiberPage CollectPage(const FiberFilter& filter, const FiberPageOptions& options) = 0;
  virtual absl::Status WritePage(const FiberPage& page, ByteSink& sink) = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FIBER_PROFILE_SOURCE_H_
