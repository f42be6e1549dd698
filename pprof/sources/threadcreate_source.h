// The threadcreate profile over any record of threads made; threadcreate.h binds it to the process's own.
#ifndef FIBERSCOPE_PPROF_SOURCES_THREADCREATE_SOURCE_H_
#define FIBERSCOPE_PPROF_SOURCES_THREADCREATE_SOURCE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "pprof/mappings.h"
#include "pprof/profile_source.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"
#include "runtime/thread_creation.h"

namespace fiberscope::pprof {

// Where a ThreadCreateSource gets what it shows. All are called from several threads at once.
struct ThreadCreateInputs {
  std::function<ThreadCreationSnapshot()> read;
  std::function<int64_t()> thread_count;
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// A count profile; the total is the number of threads ever made. Those whose creator is not known are a sample without a stack
// (debug=1: 0x0), and a comment of the profile (debug=0), or a last line "# ..." (debug=1), says how many they are.
//
// Every form waits up to 2 s, once, for file names and lines; after that it goes on with function names alone.
class ThreadCreateSource : public ProfileSource {
 public:
  // `symbolizer` must outlive the source.
  ThreadCreateSource(Symbolizer& symbolizer, ThreadCreateInputs inputs);

  std::string_view name() const override;
  std::string_view description() const override;
  int64_t Count() const override;
  bool has_delta() const override { return true; }
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;

 private:
  std::vector<StackGroup> Group(const ThreadCreationSnapshot& snapshot) const;

  Symbolizer& symbolizer_;
  const ThreadCreateInputs inputs_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_THREADCREATE_SOURCE_H_
