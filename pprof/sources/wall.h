// The wall-clock profile: where fibers spend their time, whether they run, wait to run, or wait for something. It shows what a CPU
// profile cannot: what a request waits for.
//
// All live fibers are looked at many times a second, as a goroutine profile does once (runtime/registry.h, at one instant each
// time). A fiber that is seen somewhere counts there with the time since the last look: one that lives all the while adds up to
// the profile's duration, and a thousand of them to a thousand times that. A fiber whose life fell between two looks is not seen.
#ifndef FIBERSCOPE_PPROF_SOURCES_WALL_H_
#define FIBERSCOPE_PPROF_SOURCES_WALL_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/fiber_enumerator.h"
#include "pprof/mappings.h"
#include "pprof/profile.h"
#include "pprof/sources/wall_groups.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

struct WallOptions {
  static constexpr int kMaxHz = 1000;

  // Looks per second, 1 to kMaxHz. There are fewer when they take long (WallSampler). 99, as fgprof's: no round number, so that it
  // does not fall into step with what the application does 10 or 100 times a second.
  int hz = 99;
};

// Where a WallSampler gets what it shows.
struct WallInputs {
  FiberEnumerator for_each_fiber;
  std::function<std::chrono::nanoseconds()> monotonic_now;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
  std::function<std::vector<Mapping>()> mappings;
};
WallInputs ProcessWallInputs();

// One wall-clock profile in the making: construct it, then Pass() whenever NextPass() has come, then Build().
//
// NextPass() keeps the passes, all together, to a hundredth of the time. That is the most that they slow the application down, too:
// the threads that run fibers are held for a part of a pass (runtime/instant.h). Not counted is the first one, which takes several
// times as long as the others, because nothing is in the caches yet; and whoever ends with a pass, as SampleWall() does, adds that.
// A pass takes ~0.15 us per fiber that has not run since the last one, up to 1 us per one that has, and some 50 us for those that
// run.
//
// Thread-compatible. Not on a fiber. Memory grows with the distinct stacks, labels and states, up to 64 MiB.
class WallSampler {
 public:
  static constexpr int kTimePerPassTime = 100;

  // Begins now. A `hz` out of range is a CHECK failure.
  explicit WallSampler(const WallOptions& options, WallInputs inputs = ProcessWallInputs());

  // Looks at all fibers. Blocks the thread; passes, and goroutine profiles, take turns.
  void Pass();

  // When to do that next, in terms of the clock.
  std::chrono::nanoseconds NextPass() const;
  // When that was done last; before the first one, when this began.
  std::chrono::nanoseconds last_pass() const { return last_pass_; }

  // Sample types samples/count and time/nanoseconds, period wall/nanoseconds, as fgprof's; the duration is up to the last pass.
  // Labels: the fibers' own, and `state`, as the goroutine dump spells it: "running", "runnable", "syscall", "chan receive".
  // Comments: the number of passes and what they took; what is not as one would expect. Most time first.
  // Blocks the thread while the symbolizer works; waits up to 2 s for file names and lines.
  Profile Build(Symbolizer& symbolizer) const;

 private:
  std::vector<std::string> Comments() const;

  const WallOptions options_;
  const WallInputs inputs_;
  const std::chrono::sys_time<std::chrono::nanoseconds> start_time_;
  const std::chrono::nanoseconds start_;
  std::chrono::nanoseconds last_pass_;
  std::chrono::nanoseconds pass_time_{0};  // of all
  std::chrono::nanoseconds first_pass_time_{0};
  int64_t passes_ = 0;
  int64_t not_one_instant_ = 0;  // passes
  std::string_view why_not_;     // the last reason; static text
  int64_t crowded_out_ = 0;      // samples without stacks of their own, within passes
  WallGroups groups_;
};

// Samples for `duration`; the last pass is at its end. `wait` blocks the thread for as long as it is told, or returns an error,
// which ends the profile and is returned. Blocks the thread for `duration`. Not on a fiber. Thread-safe: several may run, each at
// its own expense.
//
//   absl::StatusOr<Profile> profile = SampleWall({}, std::chrono::seconds(10), *symbolizer, [](std::chrono::nanoseconds time) {
//     std::this_thread::sleep_for(time);
//     return absl::OkStatus();
//   });
absl::StatusOr<Profile> SampleWall(const WallOptions& options, std::chrono::nanoseconds duration, Symbolizer& symbolizer,
                                   absl::FunctionRef<absl::Status(std::chrono::nanoseconds)> wait,
                                   const WallInputs& inputs = ProcessWallInputs());

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_WALL_H_
