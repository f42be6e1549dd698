// An Asio service on fibers, with a debug server: an echo server on port 7000, watched on port 6060.
#include <boost/asio.hpp>
#include <cstdio>

#include "runtime/io/use_fiber.h"
#include "runtime/scheduler.h"
#include "server/debug_server.h"

using boost::asio::ip::tcp;
using fiberscope::use_fiber;

void Echo(tcp::socket socket) {
  char data[1024];
  boost::system::error_code error;
  for (;;) {
    const size_t size = socket.async_read_some(boost::asio::buffer(data), use_fiber[error]);  // parks the fiber
    if (error) return;
    boost::asio::async_write(socket, boost::asio::buffer(data, size), use_fiber[error]);
    if (error) return;
  }
}

int main() {
  auto debug = fiberscope::server::DebugServer::Start({.port = 6060});
  if (!debug.ok()) return std::fprintf(stderr, "%s\n", debug.status().ToString().c_str()), 1;

  fiberscope::Scheduler scheduler;
  scheduler.Spawn([&] {
    tcp::acceptor acceptor(scheduler.get_executor(), {tcp::v4(), 7000});
    for (;;) {
      tcp::socket socket = acceptor.async_accept(use_fiber);
      fiberscope::Spawn([socket = std::move(socket)]() mutable { Echo(std::move(socket)); }, {.name = "echo"});
    }
  }).Join();
}
