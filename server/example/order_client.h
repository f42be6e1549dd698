// Calls the order service over HTTP, on behalf of the request that the calling fiber works for: with its X-Request-Id, and with a
// traceparent whose span is a new one, this call's.
//
// Keeps connections that are idle, a few. One that breaks fails the call that finds it broken.
//
// Thread-safe; fibers only. Must outlive the calls. Resource: neither copied nor moved.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_ORDER_CLIENT_H_
#define FIBERSCOPE_SERVER_EXAMPLE_ORDER_CLIENT_H_

#include <boost/asio/ip/tcp.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/scheduler.h"
#include "server/example/http_front.h"

namespace demo {

class OrderClient {
 public:
  OrderClient(fiberscope::SchedulerExecutor executor, const boost::asio::ip::tcp::endpoint& endpoint)
      : executor_(executor), endpoint_(endpoint) {}

  // The answer, whatever its status. kUnavailable: there is none. kDeadlineExceeded, kCancelled: the fiber's context ended first.
  // Parks the fiber.
  absl::StatusOr<HttpResponse> Get(std::string_view target);

 private:
  static constexpr size_t kMaxIdle = 64;

  absl::StatusOr<boost::asio::ip::tcp::socket> TakeConnection();
  void KeepConnection(boost::asio::ip::tcp::socket socket);

  const fiberscope::SchedulerExecutor executor_;
  const boost::asio::ip::tcp::endpoint endpoint_;
  std::mutex mutex_;
  std::vector<boost::asio::ip::tcp::socket> idle_;  // GUARDED_BY(mutex_)
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_ORDER_CLIENT_H_
