// Structured logs: a message and typed fields, and with each line by itself where it comes from: time, level, place in the code,
// fiber, request, trace, labels.
//
//   absl::StatusOr<std::unique_ptr<log::Log>> log = log::Log::Start({.level = log::Level::kInfo});
//   log::SetDefault(log->get());
//   ...
//   log::Info("order placed", {{"order", 7}, {"ms", 1.5}});
//
//   {"ts":"2026-11-27T22:31:00.123456789Z","level":"info","caller":"shop/orders.cc:41","msg":"order placed","order":7,
//    "ms":1.5,"fiber":1699,"request_id":"0192e4a7-...","trace_id":"4bf9...","span_id":"00f0...","labels":{"route":"/order"}}
//
// A component that shall have a level of its own logs by a Logger with its name (levels.h). encode.h says what lines look like.
// Where they go is spdlog's: any of its sinks, with rotation, by day, syslog.
//
// A line is put together by the caller and handed to a thread that writes it. The caller never waits, neither for the disk nor for
// others who log: when the queue is full the line is dropped and counted, and as soon as there is room a line says how many were.
// Within one fiber lines are written in their order.
#ifndef FIBERSCOPE_SERVER_LOG_LOG_H_
#define FIBERSCOPE_SERVER_LOG_LOG_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/log/encode.h"
#include "server/log/field.h"
#include "server/log/level.h"
#include "server/log/levels.h"
#include "server/log/sampler.h"

namespace spdlog::sinks {
class sink;
}

namespace fiberscope::log {

class Logger;

namespace internal {
// Calls `use` with a copy of the fields. The array that the caller has made is then used by nobody, and so the compiler makes it
// only where the copy is made: behind the question whether the level is on, and not before it.
template <size_t kCount, typename F>
void Keep(const Field (&fields)[kCount], const F& use) {
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    const Field kept[] = {fields[kIndex]...};
    use(std::span<const Field>(kept));
  }(std::make_index_sequence<kCount>());
}
}  // namespace internal

// CLOCK_REALTIME, in ns since 1970.
int64_t RealNowNs();

struct LogOptions {
  Encoding encoding = Encoding::kJson;
  Level level = Level::kInfo;

  // Where lines go: each to all. Only the log's thread uses them, so spdlog's _st sinks do; their formatters are replaced, their
  // levels hold. Empty: standard error.
  std::vector<std::shared_ptr<spdlog::sinks::sink>> sinks = {};

  // Of lines that are not written yet: 64 KiB to 1 GiB, made a power of two. 4 MiB are some 10,000 lines.
  size_t queue_bytes = 4 * 1024 * 1024;

  SamplingOptions sampling = {};  // none

  int64_t (*now_ns)() = &RealNowNs;
};

// Since the log began.
struct LogCounts {
  uint64_t written = 0;      // lines given to the sinks; those that say what was dropped do not count
  uint64_t dropped = 0;      // the queue was full
  uint64_t sampled_out = 0;  // see SamplingOptions
  uint64_t sink_errors = 0;  // a sink threw: it has the line not, or in part
};

// Thread-safe. Resource: neither copied nor moved. Must outlive all that log to it.
class Log {
 public:
  // kInvalidArgument: a sink is null, or queue_bytes out of range. kResourceExhausted: no thread could be made.
  static absl::StatusOr<std::unique_ptr<Log>> Start(LogOptions options);

  // Writes what is queued, then ends the thread. Takes the log back if it is the default one. Blocks the thread as long as sinks
  // do.
  ~Log();

  // For the module of that name; "": the program as a whole.
  Logger logger(std::string_view module = "");
  Levels& levels() { return levels_; }
  const Levels::Module& root() const { return root_; }

  // Waits until all that was logged before is written and flushed. False: it was not within `timeout`. Blocks the thread.
  bool Flush(std::chrono::nanoseconds timeout);

  LogCounts counts() const;

  // What is behind a Logger, for those who bring an interface of their own. Asks no level. Never blocks, never parks. Takes 2 KiB
  // of the stack. Cost: 0.4 us with four fields, within a request; a line after a pause of 5 ms wakes the log's thread besides,
  // 2 us.
  void Write(const Levels::Module& module, Level level, std::string_view message, std::span<const Field> fields,
             std::source_location where);

 private:
  class Writer;
  explicit Log(const LogOptions& options);

  const Encoding encoding_;
  int64_t (*const now_ns_)();
  Levels levels_;
  Levels::Module& root_;
  Sampler sampler_;
  std::atomic<uint64_t> sampled_out_{0};
  std::unique_ptr<Writer> writer_;
};

// Logs for one module. A value, as cheap as two pointers; valid as long as its Log.
//
// Arguments of fields are evaluated whether or not the level is on: ask On() before making anything expensive. Cost of a call whose
// level is off: 1 ns; fields of numbers, literals and views are not even made then.
class Logger {
 public:
  Logger(Log& log, const Levels::Module& module) : log_(&log), module_(&module) {}

  bool On(Level level) const { return module_->On(level); }

  template <size_t kCount>
  void Debug(std::string_view message, const Field (&fields)[kCount],
             std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kDebug, message, fields, where);
  }
  template <size_t kCount>
  void Info(std::string_view message, const Field (&fields)[kCount],
            std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kInfo, message, fields, where);
  }
  template <size_t kCount>
  void Warn(std::string_view message, const Field (&fields)[kCount],
            std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kWarn, message, fields, where);
  }
  template <size_t kCount>
  void Error(std::string_view message, const Field (&fields)[kCount],
             std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kError, message, fields, where);
  }

  void Debug(std::string_view message, std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kDebug, message, where);
  }
  void Info(std::string_view message, std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kInfo, message, where);
  }
  void Warn(std::string_view message, std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kWarn, message, where);
  }
  void Error(std::string_view message, std::source_location where = std::source_location::current()) const {
    WriteIfOn(Level::kError, message, where);
  }

 private:
  template <size_t kCount>
  void WriteIfOn(Level level, std::string_view message, const Field (&fields)[kCount], std::source_location where) const {
    if (On(level)) [[unlikely]] {
      internal::Keep(fields, [&](std::span<const Field> kept) { log_->Write(*module_, level, message, kept, where); });
    }
  }
  void WriteIfOn(Level level, std::string_view message, std::source_location where) const {
    if (On(level)) [[unlikely]] log_->Write(*module_, level, message, {}, where);
  }

  Log* log_;
  const Levels::Module* module_;
};

// Whom the functions below log to; null, as at first: nobody, and the lines are gone. Whoever changes it sees to it that nobody is
// logging by then to the one before, if that one ends.
void SetDefault(Log* log);

namespace internal {
extern std::atomic<Log*> default_log;

template <size_t kCount>
void WriteToDefault(Level level, std::string_view message, const Field (&fields)[kCount], std::source_location where) {
  Log* const log = default_log.load(std::memory_order_acquire);
  if (log == nullptr || !log->root().On(level)) [[likely]] return;
  Keep(fields, [&](std::span<const Field> kept) { log->Write(log->root(), level, message, kept, where); });
}
inline void WriteToDefault(Level level, std::string_view message, std::source_location where) {
  Log* const log = default_log.load(std::memory_order_acquire);
  if (log != nullptr && log->root().On(level)) [[unlikely]] log->Write(log->root(), level, message, {}, where);
}
}  // namespace internal

// For the program as a whole, by the default log.
template <size_t kCount>
void Debug(std::string_view message, const Field (&fields)[kCount], std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kDebug, message, fields, where);
}
template <size_t kCount>
void Info(std::string_view message, const Field (&fields)[kCount], std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kInfo, message, fields, where);
}
template <size_t kCount>
void Warn(std::string_view message, const Field (&fields)[kCount], std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kWarn, message, fields, where);
}
template <size_t kCount>
void Error(std::string_view message, const Field (&fields)[kCount], std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kError, message, fields, where);
}

inline void Debug(std::string_view message, std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kDebug, message, where);
}
inline void Info(std::string_view message, std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kInfo, message, where);
}
inline void Warn(std::string_view message, std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kWarn, message, where);
}
inline void Error(std::string_view message, std::source_location where = std::source_location::current()) {
  internal::WriteToDefault(Level::kError, message, where);
}

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_LOG_H_
