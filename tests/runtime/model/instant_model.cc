// Model check of the protocol of runtime/instant.h: a listing has each fiber once, with the stack that it had at the instant.
//
// The model is written by hand after instant.cc, registry.cc, stack_signal.cc and worker.cc, step by step with their memory
// orders. A stack is one number, which grows whenever its fiber runs. What the stacks are in the moment of Declare is noted down
// outside of the model's memory, and compared with the listing. Records are plain variables: were one read before it is
// complete, Relacy would report a data race. Three scenarios:
//
//   switches  two workers and two fibers: from one fiber directly to the next, and from worker to worker
//   wakes     a fiber tells another thread something, which then wakes a second fiber, or brings it to life, and runs it:
//             if the first is listed before it ran, then the second as it was before it was woken
//   stale     such a thread alone, and two instants in a row: marks of the first must not get into the second
//
// membarrier(2) is a full fence on every thread between its call and its return. Relacy knows none; here it is a fence of the
// listing thread and one in the gate, between the odd word and the load of the instant's. At other steps threads have fewer
// fences here than there. A signal is a request that a thread looks at between steps, perhaps late, as signals are. There are no
// deadlines: nothing is late, and what is waited for comes. Nor is Blocking() modelled, nor a lack of room for records.
#include <algorithm>
#include <initializer_list>

#include "tests/runtime/model/relacy.h"

namespace {

enum class Mutation {
  kNone,
  kNoFenceAtTheGate,
  kNoFenceOfTheListing,
  kOpenGate,
  kNoRecordAtTheGate,
  kNoRecordInTheHandler,
  kHandlerRecordsOneStack,
  kHandlerDoesNotHold,
  kTakeWithoutCompareAndSwap,
  kCloseWithoutTheRecorders,
  kRelaxedRecorder,
  kNoMark,
  kMarkWithoutRecorder,
};

constexpr int kNobody = -1;

// A state word: the state, and above it the number of switches.
enum State { kDead, kWaiting, kRunnable, kRunning };
State StateOf(int word) { return static_cast<State>(word & 3); }
int Word(int before, State state) { return (before | 3) + 1 + state; }  // counts more than it need

// The instant's word, and marks, of which 0 is of no instant.
int Gathering(int instant) { return instant << 2 | 1; }
int Exact(int instant) { return instant << 2 | 2; }
int Over(int instant) { return instant << 2; }
bool IsGathering(int word) { return (word & 3) == 1; }
bool IsDeclared(int word) { return (word & 3) == 2; }
int Number(int word) { return word >> 2; }
int Taken(int instant) { return instant << 1; }
int Woken(int instant) { return instant << 1 | 1; }

// What is listed of a fiber: its stack and state. 0: nothing.
int Entry(int stack, State state) { return stack << 3 | state << 1 | 1; }
int StackIn(int entry) { return entry >> 3; }
State StateIn(int entry) { return static_cast<State>(entry >> 1 & 3); }

// Thread 0 lists, the others are workers.
template <typename Scenario, Mutation mutation, int workers, int fibers, int instants>
struct InstantModel : rl::test_suite<Scenario, 1 + workers> {
  rl::atomic<int> instant;
  rl::atomic<int> recorders;
  rl::atomic<int> words[fibers];
  rl::atomic<int> marks[fibers];
  rl::atomic<int> stacks[fibers];
  rl::atomic<int> running[workers];  // which fiber, or nobody
  rl::atomic<int> asked[workers];    // the instant whose signal was sent
  rl::atomic<int> answered[workers];
  rl::atomic<int> finished;
  rl::var<int> records[fibers];
  // Outside of the model's memory.
  int true_stacks[fibers] = {};
  bool born_since[fibers] = {};
  // A worker's own.
  int stands_on[workers];
  int last_answered[workers] = {};

  void Begin(std::initializer_list<State> states) {
    instant.store(Over(0), rl::mo_relaxed, $);
    recorders.store(0, rl::mo_relaxed, $);
    finished.store(0, rl::mo_relaxed, $);
    for (int fiber = 0; fiber < fibers; ++fiber) {
      words[fiber].store(Word(0, states.begin()[fiber]), rl::mo_relaxed, $);
      marks[fiber].store(0, rl::mo_relaxed, $);
      stacks[fiber].store(0, rl::mo_relaxed, $);
      records[fiber]($) = 0;
    }
    for (int worker = 0; worker < workers; ++worker) {
      running[worker].store(kNobody, rl::mo_relaxed, $);
      asked[worker].store(0, rl::mo_relaxed, $);
      answered[worker].store(0, rl::mo_relaxed, $);
      stands_on[worker] = kNobody;
    }
  }

  void thread(unsigned index) {
    if (index != 0) {
      static_cast<Scenario*>(this)->Work(index - 1);
      while (finished.load(rl::mo_acquire, $) == 0) {
        HandleSignal(index - 1);
        rl::yield(1, $);
      }
      return;
    }
    for (int number = 1; number <= instants; ++number) List(number);
    finished.store(1, rl::mo_release, $);
  }

  // ---- Marks and records

  enum class Take { kYes, kWokenSince, kNo };

  Take TakeMark(int fiber, int number) {
    int seen = marks[fiber].load(rl::mo_acquire, $);
    if (mutation == Mutation::kTakeWithoutCompareAndSwap) {
      if (seen == Taken(number)) return Take::kNo;
      marks[fiber].store(Taken(number), rl::mo_release, $);
      return seen == Woken(number) ? Take::kWokenSince : Take::kYes;
    }
    while (seen != Taken(number)) {
      if (!marks[fiber].compare_exchange_strong(seen, Taken(number), rl::mo_acq_rel, $)) continue;
      return seen == Woken(number) ? Take::kWokenSince : Take::kYes;
    }
    return Take::kNo;
  }

  // `record` while it keeps the instant open, if it is.
  template <typename Record>
  void AsRecorder(int number, Record record) {
    constexpr auto kOrder = mutation == Mutation::kRelaxedRecorder ? rl::mo_relaxed : rl::mo_seq_cst;
    recorders.fetch_add(1, kOrder, $);
    const int now = instant.load(kOrder, $);
    if (now != Over(number) && Number(now) == number) record();
    recorders.fetch_sub(1, rl::mo_release, $);
  }

  void Record(int fiber, int number, State state) {
    const int stack = stacks[fiber].load(rl::mo_relaxed, $);
    const Take take = TakeMark(fiber, number);
    if (take == Take::kNo) return;
    RL_ASSERT(records[fiber]($) == 0);
    records[fiber]($) = Entry(stack, take == Take::kWokenSince ? kWaiting : state);
  }

  // ---- Workers

  void HandleSignal(int worker) {
    const int number = asked[worker].load(rl::mo_acquire, $);
    if (number == last_answered[worker]) return;
    last_answered[worker] = number;
    AsRecorder(number, [&] {
      const int stands = stands_on[worker];
      const int runs = running[worker].load(rl::mo_relaxed, $);
      if (mutation == Mutation::kNoRecordInTheHandler) return;
      if (stands != kNobody && IsRunning(stands)) Record(stands, number, kRunning);
      if (mutation == Mutation::kHandlerRecordsOneStack && stands != kNobody) return;
      if (runs != kNobody && runs != stands && IsRunning(runs)) Record(runs, number, kRunnable);
    });
    answered[worker].store(number, rl::mo_release, $);
    if (mutation == Mutation::kHandlerDoesNotHold) return;
    while (instant.load(rl::mo_acquire, $) == Gathering(number)) rl::yield(1, $);
  }

  bool IsRunning(int fiber) { return StateOf(words[fiber].load(rl::mo_acquire, $)) == kRunning; }

  void Move(int fiber, State state) {
    words[fiber].store(Word(words[fiber].load(rl::mo_relaxed, $), state), rl::mo_release, $);
  }

  // Worker::Load
  void Load(int worker, int fiber) {
    Move(fiber, kRunning);
    rl::atomic_thread_fence(rl::mo_release, $);
    running[worker].store(fiber, rl::mo_release, $);
    if (mutation != Mutation::kNoFenceAtTheGate) rl::atomic_thread_fence(rl::mo_seq_cst, $);
    if ((instant.load(rl::mo_relaxed, $) & 3) != 0) WaitAtGate(worker, fiber);
  }

  void WaitAtGate(int worker, int fiber) {
    int now = instant.load(rl::mo_acquire, $);
    for (; IsGathering(now) && mutation != Mutation::kOpenGate; now = instant.load(rl::mo_acquire, $)) {
      HandleSignal(worker);
      rl::yield(1, $);
    }
    if (!IsDeclared(now) || mutation == Mutation::kNoRecordAtTheGate) return;
    if (marks[fiber].load(rl::mo_acquire, $) == Taken(Number(now))) return;
    AsRecorder(Number(now), [&] { Record(fiber, Number(now), kRunnable); });
  }

  void Run(int worker, int fiber) {
    HandleSignal(worker);
    stacks[fiber].store(true_stacks[fiber] + 1, rl::mo_relaxed, $);
    ++true_stacks[fiber];
    HandleSignal(worker);
  }

  // BeforeWake or BeforeBirth, and what they come before.
  void MakeRunnable(int fiber) {
    const bool is_birth = StateOf(words[fiber].load(rl::mo_relaxed, $)) == kDead;
    if ((instant.load(rl::mo_relaxed, $) & 3) != 0 && mutation != Mutation::kNoMark) {
      const int now = instant.load(rl::mo_acquire, $);
      const auto mark = [&] { is_birth ? MarkAsBorn(fiber, Number(now)) : MarkAsWoken(fiber, Number(now)); };
      if (IsDeclared(now)) mutation == Mutation::kMarkWithoutRecorder ? mark() : AsRecorder(Number(now), mark);
    }
    Move(fiber, kRunnable);
  }
  void MarkAsBorn(int fiber, int number) {
    marks[fiber].store(Taken(number), rl::mo_release, $);
    born_since[fiber] = true;
  }
  void MarkAsWoken(int fiber, int number) {
    int seen = marks[fiber].load(rl::mo_relaxed, $);
    if (seen != Taken(number)) marks[fiber].compare_exchange_strong(seen, Woken(number), rl::mo_acq_rel, $);
  }

  // ---- The listing

  void List(int number) {
    for (auto& record : records) record($) = 0;
    instant.store(Gathering(number), rl::mo_seq_cst, $);
    if (mutation != Mutation::kNoFenceOfTheListing) rl::atomic_thread_fence(rl::mo_seq_cst, $);
    bool awaited[workers] = {};
    for (int worker = 0; worker < workers; ++worker) {
      const int fiber = running[worker].load(rl::mo_acquire, $);
      awaited[worker] = fiber != kNobody && IsRunning(fiber);
      if (awaited[worker]) asked[worker].store(number, rl::mo_release, $);
    }
    for (int worker = 0; worker < workers; ++worker) {
      while (awaited[worker] && answered[worker].load(rl::mo_acquire, $) != number) rl::yield(1, $);
    }
    int at_the_instant[fibers];
    std::ranges::copy(true_stacks, at_the_instant);
    std::ranges::fill(born_since, false);
    int gathering = Gathering(number);
    instant.compare_exchange_strong(gathering, Exact(number), rl::mo_acq_rel, $);
    int entries[fibers] = {};
    for (int fiber = 0; fiber < fibers; ++fiber) {
      while (!Visit(fiber, number, entries[fiber])) rl::yield(1, $);
    }
    instant.store(Over(number), rl::mo_seq_cst, $);
    while (mutation != Mutation::kCloseWithoutTheRecorders && recorders.load(rl::mo_seq_cst, $) != 0) rl::yield(1, $);
    for (int fiber = 0; fiber < fibers; ++fiber) {
      const int record = records[fiber]($);
      RL_ASSERT(entries[fiber] == 0 || record == 0);
      entries[fiber] |= record;
      RL_ASSERT(entries[fiber] != 0 || born_since[fiber]);
      RL_ASSERT(entries[fiber] == 0 || StackIn(entries[fiber]) == at_the_instant[fiber]);
    }
    static_cast<Scenario*>(this)->Check(entries);
  }

  // False: it must be looked at again.
  bool Visit(int fiber, int number, int& entry) {
    if (marks[fiber].load(rl::mo_acquire, $) == Taken(number)) return true;
    const int word = words[fiber].load(rl::mo_acquire, $);
    State state = StateOf(word);
    if (state == kRunning) return false;
    if (state == kRunnable && marks[fiber].load(rl::mo_acquire, $) == Woken(number)) state = kWaiting;
    const int stack = stacks[fiber].load(rl::mo_relaxed, $);
    rl::atomic_thread_fence(rl::mo_acquire, $);
    if (words[fiber].load(rl::mo_relaxed, $) != word) return false;
    if (TakeMark(fiber, number) != Take::kNo) entry = Entry(stack, state);
    return true;
  }
};

template <Mutation mutation>
struct SwitchesModel : InstantModel<SwitchesModel<mutation>, mutation, 2, 2, 1> {
  rl::atomic<int> queue;  // a bit for each fiber in it

  void before() {
    this->Begin({kRunnable, kRunnable});
    queue.store(0b11, rl::mo_relaxed, $);
  }

  void Work(int worker) {
    int self = kNobody;
    for (int slice = 0; slice < 2; ++slice) {
      self = Switch(worker, self, Pop());
      if (self != kNobody) this->Run(worker, self);
    }
    Switch(worker, self, kNobody);
  }
  // Worker::SwitchAway and FinishDeparture
  int Switch(int worker, int self, int next) {
    if (next != kNobody) {
      this->Load(worker, next);
    } else {
      this->running[worker].store(kNobody, rl::mo_relaxed, $);
    }
    this->HandleSignal(worker);
    this->stands_on[worker] = next;
    this->HandleSignal(worker);
    if (self != kNobody) {
      this->Move(self, kRunnable);
      queue.fetch_add(1 << self, rl::mo_acq_rel, $);
    }
    return next;
  }
  int Pop() {
    int queued = queue.load(rl::mo_relaxed, $);
    while (queued != 0) {
      const int fiber = (queued & 1) != 0 ? 0 : 1;
      if (queue.compare_exchange_strong(queued, queued & ~(1 << fiber), rl::mo_acq_rel, $)) return fiber;
    }
    return kNobody;
  }
  void Check(const int*) {}
};

// A fiber that runs once, on its own.
template <typename Scenario, Mutation mutation, int workers, int fibers, int instants>
struct WakingModel : InstantModel<Scenario, mutation, workers, fibers, instants> {
  void Enter(int worker, int fiber) {
    this->Load(worker, fiber);
    this->stands_on[worker] = fiber;
    this->Run(worker, fiber);
  }
  void Leave(int worker, int fiber) {
    this->running[worker].store(kNobody, rl::mo_relaxed, $);
    this->HandleSignal(worker);
    this->stands_on[worker] = kNobody;
    this->Move(fiber, kWaiting);
  }
};

template <Mutation mutation, State before_waking>
struct WakesModel : WakingModel<WakesModel<mutation, before_waking>, mutation, 2, 2, 1> {
  rl::atomic<int> told;

  void before() {
    this->Begin({kRunnable, before_waking});
    told.store(0, rl::mo_relaxed, $);
  }
  void Work(int worker) {
    if (worker == 0) {
      this->Enter(0, 0);
      told.store(1, rl::mo_release, $);
    } else {
      while (told.load(rl::mo_acquire, $) == 0) rl::yield(1, $);
      this->MakeRunnable(1);
      this->Enter(1, 1);
    }
    this->Leave(worker, worker);
  }
  void Check(const int* entries) {
    if (StackIn(entries[0]) == 0) RL_ASSERT(entries[1] == 0 || StateIn(entries[1]) == before_waking);
  }
};

template <Mutation mutation, State before_waking>
struct StaleModel : WakingModel<StaleModel<mutation, before_waking>, mutation, 1, 1, 2> {
  void before() { this->Begin({before_waking}); }
  void Work(int worker) {
    this->MakeRunnable(0);
    this->Enter(worker, 0);
    this->Leave(worker, 0);
  }
  void Check(const int*) {}
};

// With how many forced switches between threads. Of the scenarios with three threads more are tried at random.
constexpr unsigned kSwitches = 1;
constexpr unsigned kSwitchesOfTwoThreads = 3;
constexpr unsigned kRandomInterleavings = 200'000;

using fiberscope::testing::ModelHolds;
using fiberscope::testing::ModelHoldsAtRandom;

template <Mutation mutation>
bool SwitchesHold() {
  return ModelHolds<SwitchesModel<mutation>>(kSwitches);
}
template <State before_waking, Mutation mutation>
bool WakesHold() {
  return ModelHolds<WakesModel<mutation, before_waking>>(kSwitches);
}
template <State before_waking, Mutation mutation>
bool StaleHold() {
  return ModelHolds<StaleModel<mutation, before_waking>>(kSwitchesOfTwoThreads);
}

}  // namespace

int main() {
  using enum Mutation;
  fiberscope::testing::ModelVerdict verdict;
  verdict.Expect("switches", true, SwitchesHold<kNone>());
  verdict.Expect("switches, at random", true, ModelHoldsAtRandom<SwitchesModel<kNone>>(kRandomInterleavings));
  verdict.Expect("a wake", true, WakesHold<kWaiting, kNone>());
  verdict.Expect("a wake, at random", true, ModelHoldsAtRandom<WakesModel<kNone, kWaiting>>(kRandomInterleavings));
  verdict.Expect("a birth", true, WakesHold<kDead, kNone>());
  verdict.Expect("a birth, at random", true, ModelHoldsAtRandom<WakesModel<kNone, kDead>>(kRandomInterleavings));
  verdict.Expect("a wake and two instants", true, StaleHold<kWaiting, kNone>());
  verdict.Expect("a birth and two instants", true, StaleHold<kDead, kNone>());
  verdict.Expect("without the fence at the gate", false, SwitchesHold<kNoFenceAtTheGate>());
  verdict.Expect("without the listing's fence", false, SwitchesHold<kNoFenceOfTheListing>());
  verdict.Expect("a gate that is open", false, SwitchesHold<kOpenGate>());
  verdict.Expect("without a record at the gate", false, SwitchesHold<kNoRecordAtTheGate>());
  verdict.Expect("without a record in the handler", false, SwitchesHold<kNoRecordInTheHandler>());
  verdict.Expect("a handler that records one stack", false, SwitchesHold<kHandlerRecordsOneStack>());
  verdict.Expect("a handler that does not hold", false, SwitchesHold<kHandlerDoesNotHold>());
  verdict.Expect("a mark that is stored, not exchanged", false, SwitchesHold<kTakeWithoutCompareAndSwap>());
  verdict.Expect("without waiting for the recorders", false, SwitchesHold<kCloseWithoutTheRecorders>());
  verdict.Expect("a recorder that is relaxed", false, StaleHold<kWaiting, kRelaxedRecorder>());
  verdict.Expect("a wake without a mark", false, WakesHold<kWaiting, kNoMark>());
  verdict.Expect("a birth without a mark", false, WakesHold<kDead, kNoMark>());
  verdict.Expect("a waker's stale mark", false, StaleHold<kWaiting, kMarkWithoutRecorder>());
  verdict.Expect("a spawner's stale mark", false, StaleHold<kDead, kMarkWithoutRecorder>());
  return verdict.exit_code();
}
