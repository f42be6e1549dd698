#include "server/http/work_pool.h"

#include <pthread.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

namespace fiberscope::server {

absl::Status WorkPool::Start(int threads) {
  try {
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < threads; ++i) AddThread();
  } catch (const std::system_error& error) {
    const std::string message =
        absl::StrFormat("start of work thread %d of %d: %s (limits: RLIMIT_NPROC, cgroup pids.max)", threads_.size() + 1, threads,
                        error.code().message());
    Join();
    return absl::ResourceExhaustedError(message);
  }
  return absl::OkStatus();
}

bool WorkPool::Submit(std::function<void()>& job) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || unfinished_ >= max_threads_ + queue_limit_) return false;
    if (unfinished_ >= threads_.size() && threads_.size() < max_threads_) {
      try {
        AddThread();
      } catch (const std::system_error&) {
        if (threads_.empty()) return false;  // otherwise one that exists takes it later
      }
    }
    queue_.push_back(std::move(job));
    ++unfinished_;
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
  const std::lock_guard lock(mutex_);
  ids_.clear();  // the system may use them again
}

bool WorkPool::OnPoolThread() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(ids_, std::this_thread::get_id()) != ids_.end();
}

void WorkPool::AddThread() {
  threads_.emplace_back([this] { Run(); });
  pthread_setname_np(threads_.back().native_handle(), name_);
  ids_.push_back(threads_.back().get_id());
}

void WorkPool::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::function<void()> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes before the lock is taken
    lock.lock();
    --unfinished_;
  }
}

}  // namespace fiberscope::server
