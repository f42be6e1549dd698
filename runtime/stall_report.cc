#include "runtime/stall_report.h"

#include <string_view>
#include <utility>

#include "absl/debugging/symbolize.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fiberscope {
namespace {

std::string FunctionAt(uintptr_t pc) {
  char name[512];
  return absl::Symbolize(reinterpret_cast<void*>(pc), name, sizeof(name)) ? name : "unknown";
}

std::string Describe(uintptr_t pc) { return absl::StrFormat("%s (0x%x)", FunctionAt(pc), pc); }

// Why there are no frames further out.
const char* MissingFrames(UnwindEnd end) {
  switch (end) {
    case UnwindEnd::kRoot: return "";
    case UnwindEnd::kBufferFull: return "too deep to show all";
    case UnwindEnd::kNoRule: return "no unwind information";
    case UnwindEnd::kBadFrame: return "corrupt";
    case UnwindEnd::kUnknownRegister: return "registers unknown in a system call";
  }
  return "?";
}

// spawn.h: trampoline, FiberMain, RunEntry<F>, and F, which may be inlined into RunEntry<F>.
bool IsRunEntry(std::string_view name) { return name.starts_with("fiberscope::internal::RunEntry<"); }
bool IsBelowRunEntry(std::string_view name) {
  return name == "fiberscope_fiber_entry" ||
         (name.starts_with("fiberscope::internal::") && name.find("FiberMain") != std::string_view::npos);
}

void AppendStack(std::string& text, const StallReport& report) {
  std::vector<std::string> names;
  for (size_t i = 0; i < report.stack.size(); ++i) {
    // A return address, except for the first: the call is before it.
    names.push_back(FunctionAt(report.stack[i] - (i == 0 ? 0 : 1)));
  }
  while (!names.empty() && IsBelowRunEntry(names.back())) names.pop_back();
  if (!names.empty() && IsRunEntry(names.back()) && report.entry_pc != 0) {
    std::string entry = FunctionAt(report.entry_pc);
    if (names.size() > 1 && names[names.size() - 2] == entry) {
      names.pop_back();
    } else {
      names.back() = std::move(entry);
    }
  }
  for (size_t i = 0; i < names.size(); ++i) absl::StrAppendFormat(&text, "    %s (0x%x)\n", names[i], report.stack[i]);
  if (!report.stack.empty() && report.stack_end != UnwindEnd::kRoot) {
    absl::StrAppend(&text, "    ... (", MissingFrames(report.stack_end), ")\n");
  }
  if (!report.no_stack.empty()) absl::StrAppend(&text, "    no stack: ", report.no_stack, "\n");
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
  AppendStack(text, report);
  return text;
}

}  // namespace fiberscope
