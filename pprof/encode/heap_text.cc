#include "pprof/encode/heap_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/aligned_frames.h"
#include "pprof/encode/text_frames.h"

namespace fiberscope::pprof {
namespace {

HeapTextGroup Total(std::span<const HeapTextGroup> groups) {
  HeapTextGroup total;
  for (const HeapTextGroup& group : groups) {
    total.inuse_count += group.inuse_count;
    total.inuse_bytes += group.inuse_bytes;
    total.allocated_count += group.allocated_count;
    total.allocated_bytes += group.allocated_bytes;
  }
  return total;
}

std::string Numbers(const HeapTextGroup& group) {
  return absl::StrFormat("%d: %d [%d: %d]", group.inuse_count, group.inuse_bytes, group.allocated_count, group.allocated_bytes);
}

}  // namespace

absl::Status WriteHeapText(std::vector<HeapTextGroup> groups, int64_t rate,
                           std::span<const std::pair<std::string, std::string>> stats, Symbolizer& symbolizer, ByteSink& sink) {
  std::ranges::stable_sort(groups, {}, &HeapTextGroup::inuse_bytes);
  HeapTextGroup total = Total(groups);
  // Readers take equal totals for a profile of two columns.
  if (total.inuse_bytes == total.allocated_bytes) ++total.allocated_bytes;
  // Twice the rate: that is what readers of this format halve.
  if (absl::Status status = sink.Write(absl::StrFormat("heap profile: %s @ heap/%d\n", Numbers(total), 2 * rate)); !status.ok()) {
    return status;
  }
  TextFrames frames(symbolizer);
  for (const HeapTextGroup& group : groups) {
    std::string text = Numbers(group);
    AppendAddresses(text, group.stack);
    text += '\n';
    AppendAlignedFrames(text, frames.VisibleLines(group.stack));
    text += '\n';
    if (absl::Status status = sink.Write(text); !status.ok()) return status;
  }
  std::string text = "\n# runtime.MemStats\n";
  for (const auto& [name, value] : stats) absl::StrAppend(&text, "# ", name, " = ", value, "\n");
  return sink.Write(text);
}

absl::Status WriteLegacyHeap(std::span<const HeapTextGroup> groups, std::string_view kind, std::string_view maps, ByteSink& sink) {
  if (absl::Status status = sink.Write(absl::StrFormat("heap profile: %s @ %s\n", Numbers(Total(groups)), std::string(kind)));
      !status.ok()) {
    return status;
  }
  for (const HeapTextGroup& group : groups) {
    std::string text = Numbers(group);
    AppendAddresses(text, group.stack);
    text += '\n';
    if (absl::Status status = sink.Write(text); !status.ok()) return status;
  }
  if (absl::Status status = sink.Write("\nMAPPED_LIBRARIES:\n"); !status.ok()) return status;
  return sink.Write(maps);
}

}  // namespace fiberscope::pprof
