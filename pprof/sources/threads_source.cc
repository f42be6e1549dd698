#include "pprof/sources/threads_source.h"

#include <string>
#include <utility>

#include "pprof/count_profile.h"
#include "pprof/encode/legacy_text.h"
#include "pprof/encode/thread_text.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kName = "threads";
constexpr std::chrono::seconds kWaitForLines{2};

// Sorted by key.
std::vector<Label> LabelsOf(const ThreadSnapshot& thread) {
  std::vector<Label> labels;
  const std::string_view reason = MissingStackReason(thread.outcome);
  if (!reason.empty()) labels.push_back({"no_stack", std::string(reason)});
  labels.push_back({"state", std::string(ThreadState(thread.state))});
  labels.push_back({"thread", thread.name});
  return labels;
}

}  // namespace

ThreadsSource::ThreadsSource(Symbolizer& symbolizer, ThreadsInputs inputs) : symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

std::string_view ThreadsSource::name() const { return kName; }

std::string_view ThreadsSource::description() const {
  return "Stack traces of all threads of the process, those that run no fibers included. Use debug=2 as a query parameter to list "
         "each by itself.";
}

int64_t ThreadsSource::Count() const { return inputs_.thread_count(); }

absl::StatusOr<Profile> ThreadsSource::Collect() {
  symbolizer_.WaitForLines(kWaitForLines);
  const auto time = inputs_.now();
  return MakeCountProfile(kName, GroupThreads(), time, symbolizer_, inputs_.mappings());
}

absl::Status ThreadsSource::WriteText(int debug, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  if (debug == 1) return WriteCountProfile(kName, GroupThreads(), symbolizer_, sink, {.machinery = true});
  ThreadTextEncoder encoder(symbolizer_, sink);
  for (const ThreadSnapshot& thread : inputs_.capture_threads()) {
    if (absl::Status status = encoder.Write(thread); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::vector<StackGroup> ThreadsSource::GroupThreads() const {
  StackGroups groups;
  for (const ThreadSnapshot& thread : inputs_.capture_threads()) groups.Add(thread.stack, LabelsOf(thread));
  return std::move(groups).Take();
}

}  // namespace fiberscope::pprof
