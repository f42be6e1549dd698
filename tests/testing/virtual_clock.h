// Time that passes when the test says so.
#ifndef FIBERSCOPE_TESTS_TESTING_VIRTUAL_CLOCK_H_
#define FIBERSCOPE_TESTS_TESTING_VIRTUAL_CLOCK_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "server/watch/watch_clock.h"

namespace fiberscope::testing {

// Thread-safe. Begins at 0.
class VirtualClock : public server::WatchClock {
 public:
  std::chrono::nanoseconds Now() override {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  void WaitUntil(std::chrono::nanoseconds when) override {
    std::unique_lock lock(mutex_);
    if (is_woken_ || when <= now_) return;
    until_ = when;
    is_waiting_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !is_waiting_ || is_woken_; });
    is_waiting_ = false;
  }
  void Wake() override {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
    changed_.notify_all();
  }

  // Lets time pass, step by step: at each time that is waited for, the thread that waits goes on until it waits again. Blocks until
  // it waits for a later time than what it is in the end; so there must be such a thread, that does not end.
  void Advance(std::chrono::nanoseconds by) {
    std::unique_lock lock(mutex_);
    const std::chrono::nanoseconds end = now_ + by;
    for (;;) {
      changed_.wait(lock, [this] { return is_waiting_ || is_woken_; });
      if (is_woken_ || until_ > end) break;
      now_ = std::max(now_, until_);
      is_waiting_ = false;
      changed_.notify_all();
    }
    now_ = std::max(now_, end);
  }
  // Time that passes while the other thread is busy.
  void Jump(std::chrono::nanoseconds by) {
    const std::lock_guard lock(mutex_);
    now_ += by;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::nanoseconds now_{0};
  std::chrono::nanoseconds until_{0};
  bool is_waiting_ = false;
  bool is_woken_ = false;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_VIRTUAL_CLOCK_H_
