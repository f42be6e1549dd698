#include "pprof/sources/threadcreate_source.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/count_profile.h"
#include "pprof/encode/legacy_text.h"
#include "pprof/machinery.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kName = "threadcreate";
constexpr std::chrono::seconds kWaitForLines{2};

std::string Reservation(const ThreadCreationSnapshot& snapshot) {
  return absl::StrFormat("the main thread and others that were not seen being created, without a stack: %d", snapshot.unknown);
}

}  // namespace

ThreadCreateSource::ThreadCreateSource(Symbolizer& symbolizer, ThreadCreateInputs inputs)
    : symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

std::string_view ThreadCreateSource::name() const { return kName; }

std::string_view ThreadCreateSource::description() const { return "Stack traces that led to the creation of new OS threads"; }

int64_t ThreadCreateSource::Count() const { return inputs_.thread_count(); }

absl::StatusOr<Profile> ThreadCreateSource::Collect() {
  symbolizer_.WaitForLines(kWaitForLines);
  const auto time = inputs_.now();
  const ThreadCreationSnapshot snapshot = inputs_.read();
  std::vector<std::string> comments;
  if (snapshot.unknown != 0) comments.push_back(Reservation(snapshot));
  return MakeCountProfile(kName, Group(snapshot), time, symbolizer_, inputs_.mappings(), comments);
}

absl::Status ThreadCreateSource::WriteText(int /*debug*/, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  const ThreadCreationSnapshot snapshot = inputs_.read();
  absl::Status status = WriteCountProfile(kName, Group(snapshot), symbolizer_, sink);
  if (status.ok() && snapshot.unknown != 0) status = sink.Write(absl::StrCat("# ", Reservation(snapshot), "\n"));
  return status;
}

// Stacks that differ in what is not shown become one.
std::vector<StackGroup> ThreadCreateSource::Group(const ThreadCreationSnapshot& snapshot) const {
  StackGroups groups;
  for (const ThreadCreationRecord& record : snapshot.records) {
    groups.Add(UserStack(record.stack, 0, symbolizer_), {}, record.count);
  }
  if (snapshot.unknown != 0) groups.Add({}, {}, snapshot.unknown);
  return std::move(groups).Take();
}

}  // namespace fiberscope::pprof
