// A few threads that run handlers, and a short queue in front of them.
//
// Thread-safe but for Start() and Join(). Resource.
#ifndef FIBERSCOPE_SERVER_HTTP_WORK_POOL_H_
#define FIBERSCOPE_SERVER_HTTP_WORK_POOL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"

namespace fiberscope::server {

class WorkPool {
 public:
  // `name` is that of the threads, 15 bytes at most. At most `max_threads` jobs run at a time.
  WorkPool(const char* name, int max_threads, size_t queue_limit)
      : name_(name), max_threads_(static_cast<size_t>(max_threads)), queue_limit_(queue_limit) {}
  ~WorkPool() { Join(); }
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // Makes `threads` of the threads now; the others are made by the Submit() that has no use for any that exist, and inherit that
  // thread's signal mask. kResourceExhausted, naming the limit, when one cannot be made; those that were made have ended.
  absl::Status Start(int threads);

  // Runs `job`, which does not throw, on one of the threads. False, and `job` is untouched: all threads are busy and the queue is
  // full, or the pool is closed, or no first thread could be made.
  bool Submit(std::function<void()>& job);

  // No more jobs are taken; those in the queue still run.
  void Close();
  // Close(), and wait until all jobs are done. Idempotent. Not from a job, and not on two threads at once.
  void Join();

  // Whether the caller is one of the pool's threads.
  bool OnPoolThread() const;

 private:
  void Run();
  void AddThread();  // throws std::system_error

  const char* const name_;
  const size_t max_threads_;
  const size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;    // GUARDED_BY(mutex_)
  size_t unfinished_ = 0;                      // GUARDED_BY(mutex_): jobs in the queue or running
  bool closed_ = false;                        // GUARDED_BY(mutex_)
  std::vector<std::thread::id> ids_;           // GUARDED_BY(mutex_): of threads_, which Join() changes
  std::vector<std::thread> threads_;           // GUARDED_BY(mutex_) until closed_; then owned by whoever calls Join()
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_WORK_POOL_H_
