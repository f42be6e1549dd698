// What a service's inner loop costs: an echo over TCP on loopback, 64 connections that always have one message of 64 bytes under
// way. Protects the reactor's hand-over to fibers: a read that has to wait costs an epoll turn, a handler, an unpark and a switch.
//
// Servers: fibers with use_fiber, and a bare epoll loop as the floor; Go's net package in go/echo_bench.go. The client is the same
// bare epoll loop everywhere, on a thread of its own, so its half of the time is the same too. An item is one message there and
// back, by the wall.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/base/check.h"
#include "runtime/io/use_fiber.h"
#include "runtime/scheduler.h"

namespace fiberscope {
namespace {

using boost::asio::ip::tcp;

constexpr int kConnections = 64;
constexpr size_t kMessageBytes = 64;

void SendsAtOnce(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Waits for readable sockets and hands out one after the other.
class ReadySockets {
 public:
  void Add(int socket) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = socket}};
    FIBERSCOPE_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl: errno %d", errno);
  }
  ReadySockets() = default;
  ReadySockets(const ReadySockets&) = delete;
  ReadySockets& operator=(const ReadySockets&) = delete;
  ~ReadySockets() { close(epoll_); }

  int Next() {
    while (next_ == ready_) {
      next_ = 0;
      ready_ = std::max(0, epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), -1));
    }
    return events_[static_cast<size_t>(next_++)].data.fd;
  }

 private:
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::array<epoll_event, kConnections + 1> events_;
  int next_ = 0;
  int ready_ = 0;
};

// Connects, and has a message under way on every connection.
class Client {
 public:
  explicit Client(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int& socket : sockets_) {
      socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      FIBERSCOPE_CHECK(connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
                       "connect to port %d: errno %d", port, errno);
      SendsAtOnce(socket);
      ready_.Add(socket);
      Send(socket);
    }
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    for (const int socket : sockets_) close(socket);
  }

  // Takes one answer and sends the next message.
  void Step() {
    const int socket = ready_.Next();
    std::array<char, kMessageBytes> answer;
    const ssize_t size = recv(socket, answer.data(), answer.size(), 0);
    FIBERSCOPE_CHECK(size == static_cast<ssize_t>(kMessageBytes), "an echo of %d bytes: errno %d", size, errno);
    Send(socket);
  }

 private:
  static void Send(int socket) {
    const std::array<char, kMessageBytes> message{};
    FIBERSCOPE_CHECK(send(socket, message.data(), message.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(kMessageBytes),
                     "send: errno %d", errno);
  }

  ReadySockets ready_;
  std::array<int, kConnections> sockets_;
};

void Measure(benchmark::State& state, uint16_t port) {
  Client client(port);
  for (int i = 0; i < 10 * kConnections; ++i) client.Step();
  for (auto _ : state) client.Step();
  state.SetItemsProcessed(state.iterations());
}

void Echo(tcp::socket socket) {
  SendsAtOnce(socket.native_handle());
  std::array<char, kMessageBytes> message;
  for (boost::system::error_code error;;) {
    const size_t bytes = socket.async_read_some(boost::asio::buffer(message), use_fiber[error]);
    if (error) return;
    boost::asio::async_write(socket, boost::asio::buffer(message, bytes), use_fiber[error]);
    if (error) return;
  }
}

void BM_Echo_64_Fibers(benchmark::State& state) {
  Scheduler scheduler({.processors = static_cast<int>(state.range(0))});
  tcp::acceptor acceptor(scheduler.get_executor(), tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  scheduler.Spawn([&] {
    for (boost::system::error_code error;;) {
      tcp::socket socket = acceptor.async_accept(use_fiber[error]);
      if (error) return;
      Spawn([socket = std::move(socket)]() mutable { Echo(std::move(socket)); });
    }
  });
  Measure(state, acceptor.local_endpoint().port());
  scheduler.Stop();
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
        SendsAtOnce(connection);
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
  ReadySockets ready_;
  std::thread thread_;
};

void BM_Echo_64_Epoll(benchmark::State& state) {
  EpollServer server;
  Measure(state, server.port());
}
BENCHMARK(BM_Echo_64_Epoll)->UseRealTime();

}  // namespace
}  // namespace fiberscope
