// The threads profile over any listing of threads; threads.h binds it to the process's own.
#ifndef FIBERSCOPE_PPROF_SOURCES_THREADS_SOURCE_H_
#define FIBERSCOPE_PPROF_SOURCES_THREADS_SOURCE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "pprof/mappings.h"
#include "pprof/profile_source.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"
#include "runtime/process_threads.h"

namespace fiberscope::pprof {

// Where a ThreadsSource gets what it shows. All are called from several threads at once.
struct ThreadsInputs {
  std::function<std::vector<ThreadSnapshot>()> capture_threads;
  std::function<int64_t()> thread_count;
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// debug=0 and 1: threads grouped by exactly equal stacks and labels. The labels are "thread", the name; "state"; and, where there
// is no stack, "no_stack", the reason. debug=2: every thread, in the order of their ids (encode/thread_text.h).
//
// Every form captures all stacks first, then names them: the stacks are a few milliseconds apart, whatever the reader's speed. It
// waits up to 2 s, once, for file names and lines; after that it goes on with function names alone.
class ThreadsSource : public ProfileSource {
 public:
  // `symbolizer` must outlive the source.
  ThreadsSource(Symbolizer& symbolizer, ThreadsInputs inputs);

  std::string_view name() const override;
  std::string_view description() const override;
  int64_t Count() const override;
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;

 private:
  std::vector<StackGroup> GroupThreads() const;

  Symbolizer& symbolizer_;
  const ThreadsInputs inputs_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_THREADS_SOURCE_H_
