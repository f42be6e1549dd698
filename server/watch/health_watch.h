// Looks at the process again and again, keeps what it saw, and says when a figure is too high.
//
//   server::HealthWatchOptions options;
//   options.thresholds.push_back({.name = "oldest channel send",
//                                 .figure = server::OldestWaitFigure(WaitReason::kChannelSend),
//                                 .bounds = {.raise_above = 10, .clear_below = 1}});
//   auto watch = server::HealthWatch::Start(std::move(options));
//   ...
//   server::DebugServer::Start({.health_watch = watch->get()});   // GET /debug/history
//
// It has a thread of its own and needs neither a scheduler nor a debug server. (Not to be confused with the scheduler's monitor,
// runtime/monitor.h, which keeps the workers going.)
//
// What is worth an alarm for a whole fleet belongs in Prometheus' rules; this is for the process that is to help itself (dump its
// fibers, shed load), and for the reader who comes when it is over.
#ifndef FIBERSCOPE_SERVER_WATCH_HEALTH_WATCH_H_
#define FIBERSCOPE_SERVER_WATCH_HEALTH_WATCH_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/watch/health.h"
#include "server/watch/history.h"
#include "server/watch/hysteresis.h"
#include "server/watch/watch_clock.h"

namespace fiberscope::server {

// A threshold was raised, or cleared.
struct ThresholdChange {
  std::string_view name;
  bool raised = false;
  double value = 0;  // of the figure
  std::chrono::system_clock::time_point time = {};
};

struct Threshold {
  std::string name;  // unlike the others', 1 to 64 bytes; a label in /metrics
  HealthFigure figure;
  HysteresisBounds bounds;
  // Called on the watch's thread; either may be empty. May take its time, but while it does nothing is sampled. May call what the
  // watch has but for its destructor. What it throws is dropped and counted.
  std::function<void(const ThresholdChange&)> on_raise = {};
  std::function<void(const ThresholdChange&)> on_clear = {};
};

enum class WatchLineLevel : uint8_t { kInfo, kWarning };

struct HealthWatchOptions {
  static constexpr size_t kMaxTiers = 4;
  static constexpr size_t kMaxRows = 100'000;  // of all tiers: 20 MB
  static constexpr size_t kMaxThresholds = 64;

  std::chrono::milliseconds period{1'000};  // 10 ms to 1 h
  // Each period for 10 minutes, and each minute for a day: 400 KiB.
  std::vector<HistoryTier> tiers = {{.samples = 1, .rows = 600}, {.samples = 60, .rows = 1440}};
  std::vector<Threshold> thresholds = {};

  // Where lines go: a warning when a threshold is raised, for information when it is cleared. On the watch's thread; without line
  // feed. Empty: to standard error. Of one threshold there is one line per line_interval at most: the newest one, and how many it
  // stands for; what a reader saw last is never longer out of date than that.
  std::function<void(WatchLineLevel, std::string_view)> on_line = {};
  std::chrono::milliseconds line_interval{60'000};

  // For tests: where figures come from, and the time. The clock must outlive the watch; null: the system's.
  std::function<HealthReading()> read = &ReadHealth;
  WatchClock* clock = nullptr;
};

struct ThresholdStatus {
  std::string name;
  HysteresisBounds bounds;
  bool raised = false;
  std::optional<std::chrono::system_clock::time_point> since = {};  // of the last change; none: there was none
  std::optional<double> value = {};                                 // of the newest sample; none: not known
  uint64_t raises = 0;
};

// Thread-safe. Resource: neither copied nor moved.
class HealthWatch {
 public:
  // Reads once and starts the thread; the first sample is taken a period later. kInvalidArgument names what is wrong with the
  // options; kResourceExhausted: no thread could be made.
  static absl::StatusOr<std::unique_ptr<HealthWatch>> Start(HealthWatchOptions options);

  ~HealthWatch();  // Stop(). Not in a callback.
  HealthWatch(const HealthWatch&) = delete;
  HealthWatch& operator=(const HealthWatch&) = delete;

  // Takes no more samples and joins the thread; what was kept can still be read. Idempotent. Blocks the thread for the sample, and
  // callback, under way. In a callback it only begins that.
  void Stop();

  // The rest blocks the thread for the copy of what is asked for.
  struct Tier {
    HistoryTier tier;
    std::vector<HealthRow> rows;  // oldest first
  };
  std::vector<Tier> history() const;
  std::vector<ThresholdStatus> thresholds() const;

  std::chrono::milliseconds period() const { return options_.period; }
  uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }
  // That were not taken because the one before, or a callback, took longer than a period.
  uint64_t missed_samples() const { return missed_samples_.load(std::memory_order_relaxed); }
  // Figures and callbacks that threw.
  uint64_t failed_calls() const { return failed_calls_.load(std::memory_order_relaxed); }

 private:
  // The watch's thread's own, but for `status`.
  struct Watched {
    Hysteresis hysteresis;
    std::optional<std::chrono::nanoseconds> last_line = {};  // WatchClock
    std::optional<ThresholdChange> held_back = {};           // the newest change that no line has told
    std::chrono::nanoseconds held_back_since{0};
    uint64_t untold = 0;                                     // changes that no line has told
    ThresholdStatus status;  // GUARDED_BY(mutex_)
  };

  HealthWatch(HealthWatchOptions options, const HealthReading& begin);

  void Run();
  void Sample();
  std::optional<double> ValueOf(const Threshold& threshold, const HealthReading& reading, const HealthRow& row);
  void Note(const Threshold& threshold, const ThresholdChange& change, Watched& watched);
  void WriteLine(const Threshold& threshold, std::chrono::nanoseconds now, Watched& watched);

  const HealthWatchOptions options_;
  SystemWatchClock system_clock_;
  WatchClock& clock_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> samples_{0};
  std::atomic<uint64_t> missed_samples_{0};
  std::atomic<uint64_t> failed_calls_{0};
  HealthRowBuilder newest_;       // the watch's thread's own
  std::vector<Watched> watched_;  // by threshold

  mutable std::mutex mutex_;  // no callback is called under it
  std::vector<History> histories_;  // GUARDED_BY(mutex_)

  std::atomic<std::thread::id> watch_thread_{};
  std::mutex join_mutex_;
  std::thread thread_;  // joined under join_mutex_
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HEALTH_WATCH_H_
