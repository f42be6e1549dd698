#include "runtime/cpu_profiler.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "runtime/cpu_sampler.h"
#include "runtime/process_threads.h"
#include "runtime/trace/trace_samples.h"
#include "runtime/trace/trace_writer.h"
#include "runtime/unwind/stack_table.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope {

using internal::CpuSample;
using internal::CpuSampler;

namespace {

constexpr std::chrono::milliseconds kScanInterval{100};
// A ring has room for 64 samples; it is emptied when a busy thread can have filled a quarter.
constexpr int kSamplesPerDrain = 16;

std::chrono::nanoseconds ClockNow(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// One profile at a time. Held by Start() and fork() shortly.
constinit std::mutex g_mutex;
constinit bool g_in_use = false;  // GUARDED_BY(g_mutex)

// The signal mask of the thread that forks. Written by it alone: under g_mutex.
sigset_t g_mask_before_fork;

void BeforeFork() {
  g_mutex.lock();
  sigset_t profiling;
  sigemptyset(&profiling);
  sigaddset(&profiling, SIGPROF);
  pthread_sigmask(SIG_BLOCK, &profiling, &g_mask_before_fork);
}

void AfterForkInParent() {
  pthread_sigmask(SIG_SETMASK, &g_mask_before_fork, nullptr);
  g_mutex.unlock();
}

void AfterForkInChild() {
  g_in_use = false;
  CpuSampler::ForgetAll();
  pthread_sigmask(SIG_SETMASK, &g_mask_before_fork, nullptr);
  g_mutex.unlock();
}

void InstallForkHandlers() {
  static const int installed = pthread_atfork(&BeforeFork, &AfterForkInParent, &AfterForkInChild);
  (void)installed;  // ENOMEM: fork() then begins anew at signals, and gets through in the end
}

absl::Status Take() {
  const std::lock_guard lock(g_mutex);
  if (g_in_use) return absl::AlreadyExistsError("cpu profiling already in use");
  if (absl::Status status = internal::TakeProfilingSignal(); !status.ok()) return status;
  g_in_use = true;
  return absl::OkStatus();
}

void GiveBack() {
  const std::lock_guard lock(g_mutex);
  g_in_use = false;
}

}  // namespace

class CpuProfiler::Impl {
 public:
  explicit Impl(int hz)
      : period_(std::chrono::nanoseconds(1'000'000'000 / hz)),
        drain_interval_(std::min<std::chrono::nanoseconds>(kScanInterval, period_ * kSamplesPerDrain)),
        owner_(getpid()) {}

  ~Impl() {
    if (thread_.joinable()) Finish();
  }

  // The caller has taken g_in_use.
  absl::Status Start() {
    UnwindTable::Refresh();
    profile_.start = std::chrono::system_clock::now();
    profile_.period = period_;
    start_ = std::chrono::steady_clock::now();
    process_cpu_start_ = ClockNow(CLOCK_PROCESS_CPUTIME_ID);
    try {
      // Leaves signals to the application; but for SIGPROF, so that it is in the profile like all threads.
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      sigdelset(&all, SIGPROF);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      thread_ = std::thread([this] { Run(); });
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("start of the profiler's thread: %s (limits: RLIMIT_NPROC, cgroup pids.max)", error.code().message()));
    }
    pthread_setname_np(thread_.native_handle(), "cpu-profiler");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return scanned_; });
    if (profile_.threads > 0) return absl::OkStatus();
    lock.unlock();
    Finish();
    return absl::ResourceExhaustedError("no thread can be profiled: /proc/self/task is not readable, or there are no timers "
                                        "(RLIMIT_SIGPENDING)");
  }

  CpuProfile Stop() {
    if (thread_.joinable()) Finish();
    return std::exchange(profile_, {});
  }

  // Not in the process that it was started in: its thread and timers are there.
  bool is_of_parent() const { return owner_ != getpid(); }

 private:
  void Finish() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    profile_.duration = std::chrono::steady_clock::now() - start_;
    profile_.process_cpu = ClockNow(CLOCK_PROCESS_CPUTIME_ID) - process_cpu_start_;
    MakeSamples();
  }

  void Run() {
    ScanThreads(/*first=*/true);
    std::unique_lock lock(mutex_);
    scanned_ = true;
    changed_.notify_all();
    for (auto scan_at = std::chrono::steady_clock::now() + kScanInterval; !stopping_;) {
      changed_.wait_for(lock, drain_interval_, [this] { return stopping_; });
      lock.unlock();
      UnwindTable::Refresh();  // code may have been loaded
      if (const auto now = std::chrono::steady_clock::now(); now >= scan_at) {
        ScanThreads(/*first=*/false);
        scan_at = now + kScanInterval;
      }
      for (const auto& [id, sampler] : samplers_) DrainOne(*sampler);
      lock.lock();
    }
    lock.unlock();
    for (const auto& [id, sampler] : samplers_) End(*sampler);
    samplers_.clear();
  }

  void ScanThreads(bool first) {
    absl::flat_hash_map<int, CpuSampler*> before = std::exchange(samplers_, {});
    for (const int id : ThreadIds()) {
      const auto known = before.find(id);
      if (known != before.end() && !known->second->ThreadHasEnded()) {
        samplers_.insert(*known);
        before.erase(known);
      } else {
        AddThread(id, first);
      }
    }
    for (const auto& [id, sampler] : before) End(*sampler);
  }

  void AddThread(int id, bool first) {
    CpuSampler* const sampler = CpuSampler::Acquire();
    std::uniform_int_distribution<int64_t> part(1, period_.count());
    const int error = sampler == nullptr ? EAGAIN : sampler->Open(id, std::chrono::nanoseconds(part(random_)), period_);
    if (error == 0) {
      samplers_.emplace(id, sampler);
      ++profile_.threads;
      if (!first) profile_.unseen += sampler->ThreadCpu();
      return;
    }
    if (sampler != nullptr) sampler->Release();
    // Of a thread that has just ended there is nothing to say.
    if (error != ESRCH && error != EINVAL) ++profile_.refused_threads;
  }

  void End(CpuSampler& sampler) {
    sampler.Close();
    DrainOne(sampler);
    sampler.Release();
  }

  void DrainOne(CpuSampler& sampler) {
    sampler.Drain([this, &sampler](const CpuSample& sample) {
      Add(sample);
      if (internal::TraceOn()) AddToTrace(sample, sampler.thread_id());
    });
    profile_.lost += static_cast<int64_t>(sampler.TakeLost());
  }

  void Add(const CpuSample& sample) {
    profile_.count += sample.weight;
    ++profile_.signals;
    if (sample.truncated) profile_.truncated += sample.weight;
    const uint32_t stack = stacks_.Insert(std::span(sample.pcs).first(sample.depth), sample.truncated);
    if (stack == StackTable::kNone) profile_.lost += sample.weight;
    // The first sample with these labels keeps its reference, so that the pointer stays theirs; later ones give theirs back.
    const Labels labels = Labels::Adopt(sample.labels);
    if (sample.labels != nullptr) labels_.try_emplace(sample.labels, labels);
    if (stack != StackTable::kNone) counts_[{stack, sample.labels}] += sample.weight;
  }

  static void AddToTrace(const CpuSample& sample, int thread_id) {
    internal::AddTraceSample({.time = static_cast<uint64_t>(sample.time_ns) / internal::kTraceNsPerTick,
                              .thread = static_cast<uint64_t>(thread_id),
                              .processor = sample.processor,
                              .fiber = sample.fiber},
                             std::span(sample.pcs).first(sample.depth));
  }

  void MakeSamples() {
    profile_.samples.reserve(counts_.size());
    for (const auto& [key, count] : counts_) {
      const auto& [stack, labels] = key;
      CpuSamples& samples = profile_.samples.emplace_back();
      const std::span<const uintptr_t> pcs = stacks_.Get(stack).pcs;
      samples.stack.assign(pcs.begin(), pcs.end());
      if (!samples.stack.empty()) ++samples.stack.front();
      const std::span<const Label> pairs = Labels::PairsOf(labels);
      samples.labels.assign(pairs.begin(), pairs.end());
      samples.count = count;
    }
    counts_.clear();
    labels_.clear();
  }

  const std::chrono::nanoseconds period_;
  const std::chrono::nanoseconds drain_interval_;
  const pid_t owner_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::nanoseconds process_cpu_start_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool scanned_ = false;   // GUARDED_BY(mutex_)
  bool stopping_ = false;  // GUARDED_BY(mutex_)
  std::thread thread_;

  // The rest is the thread's while it runs.
  CpuProfile profile_;
  absl::flat_hash_map<int, CpuSampler*> samplers_;  // by thread id
  StackTable stacks_{UnwindTable::Refresh()};
  absl::flat_hash_map<std::pair<uint32_t, internal::LabelsRep*>, int64_t> counts_;
  absl::flat_hash_map<internal::LabelsRep*, Labels> labels_;
  std::minstd_rand random_{std::random_device()()};
};

absl::StatusOr<std::unique_ptr<CpuProfiler>> CpuProfiler::Start(const CpuProfilerOptions& options) {
  if (options.hz < 1 || options.hz > CpuProfilerOptions::kMaxHz) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cpu profile: %d samples per second; 1 to %d are possible", options.hz, CpuProfilerOptions::kMaxHz));
  }
  InstallForkHandlers();
  if (absl::Status status = Take(); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(options.hz);
  if (absl::Status status = impl->Start(); !status.ok()) {
    impl.reset();
    GiveBack();
    return status;
  }
  return std::unique_ptr<CpuProfiler>(new CpuProfiler(std::move(impl)));
}

CpuProfiler::CpuProfiler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CpuProfiler::~CpuProfiler() { Stop(); }

CpuProfile CpuProfiler::Stop() {
  if (impl_ == nullptr) return {};
  if (impl_->is_of_parent()) {
    (void)impl_.release();  // its locks may be held, and its thread is not here to be joined
    return {};
  }
  CpuProfile profile = impl_->Stop();
  impl_.reset();
  GiveBack();
  return profile;
}

}  // namespace fiberscope
