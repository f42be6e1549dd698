#include "runtime/blocking.h"

#include "runtime/worker.h"

namespace fiberscope::internal {

BlockingScope::BlockingScope(const Registers& here, const BlockingOptions& options) : worker_(Worker::Current()) {
  if (worker_ != nullptr && !Worker::EnterBlocking(*worker_, here, options.expect_long)) worker_ = nullptr;
}

BlockingScope::~BlockingScope() {
  if (worker_ != nullptr) Worker::LeaveBlocking(*worker_);
}

}  // namespace fiberscope::internal
