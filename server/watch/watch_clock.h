// The time as a watch sees it, and how it waits: the system's, or a test's own.
#ifndef FIBERSCOPE_SERVER_WATCH_WATCH_CLOCK_H_
#define FIBERSCOPE_SERVER_WATCH_WATCH_CLOCK_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace fiberscope::server {

// Thread-safe. One thread waits.
class WatchClock {
 public:
  virtual ~WatchClock() = default;
  // Never goes back.
  virtual std::chrono::nanoseconds Now() = 0;
  // Blocks the thread until `when`, or until Wake() was called.
  virtual void WaitUntil(std::chrono::nanoseconds when) = 0;
  // Ends the wait, now and whenever.
  virtual void Wake() = 0;
};

class SystemWatchClock : public WatchClock {
 public:
  std::chrono::nanoseconds Now() override { return std::chrono::steady_clock::now().time_since_epoch(); }
  void WaitUntil(std::chrono::nanoseconds when) override {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, std::chrono::steady_clock::time_point(when), [this] { return is_woken_; });
  }
  void Wake() override {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_woken_ = false;  // GUARDED_BY(mutex_)
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_WATCH_CLOCK_H_
