#include "server/http/work_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

namespace fiberscope::server {

absl::Status WorkPool::Start(int threads) {
  try {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Run(); });
      pthread_setname_np(threads_.back().native_handle(), "dbg-work");
    }
  } catch (const std::system_error& error) {
    Join();
    return absl::ResourceExhaustedError(
        absl::StrFormat("debug server: start of work thread %d of %d: %s (limits: RLIMIT_NPROC, cgroup pids.max)",
                        threads_.size() + 1, threads, error.code().message()));
  }
  return absl::OkStatus();
}

bool WorkPool::Submit(std::function<void()>& job) {
  {
    const std::lock_guard lock(mutex_);
    // A queued job that an idle thread is about to take does not count against the limit.
    if (closed_ || queue_.size() >= queue_limit_ + idle_) return false;
    queue_.push_back(std::move(job));
  }
  changed_.notify_one();
  return true;
}

void WorkPool::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

void WorkPool::Join() {
  Close();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool WorkPool::OnPoolThread() const {
  return std::ranges::any_of(threads_,
                             [](const std::thread& thread) { return thread.get_id() == std::this_thread::get_id(); });
}

void WorkPool::Run() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ++idle_;
      changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      --idle_;
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
  }
}

}  // namespace fiberscope::server
