#include "pprof/line_reader.h"

#include <backtrace.h>
#include <pthread.h>
#include <signal.h>

#include <system_error>

namespace fiberscope::pprof {
namespace {

constexpr uint64_t kEverything = UINT64_MAX;

// Errors mean "no lines here", which the absence of an answer says as well.
void IgnoreError(void*, const char*, int) {}

int AppendFrame(void* data, uintptr_t, const char* file, int line, const char* function) {
  if (file == nullptr && function == nullptr) return 0;
  static_cast<std::vector<SourceFrame>*>(data)->push_back({
      .function = function == nullptr ? "" : function,
      .file = file == nullptr ? "" : file,
      .line = line,
  });
  return 0;
}

std::vector<SourceFrame> LookupIn(backtrace_state* state, uintptr_t pc) {
  std::vector<SourceFrame> frames;
  backtrace_pcinfo(state, pc, AppendFrame, IgnoreError, &frames);
  return frames;
}

// Null when out of memory.
backtrace_state* ReadAllObjects() {
  // No file name: libbacktrace then opens /proc/self/exe, which works for a deleted binary too.
  backtrace_state* state = backtrace_create_state(nullptr, /*threaded=*/1, IgnoreError, nullptr);
  // The objects are read at the first question, so ask one.
  if (state != nullptr) LookupIn(state, reinterpret_cast<uintptr_t>(&ReadAllObjects));
  return state;
}

// The application's signals are for its own threads: a handler that counts on running on one of them, or sigwait(),
// must not find them taken away by ours. A thread inherits the mask of its creator.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

LineReader::~LineReader() {
  if (thread_.joinable()) thread_.join();
}

void LineReader::Request(uint64_t added) {
  std::lock_guard lock(mutex_);
  if (added <= requested_) return;
  requested_ = added;
  if (running_) return;                    // it looks at requested_ again before it ends
  if (thread_.joinable()) thread_.join();  // has ended, or is about to
  AllSignalsBlocked block;
  try {
    thread_ = std::thread(&LineReader::Run, this);
    running_ = true;
    reading_.store(true, std::memory_order_release);
  } catch (const std::system_error&) {
    requested_ = 0;  // no thread to be had at the moment: the next request tries again
  }
}

bool LineReader::WaitFor(uint64_t added, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return IsSettled(added) || !running_; });
  // Of a symbolizer that lives as long as the process nobody else would wait for the thread's end, and it counts as leaked.
  if (!running_ && thread_.joinable()) thread_.join();
  return IsSettled(added);
}

std::vector<SourceFrame> LineReader::Lookup(uintptr_t pc, uint64_t added) const {
  const Reading* reading = newest_.load(std::memory_order_acquire);
  if (reading == nullptr || reading->added < added) return {};
  return LookupIn(reading->state, pc);
}

void LineReader::Run() {
  pthread_setname_np(pthread_self(), "dbg-symbols");
  std::unique_lock lock(mutex_);
  while (!IsSettled(requested_)) {
    const uint64_t added = requested_;
    lock.unlock();
    backtrace_state* state = ReadAllObjects();
    lock.lock();
    if (state != nullptr) newest_.store(&readings_.emplace_back(Reading{state, added}), std::memory_order_release);
    const bool is_last = state == nullptr || readings_.size() == kMaxReadings;
    settled_.store(is_last ? kEverything : added, std::memory_order_release);
    changed_.notify_all();
  }
  running_ = false;
  reading_.store(false, std::memory_order_release);
  changed_.notify_all();
}

}  // namespace fiberscope::pprof
