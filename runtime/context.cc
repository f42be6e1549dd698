#include "runtime/context.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"
#include "runtime/context_deadlines.h"
#include "runtime/control_block.h"
#include "runtime/park.h"

// How a tree is cancelled.
//
// A node that can be cancelled keeps, under its lock, who is to be told: the nodes below it, the fibers bound to it,
// those who wait for it, and callbacks. It keeps plain pointers; whoever is kept takes itself out, under the same lock,
// before it goes away. To cancel is
//
//   1. Mark, downwards: write the cause and set `cancelled`, under the lock. From here on nobody is added: who comes
//   later sees the flag,
//      under the lock, and deals with it himself. One Mark of a node succeeds, and its caller does the rest.
//   2. Tell everybody, in batches: under the lock take a few out and secure each so that it stays valid without the
//   lock; then,
//      without it, act. A child is secured by a reference, unless its last one is gone already. A fiber gets
//      kCancelPending, and its wait, if one is open, is claimed: until the claimer arrives the fiber cannot go on, let
//      alone end (C2 of wait_claim.h). A waiter is claimed likewise. A callback's state says that it runs, which its
//      destructor waits for.
//
// Fibers are told exactly once each: taking them out is what entitles to it. A fiber that binds itself to a node that
// is being cancelled sees the flag. One that leaves the node takes itself out first, so its bits are its own again
// afterwards.
//
// The whole tree is marked before anybody is told: a fiber that was woken by a cancellation finds all contexts below it
// cancelled too. The chain of marked nodes goes through the nodes themselves, each of which one canceller has marked;
// so the depth of the tree costs no stack.
//
// Lock order: the lock of a node, then that of an object in a wait's outcome; never two nodes at once, never a timer
// queue within a node.

namespace fiberscope {
namespace internal {
namespace {

constexpr size_t kBatch = 32;

bool TryShare(ContextNode& node) {
  uint32_t references = node.references.load(std::memory_order_relaxed);
  while (references != 0) {
    if (node.references.compare_exchange_weak(references, references + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

}  // namespace

// A fiber in a context. Not part of the control block, which has no room, and not on the fiber's stack, which a context
// must not keep reachable.
struct ContextBinding {
  ContextNode* const context;  // holds a reference
  ControlBlock* const fiber;
  bool linked = false;             // GUARDED_BY(context->canceller->lock), as the next two
  ContextBinding* next = nullptr;  // fibers bound to the same canceller
  ContextBinding* prev = nullptr;
};

struct CancelNode final : ContextNode, ContextDeadline {
  CancelNode(ContextNode* p, int64_t earliest_ns)
      : ContextNode(p, this, nullptr),
        ContextDeadline(&Keep, &Expire),
        above(p == nullptr ? nullptr : p->canceller),
        deadline_ns(earliest_ns) {}

  void Leave() override;

  // True for one caller, who must MarkChildren() and TellAll().
  bool Mark(const absl::Status& why, const absl::Status& what);
  // Marks the nodes right below; those for which it was this call are chained behind `last`, with a reference each.
  void MarkChildren(CancelNode*& last, const absl::Status& why, const absl::Status& what);
  void TellAll();
  // All of the tree. True: this call cancelled this node.
  bool CancelTree(const absl::Status& why, const absl::Status& what);
  void AddToParent();

  CancelNode* const above;    // the nearest one up the tree; kept by `parent`
  const int64_t deadline_ns;  // kNever: none
  FutexLock lock;
  std::atomic<bool> cancelled{false};  // release store under lock after err and cause were written, once
  absl::Status err;
  absl::Status cause;
  CancelNode* first_child = nullptr;  // GUARDED_BY(lock), as all that follow
  ContextBinding* first_fiber = nullptr;
  ContextCallback* first_callback = nullptr;
  WaitQueue waiters;
  CancelNode* next_sibling = nullptr;  // GUARDED_BY(above->lock), as the next two
  CancelNode* prev_sibling = nullptr;
  bool in_parent = false;
  CancelNode* next_marked = nullptr;  // of whoever marked it

 private:
  static bool Keep(ContextDeadline& deadline) { return TryShare(static_cast<CancelNode&>(deadline)); }
  static void Expire(ContextDeadline& deadline) {
    auto& node = static_cast<CancelNode&>(deadline);
    const absl::Status why = absl::DeadlineExceededError("context deadline exceeded");
    node.CancelTree(why, why);
    DropContextNode(&node);
  }
  void Unlink(CancelNode& child);  // lock held
};

ContextNode* ShareContextNode(ContextNode* node) {
  if (node != nullptr) node->references.fetch_add(1, std::memory_order_relaxed);
  return node;
}

void DropContextNode(ContextNode* node) {
  // acq_rel: the last owner must see every other owner's use of the node before it destroys it.
  while (node != nullptr && node->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    node->Leave();
    ContextNode* const parent = node->parent;
    delete node;
    node = parent;
  }
}

void CancelNode::Leave() {
  // Nobody takes a new reference any more, but those who look for one may still stand in front of the node.
  if (deadline_ns != TimerQueue::kNever) TimerQueue::Remove(*this);
  if (above == nullptr) return;
  std::lock_guard guard(above->lock);
  if (in_parent) above->Unlink(*this);
}

void CancelNode::Unlink(CancelNode& child) {
  (child.prev_sibling != nullptr ? child.prev_sibling->next_sibling : first_child) = child.next_sibling;
  if (child.next_sibling != nullptr) child.next_sibling->prev_sibling = child.prev_sibling;
  child.in_parent = false;
}

void CancelNode::AddToParent() {
  if (above == nullptr) return;
  {
    std::lock_guard guard(above->lock);
    if (!above->cancelled.load(std::memory_order_relaxed)) {
      next_sibling = above->first_child;
      if (next_sibling != nullptr) next_sibling->prev_sibling = this;
      above->first_child = this;
      in_parent = true;
      return;
    }
  }
  CancelTree(above->err, above->cause);
}

bool CancelNode::Mark(const absl::Status& why, const absl::Status& what) {
  {
    std::lock_guard guard(lock);
    if (cancelled.load(std::memory_order_relaxed)) return false;
    err = why;
    cause = what;
    cancelled.store(true, std::memory_order_release);
  }
  if (deadline_ns != TimerQueue::kNever) TimerQueue::Remove(*this);
  return true;
}

bool CancelNode::CancelTree(const absl::Status& why, const absl::Status& what) {
  if (!Mark(why, what)) return false;
  CancelNode* last = this;
  for (CancelNode* node = this; node != nullptr; node = node->next_marked) node->MarkChildren(last, why, what);
  TellAll();
  for (CancelNode* at = next_marked; at != nullptr;) {
    CancelNode& node = *std::exchange(at, at->next_marked);
    node.TellAll();
    DropContextNode(&node);
  }
  return true;
}

void CancelNode::MarkChildren(CancelNode*& last, const absl::Status& why, const absl::Status& what) {
  for (bool more = true; more;) {
    std::array<CancelNode*, kBatch> children;
    size_t count = 0;
    {
      std::lock_guard guard(lock);
      for (size_t i = 0; i < kBatch && first_child != nullptr; ++i) {
        CancelNode& child = *first_child;
        Unlink(child);
        if (TryShare(child)) children[count++] = &child;
      }
      more = first_child != nullptr;
    }
    for (size_t i = 0; i < count; ++i) {
      if (children[i]->Mark(why, what)) {
        last->next_marked = children[i];
        last = children[i];
      } else {
        DropContextNode(children[i]);  // somebody else is cancelling it
      }
    }
  }
}

void CancelNode::TellAll() {
  for (bool more = true; more;) {
    std::array<WaitRecord*, kBatch> waits;
    size_t wait_count = 0;
    WakeList done;
    ContextCallback* callback = nullptr;
    {
      std::lock_guard guard(lock);
      for (size_t i = 0; i < kBatch && first_fiber != nullptr; ++i) {
        ControlBlock& fiber = *first_fiber->fiber;
        first_fiber->linked = false;
        first_fiber = first_fiber->next;
        if (first_fiber != nullptr) first_fiber->prev = nullptr;
        fiber.cancellation.fetch_or(kCancelPending, std::memory_order_relaxed);
        SeqCstFence();  // pairs with the one in ClaimedWait::Wait(); see the top of park.h
        if (fiber.wait.claim.ClaimCancellable()) waits[wait_count++] = &fiber.wait;
      }
      for (size_t i = 0; i < kBatch && !waiters.empty(); ++i) {
        if (Waiter* const waiter = waiters.ClaimFront()) done.PushBack(*waiter);
      }
      if (first_callback != nullptr) {
        callback = first_callback;
        first_callback = callback->next_;
        if (first_callback != nullptr) first_callback->prev_ = nullptr;
        callback->state_.store(ContextCallback::kRunning, std::memory_order_relaxed);
      }
      more = first_fiber != nullptr || first_callback != nullptr || !waiters.empty();
    }
    for (size_t i = 0; i < wait_count; ++i) EndClaimedWait(*waits[i], WaitOutcome::kCancelled);
    WakeAll(done, WaitOutcome::kDone);
    if (callback != nullptr) callback->Run();
  }
}

// ---- Fibers

namespace {

// A new binding of the fiber to that context; null for the background.
ContextBinding* NewBinding(ControlBlock& fiber, ContextNode* context) {
  return context == nullptr ? nullptr : new ContextBinding{ShareContextNode(context), &fiber};
}

void DropBinding(ContextBinding* binding) {
  if (binding == nullptr) return;
  DropContextNode(binding->context);
  delete binding;
}

CancelNode* CancellerOf(const ContextBinding* binding) {
  return binding == nullptr ? nullptr : binding->context->canceller;
}

// Puts a binding in force. None is: the fiber's bits are its own.
void Bind(ControlBlock& fiber, ContextBinding* binding) {
  fiber.context_binding = binding;
  CancelNode* const node = CancellerOf(binding);
  if (node == nullptr) {
    fiber.cancellation.store(0, std::memory_order_relaxed);
    return;
  }
  fiber.cancellation.store(kCancellable, std::memory_order_relaxed);
  std::lock_guard guard(node->lock);
  if (node->cancelled.load(std::memory_order_relaxed)) {
    fiber.cancellation.store(kCancellable | kCancelPending, std::memory_order_relaxed);
    return;
  }
  binding->prev = nullptr;
  binding->next = node->first_fiber;
  if (binding->next != nullptr) binding->next->prev = binding;
  node->first_fiber = binding;
  binding->linked = true;
}

// Takes the binding that is in force out of it.
ContextBinding* Unbind(ControlBlock& fiber) {
  ContextBinding* const binding = std::exchange(fiber.context_binding, nullptr);
  CancelNode* const node = CancellerOf(binding);
  if (node == nullptr) return binding;
  std::lock_guard guard(node->lock);
  if (!binding->linked) return binding;
  (binding->prev != nullptr ? binding->prev->next : node->first_fiber) = binding->next;
  if (binding->next != nullptr) binding->next->prev = binding->prev;
  binding->linked = false;
  return binding;
}

}  // namespace

void BindNewFiber(ControlBlock& fiber, ContextNode* context) { Bind(fiber, NewBinding(fiber, context)); }

ContextNode* ContextOf(const ControlBlock& fiber) {
  return fiber.context_binding == nullptr ? nullptr : fiber.context_binding->context;
}

void UnbindEndingFiber(ControlBlock& fiber) {
  ContextBinding* const binding = Unbind(fiber);
  fiber.cancellation.store(0, std::memory_order_relaxed);
  DropBinding(binding);
}

}  // namespace internal

// ---- Context

bool Context::cancelled() const { return cancellable() && node_->canceller->cancelled.load(std::memory_order_acquire); }

absl::Status Context::err() const { return cancelled() ? node_->canceller->err : absl::OkStatus(); }

absl::Status Context::cause() const { return cancelled() ? node_->canceller->cause : absl::OkStatus(); }

std::optional<std::chrono::steady_clock::time_point> Context::deadline() const {
  if (!cancellable() || node_->canceller->deadline_ns == internal::TimerQueue::kNever) return std::nullopt;
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(node_->canceller->deadline_ns));
}

const void* Context::Find(const void* key) const {
  for (const internal::ContextNode* node = node_; node != nullptr; node = node->parent) {
    if (node->key == key) return node->value;
  }
  return nullptr;
}

namespace {

absl::Status WaitForCancel(const Context& self, int64_t deadline_ns) {
  const Context context = self;  // `self` may go away meanwhile
  internal::CancelNode never(nullptr, internal::TimerQueue::kNever);
  internal::CancelNode& node = context.cancellable() ? *context.node()->canceller : never;
  node.lock.lock();
  if (node.cancelled.load(std::memory_order_relaxed)) {
    node.lock.unlock();
    return node.cause;
  }
  const internal::WaitOutcome outcome = internal::WaitIn(
      node.waiters, node.lock, {.reason = WaitReason::kChannelReceive}, nullptr, {.deadline_ns = deadline_ns});
  if (context.cancelled()) return context.cause();
  internal::ThrowInterrupted(outcome);
  return absl::OkStatus();
}

int64_t Nanoseconds(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

absl::Status Context::WaitDone() const { return WaitForCancel(*this, internal::WaitLimits::kNoDeadline); }

absl::Status Context::WaitDoneUntil(std::chrono::steady_clock::time_point deadline) const {
  return WaitForCancel(*this, Nanoseconds(deadline));
}

CancelSource Context::MakeSource(int64_t deadline_ns) const {
  const std::optional<std::chrono::steady_clock::time_point> inherited = this->deadline();
  const int64_t parent_ns = inherited.has_value() ? Nanoseconds(*inherited) : internal::TimerQueue::kNever;
  // A parent that is due earlier takes care of it.
  const bool needs_timer = deadline_ns < parent_ns;
  internal::ContextDeadlines* const deadlines = needs_timer ? &internal::ContextDeadlines::Instance() : nullptr;
  Context parent(*this);
  auto* const node = new internal::CancelNode(node_, std::min(deadline_ns, parent_ns));
  parent.node_ = nullptr;  // its reference is the node's now
  CancelSource source{Context(node)};
  if (needs_timer && deadline_ns <= MonotonicNowNs()) {
    const absl::Status why = absl::DeadlineExceededError("context deadline exceeded");
    node->CancelTree(why, why);
    return source;
  }
  // Before anybody else can find the node: a parent that is being cancelled takes the timer out.
  if (needs_timer) deadlines->Add(deadline_ns, *node);
  node->AddToParent();
  return source;
}

CancelSource Context::WithCancel() const { return MakeSource(internal::TimerQueue::kNever); }

CancelSource Context::WithDeadline(std::chrono::steady_clock::time_point deadline) const {
  return MakeSource(Nanoseconds(deadline));
}

CancelSource Context::WithTimeout(std::chrono::nanoseconds timeout) const {
  int64_t deadline_ns;
  if (__builtin_add_overflow(MonotonicNowNs(), timeout.count(), &deadline_ns)) {
    deadline_ns = timeout.count() > 0 ? internal::TimerQueue::kNever : 0;
  }
  return MakeSource(deadline_ns);
}

Context Context::WithoutCancel() const {
  if (!cancellable()) return *this;
  Context parent(*this);
  Context result(new internal::ContextNode(node_, nullptr, nullptr));
  parent.node_ = nullptr;
  return result;
}

// ---- CancelSource

CancelSource& CancelSource::operator=(CancelSource&& other) noexcept {
  if (this != &other) {
    Cancel();
    context_ = std::move(other.context_);
  }
  return *this;
}

CancelSource::~CancelSource() { Cancel(); }

bool CancelSource::Cancel(absl::Status cause) const {
  FIBERSCOPE_CHECK(!cause.ok(), "a context is cancelled with the cause OK");
  if (!context_.cancellable() || context_.cancelled()) return false;
  const Context kept = context_;  // a callback may destroy this source
  return kept.node()->canceller->CancelTree(absl::CancelledError("context cancelled"), cause);
}

// ---- ContextScope

ContextScope::ContextScope(Context context) { Enter(context); }

ContextScope::ContextScope(CancelSource source) : source_(std::move(source)) { Enter(source_.context()); }

void ContextScope::Enter(const Context& context) {
  fiber_ = internal::CurrentFiber();
  FIBERSCOPE_CHECK(fiber_ != nullptr, "a ContextScope must be made on a fiber");
  entered_ = internal::NewBinding(*fiber_, context.node());
  previous_ = internal::Unbind(*fiber_);
  internal::Bind(*fiber_, entered_);
}

ContextScope::~ContextScope() {
  FIBERSCOPE_CHECK(internal::CurrentFiber() == fiber_, "a ContextScope ends on another fiber than it began");
  FIBERSCOPE_CHECK(fiber_->context_binding == entered_,
                   "ContextScopes must end in the reverse order of their beginning");
  internal::Unbind(*fiber_);
  internal::Bind(*fiber_, previous_);
  internal::DropBinding(entered_);
}

// ---- ContextCallback

ContextCallback::ContextCallback(const Context& context, std::function<void()> function)
    : context_(context), function_(std::move(function)) {
  if (context_.cancellable()) {
    internal::CancelNode& node = *context_.node()->canceller;
    std::lock_guard guard(node.lock);
    if (!node.cancelled.load(std::memory_order_relaxed)) {
      next_ = node.first_callback;
      if (next_ != nullptr) next_->prev_ = this;
      node.first_callback = this;
      return;
    }
    state_.store(kRunning, std::memory_order_relaxed);
  }
  if (state_.load(std::memory_order_relaxed) == kRunning) Run();
}

void ContextCallback::Run() {
  runner_.store(static_cast<int>(syscall(SYS_gettid)), std::memory_order_relaxed);
  function_();
  // Release: whoever waits in the destructor sees what the function did. The object may be gone after this.
  state_.store(kFinished, std::memory_order_release);
  FutexWake(state_, 1);
}

ContextCallback::~ContextCallback() {
  if (!context_.cancellable()) return;
  internal::CancelNode& node = *context_.node()->canceller;
  {
    std::lock_guard guard(node.lock);
    if (state_.load(std::memory_order_relaxed) == kWaiting) {
      (prev_ != nullptr ? prev_->next_ : node.first_callback) = next_;
      if (next_ != nullptr) next_->prev_ = prev_;
      return;
    }
  }
  // A function that waits for its own end would wait for ever.
  FIBERSCOPE_CHECK(state_.load(std::memory_order_relaxed) == kFinished ||
                       runner_.load(std::memory_order_relaxed) != static_cast<int>(syscall(SYS_gettid)),
                   "a ContextCallback is destroyed by its own function");
  while (state_.load(std::memory_order_acquire) == kRunning) FutexWait(state_, kRunning);
}

// ---- this_fiber

Context this_fiber::context() {
  const internal::ControlBlock* const fiber = internal::CurrentFiber();
  return fiber == nullptr ? Context() : Context::Share(internal::ContextOf(*fiber));
}

}  // namespace fiberscope
