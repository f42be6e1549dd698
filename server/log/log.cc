#include "server/log/log.h"

#include <pthread.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <time.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/clock.h"
#include "runtime/base/futex.h"
#include "runtime/request.h"
#include "runtime/this_fiber.h"
#include "server/log/line_buffer.h"
#include "server/log/line_ring.h"

// How the writer's thread sleeps.
//
// A system call for each line would cost its caller more than the line. So the writer, once woken, looks again after kLinger before
// it sleeps: lines that come meanwhile wake nobody, unless they fill half of the queue.
//
//   kBusy      at work, or has been told to be: it will look at the ring again
//   kLingering sleeps for kLinger at most; woken when much is queued, by Flush(), and at the end
//   kAsleep    sleeps until a line comes
//
// No line is left lying: who logs moves the ring's head, then reads the state; the writer sets the state, then reads the head. All
// four are sequentially consistent, so one of them sees the other.

namespace fiberscope::log {
namespace {

using std::chrono::nanoseconds;

constexpr std::chrono::milliseconds kLinger{5};
constexpr size_t kMinQueueBytes = 64 * 1024;
constexpr size_t kMaxQueueBytes = 1024 * 1024 * 1024;

spdlog::level::level_enum SpdlogLevel(Level level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                   spdlog::level::err};
  return kLevels[static_cast<size_t>(level)];
}

}  // namespace

constinit std::atomic<Log*> internal::default_log{nullptr};

int64_t RealNowNs() { return fiberscope::internal::ReadClockNs(CLOCK_REALTIME); }

void SetDefault(Log* log) { internal::default_log.store(log, std::memory_order_release); }

// The queue and the thread that empties it.
class Log::Writer {
 public:
  Writer(const LogOptions& options) : encoding_(options.encoding), now_ns_(options.now_ns), ring_(options.queue_bytes),
                                      sinks_(options.sinks) {
    if (sinks_.empty()) sinks_.push_back(std::make_shared<spdlog::sinks::stderr_sink_st>());
    // A line as it is, and a line feed.
    for (const auto& sink : sinks_) sink->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
    thread_ = std::thread([this] { Run(); });
    pthread_setname_np(thread_.native_handle(), "log writer");
  }
  ~Writer() {
    stopping_.store(true);
    Wake();
    thread_.join();
  }

  void Put(Level level, std::string_view line) {
    if (!ring_.Put(level, line)) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    const State state = state_.load();
    if (state == kAsleep || (state == kLingering && ring_.put() - ring_.removed() > ring_.capacity() / 2)) Wake();
  }

  bool Flush(nanoseconds timeout) {
    const uint64_t target = ring_.put();
    const int64_t begin_ns = MonotonicNowNs();
    for (;;) {
      const uint32_t round = rounds_.load(std::memory_order_acquire);
      if (flushed_.load(std::memory_order_acquire) >= target) return true;
      const nanoseconds left = timeout - nanoseconds(MonotonicNowNs() - begin_ns);
      if (left <= nanoseconds(0)) return false;
      Wake();
      FutexWaitFor(rounds_, round, left);
    }
  }

  uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  uint64_t sink_errors() const { return sink_errors_.load(std::memory_order_relaxed); }

 private:
  using State = uint32_t;
  static constexpr State kBusy = 0;
  static constexpr State kLingering = 1;
  static constexpr State kAsleep = 2;

  void Wake() {
    if (state_.exchange(kBusy) != kBusy) FutexWake(state_, 1);
  }

  void Run() {
    while (!stopping_.load() || ring_.put() != ring_.removed()) {
      const bool wrote = WriteAll();
      // A line that is being written is as good as one that was.
      Sleep(wrote || ring_.put() != ring_.removed() ? kLingering : kAsleep);
    }
  }

  void Sleep(State how) {
    state_.store(how);
    if (!stopping_.load() && (how == kLingering || ring_.put() == ring_.removed())) {
      if (how == kLingering) {
        FutexWaitFor(state_, how, kLinger);
      } else {
        FutexWait(state_, how);
      }
    }
    state_.store(kBusy);
  }

  // Whether there was anything.
  bool WriteAll() {
    uint64_t lines = 0;
    for (; const std::optional<LineRing::Entry> entry = ring_.Front(); ++lines) {
      ToSinks(entry->level, entry->text);
      ring_.Pop();
      written_.fetch_add(1, std::memory_order_relaxed);
    }
    const bool dropped = ReportDropped();
    if (lines > 0 || dropped) {
      for (const auto& sink : sinks_) {
        Guarded([&] { sink->flush(); });
      }
    }
    // Release: whoever waits in Flush() finds all that the sinks did.
    flushed_.store(ring_.removed(), std::memory_order_release);
    rounds_.fetch_add(1, std::memory_order_release);
    FutexWake(rounds_, INT32_MAX);
    return lines > 0 || dropped;
  }

  bool ReportDropped() {
    const uint64_t dropped = dropped_.load(std::memory_order_relaxed);
    const uint64_t more = dropped - std::exchange(reported_, dropped);
    if (more == 0) return false;
    const Field fields[] = {{"dropped", more}, {"dropped_in_all", dropped}};
    constexpr auto where = std::source_location::current();
    LineBuffer buffer;
    Encode(encoding_,
           {.time_ns = now_ns_(),
            .level = Level::kWarn,
            .logger = "log",
            .file = where.file_name(),
            .line = where.line(),
            .message = "lines were dropped: the queue was full",
            .fields = fields},
           buffer);
    ToSinks(Level::kWarn, buffer.text());
    return true;
  }

  void ToSinks(Level level, std::string_view line) {
    // The times are those in the line; spdlog's would read the clock.
    const spdlog::details::log_msg message(spdlog::log_clock::time_point(), {}, {}, SpdlogLevel(level), {line.data(), line.size()});
    for (const auto& sink : sinks_) {
      Guarded([&] {
        if (sink->should_log(message.level)) sink->log(message);
      });
    }
  }

  // A sink that fails, because the disk is full for instance, takes neither the thread nor the other sinks with it.
  template <typename F>
  void Guarded(F&& use) {
    try {
      use();
    } catch (const std::exception&) {
      sink_errors_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  const Encoding encoding_;
  int64_t (*const now_ns_)();
  LineRing ring_;
  std::atomic<uint64_t> dropped_{0};
  std::atomic<State> state_{kBusy};  // a futex
  std::atomic<bool> stopping_{false};

  // The thread's.
  std::vector<spdlog::sink_ptr> sinks_;
  uint64_t reported_ = 0;               // of those dropped
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> sink_errors_{0};
  std::atomic<uint64_t> flushed_{0};    // how far the ring had been removed when the sinks were flushed
  std::atomic<uint32_t> rounds_{0};     // a futex: changes after flushed_

  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<Log>> Log::Start(LogOptions options) {
  if (std::ranges::find(options.sinks, nullptr) != options.sinks.end()) return absl::InvalidArgumentError("log: a sink is null");
  if (options.queue_bytes < kMinQueueBytes || options.queue_bytes > kMaxQueueBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("log: queue_bytes is %d; 64 KiB to 1 GiB", options.queue_bytes));
  }
  try {
    return std::unique_ptr<Log>(new Log(options));
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrFormat("log: no thread could be made: %s", error.what()));
  }
}

Log::Log(const LogOptions& options)
    : encoding_(options.encoding),
      now_ns_(options.now_ns),
      levels_(options.level),
      root_(levels_.Get("")),
      sampler_(options.sampling),
      writer_(std::make_unique<Writer>(options)) {}

Log::~Log() {
  Log* self = this;
  internal::default_log.compare_exchange_strong(self, nullptr);
}

Logger Log::logger(std::string_view module) { return Logger(*this, levels_.Get(module)); }

bool Log::Flush(nanoseconds timeout) { return writer_->Flush(timeout); }

LogCounts Log::counts() const {
  return {.written = writer_->written(),
          .dropped = writer_->dropped(),
          .sampled_out = sampled_out_.load(std::memory_order_relaxed),
          .sink_errors = writer_->sink_errors()};
}

void Log::Write(const Levels::Module& module, Level level, std::string_view message, std::span<const Field> fields,
                std::source_location where) {
  const int64_t now_ns = now_ns_();
  if (!sampler_.Admit(where, now_ns / 1'000'000'000)) {
    sampled_out_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const Labels labels = this_fiber::labels();
  LineBuffer buffer;
  Encode(encoding_,
         {.time_ns = now_ns,
          .level = level,
          .logger = module.name(),
          .file = where.file_name(),
          .line = where.line(),
          .message = message,
          .fields = fields,
          .fiber = this_fiber::id(),
          .request = this_fiber::request(),
          .labels = labels.pairs()},
         buffer);
  writer_->Put(level, buffer.text());
}

}  // namespace fiberscope::log
