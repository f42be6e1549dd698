// Holds threads until a test lets them go.
#ifndef FIBERSCOPE_TESTS_SERVER_HTTP_GATE_H_
#define FIBERSCOPE_TESTS_SERVER_HTTP_GATE_H_

#include <condition_variable>
#include <mutex>

namespace fiberscope::testing {

// Thread-safe. Blocks the thread.
class Gate {
 public:
  // Waits until the gate is open, for ever after.
  void Pass() {
    std::unique_lock lock(mutex_);
    ++entered_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }

  // Comes to the gate, and does not wait.
  void Enter() {
    const std::lock_guard lock(mutex_);
    ++entered_;
    changed_.notify_all();
  }

  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

  // Until `count` threads have come to the gate.
  void AwaitEntered(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_ >= count; });
  }

  bool is_open() const {
    const std::lock_guard lock(mutex_);
    return open_;
  }

  int entered() const {
    const std::lock_guard lock(mutex_);
    return entered_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int entered_ = 0;
  bool open_ = false;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_SERVER_HTTP_GATE_H_
