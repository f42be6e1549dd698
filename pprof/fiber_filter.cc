#include "pprof/fiber_filter.h"

#include <algorithm>

namespace fiberscope::pprof {
namespace {

bool HasLabel(const FiberSnapshot& fiber, const Label& wanted) {
  const auto own = std::ranges::find(fiber.labels, wanted.key, &Label::key);
  if (own != fiber.labels.end()) return own->value == wanted.value;
  return wanted.key == "name" && !fiber.name.empty() && fiber.name == wanted.value;
}

bool Waits(FiberState state) { return state == FiberState::kWaiting || state == FiberState::kBlocking; }

}  // namespace

bool FiberFilter::MatchesRecord(const FiberSnapshot& fiber) const {
  if (state && fiber.state != *state) return false;
  if (reason && (fiber.state != FiberState::kWaiting || fiber.wait_reason != *reason)) return false;
  if (min_wait && (!Waits(fiber.state) || fiber.waited < *min_wait)) return false;
  return std::ranges::all_of(labels, [&fiber](const Label& label) { return HasLabel(fiber, label); });
}

}  // namespace fiberscope::pprof
