#include "runtime/instant.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <optional>
#include <thread>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/futex.h"
#include "runtime/base/process_fence.h"
#include "runtime/fiber_pool.h"
#include "runtime/pause_log.h"
#include "runtime/read_fiber.h"
#include "runtime/saved_registers.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope::internal {

constinit std::atomic<uint32_t> g_instant{0};

namespace {

using Phase = InstantWord::Phase;

constexpr int64_t kMostHeldNs = 1'000'000;
constexpr uint32_t kMostInstants = UINT32_MAX >> 2;  // then the numbers begin again
constexpr size_t kKeptRecordBytes = 64 << 10;        // from one instant to the next

// One after the other in memory that is reserved once: whoever records may neither wait nor allocate.
struct Record {
  size_t bytes = 0;  // to the next one
  FiberSnapshot snapshot;  // without an id: nothing was recorded
  NameBuffer name;
  uint32_t depth = 0;

  uintptr_t* pcs() { return reinterpret_cast<uintptr_t*>(this + 1); }
};

// What an open instant needs. Written before it is raised.
constinit std::mutex g_mutex;
constinit thread_local bool t_has_mutex = false;
constinit std::atomic<int64_t> g_deadline_ns{0};
constinit std::atomic<int64_t> g_now_ns{0};
constinit char* g_records = nullptr;
constinit std::atomic<size_t> g_records_end{0};  // bytes asked for, also in vain
constinit size_t g_records_limit = 0;
// Threads that may be writing records: Close() waits until there is none.
constinit std::atomic<uint32_t> g_recorders{0};
constinit std::atomic<bool> g_lost_one{false};
constinit std::atomic<bool> g_missed_one{false};

InstantWord Load() { return {g_instant.load(std::memory_order_acquire)}; }

// ---- Marks: which fibers of the instant have been taken. A word per block, beside the blocks.

ListingMark& MarkOf(const ControlBlock& block) { return FiberPool::MarkOf(block); }

uint32_t TakenMark(InstantWord instant) { return instant.number() << 1; }
uint32_t WokenMark(InstantWord instant) { return instant.number() << 1 | 1; }

// Acquire and release: whoever finds the mark taken sees that the taker has done with the fiber's stack, and the other way round.
Instant::Taken TakeMark(InstantWord instant, ListingMark& mark) {
  uint32_t seen = mark.load(std::memory_order_acquire);
  while (seen != TakenMark(instant)) {
    if (mark.compare_exchange_weak(seen, TakenMark(instant), std::memory_order_acq_rel)) {
      return seen == WokenMark(instant) ? Instant::Taken::kWokenSince : Instant::Taken::kYes;
    }
  }
  return Instant::Taken::kNo;
}

// ---- Records

Record* NewRecord(size_t frames) {
  const size_t bytes = sizeof(Record) + frames * sizeof(uintptr_t);
  const size_t at = g_records_end.fetch_add(bytes, std::memory_order_relaxed);
  if (at + bytes > g_records_limit) {
    if (at < g_records_limit) *reinterpret_cast<size_t*>(g_records + at) = 0;  // the end of the records
    g_lost_one.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  Record* const record = new (g_records + at) Record;
  record->bytes = bytes;
  return record;
}

// The stack of a fiber that is about to run, as the switch or Blocking() left it. Null: there was no room.
Record* RecordWalked(const ControlBlock& block, FiberState was) {
  const std::optional<Registers> registers = SavedRegisters(block, was);
  if (!registers) return NewRecord(0);
  const StackBounds bounds{registers->sp, block.stack_high};
  const size_t most_frames = block.stack().size() / (2 * sizeof(uintptr_t));
  for (size_t frames = 32;; frames = std::min(frames * 16, most_frames)) {
    Record* const record = NewRecord(frames);
    if (record == nullptr) return nullptr;
    const UnwindResult result = Unwind(*UnwindTable::Current(), *registers, bounds, {record->pcs(), frames});
    if (result.end == UnwindEnd::kBufferFull && frames < most_frames) continue;  // what it took is passed over
    record->depth = static_cast<uint32_t>(result.depth);
    record->snapshot.stack_truncated = result.end != UnwindEnd::kRoot;
    record->snapshot.stack_available = true;
    return record;
  }
}

void Describe(const ControlBlock& block, StateWord word, Record& record) {
  const bool truncated = record.snapshot.stack_truncated;
  const bool available = record.snapshot.stack_available;
  record.snapshot = ReadFiber(block, block.fiber_id(), word, g_now_ns.load(std::memory_order_relaxed), record.name);
  record.snapshot.stack_available = available;
  record.snapshot.stack_truncated = truncated;
}

// While one exists, and is open, the instant is not closed and no other one raised.
class Recorder {
 public:
  // Sequentially consistent, as Close(): either it waits for us, or we see that it has closed.
  explicit Recorder(InstantWord instant) {
    g_recorders.fetch_add(1, std::memory_order_seq_cst);
    const InstantWord now = {g_instant.load(std::memory_order_seq_cst)};
    open_ = now.phase() != Phase::kNone && now.number() == instant.number();
  }
  // Release: the records.
  ~Recorder() { g_recorders.fetch_sub(1, std::memory_order_release); }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  bool open() const { return open_; }

 private:
  bool open_;
};

// A fiber that is about to run, or was when its thread was interrupted. Its owner is the calling thread.
void RecordStanding(InstantWord instant, const ControlBlock& block, FiberState was) {
  // Before the mark is taken: what does not fit is left to the listing.
  Record* const record = RecordWalked(block, was);
  if (record == nullptr) return;
  const Instant::Taken taken = TakeMark(instant, MarkOf(block));
  if (taken == Instant::Taken::kNo || !block.fiber_id()) return;
  if (taken == Instant::Taken::kWokenSince) was = FiberState::kWaiting;
  Describe(block, StateWord::Of(was, block.state.Load().sequence() - 1), *record);
}

void RecordRunning(InstantWord instant, const HeldThread& thread, StateWord word) {
  Record* const record = NewRecord(thread.pcs.size());
  if (record == nullptr || TakeMark(instant, MarkOf(*thread.stands_on)) == Instant::Taken::kNo) return;
  std::ranges::copy(thread.pcs, record->pcs());
  // As a return address, like those of parked fibers: whoever looks it up takes one off.
  if (!thread.pcs.empty()) ++record->pcs()[0];
  record->depth = static_cast<uint32_t>(thread.pcs.size());
  record->snapshot.stack_available = !thread.pcs.empty();
  record->snapshot.stack_truncated = thread.truncated;
  Describe(*thread.stands_on, word, *record);
}

// Never given back; untouched pages cost nothing.
char* RecordMemory() {
  static char* const memory = [] {
    void* const mapped = mmap(nullptr, Instant::kDefaultRecordBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
  }();
  return memory;
}

}  // namespace

// ---- At the gate

void HoldThread(InstantWord instant) {
  for (InstantWord now = Load(); now == instant; now = Load()) {
    const int64_t left_ns = g_deadline_ns.load(std::memory_order_relaxed) - MonotonicNowNs();
    if (left_ns > 0) {
      FutexWaitFor(g_instant, now.bits, std::chrono::nanoseconds(left_ns));
      continue;
    }
    uint32_t expected = now.bits;
    g_instant.compare_exchange_strong(expected, now.In(Phase::kLate).bits, std::memory_order_acq_rel);
    FutexWake(g_instant, INT_MAX);
  }
}

__attribute__((noinline, cold)) void WaitAtGate(ControlBlock& fiber, FiberState was) {
  const int saved_errno = errno;
  InstantWord instant = Load();
  for (; instant.gathering(); instant = Load()) HoldThread(instant);
  if (instant.declared() && MarkOf(fiber).load(std::memory_order_acquire) != TakenMark(instant)) {
    const Recorder recorder(instant);
    if (recorder.open()) RecordStanding(instant, fiber, was);
  }
  errno = saved_errno;
}

// As recorders, so that no later instant is raised in between: its marks must not be overwritten.

__attribute__((noinline, cold)) void MarkAsBorn(ControlBlock& fiber) {
  const InstantWord instant = Load();
  if (!instant.declared()) return;
  const Recorder recorder(instant);
  if (recorder.open()) MarkOf(fiber).store(TakenMark(instant), std::memory_order_release);
}

__attribute__((noinline, cold)) void MarkAsWoken(ControlBlock& fiber) {
  const InstantWord instant = Load();
  if (!instant.declared()) return;
  const Recorder recorder(instant);
  if (!recorder.open()) return;
  ListingMark& mark = MarkOf(fiber);
  uint32_t seen = mark.load(std::memory_order_relaxed);
  // If that fails it has been taken just now: as waiting.
  if (seen != TakenMark(instant)) mark.compare_exchange_strong(seen, WokenMark(instant), std::memory_order_acq_rel);
}

// ---- In the handler

void RecordHeld(InstantWord instant, const HeldThread& thread) {
  const Recorder recorder(instant);
  if (!recorder.open()) return;
  // One that has ended has no id any more; one within Blocking() is as good as parked.
  if (thread.stands_on != nullptr && thread.stands_on->fiber_id()) {
    if (const StateWord word = thread.stands_on->state.Load(); word.running()) RecordRunning(instant, thread, word);
  }
  if (thread.runs == nullptr || thread.runs == thread.stands_on || !thread.runs->state.Load().running()) return;
  if (thread.stands_on != nullptr || thread.on_own_stack) {
    // The switch has begun and not yet left the stack it comes from, or has just left the other one: that one is as it was.
    RecordStanding(instant, *thread.runs, FiberState::kRunnable);
  } else {
    g_missed_one.store(true, std::memory_order_relaxed);
  }
}

void MissFiber(InstantWord instant) {
  const Recorder recorder(instant);
  if (recorder.open()) g_missed_one.store(true, std::memory_order_relaxed);
}

// ---- The listing

Instant::Instant(size_t record_bytes) : lock_(g_mutex, std::defer_lock) {
  FIBERSCOPE_CHECK(!t_has_mutex, "a listing of one instant was begun by the visitor of another one, for which it would wait");
  lock_.lock();
  t_has_mutex = true;
  UnwindTable::Refresh();
  g_records = RecordMemory();
  if (g_records == nullptr || !CanFenceAllThreads()) return;
  g_records_limit = std::min(record_bytes, kDefaultRecordBytes) / alignof(Record) * alignof(Record);
  g_records_end.store(0, std::memory_order_relaxed);
  g_lost_one.store(false, std::memory_order_relaxed);
  g_missed_one.store(false, std::memory_order_relaxed);
  g_now_ns.store(CoarseNowNs(), std::memory_order_relaxed);
  raised_ns_ = MonotonicNowNs();
  deadline_ns_ = raised_ns_ + kMostHeldNs;
  g_deadline_ns.store(deadline_ns_, std::memory_order_relaxed);
  // The number 0 is that of blocks that were never listed.
  const uint32_t number = InstantWord{g_instant.load(std::memory_order_relaxed)}.number() % kMostInstants + 1;
  word_ = InstantWord{number << 2}.In(Phase::kGathering);
  g_instant.store(word_.bits, std::memory_order_seq_cst);
  is_open_ = true;
  if (FenceAllThreads()) return;
  Declare(false);
  Close();
}

Instant::~Instant() {
  Close();
  t_has_mutex = false;
  const size_t used = std::min(g_records_end.load(std::memory_order_relaxed), g_records_limit);
  if (used > kKeptRecordBytes) madvise(g_records + kKeptRecordBytes, used - kKeptRecordBytes, MADV_DONTNEED);
}

void Instant::Declare(bool all_have_come) {
  uint32_t expected = word_.bits;
  const int64_t now_ns = MonotonicNowNs();
  // Release: what was recorded. If it fails, somebody was held for too long and has declared it late.
  const bool is_ours = g_instant.compare_exchange_strong(
      expected, word_.In(all_have_come ? Phase::kExact : Phase::kLate).bits, std::memory_order_acq_rel);
  FutexWake(g_instant, INT_MAX);
  held_ = std::chrono::nanoseconds((is_ours ? now_ns : deadline_ns_) - raised_ns_);
  released_ = std::chrono::system_clock::now();
}

Instant::Taken Instant::Take(ListingMark& mark) { return TakeMark(word_, mark); }

bool Instant::IsTaken(const ListingMark& mark) const { return mark.load(std::memory_order_acquire) == TakenMark(word_); }

bool Instant::IsWoken(const ListingMark& mark) const { return mark.load(std::memory_order_acquire) == WokenMark(word_); }

void Instant::Close() {
  if (!is_open_) return;
  if (Load().gathering()) Declare(false);
  is_open_ = false;
  declared_in_time_ = Load().phase() == Phase::kExact;
  g_instant.store(word_.In(Phase::kNone).bits, std::memory_order_seq_cst);
  while (g_recorders.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  RecordPause(PauseKind::kListing, held_, released_);
}

bool Instant::lost_records() const { return g_lost_one.load(std::memory_order_relaxed); }

bool Instant::missed_one() const { return g_missed_one.load(std::memory_order_relaxed); }

bool Instant::ForEachRecord(absl::FunctionRef<bool(FiberSnapshot&)> visit) const {
  const size_t end = std::min(g_records_end.load(std::memory_order_relaxed), g_records_limit);
  for (size_t at = 0; at < end;) {
    Record& record = *reinterpret_cast<Record*>(g_records + at);
    if (record.bytes == 0) break;
    at += record.bytes;
    if (!record.snapshot.id) continue;
    record.snapshot.stack = {record.pcs(), record.depth};
    if (!visit(record.snapshot)) return false;
  }
  return true;
}

}  // namespace fiberscope::internal
