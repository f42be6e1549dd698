#include "runtime/flight_recorder.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "runtime/execution_trace.h"
#include "runtime/flight_triggers.h"
#include "runtime/trace/tracer.h"
#include "runtime/trace_sources.h"

namespace fiberscope {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{100};
constexpr std::chrono::seconds kGeneration{1};
constexpr uint64_t kMinBytes = 64 << 10;
// A generation is ended early when it is a quarter of what may be kept.
constexpr uint64_t kGenerationsKept = 4;

absl::Status Check(const FlightRecorderOptions& options) {
  using std::chrono::nanoseconds;
  if (options.min_age < std::chrono::milliseconds(1) || options.min_age > std::chrono::hours(1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("flight recorder: min_age is %d ns, not between 1 ms and 1 h", options.min_age.count()));
  }
  if (options.max_bytes < kMinBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("flight recorder: max_bytes is %d, less than 64 KiB", options.max_bytes));
  }
  if (options.slow_task < nanoseconds(0) || options.min_interval < nanoseconds(0)) {
    return absl::InvalidArgumentError(absl::StrFormat("flight recorder: slow_task is %d ns and min_interval %d ns; 0 is none",
                                                      options.slow_task.count(), options.min_interval.count()));
  }
  return absl::OkStatus();
}

}  // namespace

class FlightRecorder::Impl {
 public:
  explicit Impl(FlightRecorderOptions options) : options_(std::move(options)) {}

  ~Impl() {
    if (getpid() != owner_) {  // a fork's child does not have the thread
      if (thread_.joinable()) thread_.detach();
      return;
    }
    StopListening();
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  absl::Status Start() {
    absl::StatusOr<std::unique_ptr<internal::Tracer>> tracer = internal::Tracer::Start(internal::TraceSources());
    if (!tracer.ok()) return tracer.status();
    tracer_ = *std::move(tracer);
    try {
      // Leaves signals to the application.
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      thread_ = std::thread([this] { Run(); });
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "start of the flight recorder's thread: %s (limits: RLIMIT_NPROC, cgroup pids.max)", error.code().message()));
    }
    pthread_setname_np(thread_.native_handle(), "flight-rec");
    StartListening();
    return absl::OkStatus();
  }

  TraceGenerations Snapshot() {
    const std::lock_guard lock(tracer_mutex_);
    return tracer_->Look();
  }

  bool Trigger(std::string_view reason) {
    if (!options_.on_snapshot) return false;
    {
      const std::lock_guard lock(mutex_);
      const Clock::time_point now = Clock::now();
      if (triggered_before_ && now - last_trigger_ < options_.min_interval) {
        suppressed_.fetch_add(1, std::memory_order_relaxed);
        return false;
      }
      triggered_before_ = true;
      last_trigger_ = now;
      if (due_.empty()) due_ = reason.empty() ? "triggered" : std::string(reason);
    }
    changed_.notify_all();
    return true;
  }

  uint64_t snapshots() const { return snapshots_.load(std::memory_order_relaxed); }
  uint64_t suppressed() const { return suppressed_.load(std::memory_order_relaxed); }

 private:
  // The recorder of the process, for g_flight_trigger.
  struct Listener {
    std::mutex mutex;
    Impl* recorder = nullptr;  // GUARDED_BY(mutex)
  };
  static Listener& TheListener() {
    static Listener& listener = *new Listener;  // fibers may end after static destructors
    return listener;
  }

  static void OnTrigger(std::string_view reason) {
    Listener& listener = TheListener();
    const std::lock_guard lock(listener.mutex);
    if (listener.recorder != nullptr) (void)listener.recorder->Trigger(reason);
  }

  void StartListening() {
    Listener& listener = TheListener();
    {
      const std::lock_guard lock(listener.mutex);
      listener.recorder = this;
    }
    internal::g_flight_trigger.store(&OnTrigger, std::memory_order_release);
    if (!options_.on_snapshot) return;
    if (options_.slow_task.count() > 0) internal::g_slow_task_ns.store(options_.slow_task.count(), std::memory_order_relaxed);
    internal::g_stalls_wanted.store(options_.on_stall, std::memory_order_relaxed);
  }

  void StopListening() {
    internal::g_slow_task_ns.store(INT64_MAX, std::memory_order_relaxed);
    internal::g_stalls_wanted.store(false, std::memory_order_relaxed);
    Listener& listener = TheListener();
    const std::lock_guard lock(listener.mutex);
    listener.recorder = nullptr;
  }

  void Run() {
    Clock::time_point next_cut = Clock::now() + kGeneration;
    for (bool stopping = false; !stopping;) {
      std::string reason;
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, kLook, [this] { return stopping_ || !due_.empty(); });
        stopping = stopping_;
        reason = std::exchange(due_, {});
      }
      if (options_.heap_bytes) ExecutionTrace::NoteHeapBytes(options_.heap_bytes());
      if (!reason.empty()) {
        const FlightSnapshot snapshot = {.reason = std::move(reason), .generations = Snapshot()};
        snapshots_.fetch_add(1, std::memory_order_relaxed);
        options_.on_snapshot(snapshot);
      }
      const bool is_large = internal::TraceBytesBeingRecorded() > options_.max_bytes / kGenerationsKept;
      const std::lock_guard lock(tracer_mutex_);
      if (Clock::now() >= next_cut || is_large) {
        tracer_->Cut();
        next_cut = Clock::now() + kGeneration;
      }
      tracer_->Trim(options_.max_bytes, options_.min_age);
    }
  }

  const FlightRecorderOptions options_;
  const pid_t owner_ = getpid();

  std::mutex tracer_mutex_;
  std::unique_ptr<internal::Tracer> tracer_;  // GUARDED_BY(tracer_mutex_), once the thread runs

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                  // GUARDED_BY(mutex_)
  std::string due_;                        // GUARDED_BY(mutex_): the reason for a snapshot
  bool triggered_before_ = false;          // GUARDED_BY(mutex_)
  Clock::time_point last_trigger_;         // GUARDED_BY(mutex_)

  std::atomic<uint64_t> snapshots_{0};
  std::atomic<uint64_t> suppressed_{0};
  std::thread thread_;
};

namespace {

constinit std::atomic<bool> g_in_use{false};

}  // namespace

absl::StatusOr<std::unique_ptr<FlightRecorder>> FlightRecorder::Start(FlightRecorderOptions options) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  if (g_in_use.exchange(true, std::memory_order_acquire)) {
    return absl::AlreadyExistsError("flight recorder: the process has one already");
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  absl::Status status = impl->Start();
  if (status.ok()) return std::unique_ptr<FlightRecorder>(new FlightRecorder(std::move(impl)));
  impl = nullptr;
  g_in_use.store(false, std::memory_order_release);
  return status;
}

FlightRecorder::FlightRecorder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

FlightRecorder::~FlightRecorder() {
  impl_ = nullptr;
  g_in_use.store(false, std::memory_order_release);
}

TraceGenerations FlightRecorder::Snapshot() { return impl_->Snapshot(); }
bool FlightRecorder::Trigger(std::string_view reason) { return impl_->Trigger(reason); }
uint64_t FlightRecorder::snapshots() const { return impl_->snapshots(); }
uint64_t FlightRecorder::suppressed() const { return impl_->suppressed(); }

}  // namespace fiberscope
