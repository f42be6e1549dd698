#include "runtime/contention.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <mutex>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "runtime/contention_events.h"
#include "runtime/event_thinner.h"
#include "runtime/own_stack.h"
#include "runtime/unwind/stack_table.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope {
namespace internal {

std::atomic<int64_t> g_block_profile_rate_ns{0};
std::atomic<int64_t> g_mutex_profile_fraction{0};

namespace {

constexpr size_t kMaxFrames = 128;
constexpr int64_t kMeasuringNs = 60;     // two looks at the clock, and deciding
constexpr size_t kMaxNodes = 1 << 17;  // of a StackTable: 10 MiB

// What one kind of events has come to. The lock is held for 0.2 us per event.
class Totals {
 public:
  void Add(std::span<const uintptr_t> stack, double count, double delay_ns, uint32_t weight) {
    std::lock_guard lock(mutex_);
    const uint32_t number = stacks_.Insert(stack, false);
    if (number == StackTable::kNone) {
      ++lost_;
      return;
    }
    ++events_;
    stood_for_ += weight;
    const auto [at, added] = index_.try_emplace(number, sums_.size());
    if (added) sums_.push_back({.number = number});
    sums_[at->second].count += count;
    sums_[at->second].delay_ns += delay_ns;
    count_ += count;
    delay_ns_ += delay_ns;
  }

  ContentionTotals ReadTotals() {
    std::lock_guard lock(mutex_);
    return {.count = count_, .delay = std::chrono::nanoseconds(std::llround(delay_ns_)), .lost = lost_};
  }

  ContentionSnapshot Read() {
    std::lock_guard lock(mutex_);
    ContentionSnapshot snapshot{.records = {}, .events = events_, .stood_for = stood_for_, .lost = lost_};
    snapshot.records.reserve(sums_.size());
    for (const Sum& sum : sums_) {
      const std::span<const uintptr_t> stack = stacks_.Get(sum.number).pcs;
      snapshot.records.push_back({{stack.begin(), stack.end()}, std::llround(sum.count), std::llround(sum.delay_ns)});
    }
    return snapshot;
  }

  int64_t size() {
    std::lock_guard lock(mutex_);
    return static_cast<int64_t>(sums_.size());
  }

 private:
  struct Sum {
    uint32_t number;
    double count = 0;
    double delay_ns = 0;
  };

  std::mutex mutex_;
  // All: GUARDED_BY(mutex_).
  StackTable stacks_{UnwindTable::Refresh(), kMaxNodes};
  absl::flat_hash_map<uint32_t, size_t> index_;  // by number of the stack: position in sums_
  std::vector<Sum> sums_;
  double count_ = 0;
  double delay_ns_ = 0;
  int64_t events_ = 0;
  int64_t stood_for_ = 0;
  int64_t lost_ = 0;
};

// Made when first needed, never destroyed: a fiber may wait while the process exits.
Totals& TotalsOf(Contention kind) {
  static std::array<Totals, 2>& totals = *new std::array<Totals, 2>;
  return totals[static_cast<size_t>(kind)];
}

// What a thread needs to record. Reached only through CurrentRecorder(), never across a switch.
struct Recorder {
  EventThinner thinner{static_cast<uint32_t>(reinterpret_cast<uintptr_t>(this) >> 4)};
  std::array<uintptr_t, kMaxFrames> pcs;  // not on the fiber's stack, which may be small

  bool OneIn(double times) { return static_cast<double>(thinner.Random()) * times < 4294967296.0; }
};

Recorder& CurrentRecorder() {
  thread_local Recorder recorder;
  return recorder;
}

// Each event counts for `count` of `delay_ns` each in all.
void Record(Contention kind, Recorder& recorder, uint32_t weight, double count, double delay_ns) {
  const int saved_errno = errno;  // that of the code that waited
  const int64_t begin_ns = TickNowNs();
  const size_t depth = CaptureOwnStack(recorder.pcs);
  TotalsOf(kind).Add(std::span(recorder.pcs).first(depth), count * weight, delay_ns * weight, weight);
  recorder.thinner.Spent(begin_ns, TickNowNs());
  errno = saved_errno;
}

}  // namespace

bool IsContention(WaitReason reason) {
  switch (reason) {
    case WaitReason::kChannelReceive:
    case WaitReason::kChannelSend:
    case WaitReason::kMutexLock:
    case WaitReason::kWaitGroup:
    case WaitReason::kJoin:
    case WaitReason::kSelect:
    case WaitReason::kRwMutexRead:
    case WaitReason::kRwMutexWrite:
    case WaitReason::kSemaphore:
    case WaitReason::kCondition:
    case WaitReason::kBarrier:
      return true;
    default:
      return false;
  }
}

// None of the three is inlined: the caller may be on another thread after a wait than before it, and the address of a thread_local
// variable that it had then would be wrong.
__attribute__((noinline)) uint32_t OfferBlock() { return CurrentRecorder().thinner.Offer(); }

__attribute__((noinline)) void RecordBlock(int64_t delay_ns, uint32_t weight) {
  const int64_t rate_ns = g_block_profile_rate_ns.load(std::memory_order_relaxed);
  if (rate_ns <= 0) return;
  delay_ns = std::max<int64_t>(delay_ns, 1);
  Recorder& recorder = CurrentRecorder();
  if (delay_ns < rate_ns && !recorder.OneIn(static_cast<double>(rate_ns) / static_cast<double>(delay_ns))) {
    const int64_t now_ns = TickNowNs();
    recorder.thinner.Spent(now_ns - kMeasuringNs, now_ns);
    return;
  }
  const auto charged_ns = static_cast<double>(std::max(delay_ns, rate_ns));
  Record(Contention::kBlock, recorder, weight, charged_ns / static_cast<double>(delay_ns), charged_ns);
}

__attribute__((noinline)) void RecordMutexContention(int64_t delay_ns) {
  const int64_t fraction = g_mutex_profile_fraction.load(std::memory_order_relaxed);
  if (fraction <= 0) return;
  Recorder& recorder = CurrentRecorder();
  const auto factor = static_cast<double>(fraction);
  if (!recorder.OneIn(factor)) return;
  const uint32_t weight = recorder.thinner.Offer();
  if (weight == 0) return;
  Record(Contention::kMutex, recorder, weight, factor, factor * static_cast<double>(std::max<int64_t>(delay_ns, 0)));
}

}  // namespace internal

void SetBlockProfileRate(int64_t rate_ns) {
  if (rate_ns > 0) UnwindTable::Refresh();  // now rather than in the first event
  internal::g_block_profile_rate_ns.store(std::max<int64_t>(rate_ns, 0), std::memory_order_relaxed);
}

int64_t BlockProfileRate() { return internal::g_block_profile_rate_ns.load(std::memory_order_relaxed); }

int64_t SetMutexProfileFraction(int64_t fraction) {
  if (fraction < 0) return internal::g_mutex_profile_fraction.load(std::memory_order_relaxed);
  if (fraction > 0) UnwindTable::Refresh();
  return internal::g_mutex_profile_fraction.exchange(fraction, std::memory_order_relaxed);
}

ContentionSnapshot ReadContention(Contention kind) { return internal::TotalsOf(kind).Read(); }

int64_t ContentionStacks(Contention kind) { return internal::TotalsOf(kind).size(); }

ContentionTotals ReadContentionTotals(Contention kind) { return internal::TotalsOf(kind).ReadTotals(); }

}  // namespace fiberscope
