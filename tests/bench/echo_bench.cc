// What a service's inner loop costs: an echo over TCP on loopback, 64 connections that always have one message of 64 bytes under
// way. Protects the reactor's hand-over to fibers: a read that has to wait costs an epoll turn, a handler, an unpark and a switch.
//
// Servers: fibers with use_fiber, and a bare epoll loop as the floor; Go's net package in go/echo_bench.go. The client is the same
// bare epoll loop everywhere, on a thread of its own, so its half of the time is the same too. An item is one message there and
// back, by the wall.
#include <array>
#include <cstdint>
#include <thread>

#include "benchmark/benchmark.h"
#include "runtime/base/check.h"
#include "tests/bench/echo.h"

namespace fiberscope {
namespace {

using bench::Client;
using bench::kConnections;
using bench::kMessageBytes;

void Measure(benchmark::State& state, uint16_t port) {
  Client client(port);
  client.WarmUp();
  for (auto _ : state) client.Step();
  state.SetItemsProcessed(state.iterations());
}

void BM_Echo_64_Fibers(benchmark::State& state) {
  const bench::FiberServer server(static_cast<int>(state.range(0)));
  Measure(state, server.port());
}
BENCHMARK(BM_Echo_64_Fibers)->ArgName("processors")->Arg(1)->UseRealTime();

// The floor: one thread, read and write at once.
class EpollServer {
 public:
  EpollServer() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    FIBERSCOPE_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener_, kConnections) == 0 &&
                         getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
                     "listen on loopback: errno %d", errno);
    port_ = ntohs(address.sin_port);
    ready_.Add(listener_);
    thread_ = std::thread([this] { Serve(); });
  }
  EpollServer(const EpollServer&) = delete;
  EpollServer& operator=(const EpollServer&) = delete;
  // When the client has gone: the last connection's end ends the loop.
  ~EpollServer() {
    thread_.join();
    close(listener_);
  }
  uint16_t port() const { return port_; }

 private:
  void Serve() {
    for (int open = 0, accepted = 0; open > 0 || accepted == 0;) {
      const int socket = ready_.Next();
      if (socket == listener_) {
        const int connection = accept(listener_, nullptr, nullptr);
        bench::SendsAtOnce(connection);
        ready_.Add(connection);
        ++open;
        ++accepted;
        continue;
      }
      std::array<char, kMessageBytes> message;
      const ssize_t size = recv(socket, message.data(), message.size(), 0);
      if (size > 0 && send(socket, message.data(), static_cast<size_t>(size), MSG_NOSIGNAL) == size) continue;
      close(socket);
      --open;
    }
  }

  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  uint16_t port_ = 0;
  bench::ReadySockets ready_;
  std::thread thread_;
};

void BM_Echo_64_Epoll(benchmark::State& state) {
  EpollServer server;
  Measure(state, server.port());
}
BENCHMARK(BM_Echo_64_Epoll)->UseRealTime();

}  // namespace
}  // namespace fiberscope
