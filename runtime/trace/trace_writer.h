// Writes what happens on a thread into that thread's own buffer, as events of a trace that any reader can follow.
//
//   if (TraceOn()) { TraceWriter writer(TraceThread::Current()); writer.FiberUnblock(fiber, stack); }
//
// A trace is a story that must hold together: a fiber is started that was runnable, by a thread that has a processor, and so on;
// one event that does not fit makes all of it unreadable. So a writer keeps what the story says so far (TracedState of fibers and
// processors, and which of them the thread has) and brings it to where the event begins: it names what was not mentioned in this
// generation yet, and supplies what is missing. A trace may so begin and end at any moment, in the middle of any transition,
// without stopping anything. An event that cannot be made to fit is left out and counted.
//
// Generations. A trace is cut about once a second into pieces that are complete in themselves. The number of the present one is a
// global word, 0 while nobody traces; a section of a writer reads it once. Flip() stores the next number, then waits until each
// thread was seen outside a section: what was begun with the old number is complete then, in the buffer for odd or even numbers.
//   A thread says that it is in a section (plain store), then reads the number. The flip stores the number, calls membarrier(2),
//   which is a full fence on every thread, then looks at the sections. So of the two one sees the other.
// What holds between threads: if an event about a fiber happens after another one about it, its generation is not an earlier one,
// because whoever writes an event has the right to move the fiber (fiber_state.h), got it from whoever wrote the one before, and
// reads the number after that.
//
// Thread-safe: each thread with its own TraceThread. Never parks; allocates a buffer of 32 KiB now and then, and takes a lock when
// it meets a stack for the first time. Not async-signal-safe. A section must not contain a switch. Cost: 10 ns for the clock, 5 ns
// for an event, 10 to 20 ns for a stack.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_WRITER_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_WRITER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/stack/stack_bounds.h"
#include "runtime/trace/trace_event.h"
#include "runtime/trace/trace_generation.h"
#include "runtime/trace/trace_stacks.h"
#include "runtime/trace/traced_state.h"

namespace fiberscope::internal {

// The generation that is being written; 0: nobody traces.
inline constinit std::atomic<uint32_t> g_trace_generation{0};
// The first one of this trace. Written before g_trace_generation leaves 0.
inline constinit std::atomic<uint32_t> g_trace_base{0};
// Processors of all schedulers.
inline constinit std::atomic<uint32_t> g_trace_processors{0};
// What the next fiber that starts is to write besides: TraceDue.
inline constinit std::atomic<uint32_t> g_trace_due{0};
enum TraceDue : uint32_t { kTraceProcessorsDue = 1, kTraceHeapDue = 2 };
// Bytes of buffers that were begun, of even and odd generations. Set to 0 when one is taken.
inline constinit std::atomic<uint64_t> g_trace_buffer_bytes[2]{};
// Bytes that the program has allocated, as somebody has read them last.
inline constinit std::atomic<uint64_t> g_trace_heap_bytes{0};

inline bool TraceOn() { return __builtin_expect(g_trace_generation.load(std::memory_order_relaxed) != 0, false); }

// One unit of time in a trace is 64 ns, as in Go's: shorter numbers, and no clock is finer between threads.
inline constexpr uint64_t kTraceNsPerTick = 64;
inline constexpr uint64_t kTraceTicksPerSecond = 1'000'000'000 / kTraceNsPerTick;

// What a thread does of which a generation says nothing.
struct SilentThread {
  static constexpr uint64_t kNoProcessor = UINT64_MAX;

  uint64_t thread = 0;
  uint64_t fiber = 0;
  uint64_t processor = kNoProcessor;  // that: it has lost it in the blocking call
  bool blocking = false;              // it is in one
};

// What a thread runs that nothing has been heard of in a trace.
struct TracedRunning {
  class TraceThread* thread = nullptr;
  TracedProcessor* processor = nullptr;
  TracedFiber fiber;
  uint64_t slice = 0;  // another one when the fiber has let go meanwhile
};

class TraceThread {
 public:
  // The calling thread's; made at the first call. Null at the very end of a thread. Not inlined: on another thread after a switch.
  static TraceThread* Current();

  // Of threads that have ended, too, until a flip or the next thread's first call clears them away.
  static size_t count();

  // -- For the flip, which first says that it looks at them: no record goes away from then on until it says that it has done.
  static void BeginLooking();
  static void EndLooking();
  static void ForEach(void (*visit)(TraceThread&, void*), void* argument);
  // Waits until no section is going on that began before the call.
  void AwaitSection() const;
  // What was written in that generation, which nobody writes any more.
  void TakeBatches(uint32_t generation, std::vector<TraceBatch>& batches);
  // Before the flip. If the thread writes nothing in the first generation of a trace, then that says that it runs this.
  void Assume(const TracedRunning& running, uint32_t trace);
  // The fiber that it runs, or is in a blocking call of, since before that generation of the trace that began with `base`, without
  // having written anything since. Waits for the end of a section.
  std::optional<SilentThread> SilentSince(uint32_t generation, uint32_t base) const;
  // In a later generation of that trace: whether a thread was assumed to run that fiber, or to have that processor, and has not
  // been heard of since.
  static bool IsAssumed(const TracedState& state, uint32_t trace);
  // After AwaitSection: whether it was in a section of that generation.
  bool entered(uint32_t generation) const { return entered_[generation % 2] == generation; }
  uint64_t id() const { return id_; }

 private:
  friend class TraceWriter;
  friend struct TraceThreadOwner;

  struct Buffer {
    std::vector<TraceBatch> full;
    TraceBatch open;
    size_t used = 0;
  };

  explicit TraceThread(uint64_t id) : id_(id) {}
  // At the end of a section: for SilentSince().
  void Show();
  static void ForgetEnded(std::vector<std::unique_ptr<TraceThread>>& threads);

  const uint64_t id_;
  std::atomic<uint32_t> section_{0};  // odd: in one
  std::atomic<bool> ended_{false};

  // The thread's, within a section.
  uint32_t generation_ = 0;  // of its last event
  TracedProcessor* processor_ = nullptr;
  TracedFiber fiber_;      // that it runs
  bool blocking_ = false;  // fiber_ is in a blocking call; processor_ is what it had then, unless it gave that away
  uint64_t last_time_ = 0;
  TraceStackMemo stacks_;
  // Of odd and even generations; also the flip's, after AwaitSection.
  std::array<Buffer, 2> buffers_;
  std::array<uint32_t, 2> entered_{};  // the generation of the last section of each kind

  // As the thread's last section has left it. Two words that belong together: section_ says when they may be read.
  std::atomic<uint64_t> shown_fiber_{0};
  std::atomic<uint64_t> shown_place_{0};  // generation, processor, whether it is in a blocking call: 32, 31, 1 bits
  // Whether the processor was taken out of the blocking call. Written by the thread as a call begins, relaxed: it has the processor
  // then, so nobody steals it; and by the thief, whose release pairs with the acquire in SilentSince(). Who reads it too early
  // finds the theft in the generation that goes on: the thief's section has begun.
  std::atomic<bool> robbed_{false};

  // The flip's, for the thread's first section in a later generation of that trace.
  uint32_t assumed_trace_ = 0;
  TracedProcessor* assumed_processor_ = nullptr;
  uint64_t assumed_processor_number_ = 0;  // the processor itself may be gone when others ask
  TracedFiber assumed_fiber_;
};

// What was left out because it did not fit, since the process began.
uint64_t DroppedTraceEvents();

// One section.
class TraceWriter {
 public:
  explicit TraceWriter(TraceThread* thread);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // False: tracing has ended meanwhile, and nothing may be called.
  bool on() const { return generation_ != 0; }

  // The section's events happen at the time of the thread's last one, which was just now: saves a look at the clock.
  void TakeLastTime() {
    if (thread_->generation_ == generation_) now_ = thread_->last_time_;
  }

  // Numbers of stacks: TraceStackMemo.
  uint64_t Stack(StackBounds stack, uintptr_t pc, uintptr_t sp, const Registers* registers) {
    return thread_->stacks_.Number(generation_, stack, pc, sp, registers);
  }
  uint64_t StackOf(uintptr_t pc) { return thread_->stacks_.NumberOf(generation_, pc); }

  // Of a text: trace_strings.h.
  uint64_t String(std::string_view text);
  // Tells this trace from others.
  uint32_t base() const { return base_; }

  // -- On a worker. `has` is its processor, `runs` its fiber; null, or no state: none.
  void ProcessorStart(TracedProcessor& has) { (void)Become(&has, {}); }
  void ProcessorStop() { (void)Become(nullptr, {}); }
  void FiberCreate(TracedProcessor& has, const TracedFiber& runs, const TracedFiber& created, uint64_t stack);
  void FiberStart(TracedProcessor& has, const TracedFiber& started);
  void FiberStop(TracedProcessor& has, const TracedFiber& runs, uint64_t reason, uint64_t stack);
  void FiberBlock(TracedProcessor& has, const TracedFiber& runs, uint64_t reason, uint64_t stack);
  void FiberDestroy(TracedProcessor& has, const TracedFiber& runs);
  // Of a fiber that is spawned by a thread without a processor: FiberArrived() writes it.
  void FiberBorn(const TracedFiber& created);
  // A fiber from elsewhere, which the trace may not have heard of, is in the worker's hands, runnable.
  void FiberArrived(TracedProcessor& has, const TracedFiber& arrived);

  // What the fiber says of itself: trace_annotations.h. `arguments` as trace_event.h has them. False: left out.
  bool Annotate(TracedProcessor& has, const TracedFiber& runs, TraceEvent type, std::initializer_list<uint64_t> arguments);

  // A blocking call begins, before the processor may be taken away; and it is given away at once.
  void BlockingBegin(TracedProcessor& has, const TracedFiber& runs, uint64_t stack);
  void BlockingHandOff(TracedProcessor& had);
  // It is over, with the processor it had, or without, perhaps with another one (null: none).
  void BlockingEnd(TracedProcessor& has, const TracedFiber& runs);
  void BlockingEndLost(TracedProcessor* has, const TracedFiber& runs);

  // -- On any thread.
  void FiberUnblock(const TracedFiber& fiber, uint64_t stack);
  // Takes a processor out of a blocking call of that thread. The section began before it was taken. `victim`: its record, if there
  // is one.
  void ProcessorSteal(TracedProcessor& stolen, uint64_t from_thread, TraceThread* victim = nullptr);

 private:
  using Buffer = TraceThread::Buffer;

  // Makes the trace say that this thread has that processor and runs that fiber. False: it cannot.
  bool Become(TracedProcessor* has, const TracedFiber& runs) {
    const TraceThread& t = *thread_;
    const bool is_so = t.generation_ == generation_ && t.processor_ == has && t.fiber_.state == runs.state && !t.blocking_;
    return __builtin_expect(is_so, true) || BecomeSlowly(has, runs);
  }
  bool BecomeSlowly(TracedProcessor* has, const TracedFiber& runs);
  void EnterGeneration();
  void LeaveFiber();
  bool TakeProcessor(TracedProcessor& processor);
  bool TakeFiber(const TracedFiber& fiber, bool runs_already);
  // Makes this generation know the fiber, in `if_unknown` if the trace does not. False: it cannot.
  bool Mention(const TracedFiber& fiber, Traced if_unknown);
  void WriteStatus(const TracedFiber& fiber, Traced state);
  void Drop();

  void Write(TraceEvent type, std::initializer_list<uint64_t> arguments);
  uint64_t Now();

  TraceThread* const thread_;
  uint32_t generation_ = 0;
  uint32_t base_ = 0;
  uint64_t now_ = 0;
};

// What a thread runs, as a batch of its own. Of a blocking call that has kept its processor: that it runs, and then begins the
// call, because `go tool trace` of Go 1.23 ends with a panic where such a call ends that did not begin.
TraceBatch MakeRunningBatch(const SilentThread& running, uint64_t time);

uint64_t TraceTimeNow();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_WRITER_H_
