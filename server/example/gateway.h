// The demo's front: takes a request in, with whatever identity it brings or a new one, and has the order service answer it.
//
//   GET /checkout?item=apple&quantity=2    as /order of the order service (order_service.h), whose answer it passes on
//   502 the order service cannot be reached, 504 it does not answer in time, 404 any other path
//
// Each answer has the X-Request-Id under which the request is found in logs, dumps, profiles, traces and at /debug/requests, in
// both services.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_GATEWAY_H_
#define FIBERSCOPE_SERVER_EXAMPLE_GATEWAY_H_

#include <boost/asio/ip/tcp.hpp>
#include <chrono>

#include "absl/status/statusor.h"
#include "runtime/scheduler.h"
#include "server/example/http_front.h"
#include "server/example/instruments.h"
#include "server/example/order_client.h"
#include "server/example/outcomes.h"
#include "server/log/log.h"

namespace demo {

class Gateway {
 public:
  struct Options {
    boost::asio::ip::tcp::endpoint endpoint = {};
    boost::asio::ip::tcp::endpoint orders = {};  // of the order service
    std::chrono::nanoseconds timeout = std::chrono::seconds(3);
  };

  Gateway(fiberscope::Scheduler& scheduler, const Instruments& instruments, const Options& options);

  // Binds and spawns the service's fibers; they run until the scheduler stops. The address it listens on.
  absl::StatusOr<boost::asio::ip::tcp::endpoint> Start();

 private:
  void AcceptConnections();
  void ServeConnection(boost::asio::ip::tcp::socket socket);
  void Answer(const HttpRequest& request, HttpResponse& response);
  void PassOn(std::string_view query, HttpResponse& response);
  void Tell(const HttpResponse& response, std::chrono::nanoseconds took);

  fiberscope::Scheduler& scheduler_;
  fiberscope::server::RequestRegistry& requests_;
  const fiberscope::log::Logger logger_;
  Outcomes outcomes_;
  const Options options_;
  boost::asio::ip::tcp::acceptor acceptor_;
  OrderClient orders_;
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_GATEWAY_H_
