#include "pprof/encode/thread_text.h"

#include "absl/strings/str_cat.h"
#include "pprof/encode/go_quote.h"

namespace fiberscope::pprof {
namespace {

std::string_view MissingFramesReason(UnwindEnd end) {
  switch (end) {
    case UnwindEnd::kRoot: return "";
    case UnwindEnd::kBufferFull: return "the stack is deeper than what is kept";
    case UnwindEnd::kNoRule: return "no unwind information for the last one";
    case UnwindEnd::kBadFrame: return "the rest of the stack cannot be read";
    case UnwindEnd::kUnknownRegister: return "the kernel does not tell all registers of a sleeping thread";
  }
  return "";
}

void AppendHeader(std::string& out, const ThreadSnapshot& thread) {
  absl::StrAppend(&out, "thread ", thread.thread_id, " ", GoQuote(thread.name), " [");
  out.append(ThreadState(thread.state)).append("]");
  if (thread.fiber) absl::StrAppend(&out, ", running goroutine ", thread.fiber.value);
  out += ":\n";
}

}  // namespace

std::string_view ThreadState(char state) {
  switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "disk sleep";
    case 'T': return "stopped";
    case 't': return "tracing stop";
    case 'Z': return "zombie";
    case 'X': return "dead";
    case 'I': return "idle";
    case 'P': return "parked";
    default: return "unknown";
  }
}

std::string_view MissingStackReason(ThreadSnapshot::Outcome outcome) {
  using Outcome = ThreadSnapshot::Outcome;
  switch (outcome) {
    case Outcome::kCaptured: return "";
    case Outcome::kBlocksSignal: return "the thread blocks the signal that asks for its stack";
    case Outcome::kNoAnswer: return "the thread did not answer in time";
    case Outcome::kEnded: return "the thread has ended";
    case Outcome::kRefused: return "no signal could be sent (RLIMIT_SIGPENDING)";
    case Outcome::kNoSignal: return "the application uses all real-time signals";
    case Outcome::kRestless: return "the thread slept and woke all the time while it was looked at";
    case Outcome::kNoTime: return "the time was over before the thread was looked at";
  }
  return "";
}

absl::Status ThreadTextEncoder::Write(const ThreadSnapshot& thread) {
  std::string block;
  if (!first_) block += '\n';
  first_ = false;
  AppendHeader(block, thread);
  if (thread.outcome != ThreadSnapshot::Outcome::kCaptured) {
    block.append("\tstack unavailable: ").append(MissingStackReason(thread.outcome)).append("\n");
    return sink_.Write(block);
  }
  for (const StackLine& line : frames_.AllLines(thread.stack)) AppendDumpFrame(block, line);
  if (const std::string_view reason = MissingFramesReason(thread.end); !reason.empty()) {
    block.append("...outer frames unknown: ").append(reason).append("...\n");
  }
  return sink_.Write(block);
}

}  // namespace fiberscope::pprof
