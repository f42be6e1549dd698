#include "pprof/machinery.h"

#include <cstddef>

namespace fiberscope::pprof {
namespace {

// The function itself, an instance of it if it is a template, or something local to it.
bool IsOrIsWithin(std::string_view name, std::string_view function) {
  if (!name.starts_with(function)) return false;
  name.remove_prefix(function.size());
  return name.empty() || name.starts_with('<') || name.starts_with("::");
}

size_t LengthWithoutRootFrames(std::span<const Frame> frames) {
  size_t length = frames.size();
  while (length > 0 && IsRootMachinery(ShortFunctionName(frames[length - 1].function))) --length;
  return length;
}

}  // namespace

bool IsMachinery(std::string_view short_name) {
  return short_name.starts_with("fiberscope::") || short_name.starts_with("fiberscope_");
}

bool IsRootMachinery(std::string_view short_name) {
  return short_name == "fiberscope_fiber_entry" || IsOrIsWithin(short_name, "fiberscope::internal::RunEntry") ||
         IsOrIsWithin(short_name, "fiberscope::internal::FiberMain") ||
         IsOrIsWithin(short_name, "fiberscope::internal::(anonymous)::FiberMain");
}

std::span<const Frame> TrimRootFrames(std::span<const Frame> frames) {
  const size_t length = LengthWithoutRootFrames(frames);
  return length == 0 ? frames : frames.first(length);
}

std::vector<uintptr_t> UserStack(std::span<const uintptr_t> stack, uintptr_t entry_pc, Symbolizer& symbolizer) {
  size_t length = stack.size();
  for (; length > 0; --length) {
    const std::vector<Frame>& frames = symbolizer.Lookup(stack[length - 1] - 1).frames;
    if (frames.empty() || LengthWithoutRootFrames(frames) > 0) break;
  }
  if (length == 0 && entry_pc != 0) return {entry_pc + 1};
  if (length == 0) return {stack.begin(), stack.end()};
  return {stack.begin(), stack.begin() + length};
}

}  // namespace fiberscope::pprof
