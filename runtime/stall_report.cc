#include "runtime/stall_report.h"

#include "absl/debugging/symbolize.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fiberscope {
namespace {

std::string Describe(uintptr_t pc) {
  char name[512];
  const bool known = absl::Symbolize(reinterpret_cast<void*>(pc), name, sizeof(name));
  return absl::StrFormat("%s (0x%x)", known ? name : "unknown", pc);
}

}  // namespace

std::string FormatStall(const StallReport& report) {
  std::string text = absl::StrFormat("fiber %d", report.fiber.value);
  if (!report.name.empty()) absl::StrAppend(&text, " \"", absl::CHexEscape(report.name), "\"");
  absl::StrAppendFormat(&text, " has not let go of thread %d for %d ms: ", report.thread_id,
                        std::chrono::duration_cast<std::chrono::milliseconds>(report.duration).count());
  absl::StrAppend(&text, report.kind == StallReport::Kind::kBlocked ? "blocked in the kernel outside Blocking()"
                                                                     : "computing without a yield");
  if (report.entry_pc != 0) absl::StrAppend(&text, "; entry ", Describe(report.entry_pc));
  // A return address: the call is before it.
  if (report.creator_pc != 0) absl::StrAppend(&text, "; created at ", Describe(report.creator_pc - 1));
  if (report.parent) absl::StrAppend(&text, " in fiber ", report.parent.value);
  if (report.suppressed != 0) absl::StrAppend(&text, "; ", report.suppressed, " more not reported");
  absl::StrAppend(&text, "\n");
  for (size_t i = 0; i < report.stack.size(); ++i) {
    absl::StrAppend(&text, "    ", Describe(report.stack[i] - (i == 0 ? 0 : 1)), "\n");
  }
  return text;
}

}  // namespace fiberscope
