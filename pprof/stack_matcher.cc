#include "pprof/stack_matcher.h"

#include <algorithm>
#include <vector>

#include "pprof/machinery.h"

namespace fiberscope::pprof {

bool StackMatcher::Matches(std::span<const uintptr_t> stack, uintptr_t entry_pc) {
  size_t length = stack.size();
  while (length > 0 && Lookup(stack[length - 1]).root) --length;
  if (length == 0 && entry_pc != 0) return Lookup(entry_pc + 1).matches;
  if (length == 0) length = stack.size();
  return std::ranges::any_of(stack.first(length), [this](uintptr_t address) { return Lookup(address).matches; });
}

StackMatcher::Location StackMatcher::Lookup(uintptr_t return_address) {
  if (const auto known = locations_.find(return_address); known != locations_.end()) return known->second;
  const std::vector<Frame>& frames = symbolizer_.Lookup(return_address - 1).frames;
  Location location;
  location.root = !frames.empty() && std::ranges::all_of(frames, IsRootMachinery);
  location.matches = std::ranges::any_of(UserFrames(frames), [this](const Frame& frame) { return NameMatches(frame.function); });
  locations_.emplace(return_address, location);
  return location;
}

bool StackMatcher::NameMatches(const std::string& function) {
  const auto [at, added] = names_.try_emplace(function, false);
  if (!added) return at->second;
  ++tried_;
  return at->second = pattern_.Matches(function);
}

}  // namespace fiberscope::pprof
