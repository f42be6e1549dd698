#include "pprof/machinery.h"

#include <cstddef>
#include <string>

namespace fiberscope::pprof {
namespace {

// The function itself, an instance of it if it is a template, or something local to it.
bool IsOrIsWithin(std::string_view name, std::string_view function) {
  if (!name.starts_with(function)) return false;
  name.remove_prefix(function.size());
  return name.empty() || name.starts_with('<') || name.starts_with("::");
}

// Whether `file` is `path` of this source tree, or lies in it if `path` ends in '/'. Debug information names our files as
// the compiler was told to find them, and so does __FILE__.
bool IsOurs(std::string_view file, std::string_view path) {
  constexpr std::string_view kThisFile = "pprof/machinery.cc";
  std::string_view tree = __FILE__;
  if (!tree.ends_with(kThisFile)) return false;
  tree.remove_suffix(kThisFile.size());
  if (!file.starts_with(tree)) return false;
  file.remove_prefix(tree.size());
  return path.ends_with('/') ? file.starts_with(path) : file == path;
}

size_t LengthWithoutRootFrames(std::span<const Frame> frames) {
  size_t length = frames.size();
  while (length > 0 && IsRootMachinery(frames[length - 1])) --length;
  return length;
}

// "void fiberscope::internal::RunEntry<ns::Start()::{lambda()#1}>(void*, bool)" -> "ns::Start()::{lambda()#1}"; empty when
// it is another function.
std::string_view SpawnedType(std::string_view run_entry) {
  constexpr std::string_view kBegin = "fiberscope::internal::RunEntry<";
  constexpr std::string_view kEnd = ">(void*, bool)";
  const size_t begin = run_entry.find(kBegin);
  const size_t end = run_entry.rfind(kEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin + kBegin.size()) return {};
  return run_entry.substr(begin + kBegin.size(), end - begin - kBegin.size());
}

}  // namespace

bool IsMachinery(const Frame& frame) {
  const std::string name = ShortFunctionName(frame.function);
  return name.starts_with("fiberscope::") || name.starts_with("fiberscope_") || IsOurs(frame.file, "runtime/");
}

bool IsRootMachinery(const Frame& frame) {
  const std::string name = ShortFunctionName(frame.function);
  return name == "fiberscope_fiber_entry" || IsOrIsWithin(name, "fiberscope::internal::RunEntry") ||
         IsOrIsWithin(name, "fiberscope::internal::FiberMain") ||
         IsOrIsWithin(name, "fiberscope::internal::(anonymous)::FiberMain") || IsOurs(frame.file, "runtime/spawn.h");
}

std::vector<Frame> UserFrames(std::span<const Frame> frames) {
  const size_t length = LengthWithoutRootFrames(frames);
  if (length == 0) return {frames.begin(), frames.end()};
  std::vector<Frame> result(frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(length));
  Frame& outermost = result.back();
  if (length < frames.size() && outermost.function == "operator()") {
    const std::string_view spawned = SpawnedType(frames.back().function);
    if (!spawned.empty()) outermost.function = std::string(spawned) + "::operator()()";
  }
  return result;
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
