// What a piece of work carries along: until when it may take, whether somebody has lost interest in it, and values such as the
// request's id. As Go's package context, with two differences: the context travels by itself, and cancelling it wakes fibers.
//
//   CancelSource source = this_fiber::context().WithTimeout(std::chrono::seconds(2));
//   ContextScope scope(source.context());        // of this block, and of the fibers spawned in it
//   Fetch(url);                                  // its waits end two seconds from now, by WaitCancelled
//
// Contexts form a tree. Cancelling one cancels all below it, never its parent. The cause, a status, says why: of several
// cancellations the first one counts. A fiber has one current context, which the fibers it spawns inherit. A fiber whose
// context is cancelled leaves the wait it is in, and each further one, with WaitCancelled or with what a status-returning form
// says; waits for a Mutex and waits of destructors during an exception excepted (park.h). To clean up after a cancellation with
// calls that wait, take WithoutCancel() as the context of a block.
//
// A Context is a value: copying it adds one reference. The default-constructed one is the background: no deadline, no
// values, never cancelled; it allocates nothing.
//
// Thread-safe. Never blocks, unless said otherwise; cancelling blocks the thread for a few instructions (FutexLock).
// Cost: With* allocate once, deriving from a cancellable context and cancelling take a lock each. A fiber in a cancellable
// context pays a lock at spawn and at its end, and two locked instructions per wait; one that is in none pays nothing. Values
// are found by walking up the tree: keep them few.
#ifndef FIBERSCOPE_RUNTIME_CONTEXT_H_
#define FIBERSCOPE_RUNTIME_CONTEXT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "absl/status/status.h"

namespace fiberscope {

class CancelSource;
class Context;
class ContextCallback;

namespace internal {

struct CancelNode;
struct ContextBinding;
struct ControlBlock;

// One node of the tree.
struct ContextNode {
  std::atomic<uint32_t> references{1};
  ContextNode* const parent;       // holds a reference; null: the background
  CancelNode* const canceller;     // the nearest node that can be cancelled, perhaps this one; null: none
  const void* const key;           // of the value, if it has one
  const void* value = nullptr;     // part of the derived object

  ContextNode(ContextNode* p, CancelNode* c, const void* k) : parent(p), canceller(c), key(k) {}
  virtual ~ContextNode() = default;
  virtual void Leave() {}  // before it is destroyed: nobody outside may find it any more
};

template <typename T>
struct ContextValueNode final : ContextNode {
  const T held;
  template <typename V>
  ContextValueNode(ContextNode* p, CancelNode* c, const void* k, V&& v) : ContextNode(p, c, k), held(std::forward<V>(v)) {
    value = &held;
  }
};

ContextNode* ShareContextNode(ContextNode* node);
void DropContextNode(ContextNode* node);

// For spawn: the new fiber is not known to anybody yet. The context need not be kept by the caller.
void BindNewFiber(ControlBlock& fiber, ContextNode* context);
// The fiber's current one; null: the background. For the fiber itself.
ContextNode* ContextOf(const ControlBlock& fiber);
// For the end of a fiber that has a context.
void UnbindEndingFiber(ControlBlock& fiber);

}  // namespace internal

// Names a value of type T in contexts. Its identity is its address: define it once, at namespace scope, and never destroy it.
//
//   inline constexpr ContextKey<std::string> kRequestId("request id");
template <typename T>
class ContextKey {
 public:
  constexpr explicit ContextKey(const char* name) : name_(name) {}
  ContextKey(const ContextKey&) = delete;
  ContextKey& operator=(const ContextKey&) = delete;

  const char* name() const { return name_; }

 private:
  const char* name_;
};

class Context {
 public:
  Context() = default;  // the background
  Context(const Context& other) : node_(internal::ShareContextNode(other.node_)) {}
  Context(Context&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Context& operator=(Context other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Context() {
    if (node_ != nullptr) internal::DropContextNode(node_);
  }

  // OK until it is cancelled; then kCancelled, or kDeadlineExceeded if the deadline did it.
  absl::Status err() const;
  // OK until it is cancelled; then what Cancel() was given, or the same as err().
  absl::Status cause() const;
  bool cancelled() const;

  // Whether it, or one above it, can be cancelled at all.
  bool cancellable() const { return node_ != nullptr && node_->canceller != nullptr; }
  // When it will be cancelled at the latest: the earliest deadline up the tree.
  std::optional<std::chrono::steady_clock::time_point> deadline() const;

  // Waits until it is cancelled and returns the cause. Parks the fiber (WaitReason::kChannelReceive, as which Go counts it) or
  // blocks the thread. Throws WaitCancelled when the calling fiber is cancelled by another context. For ever on a context
  // that is not cancellable.
  absl::Status WaitDone() const;
  // The same until `deadline`. OK: it was not cancelled by then.
  absl::Status WaitDoneUntil(std::chrono::steady_clock::time_point deadline) const;

  // The value of the nearest context up the tree that has one for `key`, or null. Valid as long as this context lives.
  template <typename T>
  const T* Get(const ContextKey<T>& key) const {
    return static_cast<const T*>(Find(&key));
  }

  // A context below this one with a value. Runs T's destructor on whatever thread drops the last reference.
  template <typename T, typename V = T>
  [[nodiscard]] Context With(const ContextKey<T>& key, V&& value) const {
    Context parent(*this);
    auto* const node = new internal::ContextValueNode<T>(node_, node_ == nullptr ? nullptr : node_->canceller, &key,
                                                         std::forward<V>(value));
    parent.node_ = nullptr;  // its reference is the node's now
    return Context(node);
  }

  // A context below this one that can be cancelled by itself.
  [[nodiscard]] CancelSource WithCancel() const;
  // The same, and which cancels itself at the deadline. Throws std::system_error if the thread that watches deadlines, which the
  // first call of the process starts, cannot be made.
  [[nodiscard]] CancelSource WithDeadline(std::chrono::steady_clock::time_point deadline) const;
  [[nodiscard]] CancelSource WithTimeout(std::chrono::nanoseconds timeout) const;
  // The values of this one without its cancellation and deadline: for clean-up, and for work that outlives the request.
  [[nodiscard]] Context WithoutCancel() const;

  // The same node of the tree.
  bool operator==(const Context& other) const { return node_ == other.node_; }

  // For the control block, which holds one reference as a bare pointer.
  internal::ContextNode* node() const { return node_; }
  static Context Share(internal::ContextNode* node) { return Context(internal::ShareContextNode(node)); }

 private:
  friend class CancelSource;
  explicit Context(internal::ContextNode* node) : node_(node) {}  // takes over the reference

  const void* Find(const void* key) const;
  CancelSource MakeSource(int64_t deadline_ns) const;

  internal::ContextNode* node_ = nullptr;  // holds a reference; null: the background
};

// The right to cancel a context. Whoever derives a context owns one, and a source that goes away cancels: so nothing that was
// started on behalf of a function outlives it unnoticed, and no timer is left behind.
//
// Thread-safe but for moving and destroying it.
class CancelSource {
 public:
  CancelSource() = default;  // of no context
  CancelSource(CancelSource&&) noexcept = default;
  CancelSource& operator=(CancelSource&& other) noexcept;
  ~CancelSource();

  const Context& context() const { return context_; }

  // Cancels the context and all below it; wakes their fibers and runs their callbacks before it returns. True: it was this call.
  // `cause` must not be OK. Any thread.
  bool Cancel(absl::Status cause = absl::CancelledError("context cancelled")) const;

  // Leaves the context to its parents and its deadline.
  Context Release() && { return std::move(context_); }

 private:
  friend class Context;
  explicit CancelSource(Context context) : context_(std::move(context)) {}

  Context context_;
};

// Makes a context the calling fiber's current one until the end of the block. Scopes end in the reverse order of their
// beginning, on the same fiber. Afterwards the fiber is as cancelled as the context it had before. Fiber-only.
class ContextScope {
 public:
  explicit ContextScope(Context context);
  // Cancels it at the end of the block.
  explicit ContextScope(CancelSource source);
  ~ContextScope();
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

  const CancelSource& source() const { return source_; }

 private:
  void Enter(const Context& context);

  CancelSource source_;
  internal::ControlBlock* fiber_ = nullptr;
  internal::ContextBinding* entered_ = nullptr;   // null: the background
  internal::ContextBinding* previous_ = nullptr;  // not in force meanwhile
};

// Calls a function once when a context is cancelled, on the thread or fiber that cancels it; at once, by the constructor, if it is
// already. For APIs that know no contexts: `ContextCallback stop(context, [&] { transfer.Abort(); });`
//
// The function must not park, must not throw, and must not destroy its ContextCallback (a CHECK failure). The destructor takes it
// back, or blocks the thread until it has returned.
class ContextCallback {
 public:
  ContextCallback(const Context& context, std::function<void()> function);
  ~ContextCallback();
  ContextCallback(const ContextCallback&) = delete;
  ContextCallback& operator=(const ContextCallback&) = delete;

 private:
  friend struct internal::CancelNode;
  enum State : uint32_t { kWaiting, kRunning, kFinished };

  void Run();

  const Context context_;
  const std::function<void()> function_;
  std::atomic<uint32_t> state_{kWaiting};  // leaves kWaiting under the node's lock; a futex
  std::atomic<int> runner_{0};             // thread that runs it; a fiber does not leave its thread meanwhile
  ContextCallback* next_ = nullptr;        // GUARDED_BY the node's lock, as prev_
  ContextCallback* prev_ = nullptr;
};

namespace this_fiber {

// The calling fiber's current context; the background on a plain thread. Any thread.
Context context();

}  // namespace this_fiber
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CONTEXT_H_
