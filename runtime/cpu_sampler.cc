#include "runtime/cpu_sampler.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/tick_clock.h"
#include "runtime/control_block.h"
#include "runtime/current_fiber.h"
#include "runtime/fiber_pool.h"
#include "runtime/stack/stack_memory.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace fiberscope::internal {
namespace {

constexpr size_t kMaxSlots = 1 << 14;  // threads of the process that are profiled at the same time

// A ticket: 16 bits that no program sends by chance, 34 bits of a number that counts timers, 14 bits of the slot.
constexpr uint64_t kMagic = 0xf1be'0000'0000'0000;
constexpr uint64_t kMagicMask = 0xffff'0000'0000'0000;

// Written once each, release; read by handlers, acquire.
constinit std::array<std::atomic<CpuSampler*>, kMaxSlots> g_slots{};
// The rest: of the profiler's thread.
constinit size_t g_slot_count = 0;
constinit uint64_t g_timer_count = 0;

clockid_t CpuClockOf(int thread_id) { return static_cast<clockid_t>(~static_cast<unsigned>(thread_id) << 3 | 6); }

timespec ToTimespec(std::chrono::nanoseconds time) {
  return {.tv_sec = static_cast<time_t>(time.count() / 1'000'000'000), .tv_nsec = static_cast<long>(time.count() % 1'000'000'000)};
}

bool IsOurs(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == CpuSampler::OnSignal;
}

bool IsDefault(const struct sigaction& action) { return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL; }

}  // namespace

absl::Status TakeProfilingSignal() {
  struct sigaction before;
  sigaction(SIGPROF, nullptr, &before);
  if (IsOurs(before)) return absl::OkStatus();
  if (IsDefault(before)) {
    struct sigaction ours = {};
    ours.sa_sigaction = CpuSampler::OnSignal;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigfillset(&ours.sa_mask);
    sigaction(SIGPROF, &ours, nullptr);
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "signal %d (SIGPROF) is %s by the application, or by a library for a profiler of its own (libprofiler and "
      "libtcmalloc_and_profiler take it when they are loaded: link -ltcmalloc instead). It must be SIG_DFL",
      SIGPROF, (before.sa_flags & SA_SIGINFO) == 0 && before.sa_handler == SIG_IGN ? "ignored" : "handled"));
}

CpuSampler* CpuSampler::Acquire() {
  for (size_t i = 0; i < g_slot_count; ++i) {
    CpuSampler* const slot = g_slots[i].load(std::memory_order_relaxed);
    if (!std::exchange(slot->in_use_, true)) return slot;
  }
  if (g_slot_count == kMaxSlots) return nullptr;
  void* const memory = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const slot = new CpuSampler;
  slot->index_ = g_slot_count;
  slot->memory_ = static_cast<Memory*>(memory);  // zeros: of trivial types
  slot->in_use_ = true;
  g_slots[g_slot_count++].store(slot, std::memory_order_release);
  return slot;
}

int CpuSampler::Open(int thread_id, std::chrono::nanoseconds first, std::chrono::nanoseconds period) {
  thread_id_ = thread_id;
  const uint64_t ticket = kMagic | (++g_timer_count << 14 & ~kMagicMask) | index_;
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGPROF;
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(ticket);
  event.sigev_notify_thread_id = thread_id;
  if (timer_create(CpuClockOf(thread_id), &event, &timer_) != 0) return errno;
  ticket_.store(ticket, std::memory_order_seq_cst);
  const itimerspec times = {.it_interval = ToTimespec(period), .it_value = ToTimespec(first)};
  if (timer_settime(timer_, 0, &times, nullptr) == 0) return 0;
  const int error = errno;
  Close();
  return error;
}

bool CpuSampler::ThreadHasEnded() const {
  // The kernel says "disarmed" of a timer whose clock is gone.
  itimerspec left = {};
  if (timer_gettime(timer_, &left) != 0) return true;
  return left.it_interval.tv_sec == 0 && left.it_interval.tv_nsec == 0 && left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0;
}

std::chrono::nanoseconds CpuSampler::ThreadCpu() const {
  timespec used = {};
  if (clock_gettime(CpuClockOf(thread_id_), &used) != 0) return std::chrono::nanoseconds(0);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

void CpuSampler::Close() {
  timer_delete(timer_);
  ticket_.store(0, std::memory_order_seq_cst);
  while (at_work_.load(std::memory_order_seq_cst) != 0) sched_yield();
}

void CpuSampler::Drain(absl::FunctionRef<void(const CpuSample&)> use) {
  uint64_t read = read_.load(std::memory_order_relaxed);
  const uint64_t written = written_.load(std::memory_order_acquire);
  for (; read != written; ++read) {
    use(memory_->ring[read % kRecords]);
    read_.store(read + 1, std::memory_order_release);
  }
}

void CpuSampler::Release() {
  madvise(memory_, sizeof(Memory), MADV_DONTNEED);
  in_use_ = false;
}

void CpuSampler::ForgetAll() {
  for (size_t i = 0; i < g_slot_count; ++i) {
    CpuSampler& slot = *g_slots[i].load(std::memory_order_relaxed);
    slot.ticket_.store(0, std::memory_order_relaxed);
    slot.at_work_.store(0, std::memory_order_relaxed);
    slot.read_.store(slot.written_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    slot.in_use_ = false;
  }
}

void CpuSampler::OnSignal(int, siginfo_t* info, void* context) {
  const auto ticket = reinterpret_cast<uintptr_t>(info->si_value.sival_ptr);
  if (info->si_code != SI_TIMER || (ticket & kMagicMask) != kMagic) return;
  CpuSampler* const slot = g_slots[ticket % kMaxSlots].load(std::memory_order_acquire);
  if (slot == nullptr) return;
  const int saved_errno = errno;
  slot->at_work_.fetch_add(1, std::memory_order_seq_cst);
  if (slot->ticket_.load(std::memory_order_seq_cst) == ticket) {
    slot->Sample(1 + static_cast<uint32_t>(std::max(info->si_overrun, 0)), context);
  }
  slot->at_work_.fetch_sub(1, std::memory_order_release);
  errno = saved_errno;
}

void CpuSampler::Sample(uint32_t weight, const void* context) {
  const uint64_t written = written_.load(std::memory_order_relaxed);
  // Acquire pairs with the release in Drain(): the record has been read.
  if (written - read_.load(std::memory_order_acquire) == kRecords) {
    lost_.fetch_add(weight, std::memory_order_relaxed);
    return;
  }
  CpuSample& sample = memory_->ring[written % kRecords];
  const Registers registers = InterruptedRegisters(context);
  const UnwindTable& table = *UnwindTable::Current();
  UnwindResult walk;
  sample.labels = nullptr;
  sample.time_ns = TickNowNs();
  sample.fiber = 0;
  sample.processor = UINT64_MAX;
  if (ControlBlock* const fiber = FiberPool::Instance().BlockOfStack(registers.sp)) {
    walk = Unwind(table, registers, fiber->stack(), sample.pcs);
    // Only of the fiber that this thread runs: of one that it is about to leave or has just left they may not be ours to take.
    const RunningFiber* const running = CurrentRunningFiber();
    if (running != nullptr && running->fiber.load(std::memory_order_relaxed) == fiber) {
      sample.labels = Labels::AddReference(fiber->labels.load(std::memory_order_relaxed));
      sample.fiber = fiber->id.load(std::memory_order_relaxed);
      sample.processor = running->processor_number.load(std::memory_order_relaxed);
    }
  } else {
    for (const size_t bytes : {kSmallCopy, kLargeCopy}) {
      const StackMemory stack = CopyStack(registers.sp, std::span(memory_->copy).first(bytes));
      walk = Unwind(table, registers, stack, sample.pcs);
      // Did it end where the copy does?
      if (walk.end != UnwindEnd::kBadFrame || stack.bounds.size() < bytes) break;
    }
  }
  sample.weight = weight;
  sample.depth = static_cast<uint16_t>(walk.depth);
  sample.truncated = walk.end != UnwindEnd::kRoot;
  written_.store(written + 1, std::memory_order_release);
}

}  // namespace fiberscope::internal
