// A contention profile over any record of waits; contention.h binds it to the runtime's own.
#ifndef FIBERSCOPE_PPROF_SOURCES_CONTENTION_SOURCE_H_
#define FIBERSCOPE_PPROF_SOURCES_CONTENTION_SOURCE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "pprof/encode/contention_text.h"
#include "pprof/mappings.h"
#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"
#include "runtime/contention.h"

namespace fiberscope::pprof {

// Where a ContentionSource gets what it shows. All are called from several threads at once.
struct ContentionInputs {
  std::function<ContentionSnapshot()> read;
  std::function<int64_t()> stack_count;
  std::function<int64_t()> sampling_period;  // of mutex: one in so many
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// Groups by stack, the longest delay first; of equal ones, the one that appeared first. A stack begins with the primitive's
// outermost function, "fiberscope::Mutex::LockSlow": what it calls itself is left out, and so is what lies below the fiber's own
// function. Comments of the profile (debug=0), or last lines "# ..." (debug=1), say what is not as one would expect: events that
// were thinned out, or lost.
//
// Every form waits up to 2 s, once, for file names and lines; after that it goes on with function names alone.
class ContentionSource : public ProfileSource {
 public:
  // `symbolizer` must outlive the source.
  ContentionSource(Contention kind, Symbolizer& symbolizer, ContentionInputs inputs);

  std::string_view name() const override;
  std::string_view description() const override;
  int64_t Count() const override;
  bool has_delta() const override { return true; }
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;

  // For gperftools' pprof. `maps`: /proc/self/maps.
  absl::Status WriteLegacy(std::string_view maps, ByteSink& sink);

 private:
  std::vector<ContentionGroup> Group(const ContentionSnapshot& snapshot) const;

  const Contention kind_;
  Symbolizer& symbolizer_;
  const ContentionInputs inputs_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_CONTENTION_SOURCE_H_
