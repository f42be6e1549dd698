// What the process has one of at a time, and who asks meanwhile: the CPU profile, the execution trace.
#ifndef FIBERSCOPE_SERVER_HANDLERS_EXCLUSIVE_H_
#define FIBERSCOPE_SERVER_HANDLERS_EXCLUSIVE_H_

#include <atomic>
#include <chrono>
#include <string_view>

#include "absl/status/status.h"
#include "server/http/message.h"

namespace fiberscope::server {

// Thread-safe. One for each such thing, for the life of the process.
class Exclusive {
 public:
  // It is going to be taken for so long, from now on, by the caller's request.
  void TakenFor(std::chrono::nanoseconds time);

  // The answer to a request for which it could not be begun: `what` and the reason. kAlreadyExists: 429, with Retry-After as far as
  // it was taken by a request; kUnimplemented: 501; others: 500.
  Response Refusal(std::string_view what, const absl::Status& why) const;

 private:
  std::atomic<std::chrono::steady_clock::rep> ends_at_{0};
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_EXCLUSIVE_H_
