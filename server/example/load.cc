#include "server/example/load.h"

#include <unistd.h>

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

#include "absl/strings/str_format.h"
#include "runtime/io/use_fiber.h"
#include "runtime/this_fiber.h"

namespace demo {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using fiberscope::use_fiber;
using tcp = boost::asio::ip::tcp;

constexpr int kMaxClients = 16;

// Sends orders over one connection, one every `interval`, until the connection breaks.
void SendOrders(tcp::socket& socket, std::chrono::nanoseconds interval, std::chrono::steady_clock::time_point& next) {
  static constexpr const char* kItems[] = {"apple", "pear", "plum"};
  boost::beast::flat_buffer buffer;
  for (unsigned n = 0;; ++n) {
    fiberscope::this_fiber::SleepUntil(next);
    next = std::max(next + interval, std::chrono::steady_clock::now() - std::chrono::seconds(1));
    http::request<http::empty_body> request{
        http::verb::get, absl::StrFormat("/checkout?item=%s&quantity=%d", kItems[n % 3], n % 5 + 1), 11};
    request.set(http::field::host, "localhost");
    error_code error;
    http::async_write(socket, request, use_fiber[error]);
    http::response<http::string_body> response;
    if (!error) http::async_read(socket, buffer, response, use_fiber[error]);
    if (error) return;
  }
}

void RunClient(fiberscope::SchedulerExecutor executor, const tcp::endpoint& endpoint,
               std::chrono::nanoseconds interval) {
  auto next = std::chrono::steady_clock::now();
  for (;;) {
    tcp::socket socket(executor);
    error_code error;
    socket.async_connect(endpoint, use_fiber[error]);
    if (error) {
      fiberscope::this_fiber::SleepFor(std::chrono::milliseconds(100));
      continue;
    }
    SendOrders(socket, interval, next);
  }
}

// Ten frames. Without noipa the compiler sees that nobody wants the result, and turns the calls into jumps.
template <int kDepth>
__attribute__((noipa)) int Descend(fiberscope::Channel<int>& never) {
  if constexpr (kDepth == 1) {
    return never.Receive().value_or(0);
  } else {
    return Descend<kDepth - 1>(never) + 1;
  }
}

}  // namespace

void SpawnClients(fiberscope::Scheduler& scheduler, const tcp::endpoint& endpoint, int requests_per_second) {
  const int clients = std::min(requests_per_second, kMaxClients);
  for (int i = 0; i < clients; ++i) {
    const std::chrono::nanoseconds interval(std::chrono::nanoseconds(std::chrono::seconds(clients)) /
                                            requests_per_second);
    scheduler.Spawn([executor = scheduler.get_executor(), endpoint, interval] { RunClient(executor, endpoint, interval); },
                    {.name = "client"});
  }
}

void SpawnParkedFibers(fiberscope::Scheduler& scheduler, int count, fiberscope::Channel<int>& never) {
  for (int i = 0; i < count; ++i) scheduler.Spawn([&never] { Descend<10>(never); }, {.name = "parked"});
}

void SpawnStall(fiberscope::Scheduler& scheduler) {
  scheduler.Spawn(
      [] {
        for (;;) {
          ::sleep(1);  // a call that blocks, as if it did not: Blocking() around it is missing
          fiberscope::this_fiber::SleepFor(std::chrono::seconds(4));
        }
      },
      {.name = "stall"});
}

}  // namespace demo
