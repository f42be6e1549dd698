#include "pprof/encode/contention_text.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/aligned_frames.h"
#include "pprof/encode/text_frames.h"

namespace fiberscope::pprof {
namespace {

constexpr char kRate[] = "cycles/second=1000000000\n";

std::string SampleLine(const ContentionGroup& group) {
  std::string line = absl::StrCat(group.delay_ns, " ", group.count);
  AppendAddresses(line, group.stack);
  return line += '\n';
}

}  // namespace

absl::Status WriteContentionText(const ContentionHead& head, std::span<const ContentionGroup> groups, Symbolizer& symbolizer,
                                 ByteSink& sink) {
  std::string text = absl::StrFormat("--- %s:\n%s", std::string(head.title), kRate);
  if (head.sampling_period) absl::StrAppend(&text, "sampling period=", *head.sampling_period, "\n");
  if (absl::Status status = sink.Write(text); !status.ok()) return status;
  TextFrames frames(symbolizer);
  for (const ContentionGroup& group : groups) {
    text = SampleLine(group);
    AppendAlignedFrames(text, frames.AllLines(group.stack));
    text += '\n';
    if (absl::Status status = sink.Write(text); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteLegacyContention(std::span<const ContentionGroup> groups, std::string_view maps, ByteSink& sink) {
  if (absl::Status status = sink.Write(absl::StrCat("--- contention:\n", kRate, "sampling period=1\n")); !status.ok()) {
    return status;
  }
  for (const ContentionGroup& group : groups) {
    if (absl::Status status = sink.Write(SampleLine(group)); !status.ok()) return status;
  }
  if (absl::Status status = sink.Write("\nMAPPED_LIBRARIES:\n"); !status.ok()) return status;
  return sink.Write(maps);
}

}  // namespace fiberscope::pprof
