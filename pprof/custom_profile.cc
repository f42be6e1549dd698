#include "pprof/custom_profile.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "pprof/count_profile.h"
#include "pprof/encode/legacy_text.h"
#include "pprof/machinery.h"
#include "pprof/profile_catalog.h"
#include "runtime/own_stack.h"

namespace fiberscope::pprof {
namespace {

constexpr std::chrono::seconds kWaitForLines{2};

// The names below /debug/pprof/ that are not to be had: what a debug server has there itself would hide the profile.
constexpr std::string_view kTakenNames[] = {
    "allocs", "block",   "cmdline", "goroutine", "goroutineleak", "heap", "mutex",
    "profile", "symbol", "threadcreate", "threads", "trace", "wall",
};

// One for all profiles of the process. Never destroyed: profiles are not either.
Symbolizer& SharedSymbolizer() {
  static Symbolizer& symbolizer = *MakeProcessSymbolizer().release();
  return symbolizer;
}

}  // namespace

CustomProfile::CustomProfile(std::string name, Symbolizer& symbolizer, CustomProfileInputs inputs)
    : name_(std::move(name)), symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

// Not inlined: the first frame, left out below, must be this function's own.
__attribute__((noinline)) absl::Status CustomProfile::Add(ProfileKey key, size_t skip) {
  std::array<uintptr_t, kMaxFrames + 2> pcs;  // two places go for frames that are left out: CaptureOwnStack's and our own
  const size_t depth = CaptureOwnStack(pcs, {.skip = std::min(skip, pcs.size()) + 1});
  std::vector<uintptr_t> stack(pcs.begin(), pcs.begin() + static_cast<std::ptrdiff_t>(depth));
  std::lock_guard lock(mutex_);
  const auto [thing, added] = things_.try_emplace(key.value(), nullptr);
  if (!added) {
    return absl::AlreadyExistsError(
        absl::StrFormat("profile %s: %#x was added before and has not been removed since", name_, key.value()));
  }
  thing->second = &*stacks_.try_emplace(std::move(stack), 0).first;
  ++thing->second->second;
  return absl::OkStatus();
}

void CustomProfile::Remove(ProfileKey key) {
  std::lock_guard lock(mutex_);
  const auto thing = things_.find(key.value());
  if (thing == things_.end()) return;
  if (--thing->second->second == 0) stacks_.erase(stacks_.find(thing->second->first));
  things_.erase(thing);
}

int64_t CustomProfile::Count() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(things_.size());
}

absl::StatusOr<Profile> CustomProfile::Collect() {
  symbolizer_.WaitForLines(kWaitForLines);
  const auto time = inputs_.now();
  return MakeCountProfile(name_, Group(), time, symbolizer_, inputs_.mappings());
}

absl::Status CustomProfile::WriteText(int /*debug*/, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  return WriteCountProfile(name_, Group(), symbolizer_, sink);
}

// Copied under the lock, made presentable outside: symbols take their time.
std::vector<StackGroup> CustomProfile::Group() const {
  std::vector<std::pair<std::vector<uintptr_t>, int64_t>> stacks;
  {
    std::lock_guard lock(mutex_);
    stacks.assign(stacks_.begin(), stacks_.end());
  }
  StackGroups shown;
  for (const auto& [stack, count] : stacks) shown.Add(UserStack(stack, 0, symbolizer_), {}, count);
  return std::move(shown).Take();
}

absl::StatusOr<CustomProfile*> NewProfile(std::string_view name) {
  if (std::ranges::find(kTakenNames, name) != std::end(kTakenNames)) {
    return absl::AlreadyExistsError(absl::StrFormat("a profile named %s: that name is a built-in one's", std::string(name)));
  }
  auto profile = std::make_unique<CustomProfile>(
      std::string(name), SharedSymbolizer(),
      CustomProfileInputs{.mappings = ReadProcessMappings, .now = std::chrono::system_clock::now});
  CustomProfile* const made = profile.get();
  if (absl::Status status = ProcessProfiles().Add(std::move(profile)); !status.ok()) return status;
  return made;
}

}  // namespace fiberscope::pprof
