#include "runtime/scope.h"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "runtime/park.h"
#include "runtime/wait_cancelled.h"

namespace fiberscope {
namespace {

// What the exception says, and whether it is how a cancelled fiber ends.
struct Described {
  std::string what;
  bool cancellation = false;
};

Described Describe(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const WaitCancelled& cancelled) {
    return {cancelled.what(), true};
  } catch (const boost::system::system_error& error) {
    return {error.what(), error.code() == boost::asio::error::operation_aborted};
  } catch (const std::exception& other) {
    return {other.what()};
  } catch (...) {
    return {"an exception of unknown type"};
  }
}

CancelSource MakeSource(const Context& parent, const ScopeOptions& options) {
  return options.timeout.has_value() ? parent.WithTimeout(*options.timeout) : parent.WithCancel();
}

}  // namespace

namespace internal {

ScopeTicket::ScopeTicket(Scope& scope) : scope_(&scope) { scope.children_.Add(); }

ScopeTicket::~ScopeTicket() {
  if (scope_ != nullptr) scope_->children_.Done();
}

void ScopeTicket::Failed(std::exception_ptr exception) const { scope_->ChildFailed(std::move(exception), absl::OkStatus()); }

void ScopeTicket::Failed(absl::Status status) const { scope_->ChildFailed(nullptr, std::move(status)); }

}  // namespace internal

Scope::Scope(internal::SchedulerCore& core, const ScopeOptions& options)
    : core_(&core),
      uncaught_exceptions_(std::uncaught_exceptions()),
      source_(MakeSource(this_fiber::context(), options)) {}

Scope::Scope(const ScopeOptions& options) : Scope(internal::CurrentCore(), options) {}

Scope::Scope(Scheduler& scheduler, const ScopeOptions& options) : Scope(scheduler.get_executor().core(), options) {}

Scope::~Scope() noexcept(false) {
  if (std::uncaught_exceptions() > uncaught_exceptions_) {
    source_.Cancel(absl::CancelledError("the scope was left by an exception"));
    std::ignore = children_.Wait();
    return;
  }
  Join();
}

bool Scope::Cancel(absl::Status cause) {
  {
    std::lock_guard guard(lock_);
    cancelled_by_owner_ = true;
  }
  return source_.Cancel(std::move(cause));
}

size_t Scope::failed_count() const {
  std::lock_guard guard(lock_);
  return failed_;
}

void Scope::ChildFailed(std::exception_ptr exception, absl::Status status) {
  const Described described =
      exception ? Describe(exception) : Described{status.ToString(), status.code() == absl::StatusCode::kCancelled};
  {
    std::lock_guard guard(lock_);
    if (described.cancellation && context().cancelled()) {
      ++ended_by_cancel_;
      return;
    }
    if (++failed_ > 1) return;
    exception_ = std::move(exception);
    status_ = std::move(status);
  }
  source_.Cancel(absl::AbortedError(absl::StrCat("a fiber of the scope failed: ", described.what)));
}

void Scope::JoinChildren() {
  if (!children_.Wait()) internal::ThrowStopped();
}

absl::Status Scope::JoinStatus() {
  JoinChildren();
  std::exception_ptr exception;
  {
    std::lock_guard guard(lock_);
    exception = std::exchange(exception_, nullptr);
    if (!exception && !status_.ok()) return std::exchange(status_, absl::OkStatus());
    const bool ended_from_outside = std::exchange(ended_by_cancel_, 0) > 0 && !cancelled_by_owner_ && failed_ == 0;
    if (!exception) return ended_from_outside ? context().cause() : absl::OkStatus();
  }
  std::rethrow_exception(exception);
}

void Scope::Join() {
  JoinChildren();
  const bool failed = failed_count() > 0;
  absl::Status status = JoinStatus();
  if (status.ok()) return;
  if (failed) throw absl::BadStatusOrAccess(std::move(status));
  internal::ThrowInterrupted(internal::WaitOutcome::kCancelled);
}

}  // namespace fiberscope
