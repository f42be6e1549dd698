#include "server/watch/health_watch.h"

#include <pthread.h>

#include <cmath>
#include <cstdio>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/utf8.h"

namespace fiberscope::server {
namespace {

using std::chrono::nanoseconds;

constexpr std::chrono::milliseconds kShortestPeriod{10};
constexpr std::chrono::milliseconds kLongestPeriod = std::chrono::hours(1);
constexpr size_t kMaxNameBytes = 64;
constexpr int kMaxSamplesPerRow = 1'000'000;

void PrintLine(WatchLineLevel, std::string_view text) {
  const std::string line = absl::StrCat("fiberscope: ", absl::string_view(text.data(), text.size()), "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError("health watch: " + what); }

bool IsName(const std::string& text) {
  if (text.empty() || text.size() > kMaxNameBytes || pprof::ToValidUtf8(text) != text) return false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') return false;
  }
  return true;
}

absl::Status CheckThresholds(const std::vector<Threshold>& thresholds) {
  if (thresholds.size() > HealthWatchOptions::kMaxThresholds) {
    return Bad(absl::StrFormat("%d thresholds; %d at most", thresholds.size(), HealthWatchOptions::kMaxThresholds));
  }
  std::set<std::string> names;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    const Threshold& each = thresholds[i];
    if (!IsName(each.name)) {
      return Bad(absl::StrFormat("the name of threshold %d is not 1 to %d bytes of printable text", i, kMaxNameBytes));
    }
    if (!names.insert(each.name).second) return Bad(absl::StrFormat("two thresholds have the name \"%s\"", each.name));
    if (!each.figure) return Bad(absl::StrFormat("threshold \"%s\" has no figure", each.name));
    const HysteresisBounds& bounds = each.bounds;
    if (!std::isfinite(bounds.raise_above) || !std::isfinite(bounds.clear_below) || bounds.clear_below > bounds.raise_above) {
      return Bad(absl::StrFormat("threshold \"%s\": raise_above is %g, clear_below %g, which must not be above it", each.name,
                                 bounds.raise_above, bounds.clear_below));
    }
    if (bounds.raise_after < 1 || bounds.clear_after < 1) {
      return Bad(absl::StrFormat("threshold \"%s\": raise_after is %d, clear_after %d; 1 at least", each.name,
                                 bounds.raise_after, bounds.clear_after));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const HealthWatchOptions& options) {
  if (options.period < kShortestPeriod || options.period > kLongestPeriod) return Bad("period is not between 10 ms and 1 h");
  if (options.line_interval < std::chrono::milliseconds(0) || options.line_interval > std::chrono::hours(24)) {
    return Bad("line_interval is not between 0 and 24 h");
  }
  if (options.tiers.size() > HealthWatchOptions::kMaxTiers) {
    return Bad(absl::StrFormat("%d tiers; %d at most", options.tiers.size(), HealthWatchOptions::kMaxTiers));
  }
  size_t rows = 0;
  for (const HistoryTier& each : options.tiers) {
    if (each.samples < 1 || each.samples > kMaxSamplesPerRow || each.rows < 1 || each.rows > HealthWatchOptions::kMaxRows) {
      return Bad(absl::StrFormat("a tier has %d rows of %d samples: 1 to %d rows, 1 to %d samples", each.rows, each.samples,
                                 HealthWatchOptions::kMaxRows, kMaxSamplesPerRow));
    }
    rows += each.rows;
  }
  if (rows > HealthWatchOptions::kMaxRows) {
    return Bad(absl::StrFormat("the tiers have %d rows; %d at most", rows, HealthWatchOptions::kMaxRows));
  }
  if (!options.read) return Bad("read is empty");
  return CheckThresholds(options.thresholds);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HealthWatch>> HealthWatch::Start(HealthWatchOptions options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (!options.on_line) options.on_line = &PrintLine;
  const HealthReading begin = options.read();
  std::unique_ptr<HealthWatch> watch(new HealthWatch(std::move(options), begin));
  try {
    watch->thread_ = std::thread([watch = watch.get()] { watch->Run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrFormat("health watch: no thread could be made: %s", error.what()));
  }
  return watch;
}

HealthWatch::HealthWatch(HealthWatchOptions options, const HealthReading& begin)
    : options_(std::move(options)), clock_(options_.clock != nullptr ? *options_.clock : system_clock_), newest_(begin) {
  for (const HistoryTier& each : options_.tiers) histories_.emplace_back(each, begin);
  for (const Threshold& each : options_.thresholds) {
    watched_.push_back({.hysteresis = Hysteresis(each.bounds), .status = {.name = each.name, .bounds = each.bounds}});
  }
}

HealthWatch::~HealthWatch() { Stop(); }

void HealthWatch::Stop() {
  stopping_.store(true, std::memory_order_release);
  clock_.Wake();
  if (std::this_thread::get_id() == watch_thread_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void HealthWatch::Run() {
  pthread_setname_np(pthread_self(), "health-watch");
  watch_thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  const nanoseconds period = options_.period;
  for (nanoseconds next = clock_.Now() + period;; next += period) {
    clock_.WaitUntil(next);
    if (stopping_.load(std::memory_order_acquire)) return;
    Sample();
    // At multiples of the period, whatever a sample takes.
    const int64_t late = (clock_.Now() - next) / period;
    if (late <= 0) continue;
    missed_samples_.fetch_add(static_cast<uint64_t>(late), std::memory_order_relaxed);
    next += late * period;
  }
}

void HealthWatch::Sample() {
  const HealthReading reading = options_.read();
  newest_.Add(reading);
  const HealthRow row = newest_.Take();
  {
    const std::lock_guard lock(mutex_);
    for (History& each : histories_) each.Add(reading);
  }
  for (size_t i = 0; i < watched_.size(); ++i) {
    const Threshold& threshold = options_.thresholds[i];
    Watched& watched = watched_[i];
    const std::optional<double> value = ValueOf(threshold, reading, row);
    const bool is_changed = watched.hysteresis.Add(value);
    const bool raised = watched.hysteresis.raised();
    {
      const std::lock_guard lock(mutex_);
      watched.status.value = value;
      if (is_changed) {
        watched.status.raised = raised;
        watched.status.since = reading.time;
        watched.status.raises += raised ? 1 : 0;
      }
    }
    if (is_changed) Note(threshold, {threshold.name, raised, *value, reading.time}, watched);
    WriteLine(threshold, clock_.Now(), watched);
  }
  samples_.fetch_add(1, std::memory_order_relaxed);
}

std::optional<double> HealthWatch::ValueOf(const Threshold& threshold, const HealthReading& reading, const HealthRow& row) {
  try {
    const std::optional<double> value = threshold.figure(reading, row);
    return value && std::isfinite(*value) ? value : std::nullopt;
  } catch (...) {
    failed_calls_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
}

void HealthWatch::Note(const Threshold& threshold, const ThresholdChange& change, Watched& watched) {
  watched.held_back = change;
  watched.held_back_since = clock_.Now();
  ++watched.untold;
  const auto& callback = change.raised ? threshold.on_raise : threshold.on_clear;
  if (!callback) return;
  try {
    callback(change);
  } catch (...) {
    failed_calls_.fetch_add(1, std::memory_order_relaxed);
  }
}

void HealthWatch::WriteLine(const Threshold& threshold, nanoseconds now, Watched& watched) {
  if (!watched.held_back || (watched.last_line && now - *watched.last_line < options_.line_interval)) return;
  const ThresholdChange change = *std::exchange(watched.held_back, std::nullopt);
  const HysteresisBounds& bounds = threshold.bounds;
  std::string text =
      change.raised ? absl::StrFormat("%s is %g: above %g %d times in a row", threshold.name, change.value, bounds.raise_above,
                                      bounds.raise_after)
                    : absl::StrFormat("%s is %g: below %g again, %d times in a row", threshold.name, change.value,
                                      bounds.clear_below, bounds.clear_after);
  const int64_t age = std::chrono::duration_cast<std::chrono::seconds>(now - watched.held_back_since).count();
  if (age > 0) absl::StrAppendFormat(&text, ", %d s ago", age);
  const uint64_t changes = std::exchange(watched.untold, 0);
  if (changes > 1) absl::StrAppendFormat(&text, "; the last of %d changes since the line before", changes);
  watched.last_line = now;
  try {
    options_.on_line(change.raised ? WatchLineLevel::kWarning : WatchLineLevel::kInfo, text);
  } catch (...) {
    failed_calls_.fetch_add(1, std::memory_order_relaxed);
  }
}

std::vector<HealthWatch::Tier> HealthWatch::history() const {
  std::vector<Tier> tiers;
  const std::lock_guard lock(mutex_);
  for (const History& each : histories_) tiers.push_back({each.tier(), each.rows()});
  return tiers;
}

std::vector<ThresholdStatus> HealthWatch::thresholds() const {
  std::vector<ThresholdStatus> statuses;
  const std::lock_guard lock(mutex_);
  for (const Watched& each : watched_) statuses.push_back(each.status);
  return statuses;
}

}  // namespace fiberscope::server
