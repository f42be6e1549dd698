// Model check of select's claim protocol over two unbuffered channels (runtime/sync/select.cc): exactly one case of each select
// happens, no value is lost or arrives twice, nobody is left waiting.
//
// The steps of Selection::Poll, Wait, PollLocked, LockAll and Leave and of Channel's SendNow and ReceiveNow are written by hand;
// the queues, nodes and claims are waiter.h and wait_claim.h themselves. A value is a variable that its sender writes and its
// receiver reads, so that a value handed over without order is a data race. A fiber that nobody wakes is a livelock.
#include "tests/runtime/model/claimed_wait.h"

namespace {

using namespace fiberscope::testing;
using fiberscope::internal::WakeList;

enum class Mutation {
  kNone,
  kNoSecondLook,      // queues without asking again under all locks
  kLocksInAnyOrder,   // takes the locks in the order of the cases
  kClaimNothing,      // a partner takes whoever is queued
  kValueBeforeClaim,  // a partner hands over before it has won
  kStayQueued,        // does not leave the queues of the other cases
};

struct ModelChannel {
  rl::mutex lock;
  WaitQueue senders;    // guarded by lock
  WaitQueue receivers;  // guarded by lock
  bool closed = false;  // guarded by lock
};

struct Case {
  ModelChannel* channel;
  bool sends;
  rl::var<int>* slot;
};

// Up to two cases.
template <Mutation mutation>
class Selector {
 public:
  void Begin() { fiber_.Begin(), more_.record = &fiber_.record; }

  // The case that happened.
  int Select(const Case* cases, int count) {
    cases_ = cases;
    count_ = count;
    // Selection::Poll, in the order of the cases: any order is right, and this one has partners on both ends.
    for (int i = 0; i < count; ++i) {
      Waiter* partner = nullptr;
      cases[i].channel->lock.lock($);
      const WaitOutcome outcome = Attempt(cases[i], partner);
      cases[i].channel->lock.unlock($);
      if (outcome == WaitOutcome::kPending) continue;
      return Conclude(i, outcome, partner);
    }
    // Selection::Wait.
    ModelWait wait(fiber_, /*cancellable=*/false, WaitMutation::kNone);
    LockAll();
    if (mutation != Mutation::kNoSecondLook) {
      for (int i = 0; i < count; ++i) {
        Waiter* partner = nullptr;
        const WaitOutcome outcome = Attempt(cases[i], partner);
        if (outcome == WaitOutcome::kPending) continue;
        UnlockAll();
        wait.GiveUp();
        return Conclude(i, outcome, partner);
      }
    }
    for (int i = 0; i < count; ++i) {
      Waiter& node = NodeAt(i);
      node.slot = cases[i].slot;
      node.claimed_wait = true;
      node.ended_wait = false;
      if (node.queue == nullptr) QueueOf(cases[i]).PushBack(node);
    }
    UnlockAll();
    const WaitOutcome outcome = wait.Wait([] {});
    int chosen = -1;
    for (int i = 0; i < count; ++i) {
      Waiter& node = NodeAt(i);
      if (node.ended_wait) {
        RL_ASSERT(chosen == -1);
        chosen = i;
      } else if (mutation != Mutation::kStayQueued) {
        cases[i].channel->lock.lock($);
        if (node.queue != nullptr) QueueOf(cases[i]).Remove(node);
        cases[i].channel->lock.unlock($);
      }
    }
    RL_ASSERT(chosen != -1);
    return Conclude(chosen, outcome, nullptr);
  }

 private:
  Waiter& NodeAt(int i) { return i == 0 ? fiber_.node : more_; }
  static WaitQueue& QueueOf(const Case& each) { return each.sends ? each.channel->senders : each.channel->receivers; }

  // WaitQueue::ClaimFront.
  static Waiter* ClaimFront(WaitQueue& queue) {
    if (mutation != Mutation::kClaimNothing) return queue.ClaimFront();
    Waiter* const first = queue.front();
    if (first != nullptr) queue.Remove(*first);
    return first;
  }

  // SelectAccess::TrySend and TryReceive; the channel's lock is held.
  static WaitOutcome Attempt(const Case& each, Waiter*& partner) {
    if (each.sends && each.channel->closed) return WaitOutcome::kClosed;
    WaitQueue& partners = each.sends ? each.channel->receivers : each.channel->senders;
    if (mutation == Mutation::kValueBeforeClaim && partners.front() != nullptr) Move(each, *partners.front());
    partner = ClaimFront(partners);
    if (partner != nullptr) {
      if (mutation != Mutation::kValueBeforeClaim) Move(each, *partner);
      return WaitOutcome::kDone;
    }
    return each.channel->closed ? WaitOutcome::kClosed : WaitOutcome::kPending;
  }
  static void Move(const Case& each, Waiter& partner) {
    rl::var<int>& other = *static_cast<rl::var<int>*>(partner.slot);
    rl::var<int>& from = each.sends ? *each.slot : other;
    rl::var<int>& to = each.sends ? other : *each.slot;
    to($) = static_cast<int>(from($));
    from($) = 0;
  }

  int Conclude(int chosen, WaitOutcome outcome, Waiter* partner) {
    if (partner != nullptr) {
      partner->ended_wait = true;
      EndClaimedWait(FiberOf(*partner), WaitOutcome::kDone, WaitMutation::kNone);
    }
    closed = outcome == WaitOutcome::kClosed;
    return chosen;
  }

  void LockAll() {
    const bool swapped = mutation != Mutation::kLocksInAnyOrder && count_ == 2 && cases_[1].channel < cases_[0].channel;
    cases_[swapped ? 1 : 0].channel->lock.lock($);
    if (count_ == 2) cases_[swapped ? 0 : 1].channel->lock.lock($);
  }
  void UnlockAll() {
    for (int i = 0; i < count_; ++i) cases_[i].channel->lock.unlock($);
  }

  ModelFiber fiber_;
  Waiter more_;
  const Case* cases_ = nullptr;
  int count_ = 0;

 public:
  bool closed = false;  // the case that happened found its channel closed
};

// ChannelBase::Close.
inline void Close(ModelChannel& channel) {
  WakeList waiting;
  channel.lock.lock($);
  channel.closed = true;
  channel.receivers.ClaimAll(waiting);
  channel.senders.ClaimAll(waiting);
  channel.lock.unlock($);
  while (Waiter* const waiter = waiting.PopFront()) {
    waiter->ended_wait = true;
    EndClaimedWait(FiberOf(*waiter), WaitOutcome::kClosed, WaitMutation::kNone);
  }
}

template <typename Scenario, int threads, Mutation mutation>
struct SelectModel : rl::test_suite<Scenario, threads> {
  ModelChannel a;
  ModelChannel b;
  Selector<mutation> selectors[3];
  rl::var<int> values[6];

  void before() {
    for (auto& selector : selectors) selector.Begin();
    for (auto& value : values) value($) = 0;
  }
  void after() {
    RL_ASSERT(a.senders.empty() && a.receivers.empty());
    RL_ASSERT(b.senders.empty() && b.receivers.empty());
  }
  int Value(int which) { return values[which]($); }
};

// One selects twice among two channels, to which two others send one value each.
template <Mutation mutation>
struct TwoSenders : SelectModel<TwoSenders<mutation>, 3, mutation> {
  void thread(unsigned index) {
    auto& values = this->values;
    if (index != 0) {
      values[index]($) = static_cast<int>(index);
      const Case send{index == 1 ? &this->a : &this->b, true, &values[index]};
      this->selectors[index].Select(&send, 1);
      RL_ASSERT(this->Value(index) == 0);
      return;
    }
    int received = 0;
    for (int i = 0; i < 2; ++i) {
      const Case cases[] = {{&this->a, false, &values[3]}, {&this->b, false, &values[4]}};
      const int chosen = this->selectors[0].Select(cases, 2);
      RL_ASSERT(this->Value(3 + chosen) == chosen + 1);
      RL_ASSERT(this->Value(4 - chosen) == 0);
      values[3 + chosen]($) = 0;
      received += chosen + 1;
    }
    RL_ASSERT(received == 3);
  }
};

// Two selects that face each other: one sends to the first channel or receives from the second, the other the reverse.
template <Mutation mutation>
struct FacingSelects : SelectModel<FacingSelects<mutation>, 2, mutation> {
  int chosen[2];

  void thread(unsigned index) {
    rl::var<int>& out = this->values[2 * index];
    rl::var<int>& in = this->values[2 * index + 1];
    out($) = static_cast<int>(index + 1);
    ModelChannel& first = index == 0 ? this->a : this->b;
    ModelChannel& second = index == 0 ? this->b : this->a;
    const Case cases[] = {{&first, true, &out}, {&second, false, &in}};
    chosen[index] = this->selectors[index].Select(cases, 2);
    RL_ASSERT((out($) == 0) == (chosen[index] == 0));
    RL_ASSERT(in($) == (chosen[index] == 1 ? static_cast<int>(2 - index) : 0));
  }
  void after() {
    RL_ASSERT(chosen[0] != chosen[1]);
    SelectModel<FacingSelects<mutation>, 2, mutation>::after();
  }
};

// One channel is closed while somebody sends to the other: the select takes one of the two, and then the other one.
template <Mutation mutation>
struct CloseAndSend : SelectModel<CloseAndSend<mutation>, 3, mutation> {
  void thread(unsigned index) {
    auto& values = this->values;
    if (index == 1) return Close(this->a);
    if (index == 2) {
      values[2]($) = 2;
      const Case send{&this->b, true, &values[2]};
      this->selectors[2].Select(&send, 1);
      return;
    }
    bool received = false;
    for (bool closed = false; !closed || !received;) {
      Case cases[] = {{&this->a, false, &values[3]}, {&this->b, false, &values[4]}};
      // A case that has happened is left out, as with a null channel.
      const int chosen = closed     ? 1 + this->selectors[0].Select(cases + 1, 1)
                         : received ? this->selectors[0].Select(cases, 1)
                                    : this->selectors[0].Select(cases, 2);
      RL_ASSERT(this->selectors[0].closed == (chosen == 0));
      RL_ASSERT(this->Value(4) == (received || chosen == 1 ? 2 : 0));
      (chosen == 0 ? closed : received) = true;
    }
  }
};

template <template <Mutation> typename Model, Mutation mutation = Mutation::kNone>
bool Holds(unsigned context_switches = 2, Weakening weakening = Weakening::kNone) {
  return WeakenedModelHolds<Model<mutation>>(weakening, context_switches);
}

}  // namespace

int main() {
  ModelVerdict verdict;
  verdict.Expect("a select and two senders", true, Holds<TwoSenders>());
  verdict.Expect("two selects that face each other", true, Holds<FacingSelects>(4));
  verdict.Expect("a select, a close and a sender", true, Holds<CloseAndSend>());
  verdict.Expect("without a second look", false, Holds<TwoSenders, Mutation::kNoSecondLook>());
  verdict.Expect("locks in any order", false, Holds<FacingSelects, Mutation::kLocksInAnyOrder>());
  verdict.Expect("a partner that does not claim", false, Holds<TwoSenders, Mutation::kClaimNothing>());
  verdict.Expect("a value handed over before the claim", false, Holds<TwoSenders, Mutation::kValueBeforeClaim>());
  verdict.Expect("nodes left in other queues", false, Holds<TwoSenders, Mutation::kStayQueued>());
  verdict.Expect("a claim that is no compare-and-swap", false, Holds<TwoSenders>(2, Weakening::kTornExchanges));
  verdict.Expect("arrivals that are relaxed", false, Holds<TwoSenders>(2, Weakening::kRelaxedExchanges));
  return verdict.exit_code();
}
