#include "pprof/encode/goroutine_text.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pprof/encode/goroutine_state.h"
#include "pprof/encode/label_text.h"
#include "pprof/machinery.h"

namespace fiberscope::pprof {
namespace {

// Go's tracebackInnerFrames and tracebackOuterFrames.
constexpr size_t kInnerFrames = 50;
constexpr size_t kOuterFrames = 50;

constexpr size_t kMostStacksBytes = 8 << 20;

std::string_view NameOrUnknown(const TextFrame& frame) {
  return frame.function.empty() ? std::string_view("??") : std::string_view(frame.function);
}

}  // namespace

absl::Status GoroutineTextEncoder::Write(const FiberSnapshot& fiber) {
  block_.clear();
  if (!first_) block_ += '\n';
  first_ = false;
  AppendHeader(fiber);
  AppendStack(fiber);
  AppendCreator(fiber);
  return sink_.Write(block_);
}

void GoroutineTextEncoder::AppendHeader(const FiberSnapshot& fiber) {
  absl::StrAppend(&block_, "goroutine ", fiber.id.value, " [", GoroutineState(fiber.state, fiber.wait_reason));
  const auto minutes = std::chrono::floor<std::chrono::minutes>(fiber.waited).count();
  const bool waits = fiber.state == FiberState::kWaiting || fiber.state == FiberState::kBlocking;
  if (waits && minutes >= 1) absl::StrAppend(&block_, ", ", minutes, " minutes");
  if (fiber.locked_to_thread) block_ += ", locked to thread";
  block_ += ']';
  if (const std::string labels = DumpLabels(fiber.labels, fiber.name); !labels.empty()) {
    absl::StrAppend(&block_, " ", labels);
  }
  block_ += ":\n";
}

void GoroutineTextEncoder::AppendStack(const FiberSnapshot& fiber) {
  if (!fiber.stack_available && fiber.state == FiberState::kRunning) {
    block_ += "\tgoroutine running on other thread; stack unavailable\n";
    return;
  }
  if (fiber.stack_number == 0) {
    AppendStackAnew(fiber);
    return;
  }
  const std::pair key(fiber.stack_number, fiber.entry_pc);
  if (const auto known = stacks_.find(key); known != stacks_.end()) {
    block_ += known->second;
    return;
  }
  const size_t start = block_.size();
  AppendStackAnew(fiber);
  const size_t size = block_.size() - start;
  if (stacks_bytes_ + size > kMostStacksBytes) return;
  stacks_bytes_ += size;
  stacks_.emplace(key, block_.substr(start));
}

void GoroutineTextEncoder::AppendStackAnew(const FiberSnapshot& fiber) {
  AppendFrames(UserStack(fiber.stack, fiber.entry_pc, symbolizer_));
  if (fiber.stack_truncated) block_ += "...additional frames elided...\n";
}

void GoroutineTextEncoder::AppendFrames(std::span<const uintptr_t> return_addresses) {
  const std::vector<StackLine> lines = frames_.VisibleLines(return_addresses);
  const bool elided = lines.size() > kInnerFrames + kOuterFrames;
  const size_t inner = elided ? kInnerFrames : lines.size();
  for (size_t i = 0; i < inner; ++i) AppendDumpFrame(block_, lines[i]);
  if (!elided) return;
  absl::StrAppend(&block_, "...", lines.size() - kInnerFrames - kOuterFrames, " frames elided...\n");
  for (size_t i = lines.size() - kOuterFrames; i < lines.size(); ++i) AppendDumpFrame(block_, lines[i]);
}

void GoroutineTextEncoder::AppendCreator(const FiberSnapshot& fiber) {
  if (fiber.creator_pc == 0) return;
  const TextLocation& location = frames_.Lookup(fiber.creator_pc);
  const TextFrame& creator = FirstUserFrame(location);
  block_ += "created by ";
  block_ += NameOrUnknown(creator);
  if (fiber.parent_id) absl::StrAppend(&block_, " in goroutine ", fiber.parent_id.value);
  block_ += '\n';
  AppendDumpPosition(block_, {fiber.creator_pc, location.function_start, &creator});
}

}  // namespace fiberscope::pprof
