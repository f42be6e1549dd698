#include "pprof/machinery.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace fiberscope::pprof {
namespace {

// Between a fiber's entry and the user's function.
constexpr std::string_view kGlueFiles[] = {"runtime/spawn.h", "runtime/scope.h", "runtime/pool.h", "runtime/pool.cc"};

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

// Argument `n` of the template argument list that `text` begins with, after its "<": ("int, ns::F()::{lambda()#1}>::Run()", 1)
// -> "ns::F()::{lambda()#1}". Empty when there is none.
std::string_view TemplateArgument(std::string_view text, int n) {
  constexpr std::string_view kOperator = "operator";
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with(kOperator)) i = text.find_first_not_of("<>-=!", i + kOperator.size());
    if (i == std::string_view::npos) return {};
    const char c = text[i];
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if (depth == 0 && (c == ',' || c == '>')) {
      std::string_view argument = text.substr(begin, i - begin);
      if (argument.ends_with(' ')) argument.remove_suffix(1);  // "> >"
      if (n-- == 0) return argument;
      begin = i + 2;  // ", "
    }
    if (c == '>' || c == ')' || c == '}' || c == ']') --depth;
    if (depth < 0) return {};
  }
  return {};
}

// The type of the user's function for which a glue function is an instance, from the glue function's name:
// "void fiberscope::internal::RunEntry<ns::Start()::{lambda()#1}>(void*, bool)" -> "ns::Start()::{lambda()#1}". Empty when
// it is another function.
std::string_view SpawnedType(std::string_view glue) {
  static constexpr struct {
    std::string_view begin;
    int argument;
  } kTemplates[] = {
      {"void fiberscope::internal::RunEntry<", 0},
      {"fiberscope::internal::ScopedFiber<", 0},
      {"fiberscope::internal::FutureTask<", 1},
      {"fiberscope::internal::CallbackTask<", 1},
  };
  for (const auto& each : kTemplates) {
    if (!glue.starts_with(each.begin)) continue;
    const std::string_view type = TemplateArgument(glue.substr(each.begin.size()), each.argument);
    const std::string_view within = SpawnedType(type);
    return within.empty() ? type : within;
  }
  return {};
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
         IsOrIsWithin(name, "fiberscope::internal::(anonymous)::FiberMain") ||
         std::ranges::any_of(kGlueFiles, [&](std::string_view path) { return IsOurs(frame.file, path); });
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
